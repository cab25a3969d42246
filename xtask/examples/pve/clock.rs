//! The clock that the bench, drowse and the applications read.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // Neither can be negative: the clock begins at 0.
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
