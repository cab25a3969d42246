//! Knows when a container is idle, puts it to sleep, and wakes it when a lease is asked for.
//!
//! Three nouns carry everything:
//!
//! - a [`Workload`] is what sleeps and wakes as one: a container (its
//!   [`Provider`](drowse_provider::Provider)), a [`Policy`], and a [`Readiness`];
//! - a [`Lease`] is a proof of use. While one is held the workload is not put to sleep. Asking for
//!   one of a sleeping workload wakes it; any number of requests share one wake;
//! - a [`ReadyRun`] is the one life of the container that a lease was given for.
//!
//! Inside, a pure core decides and a thin runtime carries out; between them and the requests stands
//! one atomic word. The README tells how they work together, and what they guarantee.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The atomics of the warm word, so that its models can put others in their place.
mod atomics {
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}
mod change;
mod core;
mod error;
mod gate;
mod group;
mod holders;
mod keep;
mod lease;
mod memory;
mod need;
mod policy;
mod readiness;
mod record;
mod reports;
mod runtime;
mod sabotage;
mod shared;
mod sleep;
mod slots;
mod snapshot;
mod spec;
mod standing;
mod word;
mod workload;

pub use change::{Change, Observer};
pub use error::{SleepError, WakeError};
pub use gate::{Busy, StopGate};
pub use group::Group;
pub use keep::KeepAwake;
pub use lease::{Hold, Holder, Lease, LeaseKind, ReadyRun};
pub use memory::Memory;
pub use need::{Condition, Need, NeedState, Needs};
pub use policy::{Circuit, Policy, Role, SleepMethod};
pub use readiness::{Attempt, NotReady, Readiness, ReadyWhenHealthy, ReadyWhenRunning};
pub use reports::Report;
#[cfg(all(feature = "sabotage", debug_assertions))]
#[doc(hidden)]
pub use sabotage::{Sabotage, arm};
pub use sleep::{AsleepHold, Force};
pub use slots::OrderSlots;
pub use snapshot::{PhaseName, Snapshot};
pub use spec::WorkloadSpec;
pub use workload::Workload;
