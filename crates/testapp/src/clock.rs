//! Instants that another process on the same machine can compare with its own.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// One instant on two clocks, in nanoseconds: the wall clock, and the time since boot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) realtime_ns: u64,
    boottime_ns: u64,
}

impl Stamp {
    pub(crate) fn now() -> Self {
        Self { realtime_ns: read(ClockId::Realtime), boottime_ns: read(ClockId::Boottime) }
    }

    pub(crate) fn to_json(self) -> Value {
        json!({ "realtime_ns": self.realtime_ns, "boottime_ns": self.boottime_ns })
    }
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    // Neither clock is negative on a machine that was set to a date after 1970.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}
