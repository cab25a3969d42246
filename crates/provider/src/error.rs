//! Errors, as classes that a caller can act upon.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::ContainerStatus;

/// What was being done when an error arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Reaching the engine.
    Connect,
    /// `start`.
    Start,
    /// `stop`.
    Stop,
    /// `kill`.
    Kill,
    /// `pause`.
    Pause,
    /// `unpause`.
    Unpause,
    /// `status`.
    Status,
    /// `inspect`.
    Inspect,
    /// `stats`.
    Stats,
    /// `watch`, or an engine's `events`.
    Watch,
    /// `list`.
    List,
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Status => "status",
            Self::Inspect => "inspect",
            Self::Stats => "stats",
            Self::Watch => "watch",
            Self::List => "list",
        })
    }
}

/// A failed operation: its class, the container, the action, and the source.
///
/// Cheap to clone: one failure may have to be told to many waiters. `Display` does not repeat the
/// source; walk [`std::error::Error::source`] for the whole chain.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    engine: String,
    container: Option<String>,
    action: Action,
    kind: ErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The class of an error: what a caller can act upon.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such container on the engine.
    NotFound,
    /// The credential is not accepted.
    Unauthorized,
    /// The credential is accepted and lacks a right.
    Forbidden {
        /// The right that lacks, in the engine's word, if it said.
        privilege: Option<String>,
        /// Where it is needed, if the engine said.
        path: Option<String>,
    },
    /// The engine cannot be reached, or says that it cannot work now. Retry later.
    Unavailable {
        /// What cannot be reached and how to mend it: a lower-case fragment.
        reason: String,
    },
    /// The deadline passed. Whether the engine still completes the order is documented with each
    /// operation.
    Timeout {
        /// How long it was waited.
        after: Duration,
        /// The last error that was being waited out, if there was one.
        last: Option<Box<Error>>,
    },
    /// Something else works on the container; try again when it is done.
    Locked {
        /// Who holds the lock, in the engine's word.
        by: String,
    },
    /// The container's state does not allow it.
    Conflict {
        /// The state that was in the way.
        status: ContainerStatus,
    },
    /// The engine can never do this.
    Unsupported {
        /// Why, and what to do instead: a lower-case fragment.
        why: String,
    },
    /// The engine tried and failed: the program cannot be executed, a port is taken, a mount is
    /// missing…
    Failed {
        /// The program's exit code, if it came to one.
        exit: Option<i64>,
        /// The engine's own words.
        message: String,
    },
    /// The engine's answer makes no sense.
    Protocol {
        /// What was wrong with it.
        message: String,
    },
    /// The engine handle was closed, before or during the operation.
    Closed,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => formatter.write_str("there is no such container"),
            Self::Unauthorized => formatter.write_str("the credential is not accepted"),
            Self::Forbidden { privilege, path } => {
                formatter.write_str("not permitted")?;
                if let Some(privilege) = privilege {
                    write!(formatter, ": `{privilege}` is needed")?;
                }
                if let Some(path) = path {
                    write!(formatter, " on `{path}`")?;
                }
                Ok(())
            }
            Self::Unavailable { reason } => write!(formatter, "unavailable: {reason}"),
            Self::Timeout { after, last } => {
                write!(formatter, "timed out after {after:?}")?;
                match last {
                    Some(last) => write!(formatter, ", last: {}", last.kind()),
                    None => Ok(()),
                }
            }
            Self::Locked { by } => write!(formatter, "locked by {by}"),
            Self::Conflict { status } => write!(formatter, "the container is {status}"),
            Self::Unsupported { why } => write!(formatter, "not supported: {why}"),
            Self::Failed { exit: Some(exit), message } => {
                write!(formatter, "failed with exit code {exit}: {message}")
            }
            Self::Failed { exit: None, message } => write!(formatter, "failed: {message}"),
            Self::Protocol { message } => write!(formatter, "unexpected answer: {message}"),
            Self::Closed => formatter.write_str("the engine handle is closed"),
        }
    }
}

impl Error {
    /// An error of `kind`, met on `engine` during `action`.
    pub fn new(engine: impl Into<String>, action: Action, kind: ErrorKind) -> Self {
        Self(Arc::new(Inner { engine: engine.into(), container: None, action, kind, source: None }))
    }

    /// The same error, about this container.
    #[must_use]
    pub fn with_container(self, container: impl Into<String>) -> Self {
        let mut inner = self.into_inner();
        inner.container = Some(container.into());
        Self(Arc::new(inner))
    }

    /// The same error, with what caused it.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut inner = self.into_inner();
        inner.source = Some(source.into());
        Self(Arc::new(inner))
    }

    fn into_inner(self) -> Inner {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            engine: shared.engine.clone(),
            container: shared.container.clone(),
            action: shared.action,
            kind: shared.kind.clone(),
            // The shared error becomes the source: its chain is kept whole.
            source: shared.source.is_some().then(|| Self(shared.clone()).into()),
        })
    }

    /// Its class.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The engine it was met on, by its configured name.
    pub fn engine(&self) -> &str {
        &self.0.engine
    }

    /// The container it is about, if it is about one.
    pub fn container(&self) -> Option<&str> {
        self.0.container.as_deref()
    }

    /// What was being done.
    pub fn action(&self) -> Action {
        self.0.action
    }

    /// Whether the same operation may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Unavailable { .. }
            | ErrorKind::Timeout { .. }
            | ErrorKind::Locked { .. }
            | ErrorKind::Protocol { .. } => true,
            ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden { .. }
            | ErrorKind::Conflict { .. }
            | ErrorKind::Unsupported { .. }
            | ErrorKind::Failed { .. }
            | ErrorKind::Closed => false,
        }
    }

    /// Whether the engine may have taken the order all the same, or may still carry it out: only a
    /// read of the state settles it.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Timeout { .. } | ErrorKind::Unavailable { .. } | ErrorKind::Protocol { .. }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { engine, container, action, kind, .. } = &*self.0;
        match container {
            Some(container) => {
                write!(
                    formatter,
                    "{action} of container `{container}` on engine `{engine}`: {kind}"
                )
            }
            None => write!(formatter, "{action} on engine `{engine}`: {kind}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Error")
            .field("engine", &self.0.engine)
            .field("container", &self.0.container)
            .field("action", &self.0.action)
            .field("kind", &self.0.kind)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match (&self.0.source, &self.0.kind) {
            (Some(source), _) => Some(source.as_ref()),
            (None, ErrorKind::Timeout { last: Some(last), .. }) => Some(last.as_ref()),
            _ => None,
        }
    }
}
