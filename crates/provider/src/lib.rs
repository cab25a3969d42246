//! One lifecycle contract over container runtimes.
//!
//! Three nouns carry everything:
//!
//! - an [`Engine`] is one runtime's endpoint: a Docker daemon, a Proxmox cluster, the local
//!   machine's processes. It lists containers, tells what happens to them and hands out providers;
//! - a [`Provider`] is the lifecycle API of **one** container on one engine;
//! - a [`RunId`] names one life of a container, from a start to its end, so that an answer about an
//!   earlier life is never taken for one about the present.
//!
//! The crate does no I/O of its own. What each operation does in each state is one table, in
//! [`Provider`]; the feature `contract` is that table as a test suite, and the feature `testing`
//! brings a scripted engine for the tests of whoever builds on the contract.

mod capabilities;
pub mod compose;
mod details;
mod error;
mod event;
pub mod feed;
pub mod mailbox;
mod options;
mod provider;
mod signal;
mod status;

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "testing")]
pub mod testing;

pub use capabilities::{Capabilities, Support};
pub use details::{
    Details, Network, NetworkHolder, NetworkMode, Owner, Port, PublishedPort, Reach, RestartPolicy,
    Stats, Summary, Transport,
};
pub use error::{Action, Error, ErrorKind};
pub use event::{Actor, EngineItem, Event, EventAction, EventType, WatchItem};
pub use options::{Deadline, KillOutcome, StopOptions};
pub use provider::{Engine, EngineWatch, Provider, Reference, Watch};
pub use signal::{ParseSignalError, Signal};
pub use status::{ContainerStatus, Health, Observation, RunId, Unusable};

/// The README's example compiles and runs.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
