//! The smallest world that still fails.

use std::sync::Arc;

use crate::{Invariant, Plan, run};

/// How many worlds are tried at most.
const ATTEMPTS: usize = 3_000;

/// Takes out of a world whatever it still fails without, in the same invariant.
#[must_use]
pub fn minimise(plan: Plan, invariant: Invariant) -> Plan {
    let mut search = Search { smallest: plan, invariant, attempts: 0 };
    search.end_sooner();
    loop {
        let before = search.size();
        search.drop_workloads();
        search.drop_happenings();
        if search.size() == before || search.attempts >= ATTEMPTS {
            return search.smallest;
        }
    }
}

struct Search {
    smallest: Plan,
    invariant: Invariant,
    attempts: usize,
}

impl Search {
    fn size(&self) -> usize {
        self.smallest.happenings.len() + self.smallest.present().count()
    }

    /// Keeps it if it still fails.
    fn try_one(&mut self, plan: Plan) -> bool {
        self.attempts += 1;
        if self.attempts > ATTEMPTS {
            return false;
        }
        let outcome = run(Arc::new(plan.clone()), false);
        let fails = outcome.violation.is_some_and(|found| found.invariant == self.invariant);
        if fails {
            self.smallest = plan;
        }
        fails
    }

    /// What is planned for after the failure does not matter.
    fn end_sooner(&mut self) {
        let outcome = run(Arc::new(self.smallest.clone()), false);
        if let Some(found) = outcome.violation {
            let mut plan = self.smallest.clone();
            plan.happenings.retain(|planned| planned.at <= found.at);
            self.try_one(plan);
        }
    }

    fn drop_workloads(&mut self) {
        for index in self.smallest.present() {
            self.try_one(self.smallest.without_workload(index));
        }
    }

    /// In halves, quarters, and so on down to each alone.
    fn drop_happenings(&mut self) {
        let mut length = self.smallest.happenings.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.smallest.happenings.len() {
                let end = (at + length).min(self.smallest.happenings.len());
                if !self.try_one(self.smallest.without_happenings(at..end)) {
                    at = end;
                }
            }
            if length == 1 {
                return;
            }
            length = length.div_ceil(2);
        }
    }
}
