//! What it needs of others: before its own start, and for as long as it runs.
//!
//! The core knows what it needs by number, and by the names to tell people. It says when all of it is
//! to be **held** (counted as used, which wakes nothing) and when it is let go of; and which of it is
//! to be **woken**. What is held is not put to sleep: so it is held before anybody looks whether it is
//! there, before the own start is ordered, and until the own container is observed not to run.

use std::time::Duration;

use drowse_provider::{ContainerStatus, Unusable};
use tokio::time::Instant;

use crate::{Condition, SleepError, WakeError, need::NeedSeen, sabotage::sabotaged};

use super::{Belief, Core, Effect, EffectId, Moment, Reason};

/// How long others are waited for where nobody waits for this one any more: whoever wanted it has
/// left, and the wake goes on.
const UNWANTED_FOR: Duration = Duration::from_mins(10);
/// How long it is tried to wake what has died under a container that runs, at a time.
const MENDED_FOR: Duration = Duration::from_mins(10);
/// How soon it is looked at again whether a container is in use under which something has died, and
/// how soon something is asked for again that was granted and is not there.
const WHILE_MISSED: Duration = Duration::from_secs(1);
/// How soon something that refused to wake is asked for again, at least.
const SHORTEST_REFUSAL: Duration = Duration::from_secs(5);
/// The same where only people mend it, at most: doubled with each attempt, since that may take weeks.
const LONGEST_REFUSAL: Duration = Duration::from_mins(1);
/// How long a refusal that came at once is told to whoever comes after it, without asking again: each
/// of them would be two changes, and two lines in the log.
const TOLD_AGAIN_FOR: Duration = Duration::from_secs(1);

/// What is needed of another, as the core is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeedOf {
    /// Its name, for people.
    pub(crate) name: Box<str>,
    /// What is needed of it.
    pub(crate) condition: Condition,
}

/// What it needs from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NeedsNow {
    /// These. They are held already.
    Of(Vec<NeedOf>),
    /// What is said of it contradicts itself, so: it is neither started nor put to sleep. What it
    /// needed before stays held for as long as it runs.
    InError(Box<str>),
}

/// All that it needs, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Needed {
    each: Vec<One>,
    are_held: bool,
    /// Somebody has looked at them since they are held.
    are_seen: bool,
    error: Option<Box<str>>,
    /// What the last start was refused for, told to whoever comes soon after.
    refusal: Option<Box<Refusal>>,
}

#[derive(Debug)]
struct Refusal {
    error: WakeError,
    until: Moment,
}

#[derive(Debug)]
struct One {
    of: NeedOf,
    seen: NeedSeen,
    ended: Option<Ended>,
    asked: Option<Asked>,
    /// When it may be asked for again.
    not_before: Moment,
    /// How often in a row it refused for what only people mend.
    lasting: u8,
    /// It refused when it was last asked, and was not seen to be there since.
    refuses: bool,
}

/// Others ended it, or what it misses: their will, until this one is used after that.
#[derive(Debug)]
struct Ended {
    at: Instant,
    /// How many uses of this one had begun when that was seen.
    uses: u32,
}

/// It was asked to wake.
#[derive(Debug)]
struct Asked {
    id: EffectId,
    deadline: Moment,
}

impl One {
    fn new(of: NeedOf) -> Self {
        let not_before = Moment::from_millis(0);
        let seen = NeedSeen::Unmet;
        Self { of, seen, ended: None, asked: None, not_before, lasting: 0, refuses: false }
    }

    /// How long it is left alone after this refusal, at least.
    fn pause_after_refusal(&mut self, error: &WakeError) -> Duration {
        if !error.is_lasting() {
            self.lasting = 0;
            return SHORTEST_REFUSAL;
        }
        let pause = SHORTEST_REFUSAL * (1 << self.lasting.min(8));
        self.lasting = self.lasting.saturating_add(1);
        pause.min(LONGEST_REFUSAL)
    }

    fn is_met(&self) -> bool {
        self.seen.is_met()
    }

    /// It does not run though the one that needs it does, or misses something itself. A job has done its
    /// part.
    fn is_missed(&self) -> bool {
        let is_whole = !matches!(self.seen, NeedSeen::Down { .. } | NeedSeen::Limps { .. });
        !is_whole && self.of.condition != Condition::Completed
    }

    /// When others ended it, or what it misses: their will.
    fn ended_by_others_at(&self) -> Option<Instant> {
        match self.seen {
            NeedSeen::Down { ended_by_others_at } => ended_by_others_at,
            NeedSeen::Limps { since } => Some(since),
            NeedSeen::Met | NeedSeen::Unmet | NeedSeen::Unmanaged => None,
        }
    }

