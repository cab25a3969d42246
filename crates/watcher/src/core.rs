//! The pure core: the lifecycle of one workload as a state machine.
//!
//! No I/O, no clock, no randomness: [`Core::step`] is told what happened and when, and returns what
//! is to be done. The same inputs give the same effects, so that the whole of it can be simulated
//! and replayed. The one thing that it shares with the outside is the warm word, whose races with
//! requests are modelled on their own (see `word.rs`).
//!
//! It is **level-triggered**: inputs change what is known (the belief, the order in flight, who
//! waits), and then [`Core::advance`] looks at all that is known and does what follows from it.
//! Events are hints, and so is a watch's `Synced`, which may have been read before an order of ours
//! and told after it: whatever contradicts the belief starts a read of our own, and only the result
//! of a read that nothing has superseded becomes the belief.

mod answers;
mod deepen;
mod doubt;
mod failures;
mod gates;
mod hold;
mod idle;
mod io;
mod job;
mod locks;
mod mates;
mod moment;
mod needs;
mod orders;
mod probing;
mod reason;
mod truth;
mod waiters;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use drowse_provider::{ContainerStatus, Details, Error, Observation, RunId, Unusable};

use crate::{
    Force, PhaseName, Policy, ReadyRun,
    readiness::Missing,
    shared::{Shared, Standing},
};

pub(crate) use failures::PastFailures;
pub(crate) use hold::Held;
pub(crate) use io::{AskId, Effect, EffectId, Input, Order, Transition};
pub(crate) use moment::Moment;
pub(crate) use needs::{NeedOf, NeedsNow};
pub(crate) use reason::Reason;

use doubt::{Suspicion, Verdict};
use failures::Failures;
use gates::Gates;
use mates::Mates;
use needs::Needed;
use waiters::Waiters;

/// The lifecycle of one workload. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Core {
    shared: Arc<Shared>,
    policy: Policy,
    last_id: u64,
    effects: Vec<Effect>,

    belief: Belief,
    /// It was told to run since it was last read.
    told_to_run: bool,
    /// When that was read.
    learned_at: Moment,
    reading: Option<Box<Reading>>,
    /// What is believed is in doubt: a read begun from now on settles it.
    stale: bool,
    read: Retry,
    /// When what will change by itself is looked at again: a state that the engine will leave, a
    /// lock that keeps a start from it, an address that is not there yet.
    recheck_at: Option<Moment>,
    lost: Option<Lost>,

    /// The one order that no read has settled yet.
    order: Option<Box<OpenOrder>>,
    wake: Wake,
    sleep: Sleep,
    gates: Gates,
    /// It was frozen by an order of ours, or found frozen when its management began.
    frozen_since: Option<Moment>,
    failures: Failures,
    held: Option<Box<Held>>,
    outside: Outside,
    /// If it is in a group.
    mates: Option<Box<Mates>>,

    /// Since when it has been alive without having been put to sleep in between.
    awake_since: Moment,
    /// When it last served in this run, from the moment it was observed ready.
    served_since: Option<Moment>,
    /// The run that was observed ready, with no stop or death of it observed since. While it is
    /// there, the gate is open.
    proven: Option<Proven>,
    probing: Probing,

    /// What it needs of others; nothing, for most.
    needed: Option<Box<Needed>>,
    waiters: Waiters,
    sleepers: BTreeMap<AskId, Sleeper>,

    /// The moment of the last step.
    stepped_at: Moment,
    phase: PhaseName,
    since: Moment,
    /// Mostly a fixed text: it is kept for each of many workloads.
    reason: Reason,
    last_wake_took: Option<Duration>,
}

/// What the container is believed to be, from the last read that nothing superseded.
#[derive(Clone, Debug)]
enum Belief {
    Unread,
    Absent,
    Seen(Arc<Details>),
}

impl Belief {
    fn status(&self) -> Option<&ContainerStatus> {
        match self {
            Self::Seen(details) => Some(&details.observation.status),
            Self::Unread | Self::Absent => None,
        }
    }

    fn run(&self) -> Option<&RunId> {
        match self {
            Self::Seen(details) => details.observation.run.as_ref(),
            Self::Unread | Self::Absent => None,
        }
    }

