//! Whose password is hashed next. That takes a whole core for a while, and anybody may ask for it: so each
//! source has one turn at a time, and who waits for it waits behind its own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::sources::source_of;

/// How long a password may wait to be looked at, behind others.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many of one source wait at once: more than a browser asks for at a time. Further ones do not wait.
const MOST_OF_SOURCE: usize = 256;

/// The turns to hash.
pub(super) struct Hashing {
    turns: Arc<Semaphore>,
    sources: Arc<Mutex<HashMap<IpAddr, Queue>>>,
}

/// Those of one source.
struct Queue {
    length: usize,
    turn: Arc<Semaphore>,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_source: Option<(OwnedSemaphorePermit, InQueue)>,
}

struct InQueue {
    sources: Arc<Mutex<HashMap<IpAddr, Queue>>>,
    source: IpAddr,
}

impl Hashing {
    /// On half of the cores at most: the others are for everybody else. Where there is one core only, it is
    /// shared by time.
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::with((cores / 2).max(1))
    }

    pub(super) fn with(turns: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), sources: Arc::default() }
    }

    /// Waits for a turn, for one from this address; `None`: those are not told apart. No turn: too many are
    /// before it.
    pub(super) async fn turn(&self, client: Option<IpAddr>) -> Option<Turn> {
        let turn = async {
            let of_source = match client.map(source_of) {
                Some(source) => Some(self.of_source(source).await?),
                None => None,
            };
            // The semaphores are never closed.
            let of_all = Arc::clone(&self.turns).acquire_owned().await.ok()?;
            Some(Turn { _of_all: of_all, _of_source: of_source })
        };
        timeout(PATIENCE, turn).await.ok().flatten()
    }

    async fn of_source(&self, source: IpAddr) -> Option<(OwnedSemaphorePermit, InQueue)> {
        let (turn, in_queue) = {
            let mut sources = held(&self.sources);
            let new = || Queue { length: 0, turn: Arc::new(Semaphore::new(1)) };
            let queue = sources.entry(source).or_insert_with(new);
            if queue.length >= MOST_OF_SOURCE {
                return None;
            }
            queue.length += 1;
            let in_queue = InQueue { sources: Arc::clone(&self.sources), source };
            (Arc::clone(&queue.turn), in_queue)
        };
        Some((turn.acquire_owned().await.ok()?, in_queue))
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        let mut sources = held(&self.sources);
        if let Some(queue) = sources.get_mut(&self.source) {
            queue.length -= 1;
            if queue.length == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

fn held(sources: &Mutex<HashMap<IpAddr, Queue>>) -> MutexGuard<'_, HashMap<IpAddr, Queue>> {
    sources.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, poll};
    use tokio::time::Instant;

    use super::*;

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_source_waits_behind_its_own() {
        let hashing = Hashing::with(1);
        let first = hashing.turn(Some(at("2001:db8::1"))).await.unwrap();
        let mut second = pin!(hashing.turn(Some(at("2001:db8::2"))));
        let mut third = pin!(hashing.turn(Some(at("2001:db8::3"))));
        let mut other = pin!(hashing.turn(Some(at("192.0.2.1"))));
        assert!(poll!(second.as_mut()).is_pending() && poll!(third.as_mut()).is_pending());
        assert!(poll!(other.as_mut()).is_pending());
        drop(first);
        // It came after them.
        let other = other.now_or_never().flatten().unwrap();
        assert!(poll!(second.as_mut()).is_pending());
        drop(other);
        drop(second.await.unwrap());
        drop(third.await.unwrap());
        assert!(held(&hashing.sources).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_leaves_turns_to_others_and_does_not_wait_for_ever() {
        let hashing = Hashing::with(2);
        let one = hashing.turn(Some(at("192.0.2.1"))).await.unwrap();
        let mut waits: Vec<_> =
            (1..MOST_OF_SOURCE).map(|_| Box::pin(hashing.turn(Some(at("192.0.2.1"))))).collect();
        for waiting in &mut waits {
            assert!(poll!(waiting).is_pending());
        }
        assert!(hashing.turn(Some(at("192.0.2.1"))).now_or_never().unwrap().is_none());
        let other = hashing.turn(Some(at("192.0.2.2"))).now_or_never().flatten().unwrap();
        drop(other);
        // This machine's own are not told apart.
        let own = hashing.turn(None).now_or_never().flatten().unwrap();
        let began = Instant::now();
        for waiting in waits {
            assert!(waiting.await.is_none());
        }
        assert_eq!(began.elapsed(), PATIENCE);
        drop((one, own));
        assert!(held(&hashing.sources).is_empty());
    }
}
