//! How many requests are in flight, and for whom there is always room.

use tokio::sync::{Semaphore, SemaphorePermit};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// To know of the cluster what pveproxy itself answers, on which all else depends.
    Cluster,
    /// To know how things stand.
    Reading,
    /// To know what an order waits for.
    Urgent,
    /// An order.
    Order,
}

/// The places for requests in flight. Reading cannot take all of them, nor can urgent reads, so an
/// order never waits behind reads that hang. What is asked of the cluster itself has places of its own
/// beside them: it waits for no node, and a node that hangs does not take the whole cluster away.
pub(super) struct Lanes {
    cluster: Semaphore,
    all: Semaphore,
    reads: Semaphore,
    reading: Semaphore,
}

/// How many requests to the cluster itself are in flight: a beat, and the version beside it.
const CLUSTER: usize = 2;

/// A place. Given back when it is dropped.
pub(super) struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _read: Option<SemaphorePermit<'a>>,
    _reading: Option<SemaphorePermit<'a>>,
}

impl Lanes {
    /// Of `places` (three at least, one of each kind), a quarter is kept free of mere reading, and
    /// one of reads of any kind.
    pub(super) fn new(places: usize) -> Self {
        let places = places.max(3);
        Self {
            cluster: Semaphore::new(CLUSTER),
            all: Semaphore::new(places),
            reads: Semaphore::new(places - 1),
            reading: Semaphore::new(places - (places / 4).max(2)),
        }
    }

    /// Waits for a place, in the order of asking. `None`: never; the places are not closed.
    pub(super) async fn turn(&self, lane: Lane) -> Option<Turn<'_>> {
        let reading = match lane {
            Lane::Reading => Some(self.reading.acquire().await.ok()?),
            Lane::Cluster | Lane::Urgent | Lane::Order => None,
        };
        let read = match lane {
            Lane::Reading | Lane::Urgent => Some(self.reads.acquire().await.ok()?),
            Lane::Cluster | Lane::Order => None,
        };
        let places = if lane == Lane::Cluster { &self.cluster } else { &self.all };
        let place = places.acquire().await.ok()?;
        Some(Turn { _place: place, _read: read, _reading: reading })
    }
}
