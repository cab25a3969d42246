//! Which endpoint is asked.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{ClientError, Endpoint};

/// How long an endpoint is left alone after its first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest that it is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The endpoints of one cluster, and how each of them does.
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    state: Mutex<State>,
}

struct State {
    /// The one that worked last.
    preferred: usize,
    health: Vec<Health>,
}

#[derive(Clone, Default)]
struct Health {
    /// How often it failed on end. Calls that were under way together fail once.
    failures: u32,
    /// When the last of them was told.
    failed: Option<Instant>,
    /// Until when it is left alone.
    pause: Option<Instant>,
    last: Option<ClientError>,
}

/// Which of them to ask.
pub(super) enum Choice {
    /// These, in this order. Never empty.
    Ask(Vec<usize>),
    /// None before this moment, for this reason.
    Wait { until: Instant, last: Option<ClientError> },
}

impl Endpoints {
    /// `all` is not empty.
    pub(super) fn new(all: Vec<Endpoint>) -> Self {
        let health = vec![Health::default(); all.len()];
        Self { all, state: Mutex::new(State { preferred: 0, health }) }
    }

    pub(super) fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// The one that worked last, then those after it, first those that did not fail since; without
    /// those that are left alone for now.
    ///
    /// `is_pressing`: with them, as the last ones. An order does not wait for what failed for
    /// others, and who has waited once has waited enough.
    pub(super) fn choose(&self, is_pressing: bool) -> Choice {
        let state = self.state();
        let now = Instant::now();
        let count = self.all.len();
        let turn = (0..count).map(|step| (state.preferred + step) % count);
        let (mut asked, left_alone): (Vec<_>, Vec<_>) =
            turn.partition(|at| state.health[*at].pause.is_none_or(|pause| pause <= now));
        // However short the pause of one that says nothing: whoever had no time for another one goes
        // to that first, the next time.
        asked.sort_by_key(|at| state.health[*at].failures > 0);
        if is_pressing {
            asked.extend(left_alone);
        }
        if !asked.is_empty() {
            return Choice::Ask(asked);
        }
        let first = state.health.iter().min_by_key(|health| health.pause);
        Choice::Wait {
            until: first.and_then(|health| health.pause).unwrap_or(now),
            last: first.and_then(|health| health.last.clone()),
        }
    }

    /// It answered.
    pub(super) fn answers(&self, at: usize) {
        self.state().health[at] = Health::default();
    }

    /// It answered, and is kept to.
    pub(super) fn works(&self, at: usize) {
        let mut state = self.state();
        state.health[at] = Health::default();
        if state.preferred != at {
            state.preferred = at;
            tracing::info!(endpoint = %self.all[at], "the cluster is asked by this endpoint now");
        }
    }

    /// It did not answer a call that began then, or not sensibly.
    pub(super) fn fails(&self, at: usize, began: Instant, error: &ClientError) {
        let mut state = self.state();
        let health = &mut state.health[at];
        health.last = Some(error.clone());
        if health.failed.is_some_and(|failed| failed > began) {
            return;
        }
        let now = Instant::now();
        health.failures = health.failures.saturating_add(1);
        health.failed = Some(now);
        health.pause = Some(now + pause(health.failures, random_fraction()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between a half of the time and the whole: many clients of one node do not come back at once.
fn pause(failures: u32, random: f64) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + random / 2.0)
}

/// From 0 to 1.
pub(super) fn random_fraction() -> f64 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_left_alone_for_twice_as_long_each_time_up_to_a_bound() {
        let longest: Vec<_> = (1..8).map(|failures| pause(failures, 1.0).as_millis()).collect();
        assert_eq!(longest, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause(u32::MAX, 0.0), LONGEST_PAUSE / 2);
        assert!((0..100).map(|_| random_fraction()).all(|random| (0.0..=1.0).contains(&random)));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_together_are_one_failure() {
        let endpoints = Endpoints::new(vec!["https://pve1".parse().unwrap()]);
        let failures = || endpoints.state().health[0].failures;
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..6 {
            endpoints.fails(0, began, &ClientError::Closed);
        }
        assert_eq!(failures(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        endpoints.fails(0, Instant::now(), &ClientError::Closed);
        assert_eq!(failures(), 2);
        endpoints.works(0);
        assert_eq!(failures(), 0);
    }
}