    /// Whether a use of the one that needs it has begun since others ended it, and was not told yet. So
    /// many have begun by now.
    fn is_used_anew(&mut self, uses: u32) -> bool {
        let Some(at) = self.ended_by_others_at() else { return false };
        let known = self.ended.replace(Ended { at, uses });
        known.is_some_and(|known| known.at == at && known.uses != uses)
    }
}

impl Core {
    /// The same, of a workload that needs others, which are held already.
    pub(crate) fn needing(mut self, needs: NeedsNow) -> Self {
        self.take_needs(needs);
        self
    }

    /// It needs others than before. The new ones are held already.
    pub(super) fn needs_changed(&mut self, now: Moment, needs: NeedsNow) {
        self.take_needs(needs);
        self.sleep.check_at = now;
        if !self.belief.is_running() {
            // What was in error, or could not be woken, may be mended by that.
            self.is_left_behind(now);
        }
    }

    fn take_needs(&mut self, needs: NeedsNow) {
        match needs {
            NeedsNow::Of(needs) if needs.is_empty() => self.needed = None,
            NeedsNow::Of(needs) => {
                let each = needs.into_iter().map(One::new).collect();
                self.needed = Some(Box::new(Needed::held(each)));
            }
            NeedsNow::InError(reason) => {
                let needed = self.needed.get_or_insert_with(|| Box::new(Needed::held(Vec::new())));
                needed.error = Some(reason);
            }
        }
    }

    /// Somebody looked at what is needed while it was held: this is how all of it is.
    pub(super) fn needs_seen(&mut self, seen: &[NeedSeen]) {
        let Some(needed) = &mut self.needed else { return };
        if !needed.are_held || seen.len() != needed.each.len() {
            return;
        }
        needed.are_seen = true;
        for (one, seen) in needed.each.iter_mut().zip(seen) {
            one.seen = *seen;
            one.refuses &= *seen != NeedSeen::Unmanaged && !one.is_met();
        }
    }

    /// What was asked to wake is awake, or does not wake.
    pub(super) fn need_answered(
        &mut self,
        now: Moment,
        id: EffectId,
        result: Result<(), WakeError>,
    ) {
        let Some(needed) = &mut self.needed else { return };
        let is_meant = |one: &&mut One| one.asked.as_ref().is_some_and(|asked| asked.id == id);
        let Some(one) = needed.each.iter_mut().find(is_meant) else { return };
        let is_overdue = one.asked.take().is_some_and(|asked| asked.deadline <= now);
        match result {
            // Nobody is waiting that long any more: what follows from that is seen to elsewhere.
            Err(WakeError::Timeout { .. }) if is_overdue => one.not_before = now,
            // About to be managed anew, perhaps.
            Ok(()) | Err(WakeError::Closed) => {
                one.lasting = 0;
                one.refuses = false;
                one.not_before = now + WHILE_MISSED;
            }
            Err(error) => {
                let pause = error.retry_after().unwrap_or_default();
                let pause = pause.max(one.pause_after_refusal(&error));
                one.not_before = now + pause;
                one.refuses = !matches!(error, WakeError::Timeout { .. });
                if self.wake.needs_until.is_some() {
                    let name = one.of.name.to_string();
                    self.reason = Reason::NeedRefused(why_not(&name, &error).into());
                    let error = WakeError::Dependency { name, source: Box::new(error) };
                    if comes_at_once(&error) {
                        let until = now + TOLD_AGAIN_FOR;
                        needed.refusal = Some(Box::new(Refusal { error: error.clone(), until }));
                    }
                    self.refuse_all(&error);
                    self.is_left_behind_by_needs(now, &error);
                }
            }
        }
    }

    /// Whether all that it needs is there, so that it may be started; what is not is asked to wake.
    pub(super) fn needs_are_met(&mut self, now: Moment) -> bool {
        let Some(mut needed) = self.needed.take() else { return true };
        let known = needed.refusal.take_if(|refusal| refusal.until > now);
        if let Some(refusal) = known {
            self.refuse_all(&refusal.error);
            needed.refusal = Some(refusal);
            self.needed = Some(needed);
            return false;
        }
        if !needed.are_held {
            needed.hold();
            self.effects.push(Effect::HoldNeeds);
        }
        let are_met = sabotaged!(StartBeforeNeeds)
            || (needed.are_seen && needed.each.iter().all(One::is_met));
        if are_met {
            self.wake.needs_until = None;
        } else if let Some(until) = self.waits_for_needs_until(now) {
            // The clock of those who wait begins anew with the start that follows.
            self.wake.ordered_at = None;
            self.wake.needs_until = Some(until);
            // What is to be waited for may not be known yet.
            self.reason = self.asked_for();
            if needed.are_seen {
                self.reason =
                    Reason::WaitingFor(needed.unmet().collect::<Vec<_>>().join(", ").into());
                for (need, one) in needed.next_to_wake() {
                    self.wake_need(now, need, one, until);
                }
            }
        } else {
            self.end_wake();
            self.is_left_behind(now + SHORTEST_REFUSAL);
        }
        self.needed = Some(needed);
        are_met
    }

