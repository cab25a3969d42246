//! Connections that are kept for the next request.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::connection::Connection;

/// How long a connection lies idle at most: pveproxy closes it after 5 s, and it must not be that
/// one is used while it is being closed.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// How many requests go over one connection: pveproxy closes it after 100.
const USES_MAX: u32 = 90;

/// How many are kept: one for the cluster's poll, and one to spare.
const KEPT: usize = 2;

/// A connection to one of the endpoints, and how much it was used.
pub(super) struct Kept {
    pub(super) connection: Connection,
    /// The endpoint.
    at: usize,
    uses: u32,
}

/// The connections that nobody uses now, the youngest last.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Kept, Instant)>>,
}

impl Kept {
    pub(super) fn new(connection: Connection, at: usize) -> Self {
        Self { connection, at, uses: 0 }
    }
}

impl Pool {
    pub(super) fn take(&self, at: usize) -> Option<Kept> {
        let mut idle = self.idle();
        idle.retain(|(kept, since)| since.elapsed() < IDLE_MAX && kept.connection.is_usable());
        let youngest = idle.iter().rposition(|(kept, _)| kept.at == at)?;
        Some(idle.remove(youngest).0)
    }

    /// After a request whose answer said that another may follow.
    pub(super) fn put(&self, mut kept: Kept) {
        kept.uses += 1;
        if kept.uses >= USES_MAX {
            return;
        }
        let mut idle = self.idle();
        idle.push((kept, Instant::now()));
        let surplus = idle.len().saturating_sub(KEPT);
        idle.drain(..surplus);
    }

    pub(super) fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Kept, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
