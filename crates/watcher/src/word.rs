//! The warm word: whether a workload may be used right now, and by how many it is being used, in
//! one atomic.
//!
//! ```text
//!  63      62 … 32        31 … 0
//! +------+-------------+-------------+
//! | open | epoch       | lease count |
//! +------+-------------+-------------+
//! ```
//!
//! While the gate is open, taking a lease is one compare-and-swap. The **epoch** changes with each
//! lease that may count as use, so that one taken *and dropped* between the watcher's look at the word
//! and its attempt to shut the gate still makes the attempt fail: it swaps exactly the word that it saw.
//! A passive lease is counted and leaves the epoch alone: it is in the way only while it is held.
//! The **moment of last use** is stored before the count goes down, so whoever sees the count at
//! zero also sees that moment.
//!
//! The orderings are checked by the `loom` models in `tests/loom.rs`, which include this file with
//! loom's atomics in the place of `crate::atomics`.

use crate::atomics::{AtomicU64, Ordering};

const OPEN: u64 = 1 << 63;
const COUNT: u64 = u32::MAX as u64;
const EPOCH_ONE: u64 = 1 << 32;
const EPOCH: u64 = !(OPEN | COUNT);

/// A word as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen(u64);

impl Seen {
    pub(crate) fn leases(self) -> u32 {
        (self.0 & COUNT) as u32
    }

    pub(crate) fn is_open(self) -> bool {
        self.0 & OPEN != 0
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct WarmWord {
    word: AtomicU64,
    /// Milliseconds on the watcher's monotonic clock.
    last_use: AtomicU64,
}

impl WarmWord {
    /// A shut gate, no leases, last used at `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { word: AtomicU64::new(0), last_use: AtomicU64::new(now_ms) }
    }

    /// Takes a lease if the gate is open.
    pub(crate) fn take(&self) -> bool {
        // Each of them, not only the first: a passive one may be counted already.
        self.take_in(next_epoch)
    }

    /// Takes a lease that is no use, if the gate is open.
    pub(crate) fn take_passive(&self) -> bool {
        self.take_in(|word| word & EPOCH)
    }

    fn take_in(&self, epoch: impl Fn(u64) -> u64) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            if seen & OPEN == 0 {
                return false;
            }
            let taken = OPEN | epoch(seen) | ((seen & COUNT) + 1);
            match self.word.compare_exchange_weak(
                seen,
                taken,
                // Acquire: what was published before the gate opened (the run's address) is seen.
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Counts a lease whether the gate is open or shut. It proves no readiness; while it is held, a
    /// decision to sleep that was not taken before does not come through.
    pub(crate) fn hold(&self) {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let held = (seen & OPEN) | next_epoch(seen) | ((seen & COUNT) + 1);
            match self.word.compare_exchange_weak(seen, held, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives back a lease that counts as use, at `now_ms`.
    pub(crate) fn drop_active(&self, now_ms: u64) {
        // `fetch_max`, not `store`: of two leases dropped at once the later moment stays.
        self.last_use.fetch_max(now_ms, Ordering::Relaxed);
        self.drop_passive();
    }

    /// Gives back a lease that does not count as use.
    pub(crate) fn drop_passive(&self) {
        // Release: whoever sees the lower count sees the moment of last use.
        self.word.fetch_sub(1, Ordering::Release);
    }

    /// The word, for a decision that [`Self::shut_exactly`] will later depend on.
    pub(crate) fn look(&self) -> Seen {
        Seen(self.word.load(Ordering::Acquire))
    }

    /// The moment of last use; read it after [`Self::look`].
    pub(crate) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Counts as used at `now_ms` without a lease: an adoption, a start from outside.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.last_use.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Shuts the gate if the word still is exactly what was seen: nobody holds a lease that was taken
    /// since, nor was there one that may have been use and was dropped again.
    pub(crate) fn shut_exactly(&self, seen: Seen) -> bool {
        self.word
            .compare_exchange(seen.0, seen.0 & !OPEN, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Shuts the gate whoever holds leases: the run is dead, or in doubt. They stay counted.
    pub(crate) fn shut(&self) {
        self.word.fetch_and(!OPEN, Ordering::AcqRel);
    }

    /// Opens the gate with `waiters` leases already counted, so that no idle check can come between
    /// the opening and their being handed out.
    pub(crate) fn open(&self, waiters: u32) {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            // A new epoch: whatever was seen before this opening must not be swappable.
            let opened = OPEN | next_epoch(seen) | ((seen & COUNT) + u64::from(waiters));
            match self.word.compare_exchange_weak(
                seen,
                opened,
                // Release: what was published before is seen by whoever takes a lease.
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

fn next_epoch(word: u64) -> u64 {
    (word & EPOCH).wrapping_add(EPOCH_ONE) & EPOCH
}
