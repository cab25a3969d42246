//! Memory that was used and is not: given back to the system, since giving memory back is what
//! people run drowse for.
//!
//! The allocator keeps what a burst has freed (a herd of waiting requests, the first reading of a
//! thousand containers) for the next one, for ever. `malloc_trim` is glibc's, and has no safe
//! equivalent; other C libraries do not keep as much.
#![cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "`malloc_trim` has no safe equivalent")
)]

use std::{fs, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// How often it is looked at; a look takes some 20 µs.
const EVERY: Duration = Duration::from_secs(5);
/// How much more than after the last time is worth the milliseconds that it takes.
const WORTHWHILE: u64 = 2 * 1024 * 1024;

/// Gives memory back from time to time. Runs for ever; cancel safe.
pub(crate) async fn give_back_unused() {
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut floor = 0;
    loop {
        looks.tick().await;
        let Some(before) = resident() else { return };
        if before > floor + WORTHWHILE {
            trim();
            let after = resident().unwrap_or(before);
            debug!(before, after, "gave unused memory back");
            floor = after;
        }
        floor = floor.min(before);
    }
}

/// The memory that this process occupies, in bytes; `None` where the system does not say.
fn resident() -> Option<u64> {
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let sizes = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = sizes.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page)
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it takes no pointer, may be called at any time from any thread, and touches only
    // memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_freed_is_given_back() {
        // Blocks below the size from which the allocator maps each on its own, and one in use at
        // the end, so that the top of the heap cannot simply be cut off.
        let blocks: Vec<Vec<u8>> = (0..4_000).map(|_| vec![1; 16 * 1024]).collect();
        let used = resident().unwrap();
        let last = vec![1_u8; 16 * 1024];
        drop(blocks);
        tokio::time::timeout(EVERY * 3, give_back_unused()).await.unwrap_err();
        assert!(resident().unwrap() + 32 * 1024 * 1024 < used);
        drop(last);
    }
}
