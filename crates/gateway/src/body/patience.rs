//! How long a client may keep an upstream waiting for the next piece of a body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Counts the time for which the next piece is awaited. Who does not ask for it does not wait: time in
/// which the upstream takes nothing is not the client's.
pub(super) struct Patience {
    /// `None`: for ever.
    bound: Option<Duration>,
    since: Option<Instant>,
    /// There from the first wait on. It is not set anew for each piece: it is late, and then looks how
    /// late.
    timer: Option<Pin<Box<Sleep>>>,
}

/// It has been waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost(pub(super) Duration);

impl Patience {
    pub(super) fn new(bound: Option<Duration>) -> Self {
        Self { bound, since: None, timer: None }
    }

    /// A piece has come.
    pub(super) fn renew(&mut self) {
        self.since = None;
    }

    /// Waits, or waits on; ready when that has been for too long. `passed`: when anything of the same
    /// exchange did last, in whichever direction.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, passed: Instant) -> Poll<Lost> {
        let Some(bound) = self.bound else { return Poll::Pending };
        let since = *self.since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(bound)));
        loop {
            ready!(timer.as_mut().poll(context));
            let due = since.max(passed) + bound;
            if due <= Instant::now() {
                return Poll::Ready(Lost(bound));
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    const BOUND: Duration = Duration::from_mins(1);
    const ALMOST: Duration = Duration::from_secs(59);

    fn is_lost(patience: &mut Patience, passed: Instant) -> bool {
        poll_fn(|context| patience.poll(context, passed)).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_when_the_next_piece_was_asked_for() {
        let began = Instant::now();
        let mut patience = Patience::new(Some(BOUND));
        assert!(!is_lost(&mut patience, began));
        advance(ALMOST).await;
        assert!(!is_lost(&mut patience, began));
        patience.renew();
        // The upstream takes nothing for an hour, and then waits again.
        advance(60 * BOUND).await;
        assert!(!is_lost(&mut patience, began));
        advance(ALMOST).await;
        assert!(!is_lost(&mut patience, began));
        advance(Duration::from_secs(2)).await;
        assert!(is_lost(&mut patience, began));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_being_answered_may_be_silent() {
        let mut patience = Patience::new(Some(BOUND));
        for _ in 0..10 {
            assert!(!is_lost(&mut patience, Instant::now()));
            advance(ALMOST).await;
        }
        let last = Instant::now();
        advance(BOUND + Duration::from_secs(1)).await;
        assert!(is_lost(&mut patience, last));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_it_is_endless() {
        let mut patience = Patience::new(None);
        assert!(!is_lost(&mut patience, Instant::now()));
        advance(1000 * BOUND).await;
        assert!(!is_lost(&mut patience, Instant::now()));
    }
}
