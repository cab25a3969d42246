//! What an operation is told: how to stop, and until when to try.

use std::time::Duration;

use tokio::time::Instant;

use crate::Signal;

/// How a container is stopped. The default leaves both to the container's own definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopOptions {
    /// The signal that asks it to end; `None`: the container's own, else TERM.
    pub signal: Option<Signal>,
    /// How long it may take before it is killed; `None`: the container's own, else the engine's
    /// default (Docker: 10 s).
    pub timeout: Option<Duration>,
}

impl StopOptions {
    /// The container's own signal and timeout.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this signal instead of the container's own.
    #[must_use]
    pub fn with_signal(mut self, signal: Signal) -> Self {
        self.signal = Some(signal);
        self
    }

    /// With this timeout instead of the container's own. Engines count in whole seconds: a part of
    /// a second is rounded up.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// How a signal was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillOutcome {
    /// The container ended; the code as the engine reports it, if it does.
    Exited(Option<i64>),
    /// The signal was delivered and the container was still alive then. Whether it ends is seen in
    /// its watch.
    StillRunning,
}

/// The moment at which an operation gives up, and how long that was from its beginning.
///
/// One deadline may be handed through several operations: it is a moment, not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    after: Duration,
}

/// Later than any program runs, early enough that adding to it cannot overflow.
const FAR: Duration = Duration::from_hours(10 * 365 * 24);

impl Deadline {
    /// Gives up `duration` from now (at most ten years).
    pub fn after(duration: Duration) -> Self {
        let after = duration.min(FAR);
        Self { at: Instant::now() + after, after }
    }

    /// The moment itself.
    pub fn at(self) -> Instant {
        self.at
    }

    /// How long the whole wait was to be: what `Timeout` reports.
    pub fn duration(self) -> Duration {
        self.after
    }

    /// What is left of it; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}
