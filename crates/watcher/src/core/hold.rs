//! Held asleep by hand: for a restore, say. Nothing wakes it, nobody is let in, and drowse neither
//! starts nor stops it until it is released.

use crate::{WakeError, sabotage::sabotaged};

use super::{Core, Effect, Moment, Reason, idle::WHILE_NOTHING_CHANGES};

/// Somebody holds it asleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Why, in their words.
    pub(crate) reason: Box<str>,
    /// When it ends by itself.
    pub(crate) until: Option<Moment>,
}

impl Core {
    /// The same, of a workload that is held asleep, or not.
    pub(crate) fn held_asleep_by(mut self, held: Option<Held>) -> Self {
        self.held = held.map(Box::new);
        self
    }

    /// Holds it asleep from now on, or no more. What it was ordered is seen through.
    pub(super) fn hold_asleep(&mut self, now: Moment, held: Option<Held>) {
        match held {
            Some(held) => {
                self.shut(Reason::HeldAsleep(held.reason.clone()));
                self.probing.in_flight = None;
                self.gates.withdraw();
                self.effects.push(Effect::HeldAsleep(Some(held.reason.clone())));
                self.held = Some(Box::new(held));
            }
            None => self.release(now),
        }
    }

    /// Its time is over.
    pub(super) fn release_if_due(&mut self, now: Moment) {
        if self.held_until().is_some_and(|until| until <= now) {
            self.release(now);
        }
    }

    fn release(&mut self, now: Moment) {
        if self.held.take().is_none() {
            return;
        }
        self.effects.push(Effect::HeldAsleep(None));
        self.sleep.check_at = now;
        if self.belief.is_running() {
            // Somebody's will, as a start from outside is: it counts as use for one idle time.
            self.shared.word.touch(now.as_millis());
            self.probe_soon(now);
        }
    }

    /// Whoever waits is told at once, and a wake that was wanted is not any more.
    pub(super) fn refuse_while_held(&mut self, now: Moment) {
        let nobody_wants_it = self.waiters.is_empty() && !self.wake.wanted;
        if nobody_wants_it || sabotaged!(WakeWhatIsHeldAsleep) {
            return;
        }
        if let Some(held) = &self.held {
            let reason = held.reason.to_string();
            let retry_after = held.until.map(|until| until.since(now));
            self.refuse_all(&WakeError::HeldAsleep { reason, retry_after });
        }
    }

    /// Whether it is to be left alone, whatever its state: a sleep on request is carried out all the
    /// same. Nothing needs to be looked at before it is released.
    pub(super) fn is_left_as_it_is(&mut self, now: Moment) -> bool {
        let is_so = self.held.is_some() && self.sleepers.is_empty();
        if is_so {
            self.sleep.check_at = now + WHILE_NOTHING_CHANGES;
        }
        is_so
    }

    pub(super) fn held_until(&self) -> Option<Moment> {
        self.held.as_ref().and_then(|held| held.until)
    }

    /// Why nothing wakes it, if somebody holds it asleep.
    pub(crate) fn held_asleep(&self) -> Option<&str> {
        self.held.as_ref().map(|held| &*held.reason)
    }
}
