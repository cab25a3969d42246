//! The changes of a workload, for those who tell of them later.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use crate::PhaseName;

/// A workload went from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// When.
    pub at: Instant,
    /// The state before.
    pub from: PhaseName,
    /// The state after.
    pub to: PhaseName,
    /// Why: a lower-case fragment.
    pub reason: String,
    /// How long it was in the state before; for a wake, from the start order to ready.
    pub took: Duration,
}

/// Is told of each change of a workload, in their order, by the workload's own task: it must not
/// block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// `workload` has changed.
    fn changed(&self, workload: &str, change: &Change);
}
