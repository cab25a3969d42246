//! What is believed of the container, and how hints and reads change it.

use std::{sync::Arc, time::Duration};

use drowse_provider::{
    ContainerStatus, Details, Error, ErrorKind, Event, EventAction, Health, Observation,
    RestartPolicy, RunId, Signal, Unusable, WatchItem,
};

use crate::{readiness::Missing, sabotage::sabotaged};

use super::{
    Belief, Core, Effect, EffectId, Lost, Moment, OrderState, Reading, Reason, doubt::Verdict,
    failures::is_of_permission, needs::may_run, orders::STOP_TIMEOUT,
};

/// How long a container is left alone that somebody else stopped or removed: they may be in the
/// middle of an update.
const QUIET: Duration = Duration::from_secs(10);
/// How long after an unexplained death the engine's word that somebody ended it still counts.
const LATE_WORD: Duration = Duration::from_secs(5);
/// When a container that is being restarted or removed is looked at again.
const RECHECK: Duration = Duration::from_secs(3);
pub(super) const FIRST_READ_RETRY: Duration = Duration::from_millis(500);
const LONGEST_READ_RETRY: Duration = Duration::from_secs(10);
/// While nobody waits: thousands may be out of reach at a time.
const LONGEST_UNWANTED_READ_RETRY: Duration = Duration::from_mins(1);

impl Core {
    pub(super) fn watched(&mut self, now: Moment, item: Result<WatchItem, Error>) {
        match item {
            Ok(WatchItem::Synced(observation)) => {
                self.heard();
                self.heed(&observation);
                let as_believed = matches!(&self.belief, Belief::Seen(believed)
                    if agree(&believed.observation, &observation));
                self.probing.only_refused &= as_believed;
                match &mut self.reading {
                    // The look before a sleep waits for its turn first: it settles nothing soon.
                    Some(reading) if reading.before_sleep.is_none() || as_believed => {
                        reading.told = Some(observation);
                    }
                    _ if as_believed || sabotaged!(BelieveInSpiteOfNews) => {}
                    _ => self.doubt_belief(),
                }
            }
            Ok(WatchItem::Event(event)) => self.happened(now, &event),
            Ok(WatchItem::Removed) => {
                self.heard();
                if !matches!(self.belief, Belief::Absent) {
                    self.shut(Reason::SaidGone);
                    self.doubt_belief();
                }
            }
            Err(error) => {
                // An engine that is away is told of by whoever lists its containers; a right may
                // lack for this one alone.
                if is_of_permission(&error) {
                    let next_attempt = self.read.not_before.since(now);
                    self.tell_news(&error, "watching the container failed", next_attempt);
                }
                self.lose(now, error);
                self.read_anew();
            }
            // The contract may grow; what we do not know cannot be acted upon, only looked into.
            Ok(_) => self.doubt_belief(),
        }
    }

    fn happened(&mut self, now: Moment, event: &Event) {
        let of_other_run = event.run.is_some() && event.run.as_ref() != self.belief.run();
        if of_other_run && !matches!(event.action, EventAction::Start | EventAction::Restart) {
            return self.doubt_belief();
        }
        match &event.action {
            EventAction::Kill(signal) if self.ends_most_programs(*signal) => {
                self.ended_from_outside(now);
            }
            EventAction::Stop => self.ended_from_outside(now),
            EventAction::Die(_) if sabotaged!(IgnoreDeaths) => {}
            EventAction::Die(_) | EventAction::Pause => {
                let of_our_sleep = self.order.as_ref().is_some_and(|open| !open.order.is_start());
                if of_our_sleep {
                    self.resume_nothing();
                } else if self.belief.is_running() {
                    self.shut(Reason::SaidEnded);
                    self.doubt_belief();
                }
            }
            EventAction::Health(Health::Healthy) => self.is_healthy(now),
            EventAction::Start | EventAction::Unpause | EventAction::Restart => {
                self.probe_soon(now);
                self.told_to_run = true;
                // A start that is ordered before that is known would be taken for the one that did it.
                if self.order.is_none() && !self.belief.is_running() {
                    self.doubt_belief();
                }
            }
            EventAction::Create
            | EventAction::Rename(_)
            | EventAction::Update
            | EventAction::Migrate(_)
            | EventAction::Lock(_)
            | EventAction::Destroy => self.doubt_belief(),
            // The `Synced` that follows each event tells whether anything came of it.
            _ => {}
        }
    }

