//! The invariants of safety, checked at each step by what engines and clients see themselves. Nothing
//! here looks into drowse.

mod orders;

use std::{fmt, time::Duration};

use drowse_provider::{
    ContainerStatus, Details, ErrorKind, Event, EventAction, Observation, RunId, Signal, WatchItem,
};
use drowse_watcher::{Condition, Force, Policy, Role};

use crate::{
    plan::{Verdict, WorkloadPlan},
    world::{Order, World},
};

/// The invariants of the design, by their numbers there, and what goes without saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Nothing in use is put to sleep.
    InUse,
    /// Nobody is told "ready" of what was not observed ready.
    Ready,
    /// At most one order is unresolved.
    OneOrder,
    /// Everybody is answered in time.
    Answered,
    /// What nobody uses is asleep.
    Asleep,
    /// Nothing starts before what it needs, or sleeps before what needs it.
    Needs,
    /// What is shown is true.
    Truth,
    /// A crash of drowse harms nothing.
    Adopted,
    /// Engine calls do not grow with requests.
    Calls,
    /// A job that is complete is not run again.
    Once,
    /// What somebody holds is left so.
    Held,
    /// What never wakes never waits.
    Passive,
    /// What has died under others is woken again.
    Repaired,
    /// No task panics.
    Panic,
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InUse => "1 (nothing in use is put to sleep)",
            Self::Ready => "2 (ready is what was observed ready)",
            Self::OneOrder => "3 (one order at a time)",
            Self::Answered => "4 (everybody is answered in time)",
            Self::Asleep => "5 (what nobody uses is asleep)",
            Self::Needs => "6 (needs come first and go last)",
            Self::Truth => "7 (what is shown is true)",
            Self::Adopted => "8 (a crash harms nothing)",
            Self::Calls => "9 (calls do not grow with requests)",
            Self::Once => "a complete job is not run again",
            Self::Held => "what somebody holds is left so",
            Self::Passive => "a passive request neither wakes nor waits",
            Self::Repaired => "6 (what died under others is woken again)",
            Self::Panic => "no task panics",
        })
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What happened.
    pub what: String,
    /// When, since the world's beginning.
    pub at: Duration,
}

/// What engines, clients and whoever else has to do with a workload remember of it.
#[derive(Debug)]
pub(crate) struct Record {
    // What clients know.
    pub(crate) active: u32,
    pub(crate) passive: u32,
    pub(crate) last_use: Option<Duration>,
    /// Who asked for its sleep and was not answered yet; and when the last of them was.
    sleeps_wanted: u32,
    slept_on_request: Option<Duration>,
    /// The same, of those who want it whoever uses it.
    forces_wanted: u32,
    forced: Option<Duration>,

    // What drowse was told in this management of it.
    managed_since: Option<Duration>,
    pub(crate) observed: Option<Observation>,
    /// The run that went on when it was first read.
    adopted: Option<RunId>,
    /// The run that answered a probe, with nothing told since that speaks against it.
    pub(crate) proven: Option<RunId>,
    /// When it was last read, and that was answered.
    read_at: Option<Duration>,
    /// The last run that a client was given.
    given: Option<RunId>,
    /// The last run that ever did.
    was_proven: Option<RunId>,
    /// When it was last proven, if it is not any more.
    lost_proof: Option<Duration>,
    /// When it was last observed running, if it is not any more.
    stopped_running: Option<Duration>,

    // What its engine knows of drowse.
    in_flight: Option<Order>,
    /// An order was answered then, and only a read tells what came of it.
    unsettled: Option<Duration>,
    calls: u64,

    /// As it was set last.
    pub(crate) policy: Policy,
    /// Its idle time, or the one before, while nobody knows whether the new one counts yet.
    pub(crate) least_idle: Duration,
    pub(crate) last_change: u64,
    pub(crate) gate: (Verdict, Duration),
    /// When the last question was asked that was answered with "may sleep".
    gate_allowed: Option<Duration>,
}

impl Record {
    pub(crate) fn new(plan: &WorkloadPlan) -> Self {
        Self {
            active: 0,
            passive: 0,
            last_use: None,
            sleeps_wanted: 0,
            slept_on_request: None,
            forces_wanted: 0,
            forced: None,
            managed_since: None,
            observed: None,
            adopted: None,
            proven: None,
            read_at: None,
            given: None,
            was_proven: None,
            lost_proof: None,
            stopped_running: None,
            in_flight: None,
            unsettled: None,
            calls: 0,
            policy: plan.policy.clone(),
            least_idle: plan.policy.idle,
            last_change: 0,
            gate: (Verdict::Idle, Duration::ZERO),
            gate_allowed: None,
        }
    }

