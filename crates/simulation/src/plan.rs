//! What a world is made of, and all that will happen in it of itself: a list, so that it can be thinned.

mod make;

use std::time::Duration;

use drowse_watcher::{Condition, Policy};

/// How many groups there may be in one world.
pub(crate) const GROUPS: usize = 2;

/// A world: what is in it, and what happens. Everything else follows from the seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From which it was made; the latencies are drawn from it as well.
    pub seed: u64,
    pub(crate) engines: Vec<EnginePlan>,
    pub(crate) workloads: Vec<WorkloadPlan>,
    pub(crate) happenings: Vec<Planned>,
    /// When nothing more happens.
    pub(crate) until: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct EnginePlan {
    /// How many orders drowse gives it at a time.
    pub(crate) slots: usize,
    /// Whether its events say of which run they are.
    pub(crate) tells_runs: bool,
    /// The longest that it takes for an order, in ms.
    pub(crate) slowest: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct WorkloadPlan {
    /// It was taken out of this world.
    pub(crate) is_out: bool,
    pub(crate) engine: usize,
    pub(crate) policy: Policy,
    /// Of others, all with smaller numbers: there is no cycle.
    pub(crate) needs: Vec<(usize, Condition)>,
    /// It is used together with the others of this group.
    pub(crate) group: Option<usize>,
    /// It is asked before each sleep whether it is busy.
    pub(crate) has_gate: bool,
    /// Its engine starts it again when it ends by itself, and when the engine itself restarts.
    pub(crate) restarts: bool,
    pub(crate) runs_at_first: bool,
    /// How long it takes to serve, at most, in ms.
    pub(crate) slowest_start: u64,
    /// It takes no notice when it is asked to end.
    pub(crate) is_deaf: bool,
    /// How often its runs end with another code than 0, if it is a job, in a hundred.
    pub(crate) fails: u64,
}

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) what: Happening,
}

/// What happens of itself.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A client uses it.
    Request(Request),
    /// So many of them at once.
    Herd(Request, u32),
    /// Somebody wants it asleep.
    SleepNow { workload: usize, patience: Duration, is_forced: bool },
    /// Somebody holds it asleep, and releases it after a while, or it is released by itself then.
    HoldAsleep { workload: usize, lasts: Duration, ends_by_itself: bool },
    /// Somebody holds it awake for a while.
    KeepAwake { workload: usize, lasts: Duration },
    /// Somebody wants its failures forgotten.
    CloseCircuit { workload: usize },
    /// Somebody has to do with the container, past drowse.
    Outside { workload: usize, deed: Deed },
    /// Its process ends.
    Crash { workload: usize, exit: i64 },
    /// The process of its next run ends so soon after its start.
    Doom { workload: usize, after: Duration, exit: i64 },
    /// What becomes of its next order.
    Misorder { workload: usize, fault: OrderFault },
    /// What becomes of its next read.
    Misread { workload: usize, fault: ReadFault },
    /// A backup holds it.
    Lock { workload: usize, lasts: Duration },
    /// Events are told to nobody.
    Deaf { engine: usize, lasts: Duration },
    /// Events are told twice.
    Echo { engine: usize, lasts: Duration },
    /// Events are told late, and not in their order.
    Lag { engine: usize, lasts: Duration },
    /// The engine cannot be reached; its containers live on.
    Outage { engine: usize, lasts: Duration, is_silent: bool },
    /// It restarts; its containers die with it, or live on.
    EngineRestarts { engine: usize, lasts: Duration, containers_die: bool },
    /// Drowse is killed, and started again after a while; what it stored may be lost.
    DrowseIsKilled { down: Duration, store_is_lost: bool },
    /// Drowse writes into its store what it knows.
    Store,
    /// Its management ends and begins anew.
    Remanage { workload: usize },
    /// It gets another idle time.
    Idle { workload: usize, idle: Duration },
    /// What is said of what it needs changes: it is in error for so long; or one of them is needed no
    /// more, for a while.
    Rewire { workload: usize, error: Option<Duration> },
    /// What is asked before its sleeps says so for a while.
    Gate { workload: usize, says: Verdict, lasts: Duration },
    /// The machine sleeps: afterwards it is later, at once.
    Suspend { lasts: Duration },
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) workload: usize,
    /// Whether it never wakes.
    pub(crate) is_passive: bool,
    pub(crate) patience: Duration,
    /// How long it is used once it was given.
    pub(crate) held: Duration,
    /// Its client goes away so soon, whatever it was told.
    pub(crate) abandoned: Option<Duration>,
}