    /// A kill or a stop was told. Ours, if an order of ours is open; else somebody's will.
    fn ended_from_outside(&mut self, now: Moment) {
        if self.order.is_some() {
            return self.resume_nothing();
        }
        if self.belief.is_running() {
            self.outside.stopping = true;
            let grace = match &self.belief {
                Belief::Seen(details) => details.stop_timeout.unwrap_or(STOP_TIMEOUT),
                Belief::Unread | Belief::Absent => STOP_TIMEOUT,
            };
            self.shut(Reason::BeingEnded);
            // It is not asked whether it still serves before it had the time to end; and what it
            // answered before proves nothing.
            self.probing.in_flight = None;
            self.probing.next_at = now + grace;
            self.doubt_belief();
        } else if let Some(death) = self.outside.unexplained_death
            && now.since(death) <= LATE_WORD
        {
            // The word came after the deed: it was no crash.
            self.outside.unexplained_death = None;
            self.failures.forget();
            self.outside.quiet_until = Some(death + QUIET);
            self.stopped_from_outside(death);
        }
    }

    fn ends_most_programs(&self, signal: Option<Signal>) -> bool {
        let own = match &self.belief {
            Belief::Seen(details) => details.stop_signal,
            Belief::Unread | Belief::Absent => None,
        };
        signal.is_none_or(|signal| {
            [Signal::TERM, Signal::KILL, Signal::INT, Signal::QUIT].contains(&signal)
                || Some(signal) == own
        })
    }

    /// Whoever says that the run which serves does not, is heeded before it is known to be right.
    fn heed(&mut self, observation: &Observation) {
        let is_running = observation.status == ContainerStatus::Running;
        self.told_to_run |= may_run(&observation.status) == Some(true);
        self.probing.only_refused &= is_running && observation.run.as_ref() == self.belief.run();
        let to_resume = || self.order.as_ref().and_then(|open| open.resume.as_ref());
        if let Some(proven) = self.proven.as_ref().or_else(to_resume)
            && (proven.ready.run != observation.run || !is_running)
        {
            self.shut(Reason::said_to_be(&observation.status));
        }
    }

    /// Whatever is believed may be wrong: the next read tells. One that is under way may have been
    /// answered before what gave rise to the doubt.
    pub(super) fn doubt_belief(&mut self) {
        self.probing.only_refused = false;
        self.read_anew();
    }

    fn read_anew(&mut self) {
        self.stale = true;
        if let Some(reading) = &mut self.reading {
            reading.superseded = true;
        }
    }

    /// Takes it out of ready at once. Leases stay counted.
    pub(super) fn shut(&mut self, reason: Reason) {
        self.resume_nothing();
        self.probing.only_refused = false;
        if self.proven.take().is_some() {
            self.shared.word.shut();
            self.reason = reason;
            self.probing.last = None;
            self.probing.verdict = Verdict::Unrefuted;
        }
    }

    /// What was ready when a sleep was ordered has ended since, whoever ended it.
    fn resume_nothing(&mut self) {
        if let Some(open) = &mut self.order {
            open.resume = None;
        }
    }

    fn lose(&mut self, now: Moment, error: Error) {
        let since = self.lost.as_ref().map_or(now, |lost| lost.since);
        self.lost = Some(Lost { since, error });
    }

    /// Tells of an error that is another than the last one.
    fn tell_news(&mut self, error: &Error, what: &'static str, next_attempt: Duration) {
        let last = self.lost.as_ref().map(|lost| lost.error.kind().to_string());
        if last.is_none_or(|last| last != error.kind().to_string()) {
            let error = error.clone();
            self.effects.push(Effect::Trouble { what, error, next_attempt });
        }
    }

    /// The engine can be reached again: what was to be read need not wait for the next attempt.
    fn heard(&mut self) {
        if self.lost.take().is_some() {
            self.read.succeeded();
        }
    }

    /// Whether a read may begin: none is under way but, at most, the look before a sleep, which is
    /// withdrawn for it; and no order is in flight, since a read beside it would prove nothing.
    pub(super) fn may_read(&self) -> bool {
        self.reading.as_ref().is_none_or(|reading| reading.before_sleep.is_some())
            && !self.order.as_ref().is_some_and(|open| matches!(open.state, OrderState::InFlight))
    }

