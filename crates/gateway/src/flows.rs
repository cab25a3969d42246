//! What is in flight beside HTTP requests: TCP connections and UDP sessions, for whoever asks what
//! keeps a workload awake.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use drowse_watcher::Workload;
use slab::Slab;

use crate::{InFlight, InFlightStage, gateway::Inner, in_flight::Place};

/// All of them. Locked when one begins or ends and when somebody asks, and never by a byte on its way.
#[derive(Default)]
pub(crate) struct Flows(Mutex<Slab<Weak<Flow>>>);

/// A TCP connection or a UDP session that has found its route, until its end.
pub(crate) struct Flow {
    gateway: Arc<Inner>,
    key: usize,
    route: String,
    workload: Workload,
    peer: IpAddr,
    place: Place,
    /// Packets that found no room, or were too long.
    dropped: AtomicU64,
}

impl Flow {
    /// One that waits for its workload.
    pub(crate) fn begin(
        gateway: &Arc<Inner>,
        route: &str,
        workload: &Workload,
        peer: IpAddr,
        client: IpAddr,
    ) -> Arc<Self> {
        let mut all = gateway.flows.all();
        let entry = all.vacant_entry();
        let flow = Arc::new(Self {
            gateway: Arc::clone(gateway),
            key: entry.key(),
            route: route.to_owned(),
            workload: workload.clone(),
            peer,
            place: Place::new(),
            dropped: AtomicU64::new(0),
        });
        // It has its place alone: no route is looked up by number.
        flow.place.begin(0, client);
        entry.insert(Arc::downgrade(&flow));
        drop(all);
        flow
    }

    pub(crate) fn is_at(&self, stage: InFlightStage) {
        self.place.is_at(stage);
    }

    /// Where its bytes are counted.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Counts packets that were not passed on.
    pub(crate) fn dropped(&self, packets: u64) {
        self.dropped.fetch_add(packets, Ordering::Relaxed);
    }

    pub(crate) fn dropped_so_far(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn look(&self) -> Option<InFlight> {
        let seen = self.place.look()?;
        Some(InFlight {
            route: self.route.clone(),
            peer: self.peer,
            client: seen.client,
            age: seen.age,
            bytes: seen.bytes,
            stage: seen.stage,
            dropped: self.dropped_so_far(),
        })
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.gateway.flows.all().try_remove(self.key);
    }
}

impl Flows {
    /// Those of this workload.
    pub(crate) fn in_flight(&self, workload: &str) -> Vec<InFlight> {
        // Not while they are locked: the last handle of one, dropped here, removes it.
        let all: Vec<Arc<Flow>> = self.all().iter().filter_map(|(_, it)| it.upgrade()).collect();
        let its = all.iter().filter(|flow| flow.workload.name() == workload);
        its.filter_map(|flow| flow.look()).collect()
    }

    fn all(&self) -> MutexGuard<'_, Slab<Weak<Flow>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
