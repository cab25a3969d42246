//! Why a lease was not given.

use std::time::Duration;

use crate::PhaseName;

/// Why a lease was not given. Every request for one is answered by its deadline: with a lease, or
/// with one of these.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WakeError {
    /// There is no such container on the engine.
    #[error("there is no such container")]
    NotFound,
    /// A start was refused, or the process ended; the next attempt is not made before
    /// `retry_after`.
    #[error("it does not start: {reason}")]
    Failed {
        /// What happened, in words.
        reason: String,
        /// The process's exit code, if it came to one.
        exit: Option<i64>,
        /// When an attempt is made again.
        retry_after: Duration,
        /// The engine's refusal, if it was one.
        #[source]
        source: Option<drowse_provider::Error>,
    },
    /// The deadline passed before it was ready. The wake goes on.
    #[error("not ready after {after:?} ({phase}): {reason}")]
    Timeout {
        /// How long this request was held.
        after: Duration,
        /// What it was doing when the deadline passed.
        phase: PhaseName,
        /// What was being waited for.
        reason: String,
    },
    /// The engine cannot be reached; sleeping containers cannot be woken.
    #[error("the engine cannot be reached")]
    EngineUnavailable {
        /// When to try again.
        retry_after: Duration,
        /// What the engine, or the way to it, said.
        #[source]
        source: drowse_provider::Error,
    },
    /// The engine does not let drowse see or start it. Whatever is ready serves on; the next attempt
    /// after the rights are there again succeeds.
    #[error("{}", source.kind())]
    NotPermitted {
        /// When to try again.
        retry_after: Duration,
        /// What was refused: it names the right, where the engine tells.
        #[source]
        source: drowse_provider::Error,
    },
    /// Something else holds the container; the wake goes on when that is done.
    #[error("locked: {by}")]
    Locked {
        /// Who holds it.
        by: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Something that it needs does not wake.
    #[error("it needs `{name}`, which is not ready")]
    Dependency {
        /// The workload that it needs.
        name: String,
        /// Why that one is not ready.
        #[source]
        source: Box<WakeError>,
    },
    /// Somebody holds it asleep: nothing wakes it until it is released.
    #[error("held asleep: {reason}")]
    HeldAsleep {
        /// Why, in the words of whoever holds it.
        reason: String,
        /// When it is released, if that is planned.
        retry_after: Option<Duration>,
    },
    /// What is said of it contradicts itself (a cycle, a dependency that is not there). What runs
    /// serves on.
    #[error("its configuration is in error: {reason}")]
    Misconfigured {
        /// What is wrong.
        reason: String,
    },
    /// It sleeps, and a passive request does not wake it.
    #[error("asleep")]
    Asleep,
    /// The workload is no longer managed.
    #[error("no longer managed")]
    Closed,
}

impl WakeError {
    /// When to ask again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed { retry_after, .. }
            | Self::EngineUnavailable { retry_after, .. }
            | Self::NotPermitted { retry_after, .. }
            | Self::Locked { retry_after, .. } => Some(*retry_after),
            Self::HeldAsleep { retry_after, .. } => *retry_after,
            Self::Dependency { source, .. } => source.retry_after(),
            Self::NotFound
            | Self::Timeout { .. }
            | Self::Misconfigured { .. }
            | Self::Asleep
            | Self::Closed => None,
        }
    }

    /// Whether it may stay so for weeks, since only people mend it: drowse lacks a right, the container is
    /// gone, what is said of it is in error; of it, or of what it needs.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::NotPermitted { .. } | Self::NotFound | Self::Misconfigured { .. } => true,
            Self::Dependency { source, .. } => source.is_lasting(),
            _ => false,
        }
    }
}

/// Why a workload was not put to sleep on request.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SleepError {
    /// It is in use, or something beside leases says that it is.
    #[error("in use: {}", in_use(*leases, holders))]
    InUse {
        /// How many leases are held or waited for; none, if a stop gate says that it is busy.
        leases: u32,
        /// Who holds them, or what the gate says.
        holders: Vec<String>,
    },
    /// It was not asleep by the deadline. An order that its engine was given is seen through; where none
    /// was, nothing more is tried for this request, and it sleeps when its idle time is over.
    #[error("not asleep after {after:?}: {reason}")]
    Timeout {
        /// How long it was waited.
        after: Duration,
        /// What was being waited for.
        reason: String,
    },
    /// It cannot be put to sleep.
    #[error("{reason}")]
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// The workload is no longer managed.
    #[error("no longer managed")]
    Closed,
}

fn in_use(leases: u32, holders: &[String]) -> String {
    match (leases, holders) {
        (0, holders) => holders.join(", "),
        (waiting, []) => format!("{waiting} request(s) wait for it"),
        (leases, holders) => format!("{leases} lease(s) held by {}", holders.join(", ")),
    }
}
