//! What goes into the core, and what comes out.

use std::{sync::Arc, time::Duration};

use drowse_provider::{Details, Error, StopOptions, WatchItem};

use crate::{
    Busy, Force, LeaseKind, NotReady, PhaseName, Policy, SleepError, WakeError, need::NeedSeen,
};

use super::{Held, Moment, NeedsNow, Reason};

/// Names one request for a lease or for sleep. Later requests have greater ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AskId(pub(crate) u64);

/// Names one effect; its result echoes it. A result of a withdrawn effect is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct EffectId(pub(crate) u64);

/// Something that the core is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// A lease of this kind is asked for, and the gate was shut. To be answered by `deadline`.
    Ask { id: AskId, kind: LeaseKind, deadline: Moment },
    /// Those who asked have gone.
    Withdraw(Vec<AskId>),
    /// Sleep is asked for, whatever the idle time. To be answered by `deadline`.
    SleepNow { id: AskId, deadline: Moment, force: Force },
    /// Somebody holds it asleep from now on, or nobody does any more.
    HoldAsleep(Option<Held>),
    /// Its failures are to be forgotten: somebody wants it to be started again.
    CloseCircuit,
    /// The gates answered, or did not in time.
    GatesAnswered { id: EffectId, result: Result<(), Busy> },
    /// An item of the provider's watch.
    Watched(Result<WatchItem, Error>),
    /// An order ended.
    OrderDone { id: EffectId, result: Result<(), Error> },
    /// A read ended.
    ReadDone { id: EffectId, result: Result<Arc<Details>, Error> },
    /// A probe ended.
    ProbeDone { id: EffectId, result: Result<(), NotReady> },
    /// The upstream of the run that became ready as number `epoch` refused, or closed early: so say those
    /// who report it, the last of them with this number.
    UpstreamFailed { epoch: u64, number: u64 },
    /// There is another policy from now on.
    PolicyChanged(Policy),
    /// Its engine carries out as many orders as it may: this start was not given, and waits for its turn.
    OrderQueued { id: EffectId },
    /// Its turn has come: what is ordered in this step is given.
    TurnHasCome,
    /// A dependent has let go of it, perhaps the last one; or another of its group is ready, or has fallen
    /// asleep.
    LetGo,
    /// Another of its group wakes.
    MateWakes,
    /// It needs others than before.
    NeedsChanged(NeedsNow),
    /// What it needs was looked at, while it was held: all of it, in the order of the numbers.
    NeedsSeen(Vec<NeedSeen>),
    /// What it needs, and asked to wake, is awake or does not wake.
    NeedAnswered { id: EffectId, result: Result<(), WakeError> },
    /// The moment of [`Core::next_deadline`](super::Core::next_deadline) has come.
    Tick,
}

/// Something that the core wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Give the engine an order, with this long to carry it out. A start that it has no slot for is
    /// answered by [`Input::OrderQueued`]; a sleep has one, from the look before it.
    Order { id: EffectId, order: Order, within: Duration },
    /// Read the container. Before a sleep: only when the engine has a slot for the order that will
    /// follow, which is kept until the end of the step that takes the result.
    Read { id: EffectId, with_slot: bool },
    /// Probe the run that these details were read in.
    Probe { id: EffectId, details: Arc<Details>, elapsed: Duration },
    /// A wake begins: the others of its group are to wake, too.
    WakeBegins,
    /// It is ready: those of its group that sleep and were not to may follow.
    ReadyForMates,
    /// It sleeps, and the others of its group had no part in that: if one of them is in use, it is to
    /// wake, too.
    LookAtMates,
    /// It fell asleep, and nobody had asked for that: look again at the others of its group.
    FellAsleep,
    /// Hold all that it needs, then look at it.
    HoldNeeds,
    /// Let go of all that it needs: it wakes nothing any more, and keeps nothing awake.
    LetNeedsGo,
    /// Wake what it needs, the one of this number.
    WakeNeed { id: EffectId, need: usize, deadline: Moment },
    /// Ask its gates whether it may sleep, and give them this long. Who does not answer is busy.
    AskGates { id: EffectId, details: Arc<Details>, within: Duration },
    /// Say to what it needs, the one of this number, that it is used: through this one.
    UseThrough { need: usize },
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
    /// Its idle time is over, and this speaks against a sleep: told once for each who says so.
    StaysAwakeBusy(Busy),
    /// A sleep is ordered though it is in use: by this many leases and requests.
    CutShort { uses: u32 },
    /// It is held asleep from now on, for this reason, or no more.
    HeldAsleep(Option<Box<str>>),
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
    pub(crate) reason: Reason,
    /// How long it was in `from`; for a change to ready: since the start order, if there was one.
    pub(crate) took: Duration,
    /// It is ready by a wake, which took that long.
    pub(crate) is_wake: bool,
    /// It sleeps since somebody else stopped or froze it.
    pub(crate) is_ended_from_outside: bool,
}
