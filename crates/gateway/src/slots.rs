//! Places for open connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::seldom::Seldom;

/// The places for connections of clients. Raw TCP may take half of them: what it holds, often for
/// long, leaves the rest to HTTP.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    of_tcp: Arc<Semaphore>,
    most: usize,
    told: Seldom,
}

/// A raw TCP connection's place.
pub(crate) struct TcpSlot {
    _of_all: OwnedSemaphorePermit,
    _of_tcp: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        let semaphore =
            |places: usize| Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let (all, of_tcp) = (semaphore(most), semaphore(most.div_ceil(2)));
        Self { all, of_tcp, most, told: Seldom::default() }
    }

    /// Waits for a place for a connection of HTTP. Never `None`: the semaphores are never closed.
    pub(crate) async fn for_http(&self) -> Option<OwnedSemaphorePermit> {
        self.one_of(&self.all, self.most).await
    }

    /// Likewise for one of raw TCP.
    pub(crate) async fn for_tcp(&self) -> Option<TcpSlot> {
        let of_tcp = self.one_of(&self.of_tcp, self.most.div_ceil(2)).await?;
        let of_all = self.one_of(&self.all, self.most).await?;
        Some(TcpSlot { _of_all: of_all, _of_tcp: of_tcp })
    }

    async fn one_of(&self, places: &Arc<Semaphore>, limit: usize) -> Option<OwnedSemaphorePermit> {
        if places.available_permits() == 0 && self.told.is_due() {
            tracing::warn!(limit, "no place for further connections; they wait for others to end");
        }
        Arc::clone(places).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn raw_tcp_leaves_half_of_the_places_to_http() {
        let slots = Slots::new(3);
        let tcp = || slots.for_tcp().now_or_never();
        let (first, second) = (tcp(), tcp());
        assert!(first.is_some() && second.is_some() && tcp().is_none());
        let http = slots.for_http().now_or_never();
        assert!(http.is_some() && slots.for_http().now_or_never().is_none());
        drop(first);
        assert!(tcp().is_some());
    }
}