    pub(crate) fn is_observed_alive(&self) -> bool {
        self.observed.as_ref().is_some_and(|seen| seen.status == ContainerStatus::Running)
    }
}

impl World {
    /// Drowse begins to manage it.
    pub(crate) fn managed(&mut self, index: usize) {
        self.step(format_args!("w{index} is managed"));
        let now = self.now();
        // Who saw it ready in an earlier management may still act upon that.
        self.observes(index, None);
        let record = &mut self.records[index];
        record.managed_since = Some(now);
        record.observed = None;
        record.adopted = None;
        record.in_flight = None;
        record.unsettled = None;
        record.gate_allowed = None;
    }

    /// Drowse was killed, and all that it served ended with it.
    pub(crate) fn all_uses_end(&mut self) {
        let now = self.now();
        for machine in &mut self.engines {
            machine.orders = 0;
            machine.full_since = None;
        }
        for record in &mut self.records {
            if record.active > 0 {
                record.last_use = Some(now);
            }
            record.active = 0;
            record.passive = 0;
            record.sleeps_wanted = 0;
            record.forces_wanted = 0;
            record.managed_since = None;
        }
    }

    fn loses_proof(&mut self, index: usize) {
        let now = self.now();
        let record = &mut self.records[index];
        if record.proven.take().is_some() {
            record.lost_proof = Some(now);
        }
    }

    fn observes(&mut self, index: usize, seen: Option<&Observation>) {
        let now = self.now();
        let record = &mut self.records[index];
        let is_proven = record.proven.as_ref();
        let goes_on = seen.is_some_and(|seen| {
            seen.status == ContainerStatus::Running && seen.run.as_ref() == is_proven
        });
        if is_proven.is_some() && !goes_on {
            self.loses_proof(index);
        }
        let record = &mut self.records[index];
        if record.is_observed_alive() {
            record.stopped_running = Some(now);
        }
    }

    /// Its workload takes an item of its watch.
    pub(crate) fn told(&mut self, index: usize, item: &Result<WatchItem, ErrorKind>) {
        match item {
            Ok(WatchItem::Synced(seen)) => {
                self.step(format_args!("w{index} is told {} {:?}", seen.status, seen.run));
                self.observes(index, Some(seen));
            }
            Ok(WatchItem::Removed) => {
                self.step(format_args!("w{index} is told that it is gone"));
                self.observes(index, None);
            }
            Ok(WatchItem::Event(event)) => {
                self.step(format_args!("w{index} is told {:?}", event.action));
                if self.speaks_against(index, event) {
                    self.loses_proof(index);
                }
            }
            Ok(_) => {}
            Err(kind) => self.step(format_args!("w{index} is told: {kind}")),
        }
    }

    fn speaks_against(&self, index: usize, event: &Event) -> bool {
        let proven = self.records[index].proven.as_ref();
        let is_of_it = event.run.is_none() || event.run.as_ref() == proven;
        let is_an_end = matches!(
            &event.action,
            EventAction::Die(_)
                | EventAction::Pause
                | EventAction::Stop
                | EventAction::Kill(Some(Signal::TERM | Signal::KILL))
        );
        is_of_it && is_an_end
    }

    /// A read of it is answered.
    pub(crate) fn read_answered(
        &mut self,
        index: usize,
        began: Duration,
        result: &Result<Details, ErrorKind>,
    ) {
        let seen = match result {
            Ok(details) => Some(details.observation.clone()),
            Err(ErrorKind::NotFound) => None,
            Err(kind) => return self.step(format_args!("w{index} is not read: {kind}")),
        };
        match &seen {
            Some(seen) => {
                self.step(format_args!("w{index} is read: {} {:?}", seen.status, seen.run));
            }
            None => self.step(format_args!("w{index} is read: not there")),
        }
        self.observes(index, seen.as_ref());
        let now = self.now();
        let record = &mut self.records[index];
        record.read_at = Some(now);
        if record.observed.is_none() && record.adopted.is_none() {
            let running = seen.as_ref().filter(|seen| seen.status == ContainerStatus::Running);
            record.adopted = running.and_then(|seen| seen.run.clone());
        }
        // Of a container that is not there: it was read, and does not run.
        record.observed =
            Some(seen.unwrap_or_else(|| Observation::new(ContainerStatus::Stopped, None)));
        if record.unsettled.is_some_and(|answered| began >= answered) {
            record.unsettled = None;
        }
    }

