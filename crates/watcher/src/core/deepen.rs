//! Pause, then stop: what was frozen when it was idle is stopped if nobody has wanted it for longer.
//!
//! Of what drowse froze itself, or found frozen when it began; what somebody else froze is theirs.

use std::time::Duration;

use drowse_provider::{ContainerStatus, StopOptions};

use crate::{SleepMethod, sabotage::sabotaged, word::Seen};

use super::{
    Belief, Core, Moment, OpenOrder, OrderState, Reason,
    orders::{FIRST_RETRY, LONGEST_STOP_RETRY},
};

/// How soon that is looked at again from which leases, a lock, or its engine's absence keep the stop.
const WHILE_KEPT_FROZEN: Duration = Duration::from_secs(30);

impl Core {
    /// When the stop is due that follows its pause: not within the idle time after a lease that
    /// outlasted the pause, either.
    pub(super) fn deepens_at(&self) -> Option<Moment> {
        let (after, _) = self.deepening()?;
        let after = if sabotaged!(StopTheFrozenAtOnce) { Duration::ZERO } else { after };
        let due = self.frozen_since? + after;
        let last_use = Moment::from_millis(self.shared.word.last_use());
        let due = due.max(last_use + self.policy.idle).max(self.shared.kept_until());
        Some(due.max(self.sleep.retry.not_before))
    }

    fn deepening(&self) -> Option<(Duration, &StopOptions)> {
        let SleepMethod::PauseThenStop { after, stop } = &self.policy.sleep else { return None };
        let Belief::Seen(details) = &self.belief else { return None };
        let may_be_stopped = details.observation.status == ContainerStatus::Paused
            && !details.removed_when_stopped
            && self.held.is_none()
            && !self.is_misconfigured()
            && !self.wake.wanted
            && self.waiters.is_empty()
            && !sabotaged!(LeaveTheFrozen);
        may_be_stopped.then_some((*after, stop))
    }

    /// When it is next looked at whether it may be stopped.
    pub(super) fn next_deepening_look(&self) -> Option<Moment> {
        let due = self.deepens_at().filter(|_| self.reading.is_none())?;
        Some(due.max(self.sleep.check_at))
    }

    /// It is frozen, and nobody wants it.
    pub(super) fn deepen_if_due(&mut self, now: Moment) {
        if self.next_deepening_look().is_none_or(|at| at > now) {
            return;
        }
        let seen = self.shared.word.look();
        if seen.leases() > 0 || self.lost.is_some() {
            self.sleep.check_at = now + WHILE_KEPT_FROZEN;
        } else {
            self.begin_read(Some(seen));
        }
    }

    /// The look before that stop found it frozen. Nothing may have happened since that look began.
    pub(super) fn stop_the_frozen(&mut self, now: Moment, seen: Seen) {
        self.sleep.check_at = now + WHILE_KEPT_FROZEN;
        let is_due = self.truth_is_known() && self.deepens_at().is_some_and(|due| due <= now);
        if !is_due || self.belief.lock().is_some() {
            return;
        }
        let Some((after, stop)) = self.deepening() else { return };
        let (order, within) = self.stop_order(stop);
        let reason = Reason::frozen_for(after);
        // A lease may have been counted since, which wakes nothing: one that was not meant to.
        if seen.leases() == 0 && self.shared.word.shut_exactly(seen) {
            self.reason = reason;
            self.give(now, order, within, None);
        }
    }

    /// The stop of what was frozen came to nothing: it still is.
    pub(super) fn stays_frozen(&mut self, now: Moment, open: &OpenOrder) {
        self.reason = Reason::StaysFrozen;
        match &open.state {
            OrderState::Unknown(error) => {
                let error = error.clone();
                self.sleep_failed(now, error);
            }
            OrderState::Done | OrderState::InFlight => {
                self.sleep.retry.failed(now, FIRST_RETRY, LONGEST_STOP_RETRY);
                self.sleep.check_at = self.sleep.retry.not_before;
            }
        }
    }
}