    /// What else works on it and keeps orders from it.
    fn lock(&self) -> Option<&str> {
        match self {
            Self::Seen(details) => details.observation.lock.as_deref(),
            Self::Unread | Self::Absent => None,
        }
    }

    fn is_running(&self) -> bool {
        self.status() == Some(&ContainerStatus::Running)
    }
}

#[derive(Debug)]
struct Reading {
    id: EffectId,
    /// Something happened since it began: its result may be older than that.
    superseded: bool,
    /// What the watch said since it began. If the result says the same, nothing is in doubt.
    told: Option<Observation>,
    /// It is the look before a sleep, and this was the word then.
    before_sleep: Option<crate::word::Seen>,
}

/// When something that failed is tried again.
#[derive(Debug)]
struct Retry {
    not_before: Moment,
    failures: u32,
}

impl Retry {
    fn new() -> Self {
        Self { not_before: Moment::from_millis(0), failures: 0 }
    }

    /// Counts a failure; doubles the pause from `first` up to `longest`, and returns it.
    fn failed(&mut self, now: Moment, first: Duration, longest: Duration) -> Duration {
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        self.not_before = now + pause;
        pause
    }

    fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Somebody is there for whom it is to be tried soon.
    fn try_within(&mut self, now: Moment, pause: Duration) {
        self.not_before = self.not_before.min(now + pause);
    }
}

#[derive(Debug)]
struct Lost {
    since: Moment,
    error: Error,
}

#[derive(Debug)]
struct OpenOrder {
    id: EffectId,
    order: Order,
    run_before: Option<RunId>,
    /// Until when the engine may still be carrying it out.
    until: Moment,
    state: OrderState,
    /// Somebody wants it asleep. Whether they wait for that is another matter.
    is_on_request: bool,
    /// What it is to end was frozen before: with its group it has slept since then.
    is_of_frozen: bool,
    /// What was ready when a sleep was ordered: ready again if the order was not taken.
    resume: Option<Proven>,
}

#[derive(Debug)]
enum OrderState {
    InFlight,
    /// The engine says that it is done: a read shows what came of it.
    Done,
    /// Its answer was lost: only a read can tell.
    Unknown(Error),
}

/// The wake in flight, which belongs to the workload and to no request.
#[derive(Debug)]
struct Wake {
    wanted: bool,
    /// Who was the first to want it, for people.
    by: Option<Box<str>>,
    /// When the first start order of this wake was given that no lock turned away.
    ordered_at: Option<Moment>,
    /// When a stop that was in its way had come to nothing, or its turn had come.
    free_since: Moment,
    retry: Retry,
    /// Somebody else wants it than those who need it.
    is_for_users: bool,
    /// Only others of its group want it: those who wake, or are in use.
    is_for_mates: bool,
    /// It waits for what it needs, before its start: until then, unless others come to wait longer.
    needs_until: Option<Moment>,
    /// Its start waits for its turn: its engine is given so many orders at a time.
    is_queued: bool,
    /// What keeps its start from the container. Behind a lock the wake goes on, whoever waits.
    locked: Option<Lock>,
}

/// Something else that works on the container, as a wake meets it.
#[derive(Debug)]
struct Lock {
    by: Box<str>,
    /// When the start was ordered that met it, or when it was met without one; with nobody left from
    /// then on, when the next who waits came.
    since: Moment,
}

#[derive(Debug)]
struct Sleep {
    check_at: Moment,
    /// When it was adopted: its first idle time is longer by a jitter.
    adopted_at: Option<Moment>,
    retry: Retry,
    /// When it became ready by a wake, and was not asleep since: it stays awake for a while.
    woken_at: Option<Moment>,
    /// Its present run came of a start of ours, whatever has become of those who wanted it.
    is_of_our_start: bool,
    /// It was woken, and only dependents wanted that: unless it is used, it is as if its idle time were
    /// over.
    is_for_dependents: bool,
    /// A sleep was decided and could not be carried out.
    due: bool,
    /// At the last look its idle time was over, and leases kept it awake.
    is_held: bool,
    /// As it was since then, and a lock kept it awake.
    is_locked: bool,
    /// When it was last put to sleep on request, if it has not run since.
    requested_at: Option<Moment>,
}

