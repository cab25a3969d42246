//! From ready to asleep: the lazy idle check, and the look before the order.

use std::time::Duration;

use crate::{Force, SleepError, SleepMethod, sabotage::sabotaged, shared::Standing, word::Seen};

use super::{AskId, Belief, Core, Effect, Moment, Reason, Sleeper};

/// How often a workload is looked at whose idle time is over and which is still in use: the sleep
/// of one that only a passive lease kept awake is not late by more.
const SHORTEST_RECHECK: Duration = Duration::from_millis(250);
const LONGEST_RECHECK: Duration = Duration::from_secs(30);
const WHILE_LOST: Duration = Duration::from_secs(5);
/// And one that is not put to sleep at all, before something about it changes.
pub(super) const WHILE_NOTHING_CHANGES: Duration = Duration::from_hours(1);

impl Core {
    pub(super) fn consider_sleep(&mut self, now: Moment) {
        if self.policy.sleep == SleepMethod::Never {
            self.sleep.check_at = now + WHILE_NOTHING_CHANGES;
            return self.answer_sleepers(&SleepError::Failed {
                reason: "it is never put to sleep".to_owned(),
            });
        }
        if self.keep_misconfigured_awake() {
            self.sleep.check_at = now + WHILE_NOTHING_CHANGES;
            return;
        }
        let on_request = !self.sleepers.is_empty();
        let is_looked_into = self.reading.is_some() || self.gates.are_asked();
        let is_due = self.sleep.check_at <= now || on_request;
        if is_looked_into || !is_due || self.is_left_as_it_is(now) {
            return;
        }
        let seen = self.shared.word.look();
        let idle_at = self.idle_at();
        let in_use = (seen.leases() > 0 && !sabotaged!(IgnoreLeases)) || !self.waiters.is_empty();
        if in_use && !self.is_forced() {
            self.refuse_sleepers_in_use(seen);
            if idle_at <= now {
                // What only dependents have woken has no idle time of its own.
                let is_awake_for_long = now.since(self.awake_since) >= self.policy.idle;
                if seen.leases() > 0 && is_awake_for_long {
                    let anew = !std::mem::replace(&mut self.sleep.is_held, true);
                    self.effects.push(Effect::StaysAwake { anew });
                }
                self.sleep.check_at = now + self.recheck_in_use();
            } else {
                self.sleep.check_at = idle_at;
            }
        } else if idle_at > now && !on_request {
            self.sleep.is_held = false;
            self.sleep.is_locked = false;
            self.gates.forget();
            self.sleep.check_at = idle_at;
        } else if self.lost.is_some() {
            self.sleep.check_at = now + WHILE_LOST;
        } else if self.sleep.retry.not_before > now {
            self.sleep.check_at = self.sleep.retry.not_before;
        } else if self.would_be_deleted() {
            self.sleep.check_at = now + WHILE_NOTHING_CHANGES;
            self.answer_sleepers(&SleepError::Failed {
                reason: "its engine deletes it, and its data, when it stops (--rm): it can only \
                         be paused"
                    .to_owned(),
            });
        } else {
            // Then one look at the truth, while it still is ready: nobody waits for this.
            self.ask_before_sleep(now, seen);
        }
    }

    /// Dependents say when they let go of it.
    fn recheck_in_use(&self) -> Duration {
        if self.shared.is_leased() { self.recheck() } else { LONGEST_RECHECK }
    }

    fn recheck(&self) -> Duration {
        (self.policy.idle / 16).clamp(SHORTEST_RECHECK, LONGEST_RECHECK)
    }

    /// It may sleep for all that was said of it, and that is of a word which is not any more. Where
    /// nobody asks for it that has a pause: what is used all the time must not be looked into all the
    /// time.
    pub(super) fn look_again_after_a_pause(&mut self, now: Moment) {
        if self.sleepers.is_empty() {
            self.sleep.check_at = now + self.recheck();
        }
    }

    pub(super) fn asked_to_sleep(
        &mut self,
        now: Moment,
        id: AskId,
        deadline: Moment,
        force: Force,
    ) {
        self.sleepers.insert(id, Sleeper { asked: now, deadline, force });
        if let Some(open) = &mut self.order {
            open.is_on_request = true;
        }
        // Whoever asks for it does not wait for the pause after an earlier attempt.
        self.sleep.retry.succeeded();
        if force == Force::EvenInUse {
            self.gates.withdraw();
        }
    }

    /// Whether somebody wants it asleep, whoever uses it.
    pub(super) fn is_forced(&self) -> bool {
        self.sleepers.values().any(|sleeper| sleeper.force == Force::EvenInUse)
    }