    /// A probe of this run was answered.
    pub(crate) fn probed(&mut self, index: usize, run: Option<&RunId>) {
        self.step(format_args!("w{index} answers a probe of {run:?}"));
        let record = &mut self.records[index];
        let is_present = record.is_observed_alive()
            && record.observed.as_ref().is_some_and(|seen| seen.run.as_ref() == run);
        if !is_present {
            // A late answer: drowse knows that this run is over.
            return;
        }
        record.proven = run.cloned();
        record.was_proven = run.cloned();
    }

    /// A client has a lease, for this run.
    pub(crate) fn granted(&mut self, index: usize, is_passive: bool, run: Option<&RunId>) {
        self.step(format_args!("w{index} is given: {run:?}"));
        let now = self.now();
        let record = &mut self.records[index];
        record.given = run.cloned();
        *(if is_passive { &mut record.passive } else { &mut record.active }) += 1;
        // Drowse may have been told of its end at this moment, after it gave the lease.
        let was_so = record.lost_proof == Some(now) && record.was_proven.as_ref() == run;
        let is_so = record.proven.is_some() && record.proven.as_ref() == run;
        if !is_so && !was_so {
            let what = format!("w{index} is given for {run:?}, and proven is {:?}", record.proven);
            self.violated(Invariant::Ready, what);
        }
        self.check_chain(index);
    }

    /// A lease was given of a job: it says that it is complete.
    pub(crate) fn job_granted(&mut self, index: usize) {
        self.step(format_args!("w{index} is given: complete"));
        if !self.is_observed_complete(index) {
            self.violated(Invariant::Ready, format_args!("w{index} is said to be complete"));
        }
    }

    /// Whether drowse has seen this job at its end, with success.
    pub(crate) fn is_observed_complete(&self, index: usize) -> bool {
        self.records[index].observed.as_ref().is_some_and(|seen| {
            seen.status == ContainerStatus::Stopped && seen.exit_code == Some(0)
        })
    }

    /// What was woken when nothing goes wrong any more has all that it needs.
    fn check_chain(&mut self, index: usize) {
        let woken_in_calm =
            self.calm_since.is_some_and(|since| self.containers[index].began >= since);
        let plan = self.plan.clone();
        for (needed, condition) in &plan.workloads[index].needs {
            let container = &self.containers[*needed];
            let is_there = match condition {
                Condition::Completed => container.exit == Some(0),
                _ if plan.workloads[*needed].policy.role == Role::Job => true,
                _ => container.is_running(),
            };
            if woken_in_calm && !is_there {
                self.violated(Invariant::Needs, format_args!("w{index} serves without w{needed}"));
            }
        }
    }

    /// It gives it back.
    pub(crate) fn given_back(&mut self, index: usize, is_passive: bool) {
        if !self.is_lived_in() {
            // All uses have ended with that life; its tasks are dropped in any order.
            return;
        }
        self.step(format_args!("w{index} is given back"));
        let now = self.now();
        let record = &mut self.records[index];
        let count = if is_passive { &mut record.passive } else { &mut record.active };
        *count = count.saturating_sub(1);
        if !is_passive {
            record.last_use = Some(now);
        }
    }

    /// Somebody asks for its sleep.
    pub(crate) fn sleep_wanted(&mut self, index: usize, force: Force) {
        let record = &mut self.records[index];
        record.sleeps_wanted += 1;
        record.forces_wanted += u32::from(force == Force::EvenInUse);
    }

    /// They were answered.
    pub(crate) fn sleep_answered(&mut self, index: usize, force: Force) {
        let now = self.now();
        let record = &mut self.records[index];
        record.sleeps_wanted = record.sleeps_wanted.saturating_sub(1);
        record.slept_on_request = Some(now);
        if force == Force::EvenInUse {
            record.forces_wanted = record.forces_wanted.saturating_sub(1);
            record.forced = Some(now);
        }
    }

    pub(crate) fn gate_asked(&mut self, index: usize) -> Verdict {
        let (says, until) = self.records[index].gate;
        let verdict = if until > self.now() && !self.is_calm { says } else { Verdict::Idle };
        self.step(format_args!("w{index} is asked whether it may sleep: {verdict:?}"));
        verdict
    }

    /// A question of this moment was answered with yes.
    pub(crate) fn gate_allowed(&mut self, index: usize, asked: Duration) {
        self.records[index].gate_allowed = Some(asked);
    }
}
