//! The gateway as the rest of the program sees it: where it listens, and what leads where.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::anyhow;
use drowse_gateway::{
    Chooser, Drained, Gateway, GatewayOptions, HostPattern, HttpReadiness, InFlight,
    ListenerOptions, Route, RouteSpec, RouteTable, Standpoint, TcpReadiness, Tls, UpstreamPolicy,
    upstream,
};
use drowse_provider::Engine;
use drowse_watcher::{Readiness, ReadyWhenHealthy, ReadyWhenRunning, Workload};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    config::{Config, Listen},
    exit::{CommandError, Exit},
    handed::HandedSockets,
    limits,
    plan::{
        Dialled, EngineView, Planned, PlannedContainer, PlannedRoute, ReadyWhen, Spoken,
        upstream_policy,
    },
    view::Entry,
};

/// Connections that wait to be accepted: a whole herd of clients finds its sleeping application at
/// once. The system's own bound (`net.core.somaxconn`) counts as well.
const BACKLOG: u32 = 4_096;

/// Shows the gateway where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    gateway: Gateway,
    /// Those that are not for HTTP.
    handed: Arc<HandedSockets>,
}

/// Sockets that are bound and not served yet: who connects waits.
#[derive(Debug)]
pub(crate) struct Bound {
    gateway: Gateway,
    listeners: Vec<(Listen, TcpListener)>,
    tls: Option<Tls>,
    is_handed: bool,
}

/// The served sockets and the connections that came by them.
#[derive(Debug)]
pub(crate) struct Listeners {
    serving: JoinSet<Drained>,
    shutdown: CancellationToken,
    /// Looks for changed certificates, until it is dropped.
    _certificates: JoinSet<()>,
}

/// What the configuration says about the gateway.
pub(crate) fn options(config: &Config) -> GatewayOptions {
    let mut options = GatewayOptions::new();
    options.grace = config.shutdown_grace;
    options.trusted_proxies = config.trusted_proxies.clone();
    options.page = config.page.clone();
    config.limits.apply(&mut options);
    limits::fit(&mut options);
    options
}

impl Front {
    /// Listens at all of these addresses, or at none: by a socket that was handed over where there is
    /// one for the address; the others are for routes. Who connects waits for [`Bound::serve`].
    ///
    /// # Errors
    /// Which address cannot be had, why, and what to do.
    pub(crate) fn bind(
        wanted: &[impl Into<Listen> + Copy],
        mut handed: HandedSockets,
        options: GatewayOptions,
    ) -> Result<(Self, Bound), CommandError> {
        let gateway = Gateway::new(options);
        let mut is_handed = false;
        let listeners = wanted
            .iter()
            .map(|wanted| {
                let listen: Listen = (*wanted).into();
                let bound = match handed.for_address(listen.address) {
                    Some(socket) => {
                        is_handed = true;
                        TcpListener::from_std(socket)
                    }
                    None => bind(listen.address),
                };
                let listener = bound.map_err(|error| explain(listen.address, &error))?;
                Ok((listen, listener))
            })
            .collect::<Result<_, CommandError>>()?;
        let front = Self { gateway: gateway.clone(), handed: Arc::new(handed) };
        Ok((front, Bound { gateway, listeners, tls: None, is_handed }))
    }

