//! What is asked before a sleep, beside leases, while it still is ready.
//!
//! The word that was seen *before* the gates were asked is the one that is swapped in the end: a lease
//! that was taken meanwhile, even one that was dropped again, wins; a passive one only while it is held.

use std::{sync::Arc, time::Duration};

use crate::{Busy, SleepError, sabotage::sabotaged, word::Seen};

use super::{Belief, Core, Effect, EffectId, Moment};

/// How long the gates have for their answer, all together. None means busy.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// How long their leave to sleep counts, if the sleep is not decided at once: the look waits for its turn
/// where many fall asleep together. If it is over by then they are asked again, with the turn in hand.
const LEAVE_COUNTS_FOR: Duration = Duration::from_secs(10);
/// How soon those who said that it is busy are asked again: after its idle time, within these; and
/// ever later while the same one goes on saying so. Being asked has a cost, and what is busy for weeks
/// would be asked all the time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_FIRST_PAUSE: Duration = Duration::from_mins(1);
/// The same, at last: nor later than after its idle time.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// The gates of a workload, as the core sees them.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// There are any.
    exist: bool,
    state: State,
    /// What they said when a sleep was last due, and it was no.
    no: Option<Box<No>>,
}

/// That it may not sleep.
#[derive(Debug)]
struct No {
    busy: Busy,
    /// How long after this they are asked again.
    pause: Duration,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unasked,
    /// Asked, with the word as it was before.
    Asked { id: EffectId, seen: Seen },
    /// It may sleep, if the word still is this.
    MaySleep { seen: Seen, until: Moment },
}

impl Gates {
    pub(super) fn new(exist: bool) -> Self {
        Self { exist, ..Self::default() }
    }

    pub(super) fn are_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    /// Their answer no longer matters.
    pub(super) fn withdraw(&mut self) {
        self.state = State::Unasked;
    }

    /// It was used since they said no, or is another run: that is no news any more.
    pub(super) fn forget(&mut self) {
        self.no = None;
    }

    pub(super) fn busy(&self) -> Option<&Busy> {
        self.no.as_ref().map(|no| &no.busy)
    }

    /// How long it was left alone when this one last said no, if that was the last that was said.
    fn last_pause(&self, holder: &str) -> Option<Duration> {
        self.no.as_ref().filter(|no| no.busy.holder == holder).map(|no| no.pause)
    }
}

impl Core {
    /// The same, of a workload with gates.
    pub(crate) fn with_gates(mut self, exist: bool) -> Self {
        self.gates = Gates::new(exist);
        self
    }

    /// Nothing that is known speaks against a sleep: asks the gates, if there are any, and takes the
    /// look at the container once they agree.
    pub(super) fn ask_before_sleep(&mut self, now: Moment, seen: Seen) {
        let state = std::mem::take(&mut self.gates.state);
        let may_sleep = matches!(state, State::MaySleep { seen: asked, until }
            if asked == seen && now < until);
        if sabotaged!(SkipTheLook) {
            return self.sleep_if_still_idle(now, seen);
        }
        if may_sleep {
            // It may be over by the time that the look is.
            self.gates.state = state;
            return self.begin_read(Some(seen));
        }
        if !self.gates.exist || self.is_forced() {
            return self.begin_read(Some(seen));
        }
        if matches!(state, State::MaySleep { until, .. } if now < until) && self.sleepers.is_empty()
        {
            // They have just said so, and it was leased since: asked at once, they would be all the time.
            return self.look_again_after_a_pause(now);
        }
        let Belief::Seen(details) = &self.belief else { return };
        let details = Arc::clone(details);
        let id = self.new_id();
        self.gates.state = State::Asked { id, seen };
        self.effects.push(Effect::AskGates { id, details, within: ANSWER_WITHIN });
    }

    /// Whether the gates agreed to this sleep a short time ago, now that the look is over.
    pub(super) fn has_leave_to_sleep(&mut self, now: Moment, seen: Seen) -> bool {
        let state = std::mem::take(&mut self.gates.state);
        let counts = matches!(state, State::MaySleep { seen: asked, until }
            if asked == seen && now < until);
        !self.gates.exist || self.is_forced() || counts
    }

    pub(super) fn gates_answered(&mut self, now: Moment, id: EffectId, answer: Result<(), Busy>) {
        let seen = match self.gates.state {
            State::Asked { id: asked, seen } if asked == id => seen,
            _ => return,
        };
        self.gates.state = State::Unasked;
        self.sleep.check_at = now;
        let answer = if sabotaged!(IgnoreGates) { Ok(()) } else { answer };
        match answer {
            Ok(()) => {
                self.gates.forget();
                self.gates.state = State::MaySleep { seen, until: now + LEAVE_COUNTS_FOR };
            }
            // It is used, or was meanwhile: that alone keeps it awake.
            Err(_) if self.is_kept_awake_by_use(now) => {}
            Err(busy) => self.stay_awake_as_busy(now, busy),
        }
    }

    fn is_kept_awake_by_use(&self, now: Moment) -> bool {
        let is_leased = self.shared.word.look().leases() > 0;
        is_leased || (self.idle_at() > now && self.sleepers.is_empty())
    }

    fn stay_awake_as_busy(&mut self, now: Moment, busy: Busy) {
        self.answer_sleepers(&SleepError::InUse { leases: 0, holders: vec![busy.to_string()] });
        let last_pause = self.gates.last_pause(&busy.holder);
        if last_pause.is_none() {
            self.effects.push(Effect::StaysAwakeBusy(busy.clone()));
        }
        let longest = self.policy.idle.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let pause = last_pause.map_or(LONGEST_FIRST_PAUSE, |last| last * 2).min(longest);
        self.sleep.check_at = now + pause;
        self.gates.no = Some(Box::new(No { busy, pause }));
    }

    /// What spoke against a sleep when it was last due, beside leases.
    pub(crate) fn vetoed_by(&self) -> Option<&Busy> {
        self.gates.busy().filter(|_| self.belief.is_running())
    }

    /// The question to the gates whose answer still matters.
    pub(crate) fn awaited_answer(&self) -> Option<EffectId> {
        match self.gates.state {
            State::Asked { id, .. } => Some(id),
            State::Unasked | State::MaySleep { .. } => None,
        }
    }
}