    /// Whether all that its start waits for are others: its own engine can be reached.
    pub(super) fn waits_for_needs(&self) -> bool {
        self.wake.needs_until.is_some() && self.lost.is_none()
    }

    /// For as long as anybody waits who has asked so far; then for those who have come since.
    fn waits_for_needs_until(&self, now: Moment) -> Option<Moment> {
        let latest = || self.waiters.latest_deadline().filter(|at| *at > now);
        match self.wake.needs_until {
            Some(until) if until > now => Some(until),
            Some(_) => latest(),
            None => latest().or(Some(now + UNWANTED_FOR)),
        }
    }

    fn wake_need(&mut self, now: Moment, need: usize, one: &mut One, deadline: Moment) {
        if one.asked.is_some() || one.not_before > now || one.seen == NeedSeen::Unmanaged {
            return;
        }
        let id = self.new_id();
        one.asked = Some(Asked { id, deadline });
        self.effects.push(Effect::WakeNeed { id, need, deadline });
    }

    /// Whether what is said of it is in error.
    pub(super) fn is_misconfigured(&self) -> bool {
        self.needed.as_ref().is_some_and(|needed| needed.error.is_some())
    }

    /// Whether nothing is done with it since what is said of it is in error: whoever wants it started
    /// is told so.
    pub(super) fn refuse_misconfigured(&mut self) -> bool {
        let reason = self.needed.as_ref().and_then(|needed| needed.error.as_deref());
        let Some(reason) = reason.map(str::to_owned) else { return false };
        self.refuse_all(&WakeError::Misconfigured { reason });
        true
    }

    /// The same of a sleep.
    pub(super) fn keep_misconfigured_awake(&mut self) -> bool {
        let reason = self.needed.as_ref().and_then(|needed| needed.error.as_deref());
        let Some(reason) = reason else { return false };
        let reason = format!("its configuration is in error: {reason}");
        self.answer_sleepers(&SleepError::Failed { reason });
        true
    }

    /// Holds what it needs while it may run, and lets go of it when it is observed not to.
    pub(super) fn tend_needs(&mut self, now: Moment) {
        let is_ready = self.proven.is_some();
        let may_run = self.may_run().map(|may| may && !(is_ready && sabotaged!(LetGoOfNeeds)));
        let Some(needed) = &mut self.needed else {
            // What was missed may be needed no more.
            return self.shared.await_use(None);
        };
        match may_run {
            Some(true) if !needed.are_held => {
                needed.hold();
                self.effects.push(Effect::HoldNeeds);
            }
            Some(false) if needed.are_held => {
                needed.let_go();
                self.effects.push(Effect::LetNeedsGo);
            }
            _ => {}
        }
        if self.mends_needs() {
            self.mend_needs(now);
        } else {
            self.shared.await_use(None);
        }
    }

    /// Whether it runs, or is about to. `None`: that cannot be said now, and what is held stays held.
    fn may_run(&self) -> Option<bool> {
        let runs = match &self.belief {
            Belief::Unread => Some(true),
            Belief::Absent => Some(false),
            Belief::Seen(details) => may_run(&details.observation.status),
        };
        // Behind a lock nothing is started for a long time.
        let is_about_to_start = self.wake.wanted && self.belief.lock().is_none();
        if runs == Some(false) && self.told_to_run {
            return Some(true);
        }
        if runs == Some(false) && (!self.truth_is_known() || is_about_to_start) {
            return None;
        }
        runs
    }

    /// Whether it runs, and nobody is about to end it or wants it left alone.
    fn mends_needs(&self) -> bool {
        self.belief.is_running()
            && self.order.is_none()
            && self.held.is_none()
            && !self.outside.stopping
    }

