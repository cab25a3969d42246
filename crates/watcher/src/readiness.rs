//! How the watcher finds out that a run serves.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use drowse_provider::{Details, Health};

/// One attempt to find out whether a container serves.
///
/// The watcher decides when to try (see the crate's documentation); an implementation makes one
/// attempt and says what came of it. It must not retry, and must bound its own time: a connect
/// attempt by [`Attempt::connect_timeout`], an answer by [`Attempt::answer_timeout`]. One that takes 30 s,
/// or panics, counts as not ready.
///
/// Attempts are dropped when they no longer matter (another run, another address, held asleep, closed):
/// implementations must be cancel safe.
#[async_trait]
pub trait Readiness: fmt::Debug + Send + Sync + 'static {
    /// Tries once. `details` were read in the run that is probed.
    ///
    /// # Errors
    /// [`NotReady`]: whatever the reason, it means "not yet".
    async fn probe(&self, details: &Details, attempt: Attempt) -> Result<(), NotReady>;

    /// Whether what answered is found by an address of the container's own that anybody on its
    /// network may have next. Then a run that loses one is proven anew before it serves on. Asked
    /// once; `false` unless an implementation says otherwise.
    fn is_at_passing_address(&self) -> bool {
        false
    }
}

/// What one attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The time since the run was first seen.
    pub elapsed: Duration,
}

impl Attempt {
    /// An attempt this long after the run was first seen.
    pub fn new(elapsed: Duration) -> Self {
        Self { elapsed }
    }

    /// How long a connection may take: 100 ms at first (a lost SYN costs a whole second, so it is
    /// better to try anew), growing with the run's age to 1 s.
    pub fn connect_timeout(self) -> Duration {
        (self.elapsed / 10).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// How long the application may take to answer: 10 s. It may be busy starting, and a second
    /// probe beside the first would only add to its work.
    pub fn answer_timeout(self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Why an attempt found it not ready, in words for the person who waits: a lower-case fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotReady {
    reason: String,
    missing: Missing,
}

/// What an attempt missed in the details that it was given, so that they are read anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Missing {
    #[default]
    Nothing,
    Address,
    OtherAddress,
    Health,
}

impl NotReady {
    /// Not ready, for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), missing: Missing::Nothing }
    }

    /// The run has no address yet (DHCP): the details are read anew until there is one, every 300 ms
    /// at first and every 5 s at last while somebody waits, and no attempt is made meanwhile.
    #[must_use]
    pub fn without_address(self) -> Self {
        Self { missing: Missing::Address, ..self }
    }

    /// The run may get another address than the one at which it did not answer (it has none that is
    /// fixed: IPv6 is there before DHCP, for example): attempts go on, and the details are read anew
    /// every few seconds.
    #[must_use]
    pub fn at_passing_address(self) -> Self {
        Self { missing: Missing::OtherAddress, ..self }
    }

    /// The verdict of the container's own health check is still to come: no attempt is made before the
    /// engine tells of one, or a read shows it: every few seconds, in case that was missed.
    #[must_use]
    pub fn until_healthy(self) -> Self {
        Self { missing: Missing::Health, ..self }
    }

    pub(crate) fn missing(&self) -> Missing {
        self.missing
    }
}

/// A workload without an application to ask: ready as soon as its run is seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadyWhenRunning;

#[async_trait]
impl Readiness for ReadyWhenRunning {
    async fn probe(&self, _details: &Details, _attempt: Attempt) -> Result<(), NotReady> {
        Ok(())
    }
}

/// Ready when the container's own health check passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadyWhenHealthy;

#[async_trait]
impl Readiness for ReadyWhenHealthy {
    async fn probe(&self, details: &Details, _attempt: Attempt) -> Result<(), NotReady> {
        let why = match details.observation.health {
            Some(Health::Healthy) => return Ok(()),
            Some(Health::Unhealthy) => "its own health check fails",
            Some(_) => "its own health check has not passed yet",
            None => "it has no health check of its own",
        };
        Err(NotReady::new(why).until_healthy())
    }
}
