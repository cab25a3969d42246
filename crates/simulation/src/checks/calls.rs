//! Calls of engines: they grow with workloads only.

use super::Invariant;
use crate::world::World;

/// How many calls one wake takes, at most, where nothing goes wrong.
const CALLS_OF_A_WAKE: u64 = 10;

impl World {
    /// An engine is called for this container.
    pub(crate) fn engine_called(&mut self, index: usize) {
        self.records[index].calls += 1;
        if self.is_silent {
            self.violated(
                Invariant::Calls,
                format_args!("w{index}: its engine is called though nothing has happened"),
            );
        }
    }

    /// A wake begins.
    pub(crate) fn count_calls_anew(&mut self) {
        for record in &mut self.records {
            record.calls = 0;
        }
    }

    /// It is over, however many have waited for it.
    pub(crate) fn check_calls_of_a_wake(&mut self) {
        for index in self.plan.present() {
            let calls = self.records[index].calls;
            // What has no idle time may sleep before the next of its group is ready, and follow that.
            let turns = 1 + self.plan.mates(index).count() as u64;
            if calls > CALLS_OF_A_WAKE * turns {
                let what = format!("w{index}: its engine was called {calls} times for one wake");
                self.violated(Invariant::Calls, what);
            }
        }
    }
}
