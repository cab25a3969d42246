//! From running to ready.

use std::{sync::Arc, time::Duration};

use drowse_provider::{ContainerStatus, Details};

use crate::{NotReady, ReadyRun};

use super::{Belief, Core, Effect, EffectId, Moment, Proven};

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);
const WHEN_NOBODY_WAITS: Duration = Duration::from_secs(1);
/// What served for this long after a probe had found it ready was rightly found so.
const RIGHTLY_READY_AFTER: Duration = Duration::from_secs(1);

impl Core {
    /// Something happened that may have made it ready.
    pub(super) fn probe_soon(&mut self, now: Moment) {
        if !self.outside.stopping {
            self.probing.next_at = now;
        }
    }

    /// Whoever comes now should not wait for a probe that was planned while nobody did.
    pub(super) fn probe_within_interval(&mut self, now: Moment) {
        let soon = now + interval(now.since(self.probing.since));
        if !self.outside.stopping && self.probing.next_at > soon {
            self.probing.next_at = soon;
        }
    }

    /// Its upstream failed. If it was called ready only a moment ago, then its probe sees what its
    /// requests do not: it is not called ready again without a pause, which grows.
    pub(super) fn pause_if_condemned_again(&mut self, now: Moment) {
        if now.since(self.probing.passed_at) < RIGHTLY_READY_AFTER {
            self.probing.condemned.failed(now, SHORTEST, WHEN_NOBODY_WAITS);
        } else {
            self.probing.condemned.succeeded();
        }
    }

    pub(super) fn next_probe_at(&self) -> Moment {
        self.probing.next_at.max(self.probing.condemned.not_before)
    }

    pub(super) fn probe_if_due(&mut self, now: Moment) {
        if self.proven.is_some() || self.probing.in_flight.is_some() || self.next_probe_at() > now {
            return;
        }
        let Belief::Seen(details) = &self.belief else { return };
        let details = Arc::clone(details);
        let id = self.new_id();
        self.probing.in_flight = Some(id);
        let elapsed = now.since(self.probing.since);
        self.effects.push(Effect::Probe { id, details, elapsed });
    }

    pub(super) fn probe_done(&mut self, now: Moment, id: EffectId, result: Result<(), NotReady>) {
        if self.probing.in_flight.take_if(|in_flight| *in_flight == id).is_none() {
            return;
        }
        match (result, &self.belief) {
            (Ok(()), Belief::Seen(details))
                if details.observation.status == ContainerStatus::Running
                    && self.truth_is_known() =>
            {
                let details = Arc::clone(details);
                self.become_ready(now, details);
            }
            // Something is in doubt: what answered may have been an earlier run.
            (Ok(()), _) => self.probe_soon(now),
            (Err(not_ready), _) => {
                let reason = not_ready.to_string();
                if self.probing.last.as_deref() != Some(&reason) {
                    self.probing.last = Some(reason);
                }
                let pause = if self.waiters.is_empty() {
                    WHEN_NOBODY_WAITS
                } else {
                    interval(now.since(self.probing.since))
                };
                // Unless it was asked for later than that (somebody else is ending it), or sooner.
                self.probing.next_at = self.probing.next_at.max(now + pause);
            }
        }
    }

    fn become_ready(&mut self, now: Moment, details: Arc<Details>) {
        let ready = Arc::new(ReadyRun {
            epoch: self.shared.next_epoch(),
            run: details.observation.run.clone(),
            details,
        });
        if let Some(ordered_at) = self.wake.ordered_at.take() {
            self.last_wake_took = Some(now.since(ordered_at));
            self.shared.word.touch(now.as_millis());
            "woken".clone_into(&mut self.reason);
        } else if self.served_since.is_some() {
            self.last_wake_took = None;
            "it answers again".clone_into(&mut self.reason);
        } else {
            self.last_wake_took = None;
            self.reason = format!("{}, and it answers", self.reason);
        }
        self.served_since.get_or_insert(now);
        self.probing.last = None;
        self.probing.passed_at = now;
        self.outside.stopping = false;
        self.wake.wanted = false;
        self.wake.retry.succeeded();
        self.sleep.due = false;
        self.sleep.is_held = false;
        self.sleep.check_at = now;
        self.open(Proven { ready });
    }

    /// Opens the gate, with a lease for each waiter already counted.
    pub(super) fn open(&mut self, proven: Proven) {
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        self.shared.open(Arc::clone(&proven.ready), waiting);
        self.proven = Some(proven);
        self.effects.extend(self.waiters.take_all().map(Effect::Grant));
    }
}

/// How long to wait before the next probe of a run of this age: so that the wait adds half a percent
/// to the start on average, and a start of a minute is not disturbed by more than some 1,500 probes.
fn interval(age: Duration) -> Duration {
    (age / 100).clamp(SHORTEST, LONGEST)
}
