//! What the words of an upstream's machine, that nobody listens there, tell of packets about which it said
//! nothing.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Such a word may be the only one to all sessions within this time: Linux says it to a peer six times in a
/// row and then once a second, on its loopback alone each time (`icmp_ratelimit`).
const SELDOM: Duration = Duration::from_millis(1500);

/// When the upstream of a route was last heard to refuse a packet, of whichever session.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Option<Instant>>);

impl Refusals {
    pub(super) fn heard(&self) {
        *self.last() = Some(Instant::now());
    }

    /// Whether packets that were sent at that moment, and not replied to, would have been refused by now if
    /// nobody had listened.
    pub(super) fn silence_tells(&self, sent_at: Instant) -> bool {
        self.last().is_none_or(|last| last + SELDOM < sent_at)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_tells_nothing_around_a_refusal() {
        let refusals = Refusals::default();
        let before = Instant::now();
        assert!(refusals.silence_tells(before));
        advance(SELDOM).await;
        refusals.heard();
        assert!(!refusals.silence_tells(before));
        advance(SELDOM).await;
        assert!(!refusals.silence_tells(Instant::now()));
        advance(Duration::from_millis(1)).await;
        assert!(refusals.silence_tells(Instant::now()));
    }
}
