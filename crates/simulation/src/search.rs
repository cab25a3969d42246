//! Many worlds, on all cores, until one fails.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::{Plan, Violation, run};

/// How long a world may take, on the clock on the wall: one that takes longer has a task that spins,
/// under which no time passes.
const STUCK_AFTER: Duration = Duration::from_mins(2);

/// Which worlds, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The first one; the next ones follow.
    pub seed: u64,
    /// How many worlds at most.
    pub worlds: u64,
    /// No world begins after so many steps.
    pub steps: u64,
    /// Nor after this, on the clock on the wall.
    pub time: Duration,
}

/// What came of a search.
#[derive(Debug)]
pub struct Report {
    /// All steps of all worlds.
    pub steps: u64,
    /// How many worlds were tried.
    pub worlds: u64,
    /// The failure of the smallest seed, if any failed.
    pub failure: Option<Failure>,
}

/// A world in which an invariant does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was found; `None`: the world came to no end.
    pub violation: Option<Violation>,
}

#[derive(Debug)]
struct Search {
    budget: Budget,
    ends: Instant,
    next: AtomicU64,
    steps: AtomicU64,
    worlds: AtomicU64,
    is_over: AtomicBool,
    /// What each thread is at, and since when.
    at: Vec<Mutex<Option<(u64, Instant)>>>,
}

/// Lets worlds happen. `prepare` is called first on each thread.
pub fn search(budget: Budget, prepare: impl Fn() + Clone + Send + 'static) -> Report {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let now = Instant::now();
    let search = Arc::new(Search {
        budget,
        ends: now + budget.time,
        next: AtomicU64::new(budget.seed),
        steps: AtomicU64::new(0),
        worlds: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        at: (0..threads).map(|_| Mutex::new(None)).collect(),
    });
    let (tell, told) = channel();
    for thread in 0..threads {
        let (search, tell, prepare) = (Arc::clone(&search), tell.clone(), prepare.clone());
        thread::spawn(move || {
            prepare();
            // Nobody listens any more once a world has come to no end.
            drop(tell.send(search.go_on(thread)));
        });
    }
    drop(tell);
    let mut failures = Vec::new();
    loop {
        match told.recv_timeout(Duration::from_secs(1)) {
            Ok(failure) => failures.extend(failure),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(seed) = search.stuck() {
                    failures.push(Failure { seed, violation: None });
                    break;
                }
            }
        }
    }
    failures.sort_by_key(|failure| failure.seed);
    Report {
        steps: search.steps.load(Ordering::Relaxed),
        worlds: search.worlds.load(Ordering::Relaxed),
        failure: failures.into_iter().next(),
    }
}

impl Search {
    fn go_on(&self, thread: usize) -> Option<Failure> {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let is_over = self.is_over.load(Ordering::Relaxed)
                || seed - self.budget.seed >= self.budget.worlds
                || self.steps.load(Ordering::Relaxed) >= self.budget.steps
                || Instant::now() >= self.ends;
            if is_over {
                return None;
            }
            self.is_at(thread, Some((seed, Instant::now())));
            let outcome = run(Arc::new(Plan::of_seed(seed)), false);
            self.is_at(thread, None);
            self.steps.fetch_add(outcome.steps, Ordering::Relaxed);
            self.worlds.fetch_add(1, Ordering::Relaxed);
            if let Some(violation) = outcome.violation {
                self.is_over.store(true, Ordering::Relaxed);
                return Some(Failure { seed, violation: Some(violation) });
            }
        }
    }

    fn is_at(&self, thread: usize, at: Option<(u64, Instant)>) {
        *self.at[thread].lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn stuck(&self) -> Option<u64> {
        self.at.iter().find_map(|at| {
            let (seed, since) = (*at.lock().unwrap_or_else(PoisonError::into_inner))?;
            (since.elapsed() > STUCK_AFTER).then_some(seed)
        })
    }
}