/// What somebody does to a container by its engine's own means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Start,
    Stop,
    Kill,
    Pause,
    Unpause,
    /// A signal that ends nothing.
    Reload,
    Remove,
    /// Stopped, removed, made again and started.
    Update,
    /// Made again, if it is not there.
    Create,
}

/// What becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderFault {
    /// It is refused, and not carried out.
    Refused,
    /// Something else holds the container for a moment, says the engine.
    Locked,
    /// The connection breaks before it was taken.
    NotTaken,
    /// It is taken and carried out; the connection breaks before the answer.
    AnswerLost,
    /// Neither carried out nor answered.
    Hangs,
    /// Carried out when nobody waits any more.
    TooLate,
    /// Answered as carried out, and not carried out.
    AnsweredNotDone,
    /// Carried out at once, answered much later.
    AnsweredLate,
}

/// What becomes of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFault {
    Fails,
    Hangs,
    /// What is answered was true some seconds ago.
    Late,
}

/// What is said when it is asked whether a workload may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Idle,
    Busy,
    /// Nothing.
    Hangs,
}

impl Happening {
    /// The workload that it is about, if it is about one.
    pub(crate) fn workload(&self) -> Option<usize> {
        match self {
            Self::Request(request) | Self::Herd(request, _) => Some(request.workload),
            Self::SleepNow { workload, .. }
            | Self::HoldAsleep { workload, .. }
            | Self::KeepAwake { workload, .. }
            | Self::CloseCircuit { workload }
            | Self::Outside { workload, .. }
            | Self::Crash { workload, .. }
            | Self::Doom { workload, .. }
            | Self::Misorder { workload, .. }
            | Self::Misread { workload, .. }
            | Self::Lock { workload, .. }
            | Self::Remanage { workload }
            | Self::Idle { workload, .. }
            | Self::Rewire { workload, .. }
            | Self::Gate { workload, .. } => Some(*workload),
            Self::Deaf { .. }
            | Self::Echo { .. }
            | Self::Lag { .. }
            | Self::Outage { .. }
            | Self::EngineRestarts { .. }
            | Self::DrowseIsKilled { .. }
            | Self::Store
            | Self::Suspend { .. } => None,
        }
    }
}

impl Plan {
    /// The same world without this workload.
    #[must_use]
    pub(crate) fn without_workload(&self, index: usize) -> Self {
        let mut plan = self.clone();
        plan.workloads[index].is_out = true;
        for workload in &mut plan.workloads {
            workload.needs.retain(|(needed, _)| *needed != index);
        }
        plan.happenings.retain(|planned| planned.what.workload() != Some(index));
        plan
    }

    /// The same world, in which these do not happen.
    #[must_use]
    pub(crate) fn without_happenings(&self, range: std::ops::Range<usize>) -> Self {
        let mut plan = self.clone();
        plan.happenings.drain(range);
        plan
    }

    /// The others of its group.
    pub(crate) fn mates(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        let group = self.workloads[index].group;
        let is_mate = |other: &usize| {
            *other != index && group.is_some() && self.workloads[*other].group == group
        };
        let mates: Vec<usize> = self.present().filter(is_mate).collect();
        mates.into_iter()
    }

    /// Those that are in it.
    pub(crate) fn present(&self) -> impl Iterator<Item = usize> + use<> {
        let present: Vec<usize> =
            (0..self.workloads.len()).filter(|index| !self.workloads[*index].is_out).collect();
        present.into_iter()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for index in self.present() {
            writeln!(formatter, "w{index}: {:?}", self.workloads[index])?;
        }
        for Planned { at, what } in &self.happenings {
            writeln!(formatter, "{at:>12?} {what:?}")?;
        }
        Ok(())
    }
}
