//! TCP and UDP routes: on which ports drowse listens for them, and who has which.

use std::{net::SocketAddr, time::Duration};

use drowse_gateway::{
    AllowedNetworks, HostPattern, PassiveRule, ProxyProtocol, Upstream, UpstreamPolicy,
};
use drowse_provider::{Details, Transport};

use super::{
    DefinedIn, EngineView, Inventory,
    access::{access, only_of_http},
    labels, only_exposed_port,
    selves::{Spot, leads_to_us, overlap, refuse_our_port, spot},
    upstream_at_rest, upstream_policy,
    way_in::Said,
};
use crate::config::{
    AccessSettings, Config, Given, ListenAt, Origin, RouteSettings, WorkloadConfig,
};

/// How long after its last packet a session ends, unless its route says otherwise.
const DEFAULT_UDP_IDLE: Duration = Duration::from_mins(1);

/// A TCP or UDP route that leads to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedPortRoute {
    pub(crate) name: String,
    /// Where drowse listens for it.
    pub(crate) listen: Vec<SocketAddr>,
    /// `None`: the container was never there to say, and its route does not.
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    /// Which clients neither wake nor keep awake.
    pub(crate) passive: PassiveRule,
    pub(crate) kind: PortKind,
    /// From where clients may come.
    pub(crate) networks: AllowedNetworks,
}

/// What passes on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortKind {
    Tcp(TcpKind),
    Udp {
        /// How long after its last packet a session ends.
        idle: Duration,
    },
}

/// What is said of a TCP route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpKind {
    /// The names for which TLS clients ask; none: whatever comes.
    pub(crate) server_names: Vec<HostPattern>,
    pub(crate) send_proxy_protocol: Option<ProxyProtocol>,
    pub(crate) expects_proxy_protocol: bool,
    /// How long a connection may be quiet and still count.
    pub(crate) quiet_after: Option<Duration>,
}

impl PlannedPortRoute {
    pub(crate) fn transport(&self) -> Transport {
        match self.kind {
            PortKind::Tcp(_) => Transport::Tcp,
            PortKind::Udp { .. } => Transport::Udp,
        }
    }

    /// The names that it has of its ports; none: all of them.
    pub(crate) fn server_names(&self) -> &[HostPattern] {
        match &self.kind {
            PortKind::Tcp(tcp) => &tcp.server_names,
            PortKind::Udp { .. } => &[],
        }
    }

    /// What a user connects to: `tcp://127.0.0.1:5432`, for each address, and the names.
    pub(crate) fn urls(&self) -> Vec<String> {
        let scheme = self.scheme();
        let names: Vec<_> = self.server_names().iter().map(HostPattern::to_string).collect();
        let names =
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        self.listen.iter().map(|address| format!("{scheme}://{address}{names}")).collect()
    }

    /// What is spoken, as far as drowse knows.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.transport() == Transport::Udp { "udp" } else { "tcp" }
    }

    /// What it says about its upstream, as the gateway takes it.
    pub(crate) fn upstream_policy(&self, network: Option<&str>) -> UpstreamPolicy {
        let mut policy =
            upstream_policy(self.port, self.address.clone(), network.map(str::to_owned));
        policy.transport = self.transport();
        policy
    }
}

/// Whether a route is one of TCP or UDP.
pub(super) fn is_port_route(route: &RouteSettings) -> bool {
    route.tcp.is_some() || route.udp.is_some()
}

/// What routes of one workload have in common.
pub(super) struct Common<'a> {
    pub(super) config: &'a Config,
    pub(super) inventory: &'a Inventory,
    pub(super) view: &'a EngineView,
    pub(super) details: Option<&'a Details>,
    pub(super) from: DefinedIn,
    pub(super) workload: &'a str,
    pub(super) network: Option<&'a str>,
    pub(super) passive: &'a PassiveRule,
    pub(super) quiet_after: Option<Duration>,
    /// Who may enter by routes that do not say.
    pub(super) access: &'a AccessSettings,
}

