//! What a container is doing, and which of its lives that is about.

use std::{fmt, sync::Arc};

/// One life of a container, from a start to its end.
///
/// Made by the engine crate of whatever that engine cannot repeat (Docker: `StartedAt`; a process:
/// pid and start time; Proxmox: pid or boot time). It is compared for equality and for nothing
/// else: two runs have no order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RunId(Arc<str>);

impl RunId {
    /// A run named by `identity`, which the engine never gives to another run of that container.
    pub fn new(identity: impl AsRef<str>) -> Self {
        Self(Arc::from(identity.as_ref()))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RunId({})", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The state of a container, as every engine's states are mapped to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContainerStatus {
    /// Its process runs.
    Running,
    /// Its process does not run, and a start would be accepted. Also: created, never started.
    Stopped,
    /// Its process is frozen and keeps its memory.
    Paused,
    /// It cannot be used as it is, for this reason.
    Error(Unusable),
}

impl ContainerStatus {
    /// Whether a process exists: running or frozen.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl fmt::Display for ContainerStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => formatter.write_str("running"),
            Self::Stopped => formatter.write_str("stopped"),
            Self::Paused => formatter.write_str("paused"),
            Self::Error(reason) => write!(formatter, "in error ({reason})"),
        }
    }
}

/// Why a container cannot be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unusable {
    /// Its process ended and the engine itself is about to start it again. A start waits for that;
    /// a stop ends it.
    Restarting,
    /// The engine is removing it.
    Removing,
    /// The engine failed to remove it; only another removal helps (Docker's `dead`).
    Dead,
    /// The machine that it is on cannot be reached, so that nobody knows what it is doing. Only in
    /// lists: a read of such a container is an error of the class `Unavailable`.
    Unreachable,
    /// It is a template, from which others are made: it never runs.
    Template,
    /// Whatever else the engine says, in its words.
    Other(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restarting => formatter.write_str("being restarted by its engine"),
            Self::Removing => formatter.write_str("being removed"),
            Self::Dead => formatter.write_str("dead"),
            Self::Unreachable => formatter.write_str("on a machine that cannot be reached"),
            Self::Template => formatter.write_str("a template, which is never started"),
            Self::Other(reason) => formatter.write_str(reason),
        }
    }
}

/// The container's own health check, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Not yet decided in this run.
    Starting,
    /// The last check succeeded.
    Healthy,
    /// As many checks failed in a row as the container's definition allows.
    Unhealthy,
}

/// A container's state as it was *read* from its engine: the truth at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// What it is doing.
    pub status: ContainerStatus,
    /// The present run, or the last one if it is stopped. `None`: it was never started, or the
    /// engine cannot tell.
    pub run: Option<RunId>,
    /// Its own health check's verdict; `None` if it has no check.
    pub health: Option<Health>,
    /// How the last run ended, as the engine reports it; `None` while alive or never started, and
    /// where the engine does not tell.
    pub exit_code: Option<i64>,
    /// What else works on the container and keeps orders from it, in the engine's word (Proxmox:
    /// `backup`, `snapshot`, `migrate`…); `None` if nothing does, and where engines have no locks.
    pub lock: Option<String>,
}

impl Observation {
    /// An observation of `status` in `run`, without health or exit code.
    pub fn new(status: ContainerStatus, run: Option<RunId>) -> Self {
        Self { status, run, health: None, exit_code: None, lock: None }
    }

    /// The same, with a health check's verdict.
    #[must_use]
    pub fn with_health(mut self, health: Option<Health>) -> Self {
        self.health = health;
        self
    }

    /// The same, with the exit code of the run that ended.
    #[must_use]
    pub fn with_exit_code(mut self, exit_code: Option<i64>) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// The same, locked by this.
    #[must_use]
    pub fn with_lock(mut self, lock: Option<String>) -> Self {
        self.lock = lock;
        self
    }
}
