//! The requests of an HTTP/2 connection, of which there are several at once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

use super::place::{Place, Seen};

/// What is known of one connection's streams.
pub(crate) struct Streams {
    /// The requests that have a route. Locked when one begins or ends and when somebody asks.
    places: Mutex<Slab<Arc<Place>>>,
    /// How many tasks serve streams: also of those that are no business of any route.
    served: AtomicUsize,
    made: Instant,
    /// When the last task ended, in milliseconds since `made`.
    ended: AtomicU64,
}

/// The place of one stream's request.
pub(super) struct Seat {
    pub(super) place: Arc<Place>,
    key: usize,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            places: Mutex::default(),
            served: AtomicUsize::new(0),
            made: Instant::now(),
            ended: AtomicU64::new(0),
        }
    }

    /// A place for one more, which must be [removed](Self::remove).
    pub(super) fn add(&self) -> Seat {
        let place = Arc::new(Place::new());
        let key = self.places().insert(Arc::clone(&place));
        Seat { place, key }
    }

    pub(super) fn remove(&self, seat: &Seat) {
        self.places().try_remove(seat.key);
    }

    /// The requests that are under way.
    pub(super) fn look(&self) -> Vec<Seen> {
        self.places().iter().filter_map(|(_, place)| place.look()).collect()
    }

    /// Counts a task that serves a stream, until what is returned is dropped.
    pub(crate) fn serve(self: &Arc<Self>) -> Served {
        self.served.fetch_add(1, Ordering::Relaxed);
        Served(Arc::clone(self))
    }

    /// For how long no stream has been served; `None` while one is.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        if self.served.load(Ordering::Acquire) > 0 {
            return None;
        }
        let ended = Duration::from_millis(self.ended.load(Ordering::Relaxed));
        Some(self.made.elapsed().saturating_sub(ended))
    }

    fn places(&self) -> MutexGuard<'_, Slab<Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that is being served.
pub(crate) struct Served(Arc<Streams>);

impl Drop for Served {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(now, Ordering::Relaxed);
        // Whoever sees that it is over also sees when.
        self.0.served.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_since_the_last_stream_ended() {
        let streams = Arc::new(Streams::new());
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert_eq!(streams.quiet_for(), Some(second));
        let (first, last) = (streams.serve(), streams.serve());
        drop(first);
        tokio::time::advance(second).await;
        assert_eq!(streams.quiet_for(), None);
        drop(last);
        tokio::time::advance(second).await;
        assert_eq!(streams.quiet_for(), Some(second));
    }

    #[test]
    fn each_request_has_a_place_until_it_is_removed() {
        let streams = Streams::new();
        let (first, second) = (streams.add(), streams.add());
        let client = "192.0.2.1".parse().unwrap();
        first.place.begin(1, client);
        second.place.begin(2, client);
        let routes = || streams.look().into_iter().map(|seen| seen.route).collect::<Vec<_>>();
        assert_eq!(routes(), [1, 2]);
        streams.remove(&first);
        assert_eq!(routes(), [2]);
    }
}
