//! The others of its group: it wakes with them. Where it could not, or nobody knows whether it was to, it
//! looks at them again, for as long as it sleeps.

use std::time::Duration;

use crate::{WakeError, sabotage::sabotaged};

use super::{Core, Effect, Moment, Retry};

/// How soon a wake is tried again that only people can mend: doubled each time, since that may take weeks.
const FIRST_LASTING: Duration = Duration::from_secs(5);
const LONGEST_LASTING: Duration = Duration::from_mins(1);
/// How soon after something that it needs did not wake, at least.
const WITHOUT_NEEDS: Duration = Duration::from_secs(5);

/// What it has to do with the others of its group.
#[derive(Debug)]
pub(super) struct Mates {
    /// When it is looked whether one of them is used, since it sleeps and they had no part in that.
    look_at: Option<Moment>,
    /// When it was last to wake with another of them, if it has not run since: what somebody had wanted of
    /// it before counts no more.
    woken_at: Option<Moment>,
    lasting: Retry,
}

impl Mates {
    /// It runs: whatever kept it from that is over.
    pub(super) fn forget(&mut self) {
        self.look_at = None;
        self.woken_at = None;
        self.lasting.succeeded();
    }
}

impl Core {
    /// The same, of a member of a group.
    pub(crate) fn with_mates(mut self, exist: bool) -> Self {
        let mates = || Box::new(Mates { look_at: None, woken_at: None, lasting: Retry::new() });
        self.mates = exist.then(mates);
        self
    }

    /// Another of its group wakes. If it is awake itself, it is used with that one from now on.
    pub(super) fn mate_wakes(&mut self, now: Moment) {
        self.sleep.check_at = now;
        let is_being_ended = self.order.as_ref().is_some_and(|open| !open.order.is_start());
        if self.belief.is_running() && !is_being_ended {
            self.shared.word.touch(now.as_millis());
        } else {
            if !self.wake.wanted {
                self.wake.by = None;
                self.wake.is_for_mates = true;
            }
            self.wake.wanted = true;
            self.wake.is_for_users = true;
            self.mates.iter_mut().for_each(|mates| mates.woken_at = Some(now));
        }
    }

    /// It sleeps, and its mates may be in use: they are looked at, not before this moment.
    pub(super) fn is_left_behind(&mut self, not_before: Moment) {
        if let Some(mates) = self.mates.as_mut().filter(|_| !sabotaged!(LeaveMatesBehind)) {
            mates.look_at = mates.look_at.max(Some(not_before));
        }
    }

    /// The same, since it cannot be started until people have mended something.
    pub(super) fn is_left_behind_for_long(&mut self, now: Moment) {
        if let Some(mates) = &mut self.mates {
            let retry = &mut mates.lasting;
            let pause = retry.failed(now, FIRST_LASTING, LONGEST_LASTING);
            self.is_left_behind(now + pause);
        }
    }

    /// The same, since what it needs does not wake.
    pub(super) fn is_left_behind_by_needs(&mut self, now: Moment, error: &WakeError) {
        if error.is_lasting() {
            return self.is_left_behind_for_long(now);
        }
        let pause = error.retry_after().unwrap_or_default();
        self.is_left_behind(now + pause.max(WITHOUT_NEEDS));
    }

    /// A dependent let go of it, or another of its group is ready, or has fallen asleep.
    pub(super) fn let_go(&mut self, now: Moment) {
        self.sleep.check_at = now;
        let sleeps = !self.belief.is_running() && !self.wake.wanted;
        if sleeps && self.next_look_at_mates().is_none() {
            self.is_left_behind(now);
        }
    }

    /// It sleeps, and nothing keeps it from being started. What somebody else ended, or wanted asleep,
    /// stays so until another of its group wakes.
    pub(super) fn look_at_mates_if_due(&mut self, now: Moment) {
        if self.wake.wanted || self.lost.is_some() || self.held.is_some() {
            return;
        }
        let Some(mates) = &mut self.mates else { return };
        let is_due = mates.look_at.take_if(|at| *at <= now).is_some();
        let is_others_will = self.outside.ended_at.max(self.sleep.requested_at) > mates.woken_at;
        if is_due && !is_others_will {
            self.effects.push(Effect::LookAtMates);
        }
    }

    pub(super) fn next_look_at_mates(&self) -> Option<Moment> {
        self.mates.as_ref()?.look_at
    }

    pub(super) fn tell_mates_that_it_is_ready(&mut self) {
        if self.mates.is_some() {
            self.effects.push(Effect::ReadyForMates);
        }
    }
}
