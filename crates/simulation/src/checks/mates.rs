//! What must hold of those that are used together.

use std::time::Duration;

use drowse_watcher::Role;

use super::{Invariant, orders::NOTICED_WITHIN};
use crate::world::{Order, World};

/// How long it counts that the others have agreed to a sleep.
const LEAVE_COUNTS_FOR: Duration = Duration::from_secs(10);

impl World {
    /// It is put to sleep, which was decided after this.
    pub(super) fn check_mates(&mut self, index: usize, order: Order, decided: Duration) {
        let was_running = self.records[index].is_observed_alive();
        let asked = decided.saturating_sub(LEAVE_COUNTS_FOR + NOTICED_WITHIN);
        if !was_running || self.records[index].mate_since.is_none_or(|since| since > asked) {
            return;
        }
        let in_use = self.plan.mates(index).find(|mate| self.was_used_since(*mate, asked));
        if let Some(mate) = in_use {
            let what = format!("w{index}: {order:?} is ordered while w{mate} of its group is used");
            self.violated(Invariant::Together, what);
        }
    }

    /// Whether it was used at each moment since then, its idle time included.
    fn was_used_since(&self, index: usize, then: Duration) -> bool {
        let now = self.now();
        let record = &self.records[index];
        let began = record.used_since.max(record.mate_since);
        let idle = record.least_idle;
        let goes_on = record.active > 0 || record.last_use.is_some_and(|at| at + idle > now);
        let is_mate = record.mate_since.is_some() && record.used_since.is_some();
        is_mate && goes_on && began.is_some_and(|began| began <= then)
    }

    /// It is in use, and everything has had its time: the others of its group run, too.
    pub(crate) fn check_together(&mut self, index: usize) {
        let plan = self.plan.clone();
        if self.records[index].active == 0 {
            return;
        }
        let is_left_behind = |mate: &usize| {
            let is_through =
                plan.workloads[*mate].policy.role == Role::Job && self.is_observed_complete(*mate);
            !self.containers[*mate].is_running() && !is_through
        };
        if let Some(mate) = plan.mates(index).find(is_left_behind) {
            let what = format!("w{mate} does not run, and w{index} of its group is used");
            self.violated(Invariant::Together, what);
        }
    }
}