/// What others did with the container.
#[derive(Debug, Default)]
struct Outside {
    /// The present run was sent a signal that ends most programs, or a stop.
    stopping: bool,
    /// Until when a container that somebody else stopped or removed is left alone.
    quiet_until: Option<Moment>,
    /// It was removed while it slept, not as a part of anything that its user was seen doing.
    removed_asleep: bool,
    /// When a run last died without anybody being known to have ended it.
    unexplained_death: Option<Moment>,
    /// When somebody else stopped, froze or removed what has not run since then.
    ended_at: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Proven {
    ready: Arc<ReadyRun>,
    /// What is reported of it, and looked into while the gate is open.
    suspicion: Option<Suspicion>,
}

#[derive(Debug)]
struct Probing {
    in_flight: Option<EffectId>,
    next_at: Moment,
    /// What has come of the reports that its upstream failed.
    verdict: Verdict,
    /// What passed a probe and failed its requests soon after is not probed without a pause.
    condemned: Retry,
    /// When a probe last succeeded.
    passed_at: Moment,
    /// When this run was first seen, or ordered.
    since: Moment,
    last: Option<String>,
    /// What the last probe missed in the details that it was given.
    missing: Missing,
    /// Since it was last ready nothing has spoken against it but its own upstream.
    only_refused: bool,
    /// It is dialled at addresses that may be a stranger's once it has lost them.
    is_at_passing_address: bool,
}

#[derive(Debug)]
struct Sleeper {
    asked: Moment,
    deadline: Moment,
    force: Force,
}

impl Core {
    /// A workload of which nothing is known yet. Its first step should be a [`Input::Tick`].
    pub(crate) fn new(shared: Arc<Shared>, policy: Policy, now: Moment) -> Self {
        shared.begin(now);
        shared.follow(&policy);
        Self {
            shared,
            policy,
            last_id: 0,
            effects: Vec::new(),
            belief: Belief::Unread,
            told_to_run: false,
            learned_at: now,
            reading: None,
            stale: true,
            read: Retry::new(),
            recheck_at: None,
            lost: None,
            order: None,
            wake: Wake {
                wanted: false,
                ordered_at: None,
                free_since: now,
                retry: Retry::new(),
                by: None,
                is_for_users: false,
                is_for_mates: false,
                needs_until: None,
                is_queued: false,
                locked: None,
            },
            sleep: Sleep {
                check_at: now,
                requested_at: None,
                adopted_at: None,
                retry: Retry::new(),
                woken_at: None,
                is_of_our_start: false,
                is_for_dependents: false,
                due: false,
                is_held: false,
                is_locked: false,
            },
            gates: Gates::default(),
            frozen_since: None,
            held: None,
            failures: Failures::default(),
            outside: Outside::default(),
            mates: None,
            awake_since: now,
            served_since: None,
            proven: None,
            probing: Probing {
                in_flight: None,
                next_at: now,
                verdict: Verdict::Unrefuted,
                condemned: Retry::new(),
                passed_at: now,
                since: now,
                last: None,
                missing: Missing::Nothing,
                only_refused: false,
                is_at_passing_address: false,
            },
            needed: None,
            waiters: Waiters::default(),
            sleepers: BTreeMap::new(),
            stepped_at: now,
            phase: PhaseName::Unread,
            since: now,
            reason: Reason::Unread,
            last_wake_took: None,
        }
    }

    /// The same, of a workload that is dialled as [`Readiness::is_at_passing_address`] says.
    ///
    /// [`Readiness::is_at_passing_address`]: crate::Readiness::is_at_passing_address
    pub(crate) fn at_passing_address(mut self, is_at_passing_address: bool) -> Self {
        self.probing.is_at_passing_address = is_at_passing_address;
        self
    }

