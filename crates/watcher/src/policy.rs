//! How a workload sleeps and wakes.

use std::time::Duration;

use drowse_provider::StopOptions;

/// How a workload is put to sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SleepMethod {
    /// Stopped: its memory is given back; it starts anew at a wake.
    Stop(StopOptions),
    /// Frozen: its memory stays; it goes on within milliseconds.
    Pause,
    /// Killed, not asked first. For a signal of one's own choice use `Stop` with that signal.
    Kill,
}

/// How a workload sleeps and wakes. Build it with [`Policy::new`] and the `with_` methods.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// How long it stays awake after its last use.
    pub idle: Duration,
    /// How it is put to sleep.
    pub sleep: SleepMethod,
    /// How long a wake may take, from its own start order to ready, before its waiters are told
    /// that it timed out. The container is left alone then.
    pub wake_timeout: Duration,
    /// How long a container that runs and is not ready yet is left alone before idleness counts.
    pub start_grace: Duration,
    /// Added to the first idle deadline after an adoption, so that many workloads adopted at once
    /// do not go to sleep at once.
    pub adoption_jitter: Duration,
}

impl Policy {
    /// Sleeps by a stop after `idle`; 2 min wake timeout, 30 min start grace.
    pub fn new(idle: Duration) -> Self {
        Self {
            idle,
            sleep: SleepMethod::Stop(StopOptions::new()),
            wake_timeout: Duration::from_mins(2),
            start_grace: Duration::from_mins(30),
            adoption_jitter: Duration::ZERO,
        }
    }

    /// With another way to sleep.
    #[must_use]
    pub fn with_sleep(mut self, sleep: SleepMethod) -> Self {
        self.sleep = sleep;
        self
    }

    /// With another wake timeout.
    #[must_use]
    pub fn with_wake_timeout(mut self, wake_timeout: Duration) -> Self {
        self.wake_timeout = wake_timeout;
        self
    }

    /// With another start grace.
    #[must_use]
    pub fn with_start_grace(mut self, start_grace: Duration) -> Self {
        self.start_grace = start_grace;
        self
    }

    /// With jitter after an adoption.
    #[must_use]
    pub fn with_adoption_jitter(mut self, jitter: Duration) -> Self {
        self.adoption_jitter = jitter;
        self
    }
}
