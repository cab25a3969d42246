//! How an engine is talked to.

use std::time::Duration;

/// How an engine is talked to. The defaults suit every engine; they can be changed for tests and
/// for very slow links.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DockerOptions {
    /// How long a connection may take to be made. 5 s by default.
    pub connect_timeout: Duration,
    /// How long one of the engine handle's own reads may take: those that no caller's deadline
    /// covers. 10 s by default.
    pub read_timeout: Duration,
    /// How often all containers are read again while anything is watched, in case the engine lost
    /// an event. 60 s by default.
    pub reread_every: Duration,
    /// How many items one watch holds for a consumer that does not read; when one more comes, they
    /// are dropped for one fresh `Synced`. 64 by default. An engine's own watch, which is told of every container,
    /// holds sixteen times as many.
    pub watch_buffer: usize,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            reread_every: Duration::from_mins(1),
            watch_buffer: 64,
        }
    }
}

impl DockerOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this time for a connection to be made.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// With this time for a read that no caller's deadline covers.
    #[must_use]
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// With this time between two reads of all containers.
    #[must_use]
    pub fn with_reread_every(mut self, interval: Duration) -> Self {
        self.reread_every = interval;
        self
    }

    /// With room for this many items in each watch (at least one).
    #[must_use]
    pub fn with_watch_buffer(mut self, items: usize) -> Self {
        self.watch_buffer = items.max(1);
        self
    }
}
