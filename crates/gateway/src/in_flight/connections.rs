//! The open connections, and the routes that their requests are for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use slab::Slab;

use super::InFlight;
use crate::{Route, RouteTable, connection::Context, route};

/// Names a route for a place: never used again for another.
pub(crate) struct RouteNumber(u64);

impl RouteNumber {
    /// The next one.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn get(&self) -> u64 {
        self.0
    }
}

/// All open connections. Locked when one is opened or closed and when somebody asks, and never by a
/// request.
#[derive(Default)]
pub(crate) struct Connections(Mutex<Slab<Weak<Context>>>);

impl Connections {
    /// Adds the connection that `make` makes, which must be [removed](Self::remove) with its key when it
    /// is dropped.
    pub(crate) fn add(&self, make: impl FnOnce(usize) -> Context) -> Arc<Context> {
        let mut all = self.all();
        let entry = all.vacant_entry();
        let context = Arc::new(make(entry.key()));
        entry.insert(Arc::downgrade(&context));
        context
    }

    pub(crate) fn remove(&self, key: usize) {
        self.all().try_remove(key);
    }

    /// The requests in flight for these routes.
    fn in_flight(&self, routes: &HashMap<u64, String>) -> Vec<InFlight> {
        // Not while they are locked: the last handle of one, dropped here, removes it.
        let open: Vec<Arc<Context>> =
            self.all().iter().filter_map(|(_, it)| it.upgrade()).collect();
        let mut in_flight = Vec::new();
        for context in open {
            let peer = context.peer.ip();
            let streams = context.streams.iter().flat_map(|streams| streams.look());
            in_flight.extend(context.place.look().into_iter().chain(streams).filter_map(|seen| {
                let route = routes.get(&seen.route)?.clone();
                let (client, age, bytes, stage) = (seen.client, seen.age, seen.bytes, seen.stage);
                Some(InFlight { route, peer, client, age, bytes, stage, dropped: 0 })
            }));
        }
        in_flight
    }

    fn all(&self) -> MutexGuard<'_, Slab<Weak<Context>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes that requests in flight may be for, by number: those of the present table, and of earlier
/// ones as long as a request is in flight by them.
#[derive(Default)]
pub(crate) struct RouteNumbers(Mutex<HashMap<u64, Weak<route::Inner>>>);

impl RouteNumbers {
    /// Takes in a new table.
    pub(crate) fn update(&self, table: &RouteTable) {
        let mut known = self.known();
        known.retain(|_, route| route.strong_count() > 0);
        known.extend(
            table.routes().iter().map(|Route(route)| (route.number.get(), Arc::downgrade(route))),
        );
    }

    /// The requests in flight for this workload, the oldest first.
    pub(crate) fn in_flight(&self, workload: &str, connections: &Connections) -> Vec<InFlight> {
        let routes: HashMap<u64, String> = self
            .known()
            .iter()
            .filter_map(|(number, route)| Some((*number, route.upgrade()?)))
            .filter(|(_, route)| route.spec.workload.name() == workload)
            .map(|(number, route)| (number, route.spec.name.clone()))
            .collect();
        let mut in_flight = connections.in_flight(&routes);
        in_flight.sort_by_key(|one| std::cmp::Reverse(one.age));
        in_flight
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Weak<route::Inner>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
