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
    /// Frozen when it is idle, and stopped if nobody has wanted it for `after` since.
    PauseThenStop {
        /// From the pause to the stop.
        after: Duration,
        /// How it is stopped then.
        stop: StopOptions,
    },
    /// Woken, and never put to sleep: what others need, and its user did not enable.
    Never,
}

/// What a workload's container is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It serves until it is ended.
    #[default]
    Service,
    /// It ends by itself. Run to its end with exit code 0 it is complete, and is not run again unless
    /// its container is another one.
    Job,
}

/// When starts that fail are tried again, and when they are given up for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Circuit {
    /// After this many failures in a row no start is tried for `rest`.
    pub opens_at: u32,
    /// The pause after the first failure; doubled with each further one, up to `rest`.
    pub first_pause: Duration,
    /// How long no start is tried once it is open.
    pub rest: Duration,
}

impl Circuit {
    /// Opens at five failures in a row, for 5 min; pauses of 1 s, 2 s, 4 s before.
    pub fn new() -> Self {
        Self { opens_at: 5, first_pause: Duration::from_secs(1), rest: Duration::from_mins(5) }
    }
}

impl Default for Circuit {
    fn default() -> Self {
        Self::new()
    }
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
    /// How long it stays awake after a wake, whoever wanted it.
    pub min_awake: Duration,
    /// Whether its idle time counts after the last of those who need it, too. If not, it may sleep as
    /// soon as the last of them was seen asleep, unless it was used by others within its idle time.
    pub lingers: bool,
    /// What failed starts lead to.
    pub circuit: Circuit,
    /// What its container is there for.
    pub role: Role,
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
            min_awake: Duration::ZERO,
            lingers: false,
            circuit: Circuit::new(),
            role: Role::Service,
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

    /// With a minimum time awake after a wake.
    #[must_use]
    pub fn with_min_awake(mut self, min_awake: Duration) -> Self {
        self.min_awake = min_awake;
        self
    }

    /// With its idle time counting after the last dependent, too, or not.
    #[must_use]
    pub fn with_lingering(mut self, lingers: bool) -> Self {
        self.lingers = lingers;
        self
    }

    /// With another circuit.
    #[must_use]
    pub fn with_circuit(mut self, circuit: Circuit) -> Self {
        self.circuit = circuit;
        self
    }

    /// With another role.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
}
