//! UDP routes.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use drowse_watcher::{Holder, Workload};
use tokio_util::sync::CancellationToken;

use super::refusals::Refusals;
use crate::{AllowedNetworks, Chooser, PassiveRule};

/// What a UDP route is made of. Build it with [`UdpRouteSpec::new`] and set what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UdpRouteSpec {
    /// Its name, for logs, lists and as the holder of its leases.
    pub name: String,
    /// Where it leads.
    pub workload: Workload,
    /// Which address of the workload's container is sent to: its policy must be about UDP.
    pub upstream: Chooser,
    /// How long packets are queued at most while the workload wakes; 5 min unless said.
    pub hold: Duration,
    /// Which clients neither wake nor keep awake: by their networks; the rest is about HTTP.
    pub passive: PassiveRule,
    /// How long after the last packet in either direction a session ends, and after twice that time
    /// without one of the client's; 60 s unless said.
    pub idle: Duration,
    /// From where a client may come, asked before anything is woken; anywhere unless said. Packets of
    /// others are dropped.
    pub networks: AllowedNetworks,
}

impl UdpRouteSpec {
    /// A route for all packets of its port.
    pub fn new(name: impl Into<String>, workload: Workload, upstream: Chooser) -> Self {
        Self {
            name: name.into(),
            workload,
            upstream,
            hold: Duration::from_mins(5),
            passive: PassiveRule::none(),
            idle: Duration::from_mins(1),
            networks: AllowedNetworks::all(),
        }
    }
}

/// A UDP route. A cheap handle: clones are the same route.
#[derive(Clone)]
pub struct UdpRoute(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) spec: UdpRouteSpec,
    /// Made once: taking a lease must not look anything up.
    pub(super) holder: Holder,
    pub(super) refusals: Refusals,
}

impl UdpRoute {
    /// A route as specified.
    pub fn new(spec: UdpRouteSpec) -> Self {
        let holder = spec.workload.holder(&format!("route {}", spec.name));
        Self(Arc::new(Inner { spec, holder, refusals: Refusals::default() }))
    }

    /// What it is made of.
    pub fn spec(&self) -> &UdpRouteSpec {
        &self.0.spec
    }
}

impl fmt::Debug for UdpRoute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.spec.fmt(formatter)
    }
}

/// A UDP port: its route, which may change while it is listened on. A cheap handle; clones are the
/// same port.
#[derive(Clone, Debug)]
pub struct UdpPort(Arc<PortInner>);

#[derive(Debug)]
struct PortInner {
    route: ArcSwap<UdpRoute>,
    closed: CancellationToken,
}

impl UdpPort {
    /// A port that leads there.
    pub fn new(route: UdpRoute) -> Self {
        let (route, closed) = (ArcSwap::from_pointee(route), CancellationToken::new());
        Self(Arc::new(PortInner { route, closed }))
    }

    /// New sessions are by this route from now on; those that there are end by theirs.
    pub fn replace(&self, route: UdpRoute) {
        self.0.route.store(Arc::new(route));
    }

    /// Ends it and its sessions.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    pub(super) fn route(&self) -> UdpRoute {
        UdpRoute::clone(&self.0.route.load())
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.0.closed
    }
}
