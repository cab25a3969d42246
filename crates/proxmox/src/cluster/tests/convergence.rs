//! Whatever happens, in whatever order: once it is over, everybody knows the truth.

use std::collections::BTreeMap;

use drowse_provider::{ErrorKind, Summary};
use proptest::prelude::*;

use super::*;
use crate::{ClientError, cluster::Transition};

/// How long after the last thing happened everybody knows: beats that lag, the pauses between
/// attempts, and the list that settles what was lost.
const SETTLED: u64 = 120;

#[derive(Clone, Debug)]
enum Act {
    Start(u32),
    Stop(u32),
    Lock(u32, bool),
    Rename(u32, u8),
    Migrate(u32, u8),
    Tag(u32, bool),
    HighAvailability(u32, Option<&'static str>),
    Remove(u32),
    Add(u32),
    Hide(u32, bool),
    Away(u8, bool),
    Outage(bool),
    Observe(u32),
    Hold(u32, bool),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    let vmid = || 100..103u32;
    let ha = prop_oneof![Just(None), Just(Some("started")), Just(Some("error"))];
    prop_oneof![
        3 => vmid().prop_map(Act::Start),
        3 => vmid().prop_map(Act::Stop),
        1 => (vmid(), any::<bool>()).prop_map(|(vmid, is)| Act::Lock(vmid, is)),
        1 => (vmid(), 0..3u8).prop_map(|(vmid, name)| Act::Rename(vmid, name)),
        2 => (vmid(), 1..3u8).prop_map(|(vmid, node)| Act::Migrate(vmid, node)),
        1 => (vmid(), any::<bool>()).prop_map(|(vmid, is)| Act::Tag(vmid, is)),
        1 => (vmid(), ha).prop_map(|(vmid, state)| Act::HighAvailability(vmid, state)),
        1 => vmid().prop_map(Act::Remove),
        2 => vmid().prop_map(Act::Add),
        1 => (vmid(), any::<bool>()).prop_map(|(vmid, is)| Act::Hide(vmid, is)),
        1 => (1..3u8, any::<bool>()).prop_map(|(node, is)| Act::Away(node, is)),
        1 => any::<bool>().prop_map(Act::Outage),
        3 => vmid().prop_map(Act::Observe),
        1 => (vmid(), any::<bool>()).prop_map(|(vmid, is)| Act::Hold(vmid, is)),
        6 => (0..15_000u64).prop_map(Act::Wait),
    ]
}

async fn perform(world: &World, shared: &Shared, held: &mut Vec<Transition>, act: Act) {
    let exists = |vmid: u32| world.change(|state| state.containers.contains_key(&vmid));
    match act {
        Act::Start(vmid) if exists(vmid) => world.start(vmid),
        Act::Stop(vmid) if exists(vmid) => world.stop(vmid),
        Act::Lock(vmid, is) if exists(vmid) => {
            world.with(vmid, |one| one.lock = is.then(|| "backup".to_owned()));
        }
        Act::Rename(vmid, name) if exists(vmid) => {
            world.with(vmid, |one| one.name = format!("name{name}"));
        }
        Act::Migrate(vmid, node) if exists(vmid) => {
            let was_running = world.change(|state| state.containers[&vmid].process.is_some());
            world.with(vmid, |one| one.node = format!("pve{node}"));
            if was_running {
                world.start(vmid);
            }
        }
        Act::Tag(vmid, is) if exists(vmid) => {
            world
                .with(vmid, |one| one.tags = is.then(|| "drowse".to_owned()).into_iter().collect());
        }
        Act::HighAvailability(vmid, state) if exists(vmid) => {
            world.with(vmid, |one| one.ha_state = state.map(str::to_owned));
        }
        Act::Remove(vmid) if exists(vmid) => world.remove(vmid),
        Act::Add(vmid) if !exists(vmid) => world.add(vmid, "pve1"),
        Act::Hide(vmid, true) => _ = world.change(|state| state.hidden.insert(vmid)),
        Act::Hide(vmid, false) => _ = world.change(|state| state.hidden.remove(&vmid)),
        Act::Away(node, is) => world.change(|state| {
            let node = format!("pve{node}");
            _ = if is { state.nodes_away.insert(node) } else { state.nodes_away.remove(&node) };
        }),
        Act::Outage(is) => world.change(|state| {
            let error = ClientError::Garbled { message: "half".to_owned(), was_sent: false };
            state.api_error = is.then_some(error);
        }),
        Act::Hold(one, true) => held.push(shared.transition(one)),
        Act::Hold(..) => held.clear(),
        // Whatever it says: it is told to the watches.
        Act::Observe(one) => _ = observe(shared, &vmid(one)).await,
        Act::Wait(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
        _ => {}
    }
}

/// What somebody knows who believes what a watch says.
#[derive(Clone, Debug, Default)]
struct Believed {
    last: Option<Observation>,
    is_gone: bool,
    is_error: bool,
}

impl Believed {
    fn hear(&mut self, item: Result<WatchItem, Error>) {
        match item {
            Ok(WatchItem::Synced(observation)) => {
                (self.last, self.is_gone, self.is_error) = (Some(observation), false, false);
            }
            Ok(WatchItem::Removed) => {
                (self.last, self.is_gone, self.is_error) = (None, true, false);
            }
            Err(_) => self.is_error = true,
            Ok(_) => {}
        }
    }
}

/// What somebody knows who follows all containers by lists and events.
fn follow(known: &mut BTreeMap<String, Summary>, item: Result<EngineItem, Error>) {
    match item {
        Ok(EngineItem::Synced(list)) => {
            *known = list.into_iter().map(|line| (line.id.clone(), line)).collect();
        }
        Ok(EngineItem::Event(event)) => {
            if event.action == EventAction::Destroy {
                known.remove(&event.actor.id);
            } else if let Some((_, after)) = event.change
                && let Some(line) = known.get_mut(&event.actor.id)
            {
                line.status = after;
            }
        }
        _ => {}
    }
}

async fn happens(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let world = World::new();
    for vmid in 100..103 {
        world.add(vmid, "pve1");
    }
    let shared = open(&world);
    // One that nobody watches is among them.
    let references = [vmid(100), vmid(101), Reference::Name("name1".to_owned())];
    let mut watches: Vec<Watching> =
        references.iter().map(|one| Watching::begin(&shared, one)).collect();
    let mut believed = vec![Believed::default(); watches.len()];
    let mut all = WatchingAll::begin(&shared);
    let mut known = BTreeMap::new();
    let script = async {
        let mut held = Vec::new();
        for act in acts {
            perform(&world, &shared, &mut held, act).await;
        }
        held.clear();
        world.change(|state| {
            state.hidden.clear();
            state.nodes_away.clear();
            state.api_error = None;
        });
        seconds(SETTLED).await;
    };
    tokio::pin!(script);
    while let [first, second, named] = &mut watches[..] {
        tokio::select! {
            biased;
            item = first.0.next() => believed[0].hear(item.expect("a watch of a number goes on")),
            item = second.0.next() => believed[1].hear(item.expect("a watch of a number goes on")),
            item = named.0.next() => believed[2].hear(item.expect("a watch of a name goes on")),
            item = all.0.next() => follow(&mut known, item.expect("the events go on")),
            () = &mut script => break,
        }
    }
    for (reference, believed) in references.iter().zip(&believed) {
        let truth = observe(&shared, reference).await;
        let is_ambiguous = truth
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), ErrorKind::Unsupported { .. }));
        prop_assert_eq!(believed.is_error, is_ambiguous, "{}: {:?}", reference, believed);
        if is_ambiguous {
            continue;
        }
        prop_assert_eq!(&believed.last, &truth.ok(), "{}", reference);
        prop_assert_eq!(believed.is_gone, believed.last.is_none());
    }
    let truth = shared.list(soon()).await.expect("the cluster is there");
    let line = |line: &Summary| (line.id.clone(), line.status.clone());
    let (followed, listed): (Vec<_>, Vec<_>) =
        (known.values().map(line).collect(), truth.iter().map(line).collect());
    prop_assert_eq!(followed, listed);
    prop_assert_eq!(truth.len(), world.change(|state| state.containers.len()));
    for line in &truth {
        let is_running =
            world.change(|state| state.containers[&line.id.parse().unwrap()].process.is_some());
        let is_usable = !matches!(line.status, ContainerStatus::Error(_));
        prop_assert!(!is_usable || is_running == (line.status == RUNNING), "{:?}", line);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn everybody_knows_the_truth_in_the_end(acts in proptest::collection::vec(acts(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(happens(acts))?;
    }
}
