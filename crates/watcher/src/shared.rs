//! What the handle, the leases and the task of one workload share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::{ReadyRun, word::WarmWord};

/// Later than any program runs.
const FAR: Duration = Duration::from_hours(10 * 365 * 24);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) word: WarmWord,
    /// Moments are counted from here.
    anchor: Instant,
    ready: ArcSwapOption<ReadyRun>,
    /// How often it became ready. Here, not in the core: it never goes back, not even when the
    /// core begins anew.
    epoch: AtomicU64,
    /// The last epoch whose upstream was reported to fail: a level, so that no report is lost.
    failed_epoch: AtomicU64,
}

impl Shared {
    pub(crate) fn new(anchor: Instant) -> Self {
        Self {
            word: WarmWord::new(0),
            anchor,
            ready: ArcSwapOption::empty(),
            epoch: AtomicU64::new(0),
            failed_epoch: AtomicU64::new(0),
        }
    }

    /// Milliseconds since the anchor.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time since the anchor.
    pub(crate) fn elapsed(&self) -> Duration {
        self.anchor.elapsed()
    }

    /// The instant that lies `elapsed` after the anchor; one that is far away, if that is later than
    /// an instant can be.
    pub(crate) fn instant(&self, elapsed: Duration) -> Instant {
        self.anchor.checked_add(elapsed).unwrap_or_else(|| self.anchor + FAR)
    }

    /// The time from the anchor to `instant`.
    pub(crate) fn since_anchor(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.anchor)
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn report_failed(&self, epoch: u64) {
        self.failed_epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    pub(crate) fn failed_epoch(&self) -> u64 {
        self.failed_epoch.load(Ordering::Relaxed)
    }

    /// Publishes the run, then opens the gate with the waiters' leases counted: in this order, so
    /// that whoever gets a lease finds the run.
    pub(crate) fn open(&self, run: Arc<ReadyRun>, waiters: u32) {
        self.ready.store(Some(run));
        self.word.open(waiters);
    }

    pub(crate) fn ready_run(&self) -> Arc<ReadyRun> {
        #[expect(clippy::expect_used, reason = "see the message")]
        self.ready
            .load_full()
            .expect("a lease exists only after `open`, which stores the run first")
    }
}