    /// Goes by what another configuration says about the gateway.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.gateway.set_options(options(config));
    }

    /// What serves.
    pub(crate) fn gateway(&self) -> Gateway {
        self.gateway.clone()
    }

    /// What was handed over and is not for HTTP.
    pub(crate) fn handed(&self) -> Arc<HandedSockets> {
        self.handed.clone()
    }

    /// The peers that have sent forwarding headers.
    pub(crate) fn forwarders(&self) -> watch::Receiver<BTreeMap<IpAddr, Instant>> {
        self.gateway.forwarders()
    }

    /// The requests of a workload that are on their way.
    pub(crate) fn in_flight(&self, workload: &str) -> Vec<InFlight> {
        self.gateway.in_flight(workload)
    }

    /// What a request for this host would be for.
    #[cfg(test)]
    pub(crate) fn workload_of(&self, host: &str) -> Option<Workload> {
        Some(self.gateway.routes().route_for(host, "/")?.spec().workload.clone())
    }

    /// Serves by these routes from now on. `in_between`: what is about to be managed anew, whose
    /// routes stay as they were unless somebody else has them now. `is_discovering`: there may be
    /// more that are not known yet, so an unknown host is told to come again.
    pub(crate) fn show(
        &self,
        entries: &[Arc<Entry>],
        in_between: &[Arc<Entry>],
        is_discovering: bool,
    ) {
        let mut routes = Vec::new();
        let mut taken = BTreeSet::new();
        for entry in entries.iter().chain(in_between) {
            for (planned, route) in entry.planned.routes.iter().zip(&entry.routes) {
                let urls = planned.urls();
                if urls.iter().all(|url| !taken.contains(url)) {
                    taken.extend(urls);
                    routes.push(route.clone());
                }
            }
        }
        match RouteTable::build(routes) {
            Ok(table) => self.gateway.replace_routes(table),
            // The plan gives each host and path to one workload: this would be a mistake of ours.
            // What is served now stays right for what it leads to.
            Err(conflict) => {
                let error: &(dyn std::error::Error + 'static) = &conflict;
                error!(error, "the routes stay as they were");
            }
        }
        self.gateway.set_discovering(is_discovering);
    }
}

impl Bound {
    /// Whether a socket was handed over: whoever restarts drowse has clients waiting there.
    pub(crate) fn is_handed(&self) -> bool {
        self.is_handed
    }

    /// Where it listens, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listens().into_iter().map(|listen| listen.address).collect()
    }

    /// The same, with what is spoken there.
    pub(crate) fn listens(&self) -> Vec<Listen> {
        let bound = self.listeners.iter().filter_map(|(listen, listener)| {
            Some(Listen { address: listener.local_addr().ok()?, ..*listen })
        });
        bound.collect()
    }

    /// Shows these certificates where TLS is to be spoken. Without any nothing is answered there.
    pub(crate) fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Answers requests from now on.
    pub(crate) fn serve(self) -> Listeners {
        let shutdown = CancellationToken::new();
        let mut serving = JoinSet::new();
        let mut certificates = JoinSet::new();
        if let Some(tls) = self.tls.clone() {
            let gateway = self.gateway.clone();
            certificates.spawn(async move { tls.follow(|| hosts(&gateway)).await });
        }
        for (listen, listener) in self.listeners {
            let mut options = ListenerOptions::default();
            options.proxy_protocol = listen.proxy_protocol;
            if listen.tls {
                // The configuration was refused otherwise.
                let Some(tls) = self.tls.clone() else { continue };
                options.tls = Some(tls);
            }
            let gateway = self.gateway.clone();
            let shutdown = shutdown.clone();
            serving.spawn(async move { gateway.serve_as(listener, options, shutdown).await });
        }
        Listeners { serving, shutdown, _certificates: certificates }
    }
}

impl Listeners {
    /// Stops accepting and lets what is in flight end; `false` if the grace period was not enough.
    pub(crate) async fn drain(&mut self) -> bool {
        self.shutdown.cancel();
        let mut is_whole = true;
        while let Some(drained) = self.serving.join_next().await {
            is_whole &= matches!(drained, Ok(Drained::Whole));
        }
        is_whole
    }
}

/// The hosts of all routes.
fn hosts(gateway: &Gateway) -> BTreeSet<String> {
    let table = gateway.routes();
    let hosts = table.routes().iter().flat_map(|route| &route.spec().hosts);
    hosts.map(ToString::to_string).collect()
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn explain(address: SocketAddr, error: &io::Error) -> CommandError {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} is in use; stop what listens there, or choose another address with `--listen`",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {} is reserved; choose one from 1024 on with `--listen`, or give drowse the \
             capability CAP_NET_BIND_SERVICE",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => format!("this machine has no address {}", address.ip()),
        _ => error.to_string(),
    };
    CommandError::new(Exit::Failure, anyhow!("cannot listen on {address}: {why}"))
}

