//! What goes into the core, and what comes out.

use std::{sync::Arc, time::Duration};

use drowse_provider::{Details, Error, StopOptions, WatchItem};

use crate::{NotReady, PhaseName, Policy, SleepError, WakeError};

use super::Moment;

/// Names one request for a lease or for sleep. Later requests have greater ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AskId(pub(crate) u64);

/// Names one effect; its result echoes it. A result of a withdrawn effect is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct EffectId(pub(crate) u64);

/// Something that the core is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// A lease is asked for, and the gate was shut. To be answered by `deadline`.
    Ask { id: AskId, deadline: Moment },
    /// Those who asked have gone.
    Withdraw(Vec<AskId>),
    /// Sleep is asked for, whatever the idle time. To be answered by `deadline`.
    SleepNow { id: AskId, deadline: Moment },
    /// An item of the provider's watch.
    Watched(Result<WatchItem, Error>),
    /// An order ended.
    OrderDone { id: EffectId, result: Result<(), Error> },
    /// A read ended.
    ReadDone { id: EffectId, result: Result<Arc<Details>, Error> },
    /// A probe ended.
    ProbeDone { id: EffectId, result: Result<(), NotReady> },
    /// The upstream of the run that became ready as number `epoch` refused, or closed early.
    UpstreamFailed { epoch: u64 },
    /// There is another policy from now on.
    PolicyChanged(Policy),
    /// The moment of [`Core::next_deadline`](super::Core::next_deadline) has come.
    Tick,
}

/// Something that the core wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Give the engine an order, with this long to carry it out.
    Order { id: EffectId, order: Order, within: Duration },
    /// Read the container. Before a sleep: only when the engine has a slot for the order that will
    /// follow, which is kept until the end of the step that takes the result.
    Read { id: EffectId, with_slot: bool },
    /// Probe the run that these details were read in.
    Probe { id: EffectId, details: Arc<Details>, elapsed: Duration },
    /// Hand out a lease, which is already counted in the word.
    Grant(AskId),
    /// Answer a request for a lease.
    Refuse(AskId, WakeError),
    /// Answer a request for sleep.
    SleepAnswer(AskId, Result<(), SleepError>),
    /// Tell that it went from one state to another.
    Changed(Transition),
    /// Tell that its container was removed while it slept, and is not there again: no request can
    /// wake it any more, and perhaps nobody knows.
    LostAsleep,
    /// Its idle time is over and leases keep it awake: tell which, if that was not told. `anew`: it
    /// is the first look of this time, and nothing was told yet.
    StaysAwake { anew: bool },
    /// Its idle time is over, and a lock keeps a sleep from it: told once.
    StaysAwakeLocked { by: String },
    /// A wake waits until something else is done with the container: told once.
    WakeWaitsForLock { by: String },
    /// Tell of an engine call that failed, and when it is tried again.
    Trouble { what: &'static str, error: Error, next_attempt: Duration },
}

/// What the engine may be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start it, or thaw it.
    Start,
    /// Stop it.
    Stop(StopOptions),
    /// Freeze it.
    Pause,
    /// Kill it.
    Kill,
}

impl Order {
    pub(crate) fn is_start(&self) -> bool {
        matches!(self, Self::Start)
    }
}

/// A change of state, for the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transition {
    pub(crate) from: PhaseName,
    pub(crate) to: PhaseName,
    pub(crate) reason: String,
    /// How long it was in `from`; for a change to ready: since the start order, if there was one.
    pub(crate) took: Duration,
}