/// Plans a route, and notes what is wrong with it.
pub(super) fn route(
    route: RouteSettings,
    common: &Common<'_>,
    taken: &Taken,
    mistakes: &mut Vec<String>,
) -> Option<PlannedPortRoute> {
    let name = route.name.clone();
    let said = Said::of(&route);
    let mut wrong = Vec::new();
    let planned = read(route, common, &mut wrong);
    if let Some(planned) = &planned {
        wrong.extend(refused(planned, said, common, taken));
        wrong.extend(taken.refuse(planned, common.workload));
    }
    mistakes.extend(wrong.into_iter().map(|why| format!("route `{name}`: {why}")));
    planned
}

fn read(
    route: RouteSettings,
    common: &Common<'_>,
    mistakes: &mut Vec<String>,
) -> Option<PlannedPortRoute> {
    mistakes.extend(out_of_place(&route));
    mistakes.extend(only_of_http(&route.access));
    let at = route.tcp.as_ref().or(route.udp.as_ref())?;
    if let Err(why) = permitted(at, common.config) {
        mistakes.push(why);
        return None;
    }
    let listen = at.value.addresses(&common.config.addresses());
    let networks = access(&route.access, common.access).networks;
    let kind = if route.tcp.is_some() {
        let expects = route.proxy_protocol.is_some_and(|given| given.value);
        if expects && common.config.trusted_proxies.is_empty() {
            mistakes.push(
                "`proxy_protocol` believes who connects, and `trusted_proxies` in the configuration \
                 file names nobody: nobody could connect"
                    .to_owned(),
            );
        }
        PortKind::Tcp(TcpKind {
            server_names: route.sni.map(|names| names.value).unwrap_or_default(),
            send_proxy_protocol: route.send_proxy_protocol.map(|version| version.value),
            expects_proxy_protocol: expects,
            quiet_after: common.quiet_after,
        })
    } else {
        PortKind::Udp { idle: route.udp_idle.map_or(DEFAULT_UDP_IDLE, |idle| idle.value) }
    };
    let mut planned = PlannedPortRoute {
        name: route.name,
        listen,
        port: route.port.map(|port| port.value),
        address: route.address.map(|address| address.value),
        passive: common.passive.clone(),
        kind,
        networks,
    };
    if planned.port.is_none() {
        match common.details.map(|details| only_exposed_port(details, planned.transport())) {
            Some(Ok(port)) => planned.port = Some(port),
            Some(Err(why)) => {
                let key = match (common.from, planned.name.as_str()) {
                    (DefinedIn::File, _) => "port".to_owned(),
                    (_, labels::DEFAULT_ROUTE) => "drowse.port".to_owned(),
                    (_, name) => format!("drowse.routes.{name}.port"),
                };
                mistakes.push(format!("which port? {why}: set `{key}`"));
            }
            None => {}
        }
    }
    Some(planned)
}

/// What is said of such a route and means something else, or nothing.
fn out_of_place(route: &RouteSettings) -> Vec<String> {
    let mut wrong = Vec::new();
    if route.tcp.is_some() && route.udp.is_some() {
        wrong.push("it is one of `tcp` or of `udp`: make it two routes".to_owned());
    }
    if route.hosts.is_some() || route.path.is_some() {
        wrong.push(
            "`host` and `path` are about HTTP, `tcp` and `udp` about ports: make it two routes (TLS \
             clients that ask for a name are told apart by `sni`)"
                .to_owned(),
        );
    }
    let only_tcp = [
        ("sni", route.sni.is_some()),
        ("send_proxy_protocol", route.send_proxy_protocol.is_some()),
        ("proxy_protocol", route.proxy_protocol.is_some()),
    ];
    if route.tcp.is_none() {
        let said = only_tcp.iter().filter(|(_, is_said)| *is_said);
        wrong.extend(said.map(|(key, _)| format!("`{key}` goes with `tcp`")));
    }
    if route.udp.is_none() && route.udp_idle.is_some() {
        wrong.push("`udp_idle` goes with `udp`".to_owned());
    }
    wrong
}

/// What keys of such a route mean nothing on one that is none.
pub(super) fn not_of_http(route: &RouteSettings) -> Vec<String> {
    let said = [
        ("sni", "tcp", route.sni.is_some()),
        ("send_proxy_protocol", "tcp", route.send_proxy_protocol.is_some()),
        ("proxy_protocol", "tcp", route.proxy_protocol.is_some()),
        ("udp_idle", "udp", route.udp_idle.is_some()),
    ];
    let wrong = said.iter().filter(|(.., is_said)| *is_said);
    wrong
        .map(|(key, with, _)| format!("route `{}`: `{key}` goes with `{with}`", route.name))
        .collect()
}

