//! Requests for leases and for sleep, and their answers.

use std::time::Duration;

use drowse_provider::ContainerStatus;

use crate::{SleepError, WakeError, word::Seen};

use super::{AskId, Belief, Core, Effect, Moment, waiters::LOCK_PATIENCE};

/// What a client is told to wait before it asks again, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn asked(&mut self, now: Moment, id: AskId, deadline: Moment) {
        // It may have become ready while the request was on its way.
        if self.shared.word.take() {
            self.effects.push(Effect::Grant(id));
            return;
        }
        self.wake.wanted = true;
        self.waiters.add(id, now, deadline);
        self.probe_within_interval(now);
    }

    pub(super) fn withdrawn(&mut self, ids: &[AskId]) {
        for id in ids {
            self.waiters.remove(*id);
            self.sleepers.remove(id);
        }
    }

    /// Somebody waits, and it sleeps.
    pub(super) fn advance_sleeping(&mut self, now: Moment) {
        self.answer_sleepers_not_running();
        if self.waiters.is_empty()
            && let Some(ordered_at) = self.wake.ordered_at
        {
            // Its start came to nothing, and nobody waits for another. Behind a lock a wake goes on:
            // those who waited were told to come again.
            let behind_a_lock =
                self.wake.locked.is_some() && now.since(ordered_at) < self.policy.wake_timeout;
            if !behind_a_lock {
                self.end_wake();
            }
        }
        if !self.wake.wanted || self.lost.is_some() || self.is_quiet(now) {
            return;
        }
        if self.failures.blocked_until(now).is_some() {
            self.refuse_failed(now);
        } else if self.wake.retry.not_before <= now {
            self.order_start(now);
        }
    }

    pub(super) fn advance_absent(&mut self, now: Moment) {
        self.answer_sleepers(&SleepError::Failed {
            reason: "there is no such container".to_owned(),
        });
        if !self.is_quiet(now) && self.lost.is_none() {
            self.refuse_all(&WakeError::NotFound);
        }
    }

    pub(super) fn refuse_failed(&mut self, now: Moment) {
        if let Some(error) = self.failures.answer(now) {
            self.refuse_all(&error);
        }
    }

    pub(super) fn refuse_unusable(&mut self, status: &ContainerStatus) {
        self.answer_sleepers_not_running();
        self.refuse_all(&WakeError::Failed {
            reason: format!("the container is {status}"),
            exit: None,
            retry_after: RETRY_AFTER,
            source: None,
        });
    }

    fn refuse_all(&mut self, error: &WakeError) {
        self.end_wake();
        self.effects.extend(self.waiters.take_all().map(|id| Effect::Refuse(id, error.clone())));
    }

    pub(super) fn end_wake(&mut self) {
        self.wake.wanted = false;
        self.wake.ordered_at = None;
        self.wake.locked = None;
        self.wake.retry.succeeded();
    }

    pub(super) fn answer_expired(&mut self, now: Moment) {
        let limit = self.limit(now);
        while let Some((id, waiter)) = self.waiters.take_expired(now, &limit) {
            let error = self.why_not_ready(now, waiter.asked);
            self.effects.push(Effect::Refuse(id, error));
            if self.waiters.is_empty() && self.wake.ordered_at.is_none() {
                // Its start was never ordered, and the last who wanted it was told so.
                self.wake.wanted = false;
            }
        }
        let overdue: Vec<AskId> = self
            .sleepers
            .iter()
            .filter(|(_, sleeper)| sleeper.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if let Some(sleeper) = self.sleepers.remove(&id) {
                let reason = match &self.lost {
                    Some(lost) => lost.error.kind().to_string(),
                    None => self.reason.clone(),
                };
                let after = now.since(sleeper.asked);
                self.effects
                    .push(Effect::SleepAnswer(id, Err(SleepError::Timeout { after, reason })));
            }
        }
    }

    pub(super) fn next_expiry(&self, now: Moment) -> Option<Moment> {
        self.waiters.next_expiry(self.limit(now))
    }

    /// Until when a request waits, beside its own deadline: the wake timeout counts from its
    /// coming, or from the start order if that came later; not at all while a stop is under way or
    /// somebody else is working on the container.
    fn limit(&self, now: Moment) -> impl Fn(Moment) -> Option<Moment> + use<> {
        let clock_stands =
            self.is_quiet(now) || self.order.as_ref().is_some_and(|open| !open.order.is_start());
        let ordered_at = self.wake.ordered_at;
        let wake_timeout = self.policy.wake_timeout;
        let locked_since = self.wake.locked.as_ref().map(|(since, _)| *since);
        move |asked| {
            if clock_stands {
                return None;
            }
            let wake = ordered_at.map_or(asked, |ordered| ordered.max(asked)) + wake_timeout;
            let lock = locked_since.map(|since| since.max(asked) + LOCK_PATIENCE);
            Some(lock.map_or(wake, |lock| lock.min(wake)))
        }
    }

    fn why_not_ready(&self, now: Moment, asked: Moment) -> WakeError {
        if let Some(lost) = &self.lost {
            return WakeError::EngineUnavailable {
                retry_after: RETRY_AFTER,
                source: lost.error.clone(),
            };
        }
        if let Some((_, by)) = &self.wake.locked {
            return WakeError::Locked { by: by.clone(), retry_after: LOCK_PATIENCE };
        }
        let reason = self.last_error().unwrap_or_else(|| self.reason.clone());
        WakeError::Timeout { after: now.since(asked), phase: self.phase, reason }
    }

    /// What the last attempt to use it met, while it is not ready.
    pub(crate) fn last_error(&self) -> Option<String> {
        if self.proven.is_some() {
            return None;
        }
        let of_engine = self.lost.as_ref().map(|lost| lost.error.kind().to_string());
        let of_probe = || self.probing.last.clone().filter(|_| self.belief.is_running());
        let of_start =
            || self.failures.reason().map(str::to_owned).filter(|_| !self.belief.is_running());
        of_engine.or_else(of_probe).or_else(of_start)
    }

    pub(super) fn refuse_sleepers_in_use(&mut self, seen: Seen) {
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        // The runtime knows the holders' names, and fills them in.
        self.answer_sleepers(&SleepError::InUse {
            leases: seen.leases().saturating_add(waiting),
            holders: Vec::new(),
        });
    }

    /// It is not running: whoever wanted it asleep has that.
    pub(super) fn answer_sleepers_not_running(&mut self) {
        let asleep = matches!(
            self.belief.status(),
            Some(ContainerStatus::Stopped | ContainerStatus::Paused)
        );
        while let Some((id, _)) = self.sleepers.pop_first() {
            let answer = match (&self.belief, asleep) {
                (_, true) => Ok(()),
                (Belief::Seen(details), false) => Err(SleepError::Failed {
                    reason: format!("the container is {}", details.observation.status),
                }),
                (Belief::Unread | Belief::Absent, false) => {
                    Err(SleepError::Failed { reason: "there is no such container".to_owned() })
                }
            };
            self.effects.push(Effect::SleepAnswer(id, answer));
        }
    }

    pub(super) fn answer_sleepers(&mut self, error: &SleepError) {
        while let Some((id, _)) = self.sleepers.pop_first() {
            self.effects.push(Effect::SleepAnswer(id, Err(error.clone())));
        }
    }
}
