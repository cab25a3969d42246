//! What is reported of the runs that are ready: that their upstreams failed. Between those who report and
//! the task that looks into it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::core::Moment;

/// A report that the upstream of a run failed: see [`Workload::upstream_failed`].
///
/// [`Workload::upstream_failed`]: crate::Workload::upstream_failed
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    pub(crate) first_ready: Moment,
}

/// Reports are numbered in the order in which they are made; what is known of them are levels, so that
/// none is lost.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// The last epoch that was reported.
    epoch: AtomicU64,
    /// The number of the last report.
    last: AtomicU64,
    /// Of all up to this number it is known what came of them: a probe that was made after them has passed,
    /// or their run is not the one that is ready.
    settled: AtomicU64,
    /// There is one that the task does not know of.
    is_made: Notify,
    /// That was said of more of them.
    is_settled: Notify,
}

/// All reports that were made so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// The last epoch of which there is one.
    pub(crate) epoch: u64,
    /// The number of the last.
    pub(crate) number: u64,
}

impl Reports {
    /// Makes one; its number.
    pub(crate) fn make(&self, epoch: u64) -> u64 {
        if self.epoch.fetch_max(epoch, Ordering::AcqRel) > epoch {
            // What was ready then is not any more: there is nothing to be found out.
            return 0;
        }
        // After the epoch: whoever knows the number knows of what it is.
        let number = self.last.fetch_add(1, Ordering::AcqRel) + 1;
        self.is_made.notify_one();
        number
    }

    /// Waits until there are others than those that were told.
    pub(crate) async fn told(&self) -> Told {
        self.is_made.notified().await;
        let number = self.last.load(Ordering::Acquire);
        Told { epoch: self.epoch.load(Ordering::Acquire), number }
    }

    /// It is known what came of all up to this one.
    pub(crate) fn settle(&self, up_to: u64) {
        self.settled.fetch_max(up_to, Ordering::AcqRel);
        self.is_settled.notify_waiters();
    }

    /// Waits until it is known what came of the report of this number: for ever, perhaps, if its run leaves
    /// ready.
    pub(crate) async fn settled(&self, number: u64) {
        loop {
            // Told of everything from here on, also before it is polled.
            let is_settled = self.is_settled.notified();
            if self.settled.load(Ordering::Acquire) >= number {
                return;
            }
            is_settled.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn who_reports_is_told_when_a_later_probe_has_passed() {
        let reports = Reports::default();
        let (first, second) = (reports.make(1), reports.make(1));
        let told = reports.told().await;
        assert_eq!((told.epoch, told.number), (1, second));
        let mut one = pin!(reports.settled(first));
        let mut other = pin!(reports.settled(second));
        assert!(poll!(&mut one).is_pending() && poll!(&mut other).is_pending());
        reports.settle(first);
        assert!(poll!(&mut one).is_ready() && poll!(&mut other).is_pending());
        reports.settle(second);
        assert!(poll!(&mut other).is_ready());
    }

    #[tokio::test]
    async fn a_report_of_an_earlier_epoch_tells_nothing() {
        let reports = Reports::default();
        reports.make(2);
        reports.told().await;
        assert_eq!(reports.make(1), 0);
        assert!(reports.told().now_or_never().is_none());
    }
}