    /// Takes an input and returns what is to be done, in this order.
    pub(crate) fn step(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        self.stepped_at = now;
        match input {
            Input::Ask { id, kind, deadline } => self.asked(now, id, kind, deadline),
            Input::Withdraw(ids) => self.withdrawn(&ids),
            Input::SleepNow { id, deadline, force } => {
                self.asked_to_sleep(now, id, deadline, force);
            }
            Input::HoldAsleep(held) => self.hold_asleep(now, held),
            Input::CloseCircuit => self.close_circuit(now),
            Input::GatesAnswered { id, result } => self.gates_answered(now, id, result),
            Input::Watched(item) => self.watched(now, item),
            Input::OrderDone { id, result } => self.order_done(now, id, result),
            Input::ReadDone { id, result } => self.read_done(now, id, result),
            Input::ProbeDone { id, result } => self.probe_done(now, id, result),
            Input::UpstreamFailed { epoch, number } => {
                self.upstream_failed(now, epoch, number);
            }
            Input::PolicyChanged(policy) => {
                self.shared.follow(&policy);
                self.policy = policy;
                self.sleep.check_at = now;
            }
            Input::OrderQueued { id } => self.queued(id),
            Input::TurnHasCome => self.turn_has_come(now),
            Input::LetGo => self.let_go(now),
            Input::MateWakes => self.mate_wakes(now),
            Input::NeedsChanged(needs) => self.needs_changed(now, needs),
            Input::NeedsSeen(seen) => self.needs_seen(&seen),
            Input::NeedAnswered { id, result } => self.need_answered(now, id, result),
            Input::Tick => {}
        }
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// Does what follows from all that is known.
    fn advance(&mut self, now: Moment) {
        self.release_if_due(now);
        self.refuse_while_held(now);
        self.answer_expired(now);
        self.read_if_due(now);
        self.refuse_without_permission();
        if self.truth_is_known() {
            match self.belief.status().cloned() {
                None => self.advance_absent(now),
                Some(ContainerStatus::Running) if self.is_job() => self.advance_running_job(),
                Some(ContainerStatus::Running) => {
                    self.probe_if_due(now);
                    self.read_what_is_missing(now);
                    self.consider_sleep(now);
                }
                Some(_) if self.is_complete() => self.advance_complete(now),
                Some(ContainerStatus::Stopped | ContainerStatus::Paused) => {
                    self.advance_sleeping(now);
                }
                Some(ContainerStatus::Error(Unusable::Restarting)) => {
                    if self.failures.circuit_is_open(now, &self.policy.circuit) {
                        self.refuse_failed(now);
                    }
                    self.answer_sleepers_not_running();
                }
                Some(ContainerStatus::Error(Unusable::Removing)) => {
                    self.answer_sleepers_not_running();
                }
                Some(status) => self.refuse_unusable(&status),
            }
        } else if self.answers_for_itself() {
            self.probe_if_due(now);
        }
        // A lock that was met just now may have kept them waiting for long enough.
        self.answer_expired(now);
        self.tend_needs(now);
        self.tell_change(now);
        self.shared.set_awaited(!self.waiters.is_empty());
        self.shared.stand(self.standing(), self.outside.ended_at.or(self.sleep.requested_at));
    }

    /// Whether the belief is beyond doubt, and no order is about to change it. The look before a
    /// sleep doubts nothing.
    fn truth_is_known(&self) -> bool {
        self.order.is_none()
            && !self.stale
            && self.reading.as_ref().is_none_or(|reading| reading.before_sleep.is_some())
            && !matches!(self.belief, Belief::Unread)
    }

    /// What those who need it may rely on.
    fn standing(&self) -> Standing {
        if !self.truth_is_known() {
            return Standing::Unknown;
        }
        match self.belief.status() {
            Some(ContainerStatus::Running) if self.outside.stopping => Standing::Unknown,
            Some(ContainerStatus::Running) => Standing::Runs,
            Some(ContainerStatus::Error(Unusable::Restarting)) => Standing::Unknown,
            Some(_) if self.is_complete() => Standing::Complete,
            Some(_) | None => Standing::Down,
        }
    }

    fn has_begun_to_wake(&self) -> bool {
        self.wake.ordered_at.is_some() || self.wake.needs_until.is_some() || self.wake.is_queued
    }

    /// The phase that follows from what is known.
    fn phase_now(&self, now: Moment) -> PhaseName {
        if let Some(open) = &self.order {
            return if open.order.is_start() { PhaseName::Starting } else { PhaseName::Stopping };
        }
        match (&self.belief, self.belief.status()) {
            (Belief::Unread, _) => PhaseName::Unread,
            (_, Some(ContainerStatus::Running)) if self.proven.is_some() => PhaseName::Ready,
            (_, Some(ContainerStatus::Running)) => PhaseName::Probing,
            (_, Some(ContainerStatus::Stopped | ContainerStatus::Paused)) => {
                if self.failures.blocked_until(now).is_some() {
                    PhaseName::Failed
                } else if self.wake.wanted && self.has_begun_to_wake() {
                    PhaseName::Starting
                } else {
                    PhaseName::Asleep
                }
            }
            (_, Some(ContainerStatus::Error(Unusable::Restarting))) => PhaseName::Starting,
            (_, Some(ContainerStatus::Error(Unusable::Removing))) => PhaseName::Asleep,
            (_, Some(_)) => PhaseName::Failed,
            (_, None) if self.is_quiet(now) => PhaseName::Asleep,
            (_, None) => PhaseName::Gone,
        }
    }

    fn tell_change(&mut self, now: Moment) {
        let to = self.phase_now(now);
        if to == self.phase {
            return;
        }
        let from = std::mem::replace(&mut self.phase, to);
        let woken_in = match to {
            PhaseName::Ready => self.last_wake_took.filter(|_| from != PhaseName::Stopping),
            _ => None,
        };
        let took = woken_in.unwrap_or_else(|| now.since(self.since));
        self.since = now;
        // Those with whom it wakes have told the others; and that it is needed is no use of it.
        let is_used = self.wake.is_for_users && !self.wake.is_for_mates;
        if to == PhaseName::Starting && self.wake.wanted && is_used {
            self.effects.push(Effect::WakeBegins);
        }
        self.effects.push(Effect::Changed(Transition {
            from,
            to,
            reason: self.reason.clone(),
            took,
            is_wake: woken_in.is_some(),
            is_ended_from_outside: self.is_ended_from_outside(),
        }));
        if to == PhaseName::Ready {
            self.tell_mates_that_it_is_ready();
        }
        if to == PhaseName::Gone && self.outside.removed_asleep {
            self.effects.push(Effect::LostAsleep);
        }
    }

    /// When [`Input::Tick`] is due, if nothing else comes before.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let now = self.stepped_at;
        let known = self.truth_is_known();
        let running = known && self.belief.is_running();
        let blocked = self.failures.blocked_until(now);
        [
            self.next_expiry(now),
            self.sleepers.values().map(|sleeper| sleeper.deadline).min(),
            (self.stale && self.may_read()).then_some(self.read.not_before),
            self.recheck_at,
            ((running || self.answers_for_itself()) && self.may_probe())
                .then(|| self.next_probe_at()),
            (running && self.reading.is_none()).then_some(self.sleep.check_at),
            self.next_need_at(),
            known.then(|| self.next_look_at_mates()).flatten(),
            (known && self.wake.wanted && self.lost.is_none() && blocked.is_none())
                .then_some(self.wake.retry.not_before),
            blocked,
            self.outside.quiet_until,
            self.held_until(),
            known.then(|| self.next_deepening_look()).flatten(),
        ]
        .into_iter()
        .flatten()
        // What was due then and still stands was looked at in that step, and waits for an input.
        .filter(|at| *at > now)
        .min()
    }