/// Whether this may be listened on because of who says it.
fn permitted(at: &Given<ListenAt>, config: &Config) -> Result<(), String> {
    if let Origin::File(_) = at.origin {
        return Ok(());
    }
    if let ListenAt::Address(address) = at.value {
        return Err(format!(
            "labels choose a port, and the configuration file the addresses (those of `listen`): write \
             `{}`, or say it of a workload in the file",
            address.port()
        ));
    }
    let port = at.value.port();
    if !config.label_ports.includes(port) {
        return Err(format!(
            "labels may not have port {port} listened on (`label_ports`: {}): add it to `label_ports` \
             in the configuration file",
            config.label_ports
        ));
    }
    Ok(())
}

/// Why it cannot be, whatever else there is.
fn refused(
    planned: &PlannedPortRoute,
    said: Said,
    common: &Common<'_>,
    taken: &Taken,
) -> Vec<String> {
    let Common { config, view, details, network, .. } = common;
    let mut wrong = Vec::new();
    if planned.transport() == Transport::Tcp {
        let ours = |at: &&SocketAddr| config.addresses().iter().any(|ours| overlap(*ours, **at));
        if let Some(at) = planned.listen.iter().find(ours) {
            wrong.push(format!("drowse listens for HTTP at {at}: choose another port"));
        }
        let engines = view.entrances.iter();
        if let Some(engine) =
            engines.clone().find(|it| planned.listen.iter().any(|at| it.is_at(*at)))
        {
            let engine = engine.engine();
            wrong.push(format!("engine `{engine}` is reached at that port: choose another one"));
        }
    }
    wrong.extend(publisher(planned, common));
    let Some(details) = details else { return wrong };
    refuse_our_port(details, view, planned.transport(), &planned.listen, &mut wrong);
    if planned.port.is_some() {
        let policy = planned.upstream_policy(*network);
        match upstream_at_rest(details, view, &policy) {
            Ok(upstream) => {
                let ours = taken.listened_on(planned.transport());
                let mut listen: Vec<_> = planned.listen.iter().copied().chain(ours).collect();
                if planned.transport() == Transport::Tcp {
                    listen.extend(config.addresses());
                    wrong.extend(said.refuse(&upstream, common.inventory));
                }
                wrong.extend(leads_to_us(&upstream, view, &listen));
            }
            Err(why) => wrong.push(why.to_string()),
        }
    }
    wrong
}

/// Another container that could never be started, because it publishes what would be listened on.
fn publisher(planned: &PlannedPortRoute, common: &Common<'_>) -> Option<String> {
    let others = common.view.containers.iter().flatten();
    let mut others = others.filter(|other| common.details.is_none_or(|own| own.id != other.id));
    let publisher = others.find(|other| {
        let mut why = Vec::new();
        refuse_our_port(other, common.view, planned.transport(), &planned.listen, &mut why);
        !why.is_empty()
    })?;
    let at: Vec<_> = planned.listen.iter().map(SocketAddr::to_string).collect();
    Some(format!(
        "container `{}` publishes a port at {}, and could never be started: choose another one",
        publisher.name,
        at.join(", ")
    ))
}

/// The ports that are taken, and by whom.
#[derive(Default)]
pub(super) struct Taken {
    claims: Vec<Claim>,
    /// Where workloads are reached, perhaps on this machine: nobody comes there if drowse listens.
    reached: Vec<(String, Spot)>,
}

/// A route's claim to its ports.
struct Claim {
    workload: String,
    transport: Transport,
    listen: Vec<SocketAddr>,
    server_names: Vec<HostPattern>,
    expects_proxy_protocol: bool,
}

impl Taken {
    pub(super) fn take(&mut self, workload: &str, route: &PlannedPortRoute) {
        self.claims.push(Claim {
            workload: workload.to_owned(),
            transport: route.transport(),
            listen: route.listen.clone(),
            server_names: route.server_names().to_vec(),
            expects_proxy_protocol: matches!(&route.kind, PortKind::Tcp(tcp) if tcp.expects_proxy_protocol),
        });
    }

