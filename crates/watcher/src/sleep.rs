//! What a person may ask of a workload's sleep.

use tokio::time::Instant;

/// Whether a sleep on request respects whoever uses the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Force {
    /// It is refused while anybody uses it, or anything says that it is busy.
    #[default]
    No,
    /// Leases, those who wait and stop gates are ignored by this one order: their streams are cut. Who
    /// waits, or asks again, wakes it anew.
    EvenInUse,
}

/// Keeps a workload asleep: nothing wakes it, and nobody is let in, until it is released.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AsleepHold {
    /// Why, in the words of whoever holds it. Told to those who ask for it.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Instant>,
}

impl AsleepHold {
    /// Until it is released.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), until: None }
    }

    /// Ending by itself at `until`, unless it was released before.
    #[must_use]
    pub fn until(mut self, until: Instant) -> Self {
        self.until = Some(until);
        self
    }
}
