//! What can go wrong with a call, and what it means.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use crate::Upid;

/// A failed call.
///
/// `was_sent` is about orders: whether this one may have arrived, so that only a read of the state
/// tells whether it was taken. Of a read it is `false`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No endpoint could be reached, or the connection broke.
    #[error("`{endpoint}` cannot be reached: {reason}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// What happened and how to mend it: a lower-case fragment.
        reason: String,
        /// Whether the order may have arrived.
        was_sent: bool,
        /// What caused it.
        #[source]
        source: Option<Arc<dyn StdError + Send + Sync>>,
    },
    /// The endpoint's certificate is not the one that was pinned, or not trusted.
    #[error("the certificate of `{endpoint}` is not trusted: {reason}")]
    Untrusted {
        /// The endpoint.
        endpoint: String,
        /// Both fingerprints and how to pin, or what else is wrong with it.
        reason: String,
    },
    /// The deadline passed.
    #[error("not done within {after:?}")]
    TimedOut {
        /// How long it was waited.
        after: Duration,
        /// The last error that was being waited out.
        #[source]
        last: Option<Box<ClientError>>,
        /// Whether the order may have arrived.
        was_sent: bool,
    },
    /// The credential is not accepted (401).
    #[error("the credential is not accepted: {message}")]
    Unauthorized {
        /// The API's own words.
        message: String,
    },
    /// The secret of the credential cannot be had.
    #[error("the credential's secret cannot be used: {reason}")]
    Secret {
        /// Which one, what is wrong with it and how to mend it: a lower-case fragment.
        reason: String,
        /// What caused it.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// The credential lacks a right (403).
    #[error("{message}")]
    Forbidden {
        /// The right that lacks, if the API said.
        privilege: Option<String>,
        /// Where it is needed, if the API said.
        path: Option<String>,
        /// The API's own words.
        message: String,
    },
    /// The API refused the call.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The API's own words: its `message`, else the reason phrase; with the parameters that it
        /// names, if it names any.
        message: String,
    },
    /// The node that the call is for cannot be reached from the endpoint (595, 596, 599).
    #[error("node `{node}` cannot be reached by the cluster: {message}")]
    NodeUnreachable {
        /// The node.
        node: String,
        /// The API's own words.
        message: String,
        /// Whether the order may have arrived there.
        was_sent: bool,
    },
    /// The answer makes no sense.
    #[error("the answer makes no sense: {message}")]
    Garbled {
        /// What was wrong with it.
        message: String,
        /// Whether the order may have arrived.
        was_sent: bool,
    },
    /// A task ended badly.
    #[error("task {} failed: {exit}", .upid.kind())]
    TaskFailed {
        /// The task.
        upid: Upid,
        /// Its exit status, whole.
        exit: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// The client was closed, before or during the call.
    #[error("the client is closed")]
    Closed,
}

/// What a refusal, or a task's failure, is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The node has no such container (it may be on another one).
    NoSuchContainer,
    /// It does not run.
    NotRunning,
    /// It runs already.
    AlreadyRunning,
    /// Something else works on it: `backup`, `snapshot`… or `config` for the configuration's lock.
    Locked {
        /// The lock's name.
        by: String,
    },
    /// The cluster has lost its quorum.
    NoQuorum,
    /// There is no such node, or its name is not resolved.
    NoSuchNode,
    /// It did not end within the time that it was given.
    DidNotStop,
    /// Somebody ended the task.
    Interrupted,
    /// Anything else.
    Other,
}

impl ClientError {
    /// What it is about, of what was [`Refused`](Self::Refused) and of a
    /// [failed task](Self::TaskFailed).
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused { message, .. } => Some(Cause::of(message)),
            Self::TaskFailed { exit, .. } => Some(Cause::of(exit)),
            _ => None,
        }
    }

    /// Whether an order may have been taken all the same: look at the state before it is repeated.
    pub fn is_outcome_unknown(&self) -> bool {
        self.was_sent()
    }

    pub(super) fn was_sent(&self) -> bool {
        match self {
            Self::Unreachable { was_sent, .. }
            | Self::TimedOut { was_sent, .. }
            | Self::NodeUnreachable { was_sent, .. }
            | Self::Garbled { was_sent, .. } => *was_sent,
            Self::Untrusted { .. }
            | Self::Unauthorized { .. }
            | Self::Secret { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::TaskFailed { .. }
            | Self::Closed => false,
        }
    }

    /// The same about a read, which may have been sent and has no outcome.
    pub(super) fn of_a_read(mut self) -> Self {
        match &mut self {
            Self::Unreachable { was_sent, .. }
            | Self::TimedOut { was_sent, .. }
            | Self::NodeUnreachable { was_sent, .. }
            | Self::Garbled { was_sent, .. } => *was_sent = false,
            _ => {}
        }
        self
    }

    /// One for all endpoints that were tried in vain: what needs somebody's hand, else what the
    /// cluster itself says, else all of it.
    pub(super) fn of_all(mut failures: Vec<Self>) -> Self {
        // Whoever says that a node is away has accepted the credential: who refused it is sick.
        if failures.iter().any(|error| matches!(error, Self::NodeUnreachable { .. })) {
            failures.retain(|error| !matches!(error, Self::Unauthorized { .. }));
        }
        let rank = |error: &Self| match error {
            Self::Unauthorized { .. } | Self::Untrusted { .. } => 0,
            Self::NodeUnreachable { .. } => 1,
            Self::Garbled { .. } => 2,
            _ => 3,
        };
        failures.sort_by_key(rank);
        let mut failures = failures.into_iter();
        let Some(mut first) = failures.next() else { return Self::Closed };
        if let Self::Unreachable { reason, was_sent, .. } = &mut first {
            for further in failures {
                if let Self::Unreachable { endpoint: other, reason: why, was_sent: sent, .. } =
                    further
                {
                    reason.extend(["; nor can `", &other, "`: ", &why]);
                    *was_sent |= sent;
                }
            }
        }
        first
    }
}