    /// It runs, and something that it needs does not: that is woken while this one is in use. What
    /// somebody else ended stays so until this one is used after that, or what needs this one is.
    fn mend_needs(&mut self, now: Moment) {
        if sabotaged!(RepairNothing) {
            return;
        }
        let Some(mut needed) = self.needed.take() else { return };
        let somebody_waits = !self.waiters.is_empty();
        let is_in_use = somebody_waits || self.shared.is_used() || self.idle_at() > now;
        let mut awaits_use_since = None;
        for (need, one) in needed.numbered().filter(|(_, one)| one.is_missed()) {
            if one.is_used_anew(self.shared.uses()) {
                // The word tells of a use only when it is over.
                self.shared.use_through();
            }
            let last_use = self.shared.last_use_also_through_others();
            let ended_at = one.ended_by_others_at().filter(|at| !somebody_waits && *at >= last_use);
            if ended_at.is_some() {
                awaits_use_since = ended_at;
            } else if is_in_use && matches!(one.seen, NeedSeen::Down { .. }) {
                self.wake_need(now, need, one, now + MENDED_FOR);
            } else if is_in_use && one.not_before <= now {
                self.effects.push(Effect::UseThrough { need });
            }
            if one.asked.is_none() && one.not_before <= now {
                one.not_before = now + WHILE_MISSED;
            }
        }
        self.shared.await_use(awaits_use_since);
        self.needed = Some(needed);
    }

    /// When what it needs is to be looked at again.
    pub(super) fn next_need_at(&self) -> Option<Moment> {
        let needed = self.needed.as_ref()?;
        let waits = self.wake.needs_until.is_some();
        let runs = self.mends_needs();
        let is_due = |one: &&One| {
            one.asked.is_none() && ((waits && !one.is_met()) || (runs && one.is_missed()))
        };
        let asked_next = needed.each.iter().filter(is_due).map(|one| one.not_before);
        asked_next.chain(self.wake.needs_until).filter(|at| *at > self.stepped_at).min()
    }

    /// What its start waits for, by name.
    pub(crate) fn waiting_for(&self) -> impl Iterator<Item = &str> {
        let needed = self.needed.as_ref().filter(|_| self.waits_for_needs());
        needed.into_iter().flat_map(|needed| needed.unmet())
    }
}

impl Needed {
    fn held(each: Vec<One>) -> Self {
        Self { each, are_held: true, are_seen: false, error: None, refusal: None }
    }

    fn numbered(&mut self) -> impl Iterator<Item = (usize, &mut One)> {
        self.each.iter_mut().enumerate()
    }

    /// What is not there, in the order in which it is asked to wake. What refused is asked first: while
    /// it refuses, the others would be woken for nothing, over and over again.
    fn next_to_wake(&mut self) -> impl Iterator<Item = (usize, &mut One)> {
        let some_refuse = self.each.iter().any(|one| one.refuses);
        self.numbered().filter(move |(_, one)| !one.is_met() && one.refuses == some_refuse)
    }

    fn hold(&mut self) {
        self.are_held = true;
        self.are_seen = false;
    }

    /// Whatever was asked for is asked for no more.
    fn let_go(&mut self) {
        self.are_held = false;
        self.are_seen = false;
        for one in &mut self.each {
            one.seen = NeedSeen::Unmet;
            one.asked = None;
            one.not_before = Moment::from_millis(0);
        }
    }

    fn unmet(&self) -> impl Iterator<Item = &str> {
        self.each.iter().filter(|one| !one.is_met()).map(|one| &*one.of.name)
    }
}

/// Whether whoever asks is told so without any waiting.
fn comes_at_once(error: &WakeError) -> bool {
    match error {
        WakeError::Dependency { source, .. } => comes_at_once(source),
        WakeError::Timeout { .. }
        | WakeError::EngineUnavailable { .. }
        | WakeError::Locked { .. } => false,
        _ => true,
    }
}

/// Why what it needs is not there, for people: the whole way to the one that does not wake.
fn why_not(name: &str, error: &WakeError) -> String {
    let (mut text, mut error) = (format!("`{name}`"), error);
    while let WakeError::Dependency { name, source } = error {
        text = format!("{text}, which needs `{name}`");
        error = source;
    }
    format!("{text}: {error}")
}

/// Whether a container in this state runs, or will without anybody's doing. `None`: who knows.
pub(super) fn may_run(status: &ContainerStatus) -> Option<bool> {
    match status {
        ContainerStatus::Running | ContainerStatus::Error(Unusable::Restarting) => Some(true),
        ContainerStatus::Stopped
        | ContainerStatus::Paused
        | ContainerStatus::Error(Unusable::Removing | Unusable::Dead | Unusable::Template) => {
            Some(false)
        }
        _ => None,
    }
}
