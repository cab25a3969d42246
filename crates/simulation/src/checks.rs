//! The invariants of safety, checked at each step by what engines and clients see themselves. Nothing
//! here looks into drowse.

mod asleep;
mod calls;
mod mates;
mod orders;
mod told;
mod used;

use std::{fmt, time::Duration};

use drowse_provider::{ContainerStatus, Observation, RunId};
use drowse_watcher::Policy;

use self::orders::NOTICED_WITHIN;

use crate::{
    plan::{Verdict, WorkloadPlan},
    world::Order,
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
    /// A group wakes and sleeps as one.
    Together,
    /// An engine is given no more orders at a time than it may be.
    InTurn,
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
            Self::Together => "a group wakes and sleeps together",
            Self::InTurn => "an engine is given a few orders at a time",
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
    /// When its last time of use began: since then it was used without a gap, until its last use.
    used_since: Option<Duration>,
    /// Who asked for its sleep and was not answered yet; and when the last of them was.
    sleeps_wanted: u32,
    slept_on_request: Option<Duration>,
    /// The same, of those who want it whoever uses it.
    forces_wanted: u32,
    forced: Option<Duration>,

    // What drowse was told in this management of it.
    managed_since: Option<Duration>,
    /// When the last one ended that was followed by another.
    managed_until: Option<Duration>,
    /// Since when it is in its group, if it is in one.
    mate_since: Option<Duration>,
    pub(crate) observed: Option<Observation>,
    /// The run that went on when it was first read.
    adopted: Option<RunId>,
    /// When that was.
    adopted_at: Option<Duration>,
    /// The run that was last told to have started, or to run.
    told_run: Option<RunId>,
    /// When it was last proven after a time in which it was not: also what was thawed has been woken.
    proven_at: Option<Duration>,
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
            used_since: None,
            sleeps_wanted: 0,
            slept_on_request: None,
            forces_wanted: 0,
            forced: None,
            managed_since: None,
            managed_until: None,
            mate_since: None,
            observed: None,
            adopted: None,
            adopted_at: None,
            told_run: None,
            proven_at: None,
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

    /// Until when it was told what was set: between two managements it is told nothing.
    fn told_until(&self, now: Duration) -> Duration {
        let since = self.managed_since.unwrap_or_default();
        match self.managed_until {
            Some(until) if since <= until || since + NOTICED_WITHIN > now => until,
            _ => now,
        }
    }

    pub(crate) fn is_observed_alive(&self) -> bool {
        self.observed.as_ref().is_some_and(|seen| seen.status == ContainerStatus::Running)
    }
}