/// How it is found out that a workload serves.
pub(crate) fn readiness(
    planned: &Planned,
    engine: &Arc<dyn Engine>,
    standpoint: &Standpoint,
) -> Arc<dyn Readiness> {
    let probe = match planned.ready_when() {
        ReadyWhen::Running => return Arc::new(ReadyWhenRunning),
        ReadyWhen::Healthy => return Arc::new(ReadyWhenHealthy),
        ReadyWhen::Answering(probe) => probe,
        ReadyWhen::Accepting(Dialled { port, address, network }) => {
            let policy = upstream_policy(port, address, network);
            let chooser = Chooser::new(engine.clone(), standpoint.clone(), policy);
            return Arc::new(TcpReadiness::new(chooser));
        }
    };
    let policy = upstream_policy(probe.port, probe.address, probe.network);
    let chooser = Chooser::new(engine.clone(), standpoint.clone(), policy);
    let readiness =
        HttpReadiness::new(chooser).with_path(probe.path.as_str()).with_scheme(&probe.scheme);
    Arc::new(match &probe.host {
        Some(HostPattern::Exact(host)) => readiness.with_host(host),
        _ => readiness,
    })
}

/// A route of a workload.
pub(crate) fn route(
    planned: &Planned,
    route: &PlannedRoute,
    workload: &Workload,
    engine: &Arc<dyn Engine>,
    standpoint: &Standpoint,
) -> Route {
    let policy = upstream_policy(route.port, route.address.clone(), planned.network.clone());
    let chooser = Chooser::new(engine.clone(), standpoint.clone(), policy);
    let name = format!("{}/{}", planned.name, route.name);
    let mut spec = RouteSpec::new(name, route.hosts.clone(), workload.clone(), chooser);
    spec.path = route.path.clone();
    spec.passive = route.passive.clone();
    spec.quiet_after = route.quiet_after;
    let Spoken { scheme, strip_prefix, https_only, request_headers, response_headers } =
        route.spoken.clone();
    spec.scheme = scheme;
    spec.strip_prefix = strip_prefix;
    spec.https_only = https_only;
    spec.request_headers = request_headers;
    spec.response_headers = response_headers;
    spec.page_details = route.page_details;
    spec.access = route.access.clone();
    Route::new(spec)
}

/// Where a route would lead, and why: the address if it is known before the container runs.
///
/// # Errors
/// Why it leads nowhere, and what to add.
pub(crate) fn upstream(
    planned: &Planned,
    route: &PlannedRoute,
    view: Option<&EngineView>,
) -> Result<(Option<String>, String), String> {
    let policy = upstream_policy(route.port, route.address.clone(), planned.network.clone());
    let (target, why) = upstream_by(planned, &policy, view)?;
    Ok((target.map(|target| route.spoken.shown(&target)), why))
}

/// The same, by what a route says about its upstream.
pub(crate) fn upstream_by(
    planned: &Planned,
    policy: &UpstreamPolicy,
    view: Option<&EngineView>,
) -> Result<(Option<String>, String), String> {
    let (Some(details), Some(view)) = (&planned.details, view) else {
        return Ok(match (&planned.container, policy.port) {
            (PlannedContainer::Process(_), Some(port)) => {
                (Some(format!("127.0.0.1:{port}")), "a process of this machine".to_owned())
            }
            _ => (None, "decided when the container is there".to_owned()),
        });
    };
    match upstream::choose(details, &view.reach, &view.capabilities, &view.here.vantage, policy) {
        Ok(upstream) => Ok((upstream.target.map(|target| target.to_string()), upstream.why)),
        Err(none) => Err(none.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_what_to_do() {
        let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = other.local_addr().unwrap();
        let error = Front::bind(&[address], HandedSockets::default(), GatewayOptions::new())
            .unwrap_err()
            .to_string();
        let words = error.replace(&address.port().to_string(), "PORT");
        insta::assert_snapshot!(words, @"error: cannot listen on 127.0.0.1:PORT: port PORT is in use; stop what listens there, or choose another address with `--listen`");
    }

    #[test]
    fn other_refusals_are_explained() {
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80));
        let explained = |kind: io::ErrorKind| explain(address, &kind.into()).to_string();
        insta::assert_snapshot!(
            [
                explained(io::ErrorKind::PermissionDenied),
                explained(io::ErrorKind::AddrNotAvailable),
            ]
            .join("\n"),
            @r"
            error: cannot listen on 192.0.2.1:80: port 80 is reserved; choose one from 1024 on with `--listen`, or give drowse the capability CAP_NET_BIND_SERVICE
            error: cannot listen on 192.0.2.1:80: this machine has no address 192.0.2.1
            "
        );
    }
}
