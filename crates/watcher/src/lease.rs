//! Leases: proofs of use, with a holder.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use drowse_provider::{Details, RunId};

use crate::{core::Moment, sabotage::sabotaged, shared::Shared};

/// Whether a lease counts as use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseKind {
    /// Wakes and keeps awake.
    Active,
    /// Never wakes, holds off a stop only while it is held, and does not count as use (monitors,
    /// bots).
    Passive,
    /// Of what needs it: wakes and keeps awake. Whether it counts as use when it ends is the needed
    /// one's own affair ([`Policy::lingers`](crate::Policy::lingers)).
    Dependent,
}

/// A name under which leases are held: a route, a dependent, a person's hold. Cheap to clone; make
/// it once per holder with [`Workload::holder`](crate::Workload::holder), not once per lease.
#[derive(Clone)]
pub struct Holder(pub(crate) Arc<HolderSlot>);

pub(crate) struct HolderSlot {
    pub(crate) name: String,
    held: AtomicU32,
    holds: Holds,
    waiting: AtomicU32,
}

/// Those of its leases that are holds. Requests are not dated: that would cost each a look at the
/// clock, and who serves them knows their age.
#[derive(Default)]
struct Holds {
    held: AtomicU32,
    /// When there last was a first one, in milliseconds since the workload's anchor.
    since: AtomicU64,
}

impl HolderSlot {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            held: AtomicU32::new(0),
            holds: Holds::default(),
            waiting: AtomicU32::new(0),
        }
    }
}

impl Holds {
    fn begin(&self, now_ms: u64) {
        if self.held.fetch_add(1, Ordering::Relaxed) == 0 {
            self.since.store(now_ms, Ordering::Relaxed);
        }
    }

    fn end(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    fn since(&self) -> Option<u64> {
        let is_held = self.held.load(Ordering::Relaxed) > 0;
        is_held.then(|| self.since.load(Ordering::Relaxed))
    }
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

    /// How many wait for a lease under this name.
    pub(crate) fn waiting(&self) -> u32 {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// One more waits, for as long as what is returned lives.
    pub(crate) fn waits(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// Since when it has had a [`Hold`] without a gap, in milliseconds since the workload's anchor. It
    /// may lag likewise.
    pub(crate) fn holds_since(&self) -> Option<u64> {
        self.0.holds.since()
    }
}

/// Somebody waits for a lease.
pub(crate) struct Waiting(Holder);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
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
    /// When the run was first found ready.
    pub(crate) first_ready: Moment,
}

/// A proof of use. While one is held the workload is not put to sleep; dropping it gives it back.
///
/// Taking one of a ready workload is one atomic operation on the warm word, a counter of the holder
/// and one of the workload, whatever its kind: no lock, no allocation, no task switch. Dropping it is no more.
pub struct Lease {
    count: Count,
}

impl Lease {
    /// Wraps a lease that is already counted in the word.
    pub(crate) fn counted(shared: Arc<Shared>, holder: Holder, kind: LeaseKind) -> Self {
        Self { count: Count::of(shared, holder, kind) }
    }

    /// The run that serves now. Read it when the bytes are sent, not before.
    pub fn run(&self) -> Arc<ReadyRun> {
        self.count.shared.ready_run()
    }

    /// Under whose name it is held.
    pub fn holder(&self) -> &Holder {
        &self.count.holder
    }
}

/// A lease that proves nothing but itself: it is taken whatever the workload's state, wakes nothing,
/// and while it is held no sleep is decided. One that was decided before goes on. Dropping it gives it
/// back, as the kind that it was taken as.
pub struct Hold {
    count: Count,
}

impl Hold {
    /// Counts a lease.
    pub(crate) fn take(shared: Arc<Shared>, holder: Holder, kind: LeaseKind) -> Self {
        shared.word.hold();
        Self::dated(Count::of(shared, holder, kind))
    }

    fn dated(count: Count) -> Self {
        count.holder.0.holds.begin(count.shared.now_ms());
        Self { count }
    }

    /// Gives it back, and keeps awake for a while what was held: that is no use of it.
    pub(crate) fn end_in(self, time: Duration) {
        self.count.shared.keep_for(time);
    }

    /// Under whose name it is held.
    pub fn holder(&self) -> &Holder {
        &self.count.holder
    }
}

/// A lease that is kept for what may last.
impl From<Lease> for Hold {
    fn from(lease: Lease) -> Self {
        Self::dated(lease.count)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.count.holder.0.holds.end();
    }
}

/// One of the leases that the word counts.
struct Count {
    shared: Arc<Shared>,
    holder: Holder,
    kind: LeaseKind,
}

impl Count {
    /// Wraps what is already counted in the word.
    fn of(shared: Arc<Shared>, holder: Holder, kind: LeaseKind) -> Self {
        holder.0.held.fetch_add(1, Ordering::Relaxed);
        match kind {
            LeaseKind::Active => shared.count_use(),
            // Release, of both: whoever sees it counted here sees it counted in the word.
            LeaseKind::Passive => {
                shared.passive.fetch_add(1, Ordering::Release);
            }
            LeaseKind::Dependent => {
                shared.dependents.fetch_add(1, Ordering::Release);
            }
        }
        Self { shared, holder, kind }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.holder.0.held.fetch_sub(1, Ordering::Relaxed);
        match self.kind {
            LeaseKind::Active if sabotaged!(ForgetTheLastUse) => self.shared.word.drop_passive(),
            LeaseKind::Active => self.shared.word.drop_active(self.shared.now_ms()),
            LeaseKind::Passive => {
                if sabotaged!(CountPassiveLeasesAsUse) {
                    self.shared.word.touch(self.shared.now_ms());
                }
                self.shared.drop_passive();
            }
            LeaseKind::Dependent => self.shared.drop_dependent(),
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.count.describe(formatter.debug_struct("Lease"))
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.count.describe(formatter.debug_struct("Hold"))
    }
}

impl Count {
    fn describe(&self, mut as_what: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        as_what.field("holder", &self.holder).field("kind", &self.kind).finish_non_exhaustive()
    }
}
