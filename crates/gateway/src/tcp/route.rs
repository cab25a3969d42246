//! TCP routes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use drowse_provider::RunId;
use drowse_watcher::{Holder, ReadyRun, Workload};
use tokio::{sync::Semaphore, time::Instant};

use crate::{AllowedNetworks, Chooser, HostPattern, PassiveRule, ProxyProtocol, dial::Lookup};

/// How many connections of one route are being opened at a time: thousands that were held during a
/// wake must not hit the application's listen queue at once.
const OPENINGS: usize = 256;

/// How long after its first connection a run is young.
const YOUTH: Duration = Duration::from_secs(10);

/// What a TCP route is made of. Build it with [`TcpRouteSpec::new`] and set what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TcpRouteSpec {
    /// Its name, for logs, lists and as the holder of its leases.
    pub name: String,
    /// The names for which TLS clients ask (SNI) that it answers to; none: it is the port's default,
    /// and has whatever no other route has.
    pub server_names: Vec<HostPattern>,
    /// Where it leads.
    pub workload: Workload,
    /// Which address of the workload's container is dialled.
    pub upstream: Chooser,
    /// How long a connection is held at most while the workload wakes; 5 min unless said.
    pub hold: Duration,
    /// Which clients neither wake nor keep awake: by their networks; the rest is about HTTP.
    pub passive: PassiveRule,
    /// How long a connection may move no byte in either direction until it no longer keeps the
    /// workload awake; never unless said. The next byte counts as use again. When the workload goes to
    /// sleep meanwhile, the connection is closed.
    pub quiet_after: Option<Duration>,
    /// Whether, and how, the application is told who is connected; not unless said.
    pub send_proxy_protocol: Option<ProxyProtocol>,
    /// Whether each connection begins with a PROXY protocol header, of one of the trusted proxies. All
    /// routes of a port must agree.
    pub expects_proxy_protocol: bool,
    /// From where a client may come, asked before anything is woken; anywhere unless said. Connections of
    /// others are closed.
    pub networks: AllowedNetworks,
}

impl TcpRouteSpec {
    /// A route for all connections of its port.
    pub fn new(name: impl Into<String>, workload: Workload, upstream: Chooser) -> Self {
        Self {
            name: name.into(),
            server_names: Vec::new(),
            workload,
            upstream,
            hold: Duration::from_mins(5),
            passive: PassiveRule::none(),
            quiet_after: None,
            send_proxy_protocol: None,
            expects_proxy_protocol: false,
            networks: AllowedNetworks::all(),
        }
    }
}

/// A TCP route. A cheap handle: clones are the same route.
#[derive(Clone)]
pub struct TcpRoute(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) spec: TcpRouteSpec,
    /// Made once: taking a lease must not look anything up.
    pub(super) holder: Holder,
    openings: Mutex<(u64, Arc<Openings>)>,
    /// The present run, and when it was connected to first.
    first: Mutex<(Option<RunId>, Instant)>,
}

/// The opening of connections to one run.
pub(super) struct Openings {
    /// The turns to connect to it.
    pub(super) turns: Semaphore,
    pub(super) lookup: Lookup,
}

impl TcpRoute {
    /// A route as specified.
    pub fn new(spec: TcpRouteSpec) -> Self {
        let holder = spec.workload.holder(&format!("route {}", spec.name));
        let openings = Mutex::new(openings(0));
        let first = Mutex::new((None, Instant::now()));
        Self(Arc::new(Inner { spec, holder, openings, first }))
    }

    /// What it is made of.
    pub fn spec(&self) -> &TcpRouteSpec {
        &self.0.spec
    }
}

impl Inner {
    /// Those of a run. Those of an earlier one are in nobody's way.
    pub(super) fn openings_of(&self, run: &ReadyRun) -> Arc<Openings> {
        let mut present = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        if present.0 < run.epoch {
            *present = openings(run.epoch);
        }
        Arc::clone(&present.1)
    }

    /// Whether a run that is connected to now was connected to for the first time a moment ago.
    pub(super) fn is_young(&self, run: &ReadyRun) -> bool {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        // It may be doubted, and ready again, while it is young.
        if run.run.is_some() && first.0 != run.run {
            *first = (run.run.clone(), Instant::now());
        }
        run.run.is_some() && first.1.elapsed() < YOUTH
    }
}

fn openings(epoch: u64) -> (u64, Arc<Openings>) {
    let openings = Openings { turns: Semaphore::new(OPENINGS), lookup: Lookup::default() };
    (epoch, Arc::new(openings))
}

impl fmt::Debug for TcpRoute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.spec.fmt(formatter)
    }
}
