//! The gateway: the present table, and the connections that are served by it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use drowse_watcher::Workload;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    GatewayOptions, InFlight, RouteTable, Tls,
    access::Checks,
    connection::{self, Arrival},
    crowd::{Crowd, TooMany, Waiting, Who},
    flows::Flows,
    forwarders::Forwarders,
    in_flight::{Connections, RouteNumbers},
    own::Onlookers,
    page::Pages,
    seldom::Seldom,
    shortage::Shortage,
    slots::Slots,
    sources::{OfSource, Sources},
    tunnel::splice::Pipes,
    udp::UdpBounds,
};

/// The data plane: serves HTTP connections by a table of routes. A cheap handle; clones are the
/// same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    options: ArcSwap<GatewayOptions>,
    table: ArcSwap<RouteTable>,
    discovering: AtomicBool,
    pub(crate) slots: Slots,
    sources: Sources,
    /// The sleep of each workload whose end was already put down to a request, so that each wake
    /// is logged once. Touched only by requests that find their workload not ready.
    announced: Mutex<HashMap<String, Instant>>,
    /// When it was said last that somebody is not trusted.
    complained: Seldom,
    /// And that somebody has too many connections.
    crowded: Seldom,
    /// And that too much of somebody's waits.
    waiting: Seldom,
    /// And that this machine lacks something.
    short: Seldom,
    pub(crate) forwarders: Forwarders,
    pub(crate) connections: Connections,
    routes: RouteNumbers,
    pub(crate) crowd: Crowd,
    /// TCP connections and UDP sessions.
    pub(crate) flows: Flows,
    /// For what raw TCP carries.
    pub(crate) pipes: Pipes,
    pub(crate) udp: UdpBounds,
    pages: ArcSwap<Pages>,
    pub(crate) onlookers: Onlookers,
    pub(crate) checks: Checks,
}

