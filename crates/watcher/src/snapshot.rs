//! What a workload is doing, for those who look on.

use std::{fmt, time::Duration};

use drowse_provider::RunId;
use tokio::time::Instant;

use crate::{core::Reason, shared::Standing};

/// The states of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PhaseName {
    /// Its engine has not been read yet.
    Unread,
    /// Stopped or paused, and can be woken.
    Asleep,
    /// A start was ordered, or what it needs or its turn is waited for, or its engine is restarting it.
    Starting,
    /// It runs, and has not answered yet; a job: it runs, and has not ended yet.
    Probing,
    /// It runs, and was observed to serve.
    Ready,
    /// Being put to sleep.
    Stopping,
    /// A start was refused or the process ended; no new start until the back-off ends.
    Failed,
    /// There is no such container.
    Gone,
}

impl PhaseName {
    /// The lower-case word that logs, tables and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Asleep => "asleep",
            Self::Starting => "starting",
            Self::Probing => "probing",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a workload is doing at one moment, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its state.
    pub phase: PhaseName,
    /// Since when.
    pub since: Instant,
    /// Why it came to that state, in words: a lower-case fragment.
    pub reason: String,
    /// Its present run, if it runs.
    pub run: Option<RunId>,
    /// Since when its engine has been out of reach, if it is.
    pub engine_lost_since: Option<Instant>,
    /// Whether that is for want of a right: it answers, and refuses to tell of this container.
    pub is_forbidden: bool,
    /// How many requests wait for it to wake.
    pub waiting: usize,
    /// What the last attempt to use it met, while it is not ready.
    pub last_error: Option<String>,
    /// It cannot be used since drowse lacks a right on its engine, or its credential is not accepted.
    /// `reason` and `last_error` may name the right, and where it lacks: nothing for strangers.
    pub lacks_right: bool,
    /// How long the last wake took, from the start order to ready.
    pub last_wake_took: Option<Duration>,
    /// When it will be looked at for idleness next.
    pub next_idle_check: Option<Instant>,
    /// When it will sleep if nothing uses it until then; `None` while something keeps it awake, and
    /// while it sleeps (but for the stop that follows a pause). Leases come and go without a change
    /// being told: [`Workload::snapshot`](crate::Workload::snapshot) knows of them, a snapshot that was
    /// watched is as old as it is.
    pub next_sleep: Option<Instant>,
    /// What it needs and waits for before its own start, by name. Ordered.
    pub waiting_for: Vec<String>,
    /// It is a job that has run to its end with exit code 0.
    pub is_complete: bool,
    /// What spoke against a sleep when it was last due, beside leases.
    pub vetoed_by: Option<String>,
    /// Until when no start is tried after failures.
    pub blocked_until: Option<Instant>,
    /// Why nothing wakes it, if somebody holds it asleep.
    pub held_asleep: Option<String>,
    /// Whether it sleeps since somebody else stopped or froze it: their will.
    pub is_ended_from_outside: bool,
    /// Whether it is awake only since others need it: it sleeps after them, whatever its idle time. Told
    /// as `next_sleep` is.
    pub is_for_others: bool,
    /// What those who need it may rely on.
    pub(crate) standing: Standing,
    pub(crate) awaits_use_since: Option<Instant>,
}

impl Snapshot {
    /// Nothing is known yet.
    pub(crate) fn unread(since: Instant) -> Self {
        Self {
            phase: PhaseName::Unread,
            since,
            reason: Reason::Unread.to_string(),
            run: None,
            engine_lost_since: None,
            is_forbidden: false,
            waiting: 0,
            last_error: None,
            lacks_right: false,
            last_wake_took: None,
            next_idle_check: None,
            next_sleep: None,
            waiting_for: Vec::new(),
            is_complete: false,
            vetoed_by: None,
            blocked_until: None,
            held_asleep: None,
            is_ended_from_outside: false,
            is_for_others: false,
            standing: Standing::Unknown,
            awaits_use_since: None,
        }
    }
}
