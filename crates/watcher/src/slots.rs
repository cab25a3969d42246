//! The bound on the orders that one engine is given at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on the orders that one engine is given at a time; shared by its workloads, fair. Sleeps
/// take at most half of them: some engines need a minute for a stop, and nobody waits for a sleep as
/// one does for a wake.
#[derive(Clone, Debug)]
pub struct OrderSlots(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    all: Arc<Semaphore>,
    of_sleeps: Arc<Semaphore>,
}

/// A slot. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct OrderSlot {
    _of_all: OwnedSemaphorePermit,
    of_sleeps: Option<OwnedSemaphorePermit>,
}

impl OrderSlot {
    /// Whether it was waited for among those of sleeps.
    pub(crate) fn is_for_a_sleep(&self) -> bool {
        self.of_sleeps.is_some()
    }
}

impl OrderSlots {
    /// At most `orders` at a time (4 is a good number for one machine).
    pub fn new(orders: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.max(1)));
        Self(Arc::new(Slots { all: semaphore(orders), of_sleeps: semaphore(orders / 2) }))
    }

    /// A slot for an order that somebody may wait for. `None` never happens: the semaphores are
    /// never closed. Cancel safe.
    pub(crate) async fn for_a_start(&self) -> Option<OrderSlot> {
        let of_all = Arc::clone(&self.0.all).acquire_owned().await.ok()?;
        Some(OrderSlot { _of_all: of_all, of_sleeps: None })
    }

    /// The same, if there is one that nobody waits for.
    pub(crate) fn try_for_a_start(&self) -> Option<OrderSlot> {
        let of_all = Arc::clone(&self.0.all).try_acquire_owned().ok()?;
        Some(OrderSlot { _of_all: of_all, of_sleeps: None })
    }

    /// A slot for an order that puts to sleep. Its own share comes first, so that nobody who waits
    /// for that keeps a slot from a start. `None`, and cancellation: as above.
    pub(crate) async fn for_a_sleep(&self) -> Option<OrderSlot> {
        let of_sleeps = Arc::clone(&self.0.of_sleeps).acquire_owned().await.ok()?;
        let slot = self.for_a_start().await?;
        Some(OrderSlot { of_sleeps: Some(of_sleeps), ..slot })
    }
}

impl Default for OrderSlots {
    fn default() -> Self {
        Self::new(4)
    }
}
