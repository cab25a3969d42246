//! What a workload knows that its engine does not tell.

use std::time::Duration;

/// What is worth keeping over a restart. Whoever has lost it loses history, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// How long ago it was last used.
    pub last_use_ago: Option<Duration>,
    /// How many starts failed in a row.
    pub failures: u32,
    /// For how long no start is tried because of that.
    pub blocked_for: Option<Duration>,
    /// The last failure in words.
    pub failure: Option<String>,
    /// How long its last wakes took, from the start order to ready; the latest last, at most eight.
    pub wakes: Vec<Duration>,
    /// The id of the container whose starts failed: another one's failures are forgotten.
    pub container: Option<String>,
}