    pub(super) fn read_if_due(&mut self, now: Moment) {
        if self.recheck_at.is_some_and(|at| at <= now) {
            self.recheck_at = None;
            self.read_anew();
        }
        if self.stale && self.may_read() && self.read.not_before <= now {
            self.stale = false;
            self.begin_read(None);
        }
    }

    /// What is believed will change by itself: looks again after `pause`, or sooner if that was
    /// planned.
    pub(super) fn recheck_within(&mut self, now: Moment, pause: Duration) {
        let soon = now + pause;
        self.recheck_at = Some(self.recheck_at.map_or(soon, |planned| planned.min(soon)));
    }

    pub(super) fn begin_read(&mut self, before_sleep: Option<crate::word::Seen>) {
        let id = self.new_id();
        self.effects.push(Effect::Read { id, with_slot: before_sleep.is_some() });
        let reading = Reading { id, superseded: false, told: None, before_sleep };
        self.reading = Some(Box::new(reading));
    }

    pub(super) fn read_done(
        &mut self,
        now: Moment,
        id: EffectId,
        result: Result<Arc<Details>, Error>,
    ) {
        // Evidence, also when it comes from a read that was withdrawn.
        match &result {
            Ok(details) => self.heed(&details.observation),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {
                self.shut(Reason::SaidGone);
            }
            Err(_) => {}
        }
        let Some(reading) = self.reading.take_if(|reading| reading.id == id) else {
            // Nobody knows whether it is older than what is believed.
            let as_believed = match (&result, &self.belief) {
                (Ok(details), Belief::Seen(believed)) => {
                    agree(&believed.observation, &details.observation)
                }
                (Ok(_), _) => false,
                (Err(error), belief) => {
                    !matches!(error.kind(), ErrorKind::NotFound) || matches!(belief, Belief::Absent)
                }
            };
            if !as_believed {
                self.doubt_belief();
            }
            return;
        };
        if reading.superseded {
            self.stale = true;
            return;
        }
        match result {
            // Two reads that contradict each other, and nobody knows which came first.
            Ok(details)
                if reading.told.as_ref().is_some_and(|told| !agree(told, &details.observation)) =>
            {
                self.lost = None;
                self.stale = true;
            }
            Ok(details) => {
                self.read_succeeded();
                self.learn(now, Belief::Seen(details));
                match reading.before_sleep {
                    Some(seen) if self.belief.is_running() => {
                        if self.has_leave_to_sleep(now, seen) {
                            self.sleep_if_still_idle(now, seen);
                        } else {
                            self.sleep.check_at = now;
                        }
                    }
                    Some(seen) => self.stop_the_frozen(now, seen),
                    None => {}
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {
                self.read_succeeded();
                self.learn(now, Belief::Absent);
            }
            Err(error) => {
                self.stale = true;
                let longest = if self.waiters.is_empty() {
                    LONGEST_UNWANTED_READ_RETRY
                } else {
                    LONGEST_READ_RETRY
                };
                let next_attempt = self.read.failed(now, FIRST_READ_RETRY, longest);
                self.tell_news(&error, "reading the container failed", next_attempt);
                self.lose(now, error);
            }
        }
    }

    fn read_succeeded(&mut self) {
        self.lost = None;
        self.read.succeeded();
    }

    /// A read that nothing superseded: this is how it is.
    fn learn(&mut self, now: Moment, new: Belief) {
        let old = std::mem::replace(&mut self.belief, new);
        self.told_to_run = false;
        self.learned_at = now;
        self.recheck_at = match self.belief.status() {
            Some(ContainerStatus::Error(Unusable::Restarting | Unusable::Removing)) => {
                Some(now + RECHECK)
            }
            _ => None,
        };
        let proven_run_goes_on = self.belief.is_running()
            && self
                .proven
                .as_ref()
                .is_some_and(|proven| proven.ready.run.as_ref() == self.belief.run());
        if !proven_run_goes_on {
            let reason = match self.belief.status() {
                Some(ContainerStatus::Running) => Reason::StartedAnew,
                Some(status) => Reason::is(status),
                None => Reason::NoContainer,
            };
            self.shut(reason);
        }
        if old.lock().is_some() && self.belief.lock().is_none() {
            self.unlocked(now);
        }
        if self.belief.status() != Some(&ContainerStatus::Paused) {
            self.frozen_since = None;
        }
        self.forget_failures_of_another(&old);
        let is_started = self.order.as_ref().is_some_and(|open| open.order.is_start())
            && !self.is_another_container_than(&old);
        if self.order.is_some() {
            self.settle_order(now, &old);
        } else {
            self.explain_change(now, &old);
        }
        let another_run = old.run() != self.belief.run() || !old.is_running();
        if self.belief.is_running() && another_run {
            self.begin_run(now, &old);
            self.sleep.is_of_our_start = is_started;
        } else if self.belief.is_running() {
            self.compare_addresses(now, &old);
        }
    }

    /// Without an order of ours the container became something else: whose doing was it?
    fn explain_change(&mut self, now: Moment, old: &Belief) {
        let was_running = old.is_running();
        let same_run = old.run() == self.belief.run();
        if was_running && !self.belief.is_running() && self.waiters.is_empty() {
            // What was wanted of the run that ended is not wanted of another.
            self.end_wake();
        }
        match (old, self.belief.status().cloned()) {
            (Belief::Unread, Some(ContainerStatus::Running)) => {
                self.shared.word.touch(now.as_millis());
                self.sleep.adopted_at = Some(now);
                self.reason = Reason::Adopted;
            }
            (Belief::Unread, None) => self.reason = Reason::NoContainer,
            (Belief::Unread, Some(status)) => {
                if status == ContainerStatus::Paused {
                    self.frozen_since = Some(now);
                }
                self.reason = Reason::is(&status);
                // It was to wake with its mates, perhaps, when drowse ended.
                self.is_left_behind(now);
            }
            (_, Some(ContainerStatus::Running)) if was_running && same_run => {}
            (_, Some(ContainerStatus::Paused)) => {
                if !same_run && !matches!(old, Belief::Unread) {
                    // Whoever froze it had started it before, unseen.
                    self.shared.word.touch(now.as_millis());
                }
                if old.status() != Some(&ContainerStatus::Paused) {
                    self.frozen_from_outside(now);
                }
            }
            (_, now_is) if was_running => self.run_ended(now, old, now_is.as_ref()),
            (Belief::Seen(before), Some(ContainerStatus::Running)) => {
                let restarted_by_engine = before.observation.status
                    == ContainerStatus::Error(Unusable::Restarting)
                    && !self.is_another_container_than(old);
                if restarted_by_engine {
                    self.reason = Reason::RestartedByEngine;
                } else {
                    self.started_from_outside(now);
                }
            }
            (Belief::Absent, Some(ContainerStatus::Running)) => self.started_from_outside(now),
            (Belief::Seen(_), None) => {
                // Whoever stopped it a moment ago is at work on it.
                let was_left_alone = !self.is_quiet(now);
                self.removed_from_outside(now);
                self.outside.removed_asleep = was_left_alone;
                self.reason = Reason::RemovedAsleep;
            }
            (Belief::Absent, Some(_)) => self.reason = Reason::ThereAgain,
            (_, Some(status)) => {
                if old.status() != Some(&status) {
                    self.reason = Reason::is(&status);
                }
            }
            (Belief::Absent, None) => {}
        }
    }

    /// The believed run ended, and no order of ours ended it.
    fn run_ended(&mut self, now: Moment, old: &Belief, now_is: Option<&ContainerStatus>) {
        // Whoever holds its lock, or held it, may have ended it: a backup in stop mode, a migration.
        let was_locked = old.lock().is_some() || self.belief.lock().is_some();
        if self.outside.stopping || was_locked {
            if now_is == Some(&ContainerStatus::Running) {
                self.started_from_outside(now);
            } else {
                self.outside.quiet_until = Some(now + QUIET);
                self.stopped_from_outside(now);
            }
            return;
        }
        let is_another_container = self.is_another_container_than(old);
        if is_another_container && now_is == Some(&ContainerStatus::Running) {
            return self.started_from_outside(now);
        }
        if is_another_container || now_is.is_none() {
            return self.removed_from_outside(now);
        }
        if let Some(ContainerStatus::Error(Unusable::Other(why))) = now_is {
            // Its engine's doing: high availability that fences its node, or gave it up.
            self.reason = Reason::Is(why.as_str().into());
            return;
        }
        let exit = match (&self.belief, now_is) {
            // Of a run that has already been followed by another the code is not known.
            (_, Some(ContainerStatus::Running)) => None,
            (Belief::Seen(details), _) => details.observation.exit_code,
            _ => None,
        };
        let its_engine_restarts_it =
            matches!(old, Belief::Seen(before) if before.restart != RestartPolicy::No);
        if now_is == Some(&ContainerStatus::Running) && !its_engine_restarts_it {
            // Somebody started it again, and nobody told: it is in use for one idle time.
            self.is_used_since_its_start(now);
        }
        self.outside.unexplained_death = Some(now);
        if self.is_job() {
            return self.job_ended(now, exit);
        }
        self.is_left_behind(now);
        match self.served_since {
            Some(since) => {
                let served = now.since(since);
                self.failures.died_serving(now, exit, served, &self.policy.circuit);
            }
            None => self.failures.died_starting(now, exit, &self.policy.circuit),
        }
        if let Some(reason) = self.failures.reason() {
            self.reason = Reason::Failed(reason.into());
        }
    }

    pub(super) fn is_another_container_than(&self, old: &Belief) -> bool {
        matches!((old, &self.belief), (Belief::Seen(before), Belief::Seen(now))
            if before.id != now.id)
    }

    fn stopped_from_outside(&mut self, at: Moment) {
        self.outside.ended_at = Some(at);
        self.reason = Reason::StoppedOutside;
    }

    pub(super) fn frozen_from_outside(&mut self, now: Moment) {
        self.outside.ended_at = Some(now);
        self.reason = Reason::FrozenOutside;
    }

    /// Somebody's will, and perhaps the middle of an update.
    pub(super) fn removed_from_outside(&mut self, now: Moment) {
        self.outside.quiet_until = Some(now + QUIET);
        self.outside.ended_at = Some(now);
        self.outside.removed_asleep = false;
        self.reason = Reason::RemovedOutside;
    }

    /// Somebody's will: it counts as use for one idle time.
    pub(super) fn started_from_outside(&mut self, now: Moment) {
        if !sabotaged!(IgnoreStartsFromOutside) {
            self.is_used_since_its_start(now);
        }
        self.failures.forget();
        self.reason = Reason::StartedOutside;
    }

    /// Somebody has started it just now: this run is no part of a crash loop.
    fn is_used_since_its_start(&mut self, now: Moment) {
        self.shared.word.touch(now.as_millis());
        self.awake_since = now;
    }

    fn begin_run(&mut self, now: Moment, old: &Belief) {
        let part_of_a_crash_loop =
            old.is_running() || old.status() == Some(&ContainerStatus::Error(Unusable::Restarting));
        if !part_of_a_crash_loop {
            self.awake_since = now;
            self.sleep.woken_at = None;
        }
        self.served_since = None;
        self.outside.unexplained_death = None;
        self.outside.stopping = false;
        self.outside.quiet_until = None;
        self.outside.ended_at = None;
        self.sleep.requested_at = None;
        self.wake.needs_until = None;
        self.wake.is_queued = false;
        self.mates.iter_mut().for_each(|mates| mates.forget());
        self.gates.withdraw();
        self.gates.forget();
        self.probing.in_flight = None;
        self.probing.last = None;
        self.probing.missing = Missing::Nothing;
        self.probing.only_refused = false;
        self.probing.next_at = now;
        self.probing.verdict = Verdict::Unrefuted;
        self.probing.condemned.succeeded();
        self.probing.since = self.wake.ordered_at.unwrap_or(now);
        self.wake.locked = None;
        self.sleep.check_at = now;
        self.sleep.is_held = false;
        self.sleep.is_locked = false;
        self.sleep.due = false;
    }

    /// The run before an order, to tell what came of it.
    pub(super) fn believed_run(&self) -> Option<RunId> {
        self.belief.run().cloned()
    }
}

/// Whether two observations are of the same state in the same run, behind the same lock.
fn agree(one: &Observation, other: &Observation) -> bool {
    one.status == other.status && one.run == other.run && one.lock == other.lock
}
