//! Leases: proofs of use, with a holder.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use drowse_provider::{Details, RunId};

use crate::shared::Shared;

/// Whether a lease counts as use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseKind {
    /// Wakes and keeps awake.
    Active,
    /// Never wakes, holds off a stop only while it is held, and does not count as use (monitors,
    /// bots).
    Passive,
}

/// A name under which leases are held: a route, a dependent, a person's hold. Cheap to clone; make
/// it once per holder with [`Workload::holder`](crate::Workload::holder), not once per lease.
#[derive(Clone)]
pub struct Holder(pub(crate) Arc<HolderSlot>);

pub(crate) struct HolderSlot {
    pub(crate) name: String,
    pub(crate) held: AtomicU32,
}

impl Holder {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many leases it holds now. A statistic: it may lag by the blink of a moment.
    pub fn held(&self) -> u32 {
        self.0.held.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Holder({}, {} held)", self.name(), self.held())
    }
}

/// The run that a lease was given for.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReadyRun {
    /// Grows with each time that the workload became ready: whoever keeps something per run (an
    /// upstream pool) compares this.
    pub epoch: u64,
    /// The run.
    pub run: Option<RunId>,
    /// The container as read in that run, without its labels: its addresses are those of this run.
    pub details: Arc<Details>,
}

/// A proof of use. While one is held the workload is not put to sleep; dropping it gives it back.
///
/// Taking one of a ready workload is one atomic operation on the warm word, and a counter of the
/// holder: no lock, no allocation, no task switch. Dropping it is the same.
pub struct Lease {
    shared: Arc<Shared>,
    holder: Holder,
    kind: LeaseKind,
}

impl Lease {
    /// Wraps a lease that is already counted in the word.
    pub(crate) fn counted(shared: Arc<Shared>, holder: Holder, kind: LeaseKind) -> Self {
        holder.0.held.fetch_add(1, Ordering::Relaxed);
        Self { shared, holder, kind }
    }

    /// The run that serves now. Read it when the bytes are sent, not before.
    pub fn run(&self) -> Arc<ReadyRun> {
        self.shared.ready_run()
    }

    /// Under whose name it is held.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.holder.0.held.fetch_sub(1, Ordering::Relaxed);
        match self.kind {
            LeaseKind::Active => self.shared.word.drop_active(self.shared.now_ms()),
            LeaseKind::Passive => self.shared.word.drop_passive(),
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lease")
            .field("holder", &self.holder)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
