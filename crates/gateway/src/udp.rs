//! UDP: a port leads to a workload. Packets of one source address to one of ours are a session, which
//! has a lease, a socket of its own to the upstream, and an end when nothing has passed for a while.
//! Replies leave from the address that was asked.
//!
//! What comes before the upstream is there is queued, within bounds; of what finds no room the oldest is
//! dropped, and counted. Each session wakes its workload in a task of its own: none delays another's
//! packets. Packets are received and sent one by one: that takes two system calls per packet, and the
//! kernel's batches would save some of them at rates far above those of what sleeps.

mod exchange;
mod queue;
mod refusals;
mod route;
mod serve;
mod session;
mod socket;
mod upstream;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicUsize},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use route::{UdpPort, UdpRoute, UdpRouteSpec};

use crate::{
    GatewayOptions,
    seldom::Seldom,
    sources::{OfSource, Sources},
};

/// How many packets pass in one direction before others have their turn: who sends faster than they
/// are passed on would keep a thread for itself, and nobody could end it.
const AT_A_TIME: usize = 64;

/// What all UDP ports share.
pub(crate) struct UdpBounds {
    /// A place for each session.
    sessions: Arc<Semaphore>,
    /// How many bytes may still be queued.
    room: Arc<AtomicUsize>,
    sources: Sources,
    /// When it was said last that sessions end for others.
    crowded: Seldom,
}

/// A session's place among the open ones.
struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_source: OfSource,
}

/// Which bound keeps a new client out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    InAll,
    OfSource,
}

impl UdpBounds {
    pub(crate) fn new(options: &GatewayOptions) -> Self {
        let sessions = options.max_udp_sessions.min(Semaphore::MAX_PERMITS);
        Self {
            sessions: Arc::new(Semaphore::new(sessions)),
            room: Arc::new(AtomicUsize::new(options.max_udp_queued_bytes)),
            sources: Sources::default(),
            crowded: Seldom::default(),
        }
    }

    /// A place for a client from this address.
    fn enter(&self, address: IpAddr, options: &GatewayOptions) -> Result<Place, Full> {
        let of_source = self.sources.enter(address, options.max_udp_sessions_per_source);
        let of_source = of_source.ok_or(Full::OfSource)?;
        let of_all = Arc::clone(&self.sessions).try_acquire_owned().map_err(|_| Full::InAll)?;
        Ok(Place { _of_all: of_all, _of_source: of_source })
    }
}
