//! From a request that needs a connection to one that it may use.

use std::{io, pin::pin, sync::Arc, task::Poll, time::Duration};

use drowse_watcher::ReadyRun;
use futures::poll;
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{Connection, Free, Pool, Pools, Wanted};
use crate::{crowd::TooMany, upstream::Target};

/// A connection for a request.
pub(crate) struct Obtained<'a> {
    pub(crate) connection: Connection,
    /// Whether it was there before: it may have been closed a moment ago.
    pub(crate) is_reused: bool,
    /// The turn to open it, where others wait for theirs.
    pub(crate) turn: Option<SemaphorePermit<'a>>,
}

impl Obtained<'_> {
    fn at_hand(connection: Connection) -> Self {
        Self { connection, is_reused: true, turn: None }
    }
}

/// Why there is no connection.
pub(crate) enum NotObtained {
    /// Too many others want one, for too long.
    Crowded,
    /// More want one than may wait for it.
    TooMany(TooMany),
    /// The run ended, or came into doubt, before it was dialled.
    Over,
    /// It could not be made.
    Failed(io::Error),
}

impl Pools {
    /// A connection at hand, else a new one. Waits at most `bound` for its turn and for there to be room for
    /// one more; `wait` asks whether it may, and is asked only if it must.
    pub(crate) async fn obtain<'a>(
        &self,
        pool: &'a Arc<Pool>,
        run: &ReadyRun,
        target: &Target,
        wanted: Wanted,
        bound: Duration,
        wait: impl FnOnce() -> Result<(), TooMany>,
    ) -> Result<Obtained<'a>, NotObtained> {
        match pool.take(wanted) {
            Some(connection) => Ok(Obtained::at_hand(connection)),
            // Rare, and large: not part of each request's memory.
            None => Box::pin(self.make(pool, run, target, wanted, bound, wait)).await,
        }
    }

    async fn make<'a>(
        &self,
        pool: &'a Arc<Pool>,
        run: &ReadyRun,
        target: &Target,
        wanted: Wanted,
        bound: Duration,
        wait: impl FnOnce() -> Result<(), TooMany>,
    ) -> Result<Obtained<'a>, NotObtained> {
        let mut turn = pin!(async {
            let turn = self.turn(pool, wanted.protocols).await;
            // While it waited, a connection may have become free.
            (turn, pool.free(wanted).await)
        });
        let (turn, free) = match poll!(turn.as_mut()) {
            Poll::Ready(come) => come,
            Poll::Pending => {
                wait().map_err(NotObtained::TooMany)?;
                timeout(bound, turn).await.map_err(|_| NotObtained::Crowded)?
            }
        };
        let place = match free {
            Free::Connection(connection) => return Ok(Obtained::at_hand(connection)),
            Free::Place(place) => place,
        };
        // Others may have found meanwhile that nobody is there: then each would wait for nothing.
        if self.workload.is_in_doubt(run) {
            return Err(NotObtained::Over);
        }
        let opened = pool.open(target, wanted.protocols, place).await;
        let connection = opened.map_err(NotObtained::Failed)?;
        self.note(&connection, wanted.protocols);
        let turn = turn.filter(|_| !connection.is_shared());
        Ok(Obtained { connection, is_reused: false, turn })
    }
}
