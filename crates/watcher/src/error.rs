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
    /// It sleeps, and a passive request does not wake it.
    #[error("asleep")]
    Asleep,
    /// The workload is no longer managed.
    #[error("no longer managed")]
    Closed,
}

/// Why a workload was not put to sleep on request.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SleepError {
    /// It is in use.
    #[error("in use: {leases} lease(s) held by {}", holders.join(", "))]
    InUse {
        /// How many leases are held or waited for.
        leases: u32,
        /// Who holds them.
        holders: Vec<String>,
    },
    /// It was not asleep by the deadline; drowse keeps trying.
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
