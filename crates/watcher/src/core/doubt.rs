//! Reports that the upstream of the run which is ready failed, and what they are worth.
//!
//! The first shuts the gate, so that nobody else is sent to what may be dead, until a read and a probe have
//! shown how it is. But anybody can bring one about: by a path on which the application closes without an
//! answer, or at a port where nobody listens. When the probe that followed has passed, the report was
//! **refuted**, and for a while others of that run are looked into while it serves on: only a probe that
//! fails shuts the gate then.

use std::time::Duration;

use super::{Core, Moment, Reason, probing::WHEN_NOBODY_WAITS};

/// How long after a probe has refuted a report others are looked into with the gate open.
const REFUTED_FOR: Duration = Duration::from_mins(1);
/// How often the container is read for reports that are looked into with the gate open: its addresses,
/// and the verdict of its own health check, may be others by now.
const READ_EVERY: Duration = Duration::from_secs(10);
/// What served for this long after a probe had found it ready was rightly found so.
const RIGHTLY_READY_AFTER: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// What has come of the reports of the present run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There was none, or the last one was right.
    Unrefuted,
    /// One has shut the gate: the next probe tells.
    Awaited,
    /// The last one was wrong, as a probe showed then.
    Refuted(Moment),
}

/// Reports that are looked into while the run serves on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    /// The number of the last.
    last: u64,
    /// The last that was made before the probe which looks into them.
    probed: u64,
}

impl Core {
    pub(super) fn upstream_failed(&mut self, now: Moment, epoch: u64, number: u64) {
        let is_shut = self.proven.is_none();
        let to_resume = self.order.as_mut().and_then(|open| open.resume.as_mut());
        let reported = self.proven.as_mut().or(to_resume);
        let Some(proven) = reported.filter(|proven| proven.ready.epoch == epoch) else {
            return self.shared.reports.settle(number);
        };
        let refuted_lately = matches!(self.probing.verdict, Verdict::Refuted(at)
            if now.since(at) < REFUTED_FOR);
        if !is_shut && !refuted_lately {
            self.condemn(now);
            self.probing.verdict = Verdict::Awaited;
            return self.probe_after_report(now);
        }
        if let Some(suspicion) = &mut proven.suspicion {
            suspicion.last = number;
        } else {
            proven.suspicion = Some(Suspicion { last: number, probed: 0 });
            self.look_into_reports(now);
        }
    }

    /// Whether reports are looked into while it serves on.
    pub(super) fn is_suspected(&self) -> bool {
        self.proven.as_ref().is_some_and(|proven| proven.suspicion.is_some())
    }

    fn look_into_reports(&mut self, now: Moment) {
        // One that is under way is not begun anew for each report: it would come to no end.
        let is_read = self.stale || self.reading.is_some();
        if !is_read && now.since(self.learned_at) >= READ_EVERY {
            self.doubt_belief();
        }
        self.probe_after_report(now);
    }

    /// Looks whether it serves, and does so without a pause only if it was not found to a moment ago: then
    /// its probe sees what its requests do not.
    fn probe_after_report(&mut self, now: Moment) {
        self.probe_soon(now);
        if now.since(self.probing.passed_at) < RIGHTLY_READY_AFTER {
            self.probing.condemned.failed(now, SHORTEST_PAUSE, WHEN_NOBODY_WAITS);
        } else {
            self.probing.condemned.succeeded();
        }
    }

    /// A probe begins: it tells of all that was reported before.
    pub(super) fn probe_suspicion(&mut self) {
        if let Some(suspicion) = self.suspicion() {
            suspicion.probed = suspicion.last;
        }
    }

    /// The probe that looked into reports has passed. Those that were made since it began are still to be
    /// looked into.
    pub(super) fn refute_reports(&mut self, now: Moment) {
        let Some(suspicion) = self.suspicion().copied() else { return };
        self.probing.verdict = Verdict::Refuted(now);
        self.probing.passed_at = now;
        self.shared.reports.settle(suspicion.probed);
        if suspicion.last > suspicion.probed {
            self.look_into_reports(now);
        } else if let Some(proven) = &mut self.proven {
            proven.suspicion = None;
        }
    }

    fn suspicion(&mut self) -> Option<&mut Suspicion> {
        self.proven.as_mut().and_then(|proven| proven.suspicion.as_mut())
    }

    /// What was reported is so, or has to be taken for it: nobody is sent there any more. It is read, and
    /// probed.
    pub(super) fn condemn(&mut self, now: Moment) {
        self.shut(Reason::UpstreamFailed);
        self.doubt_belief();
        self.probing.only_refused = true;
        // What it answered before proves nothing.
        self.probing.in_flight = None;
        self.probe_soon(now);
    }

    /// It becomes ready, perhaps again, and perhaps elsewhere than it was ready until now. Up to which report
    /// that settles all, once it is shown.
    pub(super) fn refuted_by_readiness(&mut self, now: Moment) -> Option<u64> {
        if self.probing.verdict == Verdict::Awaited {
            self.probing.verdict = Verdict::Refuted(now);
        }
        self.suspicion().map(|suspicion| suspicion.last)
    }
}
