//! What is kept of each change of a workload.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A workload went from one state to another.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// When, by the wall clock.
    pub(crate) at: Timestamp,
    pub(crate) workload: String,
    pub(crate) engine: String,
    /// The container's name, as its engine knows it.
    pub(crate) container: String,
    /// The state before, and after: the words of `drowse list`.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Why: a lower-case fragment.
    pub(crate) reason: String,
    /// How long it was in the state before; for a wake, from the start order to ready.
    pub(crate) took_ms: u64,
}

/// An event, and its place among all of them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Numbered {
    /// Grows with each event, also over restarts, for as long as the store lives.
    pub(crate) number: u64,
    pub(crate) event: Event,
}
