//! From ready to asleep: the lazy idle check, and the look before the order.

use std::time::Duration;

use crate::{SleepError, SleepMethod, word::Seen};

use super::{Belief, Core, Effect, Moment};

/// How often a workload is looked at whose idle time is over and which is still in use: the sleep
/// of one that only a passive lease kept awake is not late by more.
const SHORTEST_RECHECK: Duration = Duration::from_millis(250);
const LONGEST_RECHECK: Duration = Duration::from_secs(30);
const WHILE_LOST: Duration = Duration::from_secs(5);
const REFUSED_FOR: Duration = Duration::from_hours(1);

impl Core {
    pub(super) fn consider_sleep(&mut self, now: Moment) {
        let on_request = !self.sleepers.is_empty();
        if self.reading.is_some() || (self.sleep.check_at > now && !on_request) {
            return;
        }
        let seen = self.shared.word.look();
        let idle_at = self.idle_at();
        let in_use = seen.leases() > 0 || !self.waiters.is_empty();
        if in_use {
            self.refuse_sleepers_in_use(seen);
            if idle_at <= now {
                if seen.leases() > 0 {
                    let anew = !std::mem::replace(&mut self.sleep.is_held, true);
                    self.effects.push(Effect::StaysAwake { anew });
                }
                let recheck = (self.policy.idle / 16).clamp(SHORTEST_RECHECK, LONGEST_RECHECK);
                self.sleep.check_at = now + recheck;
            } else {
                self.sleep.check_at = idle_at;
            }
        } else if idle_at > now && !on_request {
            self.sleep.is_held = false;
            self.sleep.is_locked = false;
            self.sleep.check_at = idle_at;
        } else if self.lost.is_some() {
            self.sleep.check_at = now + WHILE_LOST;
        } else if self.sleep.retry.not_before > now {
            self.sleep.check_at = self.sleep.retry.not_before;
        } else if self.would_be_deleted() {
            self.sleep.check_at = now + REFUSED_FOR;
            self.answer_sleepers(&SleepError::Failed {
                reason: "its engine deletes it, and its data, when it stops (--rm): it can only \
                         be paused"
                    .to_owned(),
            });
        } else {
            // One look at the truth, while it still is ready: nobody waits for this.
            self.begin_read(Some(seen));
        }
    }

    /// When its idle time is over, as far as is known now.
    fn idle_at(&self) -> Moment {
        let last_use = Moment::from_millis(self.shared.word.last_use());
        let adopted = self.sleep.adopted_at.map(|at| at + self.policy.adoption_jitter);
        let idle = adopted.map_or(last_use, |adopted| adopted.max(last_use)) + self.policy.idle;
        let slow_to_start = self.proven.is_none() && self.served_since.is_none();
        if slow_to_start && !self.sleep.due {
            idle.max(self.awake_since + self.policy.start_grace)
        } else {
            idle
        }
    }

    /// The look before the sleep found it running. Nothing may have happened since that look began.
    pub(super) fn sleep_if_still_idle(&mut self, now: Moment, seen: Seen) {
        self.sleep.check_at = now;
        if !self.truth_is_known()
            || !self.belief.is_running()
            || !self.waiters.is_empty()
            || (self.idle_at() > now && self.sleepers.is_empty())
        {
            return;
        }
        if self.belief.lock().is_some() {
            return self.stay_awake_behind_a_lock(now);
        }
        // The gate may be shut (it does not answer): then only leases that are left count.
        let still_idle = if self.proven.is_some() {
            self.shared.word.shut_exactly(seen)
        } else {
            let word = self.shared.word.look();
            !word.is_open() && word.leases() == 0
        };
        if still_idle {
            let resume = self.proven.take();
            self.reason = if self.sleepers.is_empty() {
                format!("idle for {:?}", self.policy.idle)
            } else {
                "put to sleep on request".to_owned()
            };
            self.order_sleep(now, resume);
        }
    }

    fn would_be_deleted(&self) -> bool {
        matches!(&self.belief, Belief::Seen(details) if details.removed_when_stopped)
            && self.policy.sleep != SleepMethod::Pause
    }
}