    /// What the file gives to a workload is not up for grabs while its engine is out of reach.
    pub(super) fn reserve(&mut self, workload: &WorkloadConfig, listen: &[SocketAddr]) {
        for route in workload.routes.iter().flatten() {
            let transport = if route.udp.is_some() { Transport::Udp } else { Transport::Tcp };
            let Some(at) = route.tcp.as_ref().or(route.udp.as_ref()) else { continue };
            self.claims.push(Claim {
                workload: workload.name.clone(),
                transport,
                listen: at.value.addresses(listen),
                server_names: route.sni.iter().flat_map(|names| names.value.clone()).collect(),
                expects_proxy_protocol: route.proxy_protocol.as_ref().is_some_and(|it| it.value),
            });
        }
    }

    /// Why a workload cannot have this beside another route of its own.
    pub(super) fn refuse_own(&self, workload: &str, route: &PlannedPortRoute) -> Option<String> {
        let why = self.refuse(route, workload)?;
        Some(format!("route `{}`: two of its routes claim the same: {why}", route.name))
    }

    /// Why a workload cannot have this, if somebody has it.
    fn refuse(&self, route: &PlannedPortRoute, workload: &str) -> Option<String> {
        let mut claim = Self::default();
        claim.take(workload, route);
        let claim = claim.claims.pop()?;
        let mut claims = self.claims.iter();
        claims.find_map(|known| known.refuse(&claim)).or_else(|| self.refuse_to_cover(&claim))
    }

    /// Notes where a workload is reached over TCP.
    pub(super) fn is_reached(&mut self, workload: &str, upstream: &Upstream, view: &EngineView) {
        let spot = spot(upstream, view).map(|spot| (workload.to_owned(), spot));
        self.reached.extend(spot);
    }

    /// Where drowse listens by that transport, for routes.
    pub(super) fn listened_on(&self, transport: Transport) -> impl Iterator<Item = SocketAddr> {
        let alike = self.claims.iter().filter(move |claim| claim.transport == transport);
        alike.flat_map(|claim| claim.listen.iter().copied())
    }

    fn refuse_to_cover(&self, claim: &Claim) -> Option<String> {
        let is_covered = |spot: &Spot| claim.listen.iter().any(|ours| spot.comes_to(*ours));
        let mut reached = self.reached.iter().filter(|_| claim.transport == Transport::Tcp);
        let (owner, Spot { at, .. }) = reached.find(|(_, spot)| is_covered(spot))?;
        Some(format!("workload `{owner}` is reached at {at}: choose another port"))
    }
}

impl Claim {
    fn refuse(&self, other: &Self) -> Option<String> {
        if self.transport != other.transport {
            return None;
        }
        let is_shared = |at: &&SocketAddr| other.listen.iter().any(|theirs| overlap(**at, *theirs));
        let at = self.listen.iter().find(is_shared)?;
        let scheme = if self.transport == Transport::Udp { "udp" } else { "tcp" };
        let owner = &self.workload;
        if self.transport == Transport::Tcp
            && !(self.server_names.is_empty() && other.server_names.is_empty())
        {
            let is_alike = other.listen.contains(at);
            if !is_alike {
                return Some(format!(
                    "{scheme} port {} is shared by name with workload `{owner}`, which has it at another \
                     address ({at}): give both the same",
                    at.port()
                ));
            }
            if self.expects_proxy_protocol != other.expects_proxy_protocol {
                return Some(format!(
                    "it shares {scheme} port {} with workload `{owner}`, and only one of them has \
                     `proxy_protocol`",
                    at.port()
                ));
            }
            let name = other.server_names.iter().find(|name| self.server_names.contains(name))?;
            return Some(format!(
                "`{name}` at {scheme} port {} is taken by workload `{owner}`",
                at.port()
            ));
        }
        let or = if self.transport == Transport::Tcp {
            ": choose another one, or let TLS clients be told apart by `sni`"
        } else {
            ": choose another one"
        };
        Some(format!("{scheme} port {} is taken by workload `{owner}`{or}", at.port()))
    }
}

#[cfg(test)]
mod tests;
