//! Which run a live read is about.

use std::{collections::HashMap, time::Duration};

use drowse_provider::RunId;

use super::row::{Row, Span};

/// By how much the uptime of one run may seem to fall short: it counts whole seconds, and begins
/// with -1.
const ROUNDING: Duration = Duration::from_secs(3);
/// Two clocks differ by at most this part of the time between two reads.
const DRIFT: u32 = 1000;

/// Names runs. The API has no name for one: it is told by the process id of the container's init on
/// its node, and by the uptime where the same id was given again.
#[derive(Debug, Default)]
pub(super) struct Runs {
    last: HashMap<u32, Last>,
    /// How many were named: no name is given twice.
    named: u64,
}

#[derive(Debug)]
struct Last {
    run: RunId,
    pid: Option<u64>,
    uptime: Duration,
    span: Span,
    /// Whether it was seen stopped since.
    has_ended: bool,
}

impl Runs {
    /// The run that a live read is about: of a stopped container the last one that was seen.
    pub(super) fn of(&mut self, row: &Row, pid: Option<u64>, span: Span) -> Option<RunId> {
        let last = self.last.get_mut(&row.vmid);
        if !row.runs() {
            return last.map(|last| {
                last.has_ended = true;
                last.run.clone()
            });
        }
        let uptime = Duration::from_secs(row.uptime.into());
        if let Some(last) = last
            && last.is_still(pid, uptime, span)
        {
            if pid.is_some() {
                (last.pid, last.uptime, last.span) = (pid, uptime, span);
            }
            return Some(last.run.clone());
        }
        self.named += 1;
        let identity = format!("{}/{}/{}", row.node, pid.unwrap_or_default(), self.named);
        let run = RunId::new(identity);
        let last = Last { run: run.clone(), pid, uptime, span, has_ended: false };
        self.last.insert(row.vmid, last);
        Some(run)
    }

    /// The container is gone.
    pub(super) fn forget(&mut self, vmid: u32) {
        self.last.remove(&vmid);
    }
}

impl Last {
    /// On whatever node: what goes on with the same id and an uptime that goes on is the same. Where
    /// the node has not found its process (yet), it tells neither.
    fn is_still(&self, pid: Option<u64>, uptime: Duration, span: Span) -> bool {
        let between = span.began.saturating_duration_since(self.span.ended);
        let at_least = self.uptime.saturating_add(between.saturating_sub(between / DRIFT));
        let is_untold = self.pid.is_none() || pid.is_none();
        let goes_on = self.pid == pid && uptime.saturating_add(ROUNDING) >= at_least;
        !self.has_ended && (is_untold || goes_on)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::cluster::row::tests::{row, running};

    struct Container {
        runs: Runs,
        began: Instant,
    }

    impl Container {
        fn new() -> Self {
            Self { runs: Runs::default(), began: Instant::now() }
        }

        /// A read that was under way from second `at` on, for `took` seconds.
        fn read(&mut self, at: u64, took: u64, row: &Row, pid: Option<u64>) -> Option<RunId> {
            let began = self.began + Duration::from_secs(at);
            let span = Span { began, ended: began + Duration::from_secs(took) };
            self.runs.of(row, pid, span)
        }
    }

    #[test]
    fn one_that_was_never_seen_running_has_no_run() {
        assert_eq!(Container::new().read(0, 0, &row(100), None), None);
    }

    #[test]
    fn a_stopped_one_tells_its_last_run_and_the_next_start_is_another() {
        let mut container = Container::new();
        let first = container.read(0, 0, &running(100, 5), Some(7));
        assert!(first.is_some());
        assert_eq!(container.read(1, 0, &row(100), None), first);
        assert_eq!(container.read(2, 0, &row(100), None), first);
        assert_ne!(container.read(3, 0, &running(100, 8), Some(7)), first);
    }

    #[test]
    fn another_process_id_is_another_run_and_so_is_the_same_one_later() {
        let mut container = Container::new();
        let first = container.read(0, 0, &running(100, 5), Some(7));
        let second = container.read(10, 0, &running(100, 15), Some(8));
        let third = container.read(20, 0, &running(100, 25), Some(7));
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn the_same_process_id_with_less_uptime_is_another_run() {
        let mut container = Container::new();
        let first = container.read(0, 0, &running(100, 60), Some(7));
        assert_ne!(container.read(100, 0, &running(100, 90), Some(7)), first);
    }

    #[test]
    fn a_migration_restarts_it_whatever_its_process_id_is_on_the_other_node() {
        let mut container = Container::new();
        let first = container.read(0, 0, &running(100, 60), Some(7));
        let moved = Row { node: "pve2".into(), ..running(100, 2) };
        assert_ne!(container.read(10, 0, &moved, Some(7)), first);
    }

    #[test]
    fn a_process_that_its_node_has_not_found_yet_is_no_other_run() {
        let mut container = Container::new();
        let first = container.read(0, 0, &running(100, 0), None);
        assert!(first.is_some());
        assert_eq!(container.read(1, 0, &running(100, 0), None), first);
        assert_eq!(container.read(2, 0, &running(100, 2), Some(7)), first);
        assert_eq!(container.read(9, 0, &running(100, 0), None), first);
        assert_eq!(container.read(60, 0, &running(100, 60), Some(7)), first);
        assert_ne!(container.read(70, 0, &running(100, 5), Some(8)), first);
    }

    proptest! {
        /// However long the reads take, and at whatever moment of them the server looked.
        #[test]
        fn one_run_keeps_its_name(
            reads in proptest::collection::vec((0..100_000u64, 0..30u64, 0..=30u64, -1..=1i64), 1..20)
        ) {
            let mut container = Container::new();
            let (mut now, mut first) = (0, None);
            for (pause, took, looked, rounding) in reads {
                let seen = 10 + now + pause + looked.min(took);
                let uptime = u32::try_from(seen.saturating_add_signed(rounding)).unwrap();
                let run = container.read(now + pause, took, &running(100, uptime), Some(7));
                prop_assert!(run.is_some());
                prop_assert_eq!(first.get_or_insert(run.clone()), &run);
                now += pause + took;
            }
        }
    }
}
