//! All histories of a world up to a depth, each distinct state once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::{self, Debug},
    num::NonZero,
    thread,
};

use super::essence::fingerprint;

/// What must hold held, or what did not.
pub(super) type Verdict = Result<(), String>;

/// Something in which one of several things may happen next, and whose state its `Debug` shows whole.
pub(super) trait World: Debug + Sized {
    type Setup: Sync;
    type Choice: Clone + Debug + Send + Sync;

    fn begin(setup: &Self::Setup) -> Self;

    /// All that may happen next.
    fn choices(&self) -> Vec<Self::Choice>;

    /// Lets one of them happen, and judges what came of it.
    fn choose(&mut self, choice: &Self::Choice) -> Verdict;

    /// No more faults and no more wishes: whether all comes to rest as it should.
    fn settle(&mut self) -> Verdict;
}

/// What was looked at, and that all of it was as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Explored {
    /// Choices in each history.
    pub(super) depth: usize,
    pub(super) histories: u128,
    /// States, counted anew at each depth.
    pub(super) states: usize,
    /// Those at the end, each of which was seen to settle.
    pub(super) leaves: usize,
}

/// A history that ends badly, as short as there is one.
#[derive(Debug)]
pub(super) struct Counterexample {
    pub(super) history: Vec<String>,
    pub(super) why: String,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}, after", self.why)?;
        self.history.iter().try_for_each(|choice| writeln!(formatter, "    {choice}"))
    }
}

/// A state that was reached, the first history that led to it, and how many did.
struct Node<C> {
    path: Vec<C>,
    histories: u128,
}

/// In an order that does not depend on which thread found what.
type Layer<C> = BTreeMap<u64, Node<C>>;

/// Looks at every history of `depth` choices. Of states that are the same in all that decides
/// anything, as [`fingerprint`] has it, one is looked at further.
///
/// # Errors
/// The first history, in the order of their lengths, after which something did not hold.
pub(super) fn explore<W: World>(
    setup: &W::Setup,
    depth: usize,
) -> Result<Explored, Counterexample> {
    let root = W::begin(setup);
    let mut layer = Layer::from([(fingerprint(&root), Node { path: Vec::new(), histories: 1 })]);
    let mut states = 1;
    for _ in 0..depth {
        layer = next_layer::<W>(setup, &layer)?;
        states += layer.len();
    }
    let leaves: Vec<_> = layer.values().collect();
    in_parallel(&leaves, |leaf| {
        let mut world = replay::<W>(setup, &leaf.path);
        world.settle().map_err(|why| counterexample(&leaf.path, &why))
    })?;
    let histories = leaves.iter().map(|leaf| leaf.histories).sum();
    Ok(Explored { depth, histories, states, leaves: leaves.len() })
}

fn next_layer<W: World>(
    setup: &W::Setup,
    layer: &Layer<W::Choice>,
) -> Result<Layer<W::Choice>, Counterexample> {
    let nodes: Vec<_> = layer.values().collect();
    let followers = in_parallel(&nodes, |node| {
        let mut here = Some(replay::<W>(setup, &node.path));
        let choices = here.as_ref().map(World::choices).unwrap_or_default();
        let mut followers = Vec::with_capacity(choices.len());
        for choice in choices {
            // A core cannot be copied: it is led there again.
            let mut world = here.take().unwrap_or_else(|| replay::<W>(setup, &node.path));
            let path: Vec<_> = node.path.iter().cloned().chain([choice.clone()]).collect();
            world.choose(&choice).map_err(|why| counterexample(&path, &why))?;
            followers.push((fingerprint(&world), Node { path, histories: node.histories }));
        }
        Ok(followers)
    })?;
    let mut next = Layer::new();
    for (fingerprint, follower) in followers.into_iter().flatten() {
        match next.entry(fingerprint) {
            Entry::Occupied(mut known) => known.get_mut().histories += follower.histories,
            Entry::Vacant(new) => {
                new.insert(follower);
            }
        }
    }
    Ok(next)
}

fn replay<W: World>(setup: &W::Setup, path: &[W::Choice]) -> W {
    let mut world = W::begin(setup);
    for choice in path {
        world.choose(choice).expect("it held when this was first gone through");
    }
    world
}

fn counterexample<C: Debug>(path: &[C], why: &str) -> Counterexample {
    let history = path.iter().map(|choice| format!("{choice:?}")).collect();
    Counterexample { history, why: why.to_owned() }
}

/// The results in the order of the items; of several errors, that of the first.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Counterexample> + Sync,
) -> Result<Vec<R>, Counterexample> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let running: Vec<_> = items
            .chunks(share)
            .map(|chunk| scope.spawn(|| chunk.iter().map(&work).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut results = Vec::with_capacity(items.len());
        for thread in running {
            results.extend(thread.join().expect("a core that panics fails the test")?);
        }
        Ok(results)
    })
}
