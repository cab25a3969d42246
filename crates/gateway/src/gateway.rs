//! The gateway: the present table, and the connections that are served by it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    GatewayOptions, InFlight, RouteTable,
    client::Client,
    dial,
    forwarders::{self, Forwarders},
    handler,
    headers::PeerHeaders,
    in_flight::{Connections, Place, RouteNumbers},
};

/// The data plane: serves HTTP connections by a table of routes. A cheap handle; clones are the
/// same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    options: GatewayOptions,
    table: ArcSwap<RouteTable>,
    discovering: AtomicBool,
    slots: Arc<Semaphore>,
    /// The sleep of each workload whose end was already put down to a request, so that each wake
    /// is logged once. Touched only by requests that find their workload not ready.
    announced: Mutex<HashMap<String, Instant>>,
    forwarders: Forwarders,
    connections: Connections,
    routes: RouteNumbers,
}

impl Gateway {
    /// A gateway without routes, which takes no unknown host to be unknown for good yet: see
    /// [`set_discovering`](Self::set_discovering).
    pub fn new(options: GatewayOptions) -> Self {
        let slots = Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            options,
            table: ArcSwap::default(),
            discovering: AtomicBool::new(true),
            slots,
            announced: Mutex::default(),
            forwarders: Forwarders::new(),
            connections: Connections::default(),
            routes: RouteNumbers::default(),
        }))
    }

    /// Serves by this table from now on. Requests in flight end by the one they began with.
    pub fn replace_routes(&self, table: RouteTable) {
        let is_routed = |workload: &str| {
            table.routes().iter().any(|route| route.spec().workload.name() == workload)
        };
        self.0.announced().retain(|workload, _| is_routed(workload));
        // First: whoever is routed by it is known.
        self.0.routes.update(&table);
        self.0.table.store(Arc::new(table));
    }

    /// The present table.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.0.table.load_full()
    }

    /// Whether engines that may bring further routes have not all been read yet. While it is so
    /// (and it is, at first), an unknown host gets 503 with `Retry-After`; afterwards 404.
    pub fn set_discovering(&self, discovering: bool) {
        self.0.discovering.store(discovering, Ordering::Relaxed);
    }

    /// The peers that have sent forwarding headers on requests for known hosts, trusted or not: the
    /// reverse proxies in front, and whoever plays one. At most 64 of private networks and 64 of the
    /// internet; further ones are left out.
    pub fn forwarders(&self) -> watch::Receiver<BTreeMap<IpAddr, Instant>> {
        self.0.forwarders.subscribe()
    }

    /// The requests and upgraded connections in flight for this workload, the oldest first: at most one
    /// per connection. A look at all connections, which no request waits for.
    pub fn in_flight(&self, workload: &str) -> Vec<InFlight> {
        self.0.routes.in_flight(workload, &self.0.connections)
    }

    /// Accepts connections until `shutdown`, then stops accepting, lets what is in flight end
    /// within [`GatewayOptions::grace`], and returns when nothing is left: at the end of the grace,
    /// requests that still wait for a workload get 503, and whatever does not end is cut.
    ///
    /// May be called for several listeners. Dropping the future cuts all its connections.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Drained {
        let phases = Phases::new(shutdown);
        let _cut_when_dropped = phases.cut.clone().drop_guard();
        let tasks = TaskTracker::new();
        self.accept(&listener, &phases, &tasks).await;
        drop(listener);

        tasks.close();
        if timeout(self.0.options.grace.max(CLOSING), tasks.wait()).await.is_ok() {
            return Drained::Whole;
        }
        phases.expired.cancel();
        if timeout(LAST_ANSWERS, tasks.wait()).await.is_err() {
            phases.cut.cancel();
            tasks.wait().await;
        }
        Drained::Cut
    }

    async fn accept(&self, listener: &TcpListener, phases: &Phases, tasks: &TaskTracker) {
        let mut failures = 0_u32;
        while let Some(slot) = self.slot(phases).await {
            let accepted = tokio::select! {
                () = phases.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failures = 0;
                    let gateway = Arc::clone(&self.0);
                    let local = stream.local_addr().ok();
                    let context = self.0.connections.add(|key| {
                        Context::new(gateway, key, phases.clone(), tasks.clone(), slot, peer, local)
                    });
                    tasks.spawn(serve_connection(stream, context));
                }
                Err(error) => {
                    // Mostly: out of descriptors. Those in use become free again.
                    if failures == 0 {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot accept connections; trying on");
                    }
                    let pause = Duration::from_millis(10 << failures.min(6));
                    failures += 1;
                    tokio::select! {
                        () = phases.shutdown.cancelled() => return,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// A place for one more connection; `None` at the shutdown.
    async fn slot(&self, phases: &Phases) -> Option<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.0.slots);
        if slots.available_permits() == 0 {
            let limit = self.0.options.max_connections;
            tracing::debug!(limit, "no place for further connections; they wait");
        }
        tokio::select! {
            () = phases.shutdown.cancelled() => None,
            // The semaphore is never closed.
            slot = slots.acquire_owned() => slot.ok(),
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.0.table.load().routes().len();
        formatter.debug_struct("Gateway").field("routes", &routes).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn options(&self) -> &GatewayOptions {
        &self.options
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.table.load()
    }

    pub(crate) fn is_discovering(&self) -> bool {
        self.discovering.load(Ordering::Relaxed)
    }

    /// Whether this is the first request to end the sleep that began then.
    pub(crate) fn is_first_to_wake(&self, workload: &str, asleep_since: Instant) -> bool {
        let mut announced = self.announced();
        match announced.get_mut(workload) {
            Some(known) if *known == asleep_since => false,
            Some(known) => {
                *known = asleep_since;
                true
            }
            None => {
                announced.insert(workload.to_owned(), asleep_since);
                true
            }
        }
    }

    fn announced(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was in flight came to its own end.
    Whole,
    /// Something was in flight for longer than the grace.
    Cut,
}

/// What connections get, even without any grace, to be closed if nothing is in flight on them.
const CLOSING: Duration = Duration::from_millis(100);

/// How long the last answers may take, after the grace.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The phases of a shutdown, in their order.
#[derive(Clone)]
pub(crate) struct Phases {
    /// Nothing new begins.
    pub(crate) shutdown: CancellationToken,
    /// The grace is over: what waits is answered, what streams is cut.
    pub(crate) expired: CancellationToken,
    /// Whatever is left is cut. Cancels `expired`, too.
    cut: CancellationToken,
}

impl Phases {
    fn new(shutdown: CancellationToken) -> Self {
        let cut = CancellationToken::new();
        Self { shutdown, expired: cut.child_token(), cut }
    }
}

/// What the requests of one connection share.
pub(crate) struct Context {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) phases: Phases,
    /// Where an upgraded connection goes on.
    pub(crate) tasks: TaskTracker,
    pub(crate) peer: SocketAddr,
    /// What upstreams are told about the client.
    pub(crate) peer_headers: PeerHeaders,
    /// Whether the peer is a proxy that is believed about its clients.
    trusts_peer: bool,
    /// Whether the peer is known to send forwarding headers.
    is_noted: AtomicBool,
    /// The request on it.
    pub(crate) place: Place,
    /// Its key among the open connections.
    key: usize,
    /// The connection's place among the open ones.
    _slot: OwnedSemaphorePermit,
}

impl Context {
    fn new(
        gateway: Arc<Inner>,
        key: usize,
        phases: Phases,
        tasks: TaskTracker,
        slot: OwnedSemaphorePermit,
        peer: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let peer_headers = PeerHeaders::new(peer.ip(), local.map(|local| local.port()));
        let trusts_peer = gateway.options.trusted_proxies.contains(peer.ip());
        Self {
            gateway,
            phases,
            tasks,
            peer,
            peer_headers,
            trusts_peer,
            is_noted: AtomicBool::new(false),
            place: Place::new(),
            key,
            _slot: slot,
        }
    }

    /// On whose behalf a request of this connection comes.
    pub(crate) fn client_of(&self, headers: &HeaderMap) -> Client {
        let peer = self.peer.ip();
        if self.trusts_peer {
            Client::told_by(peer, headers, &self.gateway.options.trusted_proxies)
        } else {
            Client::of_connection(peer)
        }
    }

    /// Remembers that the peer sends forwarding headers. If it is not believed, says so, once.
    pub(crate) fn note_forwarder(&self) {
        if self.is_noted.load(Ordering::Relaxed) || self.is_noted.swap(true, Ordering::Relaxed) {
            return;
        }
        let peer = self.peer.ip();
        if self.gateway.forwarders.note(peer) && !self.trusts_peer {
            tracing::info!(%peer, "{}", forwarders::not_believed(peer));
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.gateway.connections.remove(self.key);
    }
}

async fn serve_connection(stream: TcpStream, context: Arc<Context>) {
    if let Err(error) = dial::tune(&stream) {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection is gone already");
        return;
    }
    let options = context.gateway.options();
    let phases = context.phases.clone();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout)
        .max_header_size(options.max_header_bytes);
    let service = service_fn(move |request| handler::handle(Arc::clone(&context), request));
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);

    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = phases.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = phases.cut.cancelled() => return,
            }
        }
        () = phases.cut.cancelled() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_sleep_is_ended_by_one_request() {
        let gateway = Gateway::new(GatewayOptions::new()).0;
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let answers = [("a", first), ("a", first), ("b", first), ("a", second), ("a", second)]
            .map(|(workload, asleep_since)| gateway.is_first_to_wake(workload, asleep_since));
        assert_eq!(answers, [true, false, true, true, false]);
    }
}
