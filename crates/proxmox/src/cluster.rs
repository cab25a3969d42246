//! One poll for all containers of a cluster.
//!
//! A *beat* is one read of the whole cluster, each few seconds while anybody watches: it costs one
//! request, whatever the number of containers, and lags. A *live read* is of one container, or of
//! many on one node at once; it is made where a beat shows that something changed, while a
//! transition is held, and when a provider asks. Only live reads are told as true.
//!
//! [`beat`], [`diff`], [`runs`] and [`labels`] are pure. [`beats`] and [`reads`] share requests
//! among those who need them, [`configs`] keeps notes, [`registry`] knows who watches what,
//! [`poller`] is the one task that drives the watches, and [`shared`] is what handles hold.

mod api;
mod beat;
mod beats;
mod configs;
mod core;
mod diff;
mod engine;
mod labels;
mod list;
mod poller;
mod reads;
mod registry;
mod rights;
mod row;
mod runs;
mod shared;
mod target;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

pub use self::engine::Cluster;
#[cfg(test)]
use self::shared::Transition;
#[cfg(test)]
pub(crate) use self::shared::tests::live_of;
pub(crate) use self::shared::{Live, Located, Shared};

/// How containers are named here.
const NAMES: &str = "a container on a Proxmox cluster is named by its `vmid` or its name";

/// How a cluster is polled, and which containers speak for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The time from one beat to the next: how soon changes from outside are noticed, beside the
    /// up to 12 s that Proxmox itself lags.
    pub interval: Duration,
    /// The tag of containers whose notes are read for lists.
    pub tag: String,
    /// How the lines of notes begin that are labels.
    pub notes_prefix: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(4),
            tag: "drowse".to_owned(),
            notes_prefix: "drowse.".to_owned(),
        }
    }
}

impl ClusterOptions {
    /// A beat each 4 s; the tag `drowse`; lines of notes that begin with `drowse.`.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this time from one beat to the next, at least 1 s.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_secs(1));
        self
    }

    /// With this tag.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// With this beginning of the lines of notes that are labels.
    #[must_use]
    pub fn with_notes_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.notes_prefix = prefix.into();
        self
    }
}