    fn new_id(&mut self) -> EffectId {
        self.last_id += 1;
        EffectId(self.last_id)
    }

    fn is_quiet(&self, now: Moment) -> bool {
        self.outside.quiet_until.is_some_and(|until| until > now)
    }

    pub(crate) fn phase(&self) -> PhaseName {
        self.phase
    }

    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    pub(crate) fn reason(&self) -> &Reason {
        &self.reason
    }

    pub(crate) fn run(&self) -> Option<&RunId> {
        self.belief.run().filter(|_| self.belief.is_running())
    }

    pub(crate) fn lost_since(&self) -> Option<Moment> {
        self.lost.as_ref().map(|lost| lost.since)
    }

    /// Whether its engine is lost only in so far as it refuses to tell of this container.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.lost.as_ref().is_some_and(|lost| failures::is_of_permission(&lost.error))
    }

    /// Whether it sleeps since somebody else stopped or froze it.
    pub(crate) fn is_ended_from_outside(&self) -> bool {
        let sleeps = matches!(
            self.belief.status(),
            Some(ContainerStatus::Stopped | ContainerStatus::Paused)
        );
        sleeps && self.outside.ended_at.is_some()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn last_wake_took(&self) -> Option<Duration> {
        self.last_wake_took
    }

    pub(crate) fn next_idle_check(&self) -> Option<Moment> {
        (self.phase == PhaseName::Ready).then_some(self.sleep.check_at)
    }
}