impl Gateway {
    /// A gateway without routes, which takes no unknown host to be unknown for good yet: see
    /// [`set_discovering`](Self::set_discovering).
    pub fn new(options: GatewayOptions) -> Self {
        let slots = Slots::new(options.max_connections);
        let udp = UdpBounds::new(&options);
        let pipes = Pipes::for_connections(options.max_connections);
        let pages = ArcSwap::from_pointee(Pages::new(&options.page));
        Self(Arc::new(Inner {
            options: ArcSwap::from_pointee(options),
            table: ArcSwap::default(),
            discovering: AtomicBool::new(true),
            slots,
            sources: Sources::default(),
            announced: Mutex::default(),
            complained: Seldom::default(),
            crowded: Seldom::default(),
            waiting: Seldom::default(),
            short: Seldom::default(),
            forwarders: Forwarders::new(),
            connections: Connections::default(),
            routes: RouteNumbers::default(),
            crowd: Crowd::default(),
            flows: Flows::default(),
            pipes,
            udp,
            pages,
            onlookers: Onlookers::new(),
            checks: Checks::new(),
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

    /// Goes by these options from now on. Connections that are open keep what was settled when they began:
    /// their own limits, and whether their peer is trusted. How many connections and UDP
    /// sessions there may be was settled when the gateway was made.
    pub fn set_options(&self, options: GatewayOptions) {
        if self.0.options().page != options.page {
            self.0.pages.store(Arc::new(Pages::new(&options.page)));
        }
        self.0.options.store(Arc::new(options));
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

    /// The requests, connections and sessions in flight for this workload, the oldest first. A look at
    /// all of them, which no request on HTTP/1.1 waits for.
    pub fn in_flight(&self, workload: &str) -> Vec<InFlight> {
        let mut all = self.0.routes.in_flight(workload, &self.0.connections);
        all.extend(self.0.flows.in_flight(workload));
        all.sort_by_key(|one| std::cmp::Reverse(one.age));
        all
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Serves HTTP in clear as [`serve_as`](Self::serve_as) does.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Drained {
        self.serve_as(listener, ListenerOptions::default(), shutdown).await
    }

    /// Accepts connections until `shutdown`, then stops accepting, lets what is in flight end
    /// within [`GatewayOptions::grace`], and returns when nothing is left: at the end of the grace,
    /// requests that still wait for a workload get 503, and whatever does not end is cut.
    ///
    /// May be called for several listeners. Dropping the future cuts all its connections.
    pub async fn serve_as(
        &self,
        listener: TcpListener,
        options: ListenerOptions,
        shutdown: CancellationToken,
    ) -> Drained {
        let phases = Phases::new(shutdown);
        let _cut_when_dropped = phases.cut.clone().drop_guard();
        let tasks = TaskTracker::new();
        self.accept(&listener, &Arc::new(options), &phases, &tasks).await;
        drop(listener);

        tasks.close();
        if timeout(self.0.options().grace.max(CLOSING), tasks.wait()).await.is_ok() {
            return Drained::Whole;
        }
        phases.expired.cancel();
        if timeout(LAST_ANSWERS, tasks.wait()).await.is_err() {
            phases.cut.cancel();
            tasks.wait().await;
        }
        Drained::Cut
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        options: &Arc<ListenerOptions>,
        phases: &Phases,
        tasks: &TaskTracker,
    ) {
        let mut failures = 0_u32;
        while let Some(slot) = self.slot(phases).await {
            let accepted = tokio::select! {
                () = phases.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failures = 0;
                    let Some(share) = self.0.share(peer.ip()) else { continue };
                    let slot = Slot { _of_all: slot, _of_source: share };
                    let arrival = Arrival {
                        gateway: Arc::clone(&self.0),
                        listener: Arc::clone(options),
                        phases: phases.clone(),
                        tasks: tasks.clone(),
                        peer,
                        local: None,
                        slot,
                    };
                    begin(stream, arrival);
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
        tokio::select! {
            () = phases.shutdown.cancelled() => None,
            slot = self.0.slots.for_http() => slot,
        }
    }
}

/// Serves a connection in a task of its own. (No `async fn`: all that is done for it is built here then, and
/// not in the crate that awaits this, by that crate's settings.)
fn begin(stream: TcpStream, arrival: Arrival) {
    arrival.tasks.clone().spawn(connection::serve(stream, arrival));
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.0.table.load().routes().len();
        formatter.debug_struct("Gateway").field("routes", &routes).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn options(&self) -> Arc<GatewayOptions> {
        self.options.load_full()
    }

    pub(crate) fn pages(&self) -> Arc<Pages> {
        self.pages.load_full()
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.table.load()
    }

    pub(crate) fn is_discovering(&self) -> bool {
        self.discovering.load(Ordering::Relaxed)
    }

    /// Whether it was not said lately that somebody is not trusted: anybody can bring it about.
    pub(crate) fn may_complain_of_strangers(&self) -> bool {
        self.complained.is_due()
    }

    /// What of ours was lacking when an upstream could not be connected to, if it was that; says so,
    /// once for a while.
    pub(crate) fn shortage(&self, workload: &str, error: &io::Error) -> Option<Shortage> {
        let shortage = Shortage::of(error)?;
        if self.short.is_due() {
            shortage.tell(workload, error);
        }
        Some(shortage)
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

    /// The source of whom what one may have is counted; `None`: of this machine's own and of trusted
    /// proxies it is not.
    pub(crate) fn counted(&self, client: IpAddr) -> Option<IpAddr> {
        let client = client.to_canonical();
        let is_free = client.is_loopback() || self.options().trusted_proxies.contains(client);
        (!is_free).then_some(client)
    }

    /// A place among those who wait, for one from this address.
    pub(crate) fn wait(
        &self,
        workload: &Workload,
        client: IpAddr,
        unread: usize,
    ) -> Result<Waiting, TooMany> {
        let who = Who { workload, source: self.counted(client), unread };
        let joined = self.crowd.join(&who, &self.options());
        if let Err(too_many) = &joined
            && too_many.is_of_source()
            && self.waiting.is_due()
        {
            tracing::warn!(
                %client,
                "what comes from a client is refused: {too_many}; if it is a reverse proxy, add it to \
                 `trusted_proxies`"
            );
        }
        joined
    }

    /// A share of the connections for one from this address; `None` if it has more than enough.
    pub(crate) fn share(&self, peer: IpAddr) -> Option<Share> {
        let Some(peer) = self.counted(peer) else { return Some(Share { _counted: None }) };
        let limit = self.options().max_connections_per_source;
        let counted = self.sources.enter(peer, limit);
        if counted.is_none() && self.crowded.is_due() {
            tracing::warn!(
                %peer,
                limit,
                "further connections of a client are closed: it has too many open; if it is a \
                 reverse proxy, add it to `trusted_proxies`"
            );
        }
        counted.map(|counted| Share { _counted: Some(counted) })
    }

    fn announced(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the open ones.
pub(crate) struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_source: Share,
}

/// A connection's part in what its source may have; none where that is not counted.
pub(crate) struct Share {
    _counted: Option<OfSource>,
}

/// What the connections of one listener begin with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// They speak TLS, with these certificates.
    pub tls: Option<Tls>,
    /// Each begins with a header of the PROXY protocol, version 1 or 2. Whoever is none of the
    /// [trusted proxies](GatewayOptions::trusted_proxies) is refused.
    pub proxy_protocol: bool,
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
    pub(crate) cut: CancellationToken,
}

impl Phases {
    fn new(shutdown: CancellationToken) -> Self {
        let cut = CancellationToken::new();
        Self { shutdown, expired: cut.child_token(), cut }
    }

    /// Waits for what a connection that serves has to hear of.
    pub(crate) async fn next(&self) -> Signal {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Signal::Cut,
            () = self.shutdown.cancelled() => Signal::Shutdown,
        }
    }
}

/// What is asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It begins nothing new.
    Shutdown,
    /// It ends now.
    Cut,
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
