//! What is known of a container, for those who need it: beside the warm word, and in an order with it
//! that makes what they see last for as long as they hold a lease.
//!
//! Whoever puts the container to sleep **says so first and shuts the gate after**; whoever needs it
//! **counts a lease first and looks after**. So either the gate is not shut, or what is found here is
//! not "it runs". The orderings are checked by the `loom` models in `tests/loom.rs`.

use crate::atomics::{AtomicU8, AtomicU64, Ordering};

/// What is known of the container, for those who need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Standing {
    /// Nothing for certain.
    Unknown,
    /// It was seen running, and nobody is about to end it.
    Runs,
    /// It was seen not to run, and nobody is about to start it.
    Down,
    /// It is a job, and has run to its end.
    Complete,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Stand {
    /// A [`Standing`].
    standing: AtomicU8,
    /// In milliseconds, and one more: when somebody else ended what is down. 0: nobody did.
    ended_at: AtomicU64,
}

impl Stand {
    /// Nothing is known for certain.
    pub(crate) fn new() -> Self {
        Self { standing: AtomicU8::new(Standing::Unknown as u8), ended_at: AtomicU64::new(0) }
    }

    /// Says how it stands. Before the gate is shut for a sleep: whoever counts a lease after that finds
    /// what was said here, or what came later.
    pub(crate) fn set(&self, standing: Standing, ended_at_ms: Option<u64>) {
        self.ended_at.store(ended_at_ms.map_or(0, |at| at + 1), Ordering::Relaxed);
        // Release: whoever sees how it stands sees since when.
        self.standing.store(standing as u8, Ordering::Release);
    }

    /// How it stands. Look after a lease has been counted.
    pub(crate) fn get(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            standing if standing == Standing::Runs as u8 => Standing::Runs,
            standing if standing == Standing::Down as u8 => Standing::Down,
            standing if standing == Standing::Complete as u8 => Standing::Complete,
            _ => Standing::Unknown,
        }
    }

    /// When somebody else ended what is down, in milliseconds; read it after [`Self::get`].
    pub(crate) fn ended_at_ms(&self) -> Option<u64> {
        self.ended_at.load(Ordering::Relaxed).checked_sub(1)
    }
}