    /// Whether it is awake only since others need it: then it sleeps after them, and has no idle time of
    /// its own.
    pub(crate) fn is_for_others(&self) -> bool {
        let last_use = Moment::from_millis(self.shared.word.last_use());
        let was_used = self.shared.was_used() && last_use + self.policy.idle > self.awake_since;
        self.sleep.is_for_dependents && !was_used
    }

    /// When its idle time is over, as far as is known now.
    pub(super) fn idle_at(&self) -> Moment {
        if sabotaged!(NoIdleTimeAfterAdoption) && self.sleep.adopted_at.is_some() {
            return Moment::from_millis(0);
        }
        let last_use = Moment::from_millis(self.shared.word.last_use());
        let adopted = self.sleep.adopted_at.map(|at| at + self.policy.adoption_jitter);
        let used = adopted.max((!self.is_for_others()).then_some(last_use));
        let idle = used.map_or(self.awake_since, |used| used + self.policy.idle);
        let idle = idle.max(self.awake_until()).max(self.shared.kept_until());
        let slow_to_start = self.proven.is_none() && self.served_since.is_none();
        if slow_to_start && !self.sleep.due {
            idle.max(self.awake_since + self.policy.start_grace)
        } else {
            idle
        }
    }

    /// When it will sleep if it is not used, and how long after its last use, unless something beside
    /// leases speaks against it.
    pub(crate) fn sleep_plan(&self) -> Option<(Moment, Duration)> {
        if let Some(at) = self.deepens_at() {
            return Some((at, self.policy.idle));
        }
        let may_sleep = self.belief.is_running()
            && self.order.is_none()
            && self.policy.sleep != SleepMethod::Never
            && !self.would_be_deleted()
            && self.lost.is_none()
            && self.held.is_none()
            && !self.is_job()
            && !self.is_misconfigured()
            && self.waiters.is_empty()
            && self.gates.busy().is_none()
            && !self.sleep.is_locked;
        may_sleep.then(|| (self.idle_at().max(self.sleep.retry.not_before), self.policy.idle))
    }

    /// Until when it stays awake after its wake, whoever wanted that.
    fn awake_until(&self) -> Moment {
        let woken_at = self.sleep.woken_at.filter(|_| !sabotaged!(IgnoreMinimumAwake));
        woken_at.map_or(Moment::from_millis(0), |at| at + self.policy.min_awake)
    }

    /// The look before the sleep found it running. Nothing may have happened since that look began.
    pub(super) fn sleep_if_still_idle(&mut self, now: Moment, seen: Seen) {
        self.sleep.check_at = now;
        // Before it is asked when it was last used: of what is given back in between the word tells.
        let word = self.shared.word.look();
        let is_wanted = !self.waiters.is_empty()
            || (self.idle_at() > now && self.sleepers.is_empty())
            || (self.held.is_some() && self.sleepers.is_empty());
        if !self.truth_is_known() || !self.belief.is_running() || (is_wanted && !self.is_forced()) {
            return;
        }
        if self.keep_misconfigured_awake() {
            return;
        }
        if self.belief.lock().is_some() {
            return self.stay_awake_behind_a_lock(now);
        }
        // Before the gate is shut: whoever holds it after that must not find it running.
        self.shared.stand(Standing::Unknown, None);
        // The gate may be shut (it does not answer): then only leases that are left count.
        let still_idle = if self.is_forced() {
            self.cut_short();
            true
        } else if seen.leases() > 0 && !sabotaged!(IgnoreLeases) {
            // It was looked at for somebody who has left since, and who would have cut it short.
            false
        } else if self.proven.is_some() {
            let seen = if sabotaged!(SwapAnyWord) { self.shared.word.look() } else { seen };
            self.shared.word.shut_exactly(seen)
        } else {
            !word.is_open() && word.leases() == 0 && self.shared.word.shut_exactly(word)
        };
        if still_idle {
            let resume = self.proven.take();
            self.reason = if !self.sleepers.is_empty() {
                Reason::OnRequest
            } else if self.is_for_others() {
                Reason::Unneeded
            } else {
                Reason::idle(self.policy.idle)
            };
            self.order_sleep(now, resume);
            // Of a forced one: whoever waits for it has to wait for its end, too.
            self.wake.wanted = !self.waiters.is_empty();
        } else if self.idle_at() <= now {
            self.look_again_after_a_pause(now);
        }
    }

    /// Shuts the gate whoever uses it.
    fn cut_short(&mut self) {
        let leases = self.shared.word.look().leases();
        self.shared.word.shut();
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        let uses = leases.saturating_add(waiting);
        if uses > 0 {
            self.effects.push(Effect::CutShort { uses });
        }
    }

    fn would_be_deleted(&self) -> bool {
        matches!(&self.belief, Belief::Seen(details) if details.removed_when_stopped)
            && !matches!(self.policy.sleep, SleepMethod::Pause | SleepMethod::PauseThenStop { .. })
    }
}
