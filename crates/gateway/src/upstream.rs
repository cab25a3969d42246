//! Where a route's bytes go: decided from the engine's data, never by trying.

mod inside;
mod refusal;
mod routed;
mod vantage;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use drowse_provider::{
    Capabilities, Details, Engine, Network, NetworkMode, PublishedPort, Reach, Transport,
};

pub use refusal::NoUpstream;
pub use vantage::{SharedNetwork, Standpoint, Vantage};

/// What a route says about its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamPolicy {
    /// The port inside the container; `None`: the only one of its kind that it exposes.
    pub port: Option<u16>,
    /// A host name or IP address to dial instead of the container's own. A name is resolved at each
    /// wake.
    pub address: Option<String>,
    /// The network on which the container is dialled, where it can be reached on several.
    pub network: Option<String>,
    /// What the port is one of; TCP unless said.
    pub transport: Transport,
}

impl UpstreamPolicy {
    /// The container's own address and its only port.
    pub fn new() -> Self {
        Self { port: None, address: None, network: None, transport: Transport::Tcp }
    }

    /// With this port of the container.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With this host name or IP address instead of the container's own.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// On this one of the container's networks.
    #[must_use]
    pub fn on_network(mut self, network: impl Into<String>) -> Self {
        self.network = Some(network.into());
        self
    }
}

impl Default for UpstreamPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Decides where the bytes of one route go, at each run anew.
#[derive(Clone, Debug)]
pub struct Chooser {
    engine: Arc<dyn Engine>,
    standpoint: Standpoint,
    policy: UpstreamPolicy,
}

impl Chooser {
    /// A chooser for containers of `engine`, whose reach is asked at each choice, as is from where
    /// it is dialled.
    pub fn new(
        engine: Arc<dyn Engine>,
        standpoint: impl Into<Standpoint>,
        policy: UpstreamPolicy,
    ) -> Self {
        Self { engine, standpoint: standpoint.into(), policy }
    }

    /// The upstream of a container with these details.
    ///
    /// # Errors
    /// [`NoUpstream`]: see [`choose`].
    pub fn choose(&self, details: &Details) -> Result<Upstream, NoUpstream> {
        let (reach, capabilities) = (self.engine.reach(), self.engine.capabilities());
        choose(details, &reach, &capabilities, &self.standpoint.vantage(), &self.policy)
    }

    /// The host name that is dialled instead of the container's own address, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.policy.address.as_deref().filter(|address| address.parse::<IpAddr>().is_err())
    }

    /// Whether it is dialled at an address of its own on a network where any machine may have that
    /// address next.
    pub(crate) fn is_at_passing_address(&self) -> bool {
        self.policy.address.is_none() && self.engine.reach() == Reach::Routed
    }
}

/// An upstream, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upstream {
    /// What is dialled; `None` while the container does not run and its address is not known.
    pub target: Option<Target>,
    /// Why this one, in words: a lower-case fragment for `check`.
    pub why: String,
    /// Whether the container may have another address later in the same run: one that is not fixed
    /// by its definition (DHCP, IPv6's own), and may come after others.
    pub may_change: bool,
    /// Whether somebody may accept connections there before the application does: an engine does, at
    /// a published port, and what is at an address of the route's own is not known.
    pub accepts_early: bool,
}

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This address.
    Socket(SocketAddr),
    /// This name, resolved at each wake, and this port.
    Name(String, u16),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(formatter),
            Self::Name(name, port) => write!(formatter, "{name}:{port}"),
        }
    }
}

/// Where the bytes for a container go. Pure: no I/O, no trying.
///
/// In this order: the policy's address; loopback, for what listens on this machine itself; the
/// container's own address on a network that is routed; its address on a network that can be dialled
/// from here; the host, for containers on the
/// host's network; the published port. Which networks can be dialled depends on the vantage: those
/// that drowse's own container is on, whatever their kind, or from the host of a local rootful
/// engine the `bridge` networks. Never a bridge address of a remote or rootless engine: it exists on
/// every machine, and may be a stranger's here. A container in another one's network is dialled as
/// that one is.
///
/// Of a container that does not run, the addresses are not known yet: the choice is the same, its
/// `target` is `None`.
///
/// # Errors
/// [`NoUpstream`] says what to add.
pub fn choose(
    details: &Details,
    reach: &Reach,
    capabilities: &Capabilities,
    vantage: &Vantage,
    policy: &UpstreamPolicy,
) -> Result<Upstream, NoUpstream> {
    let port = port(details, policy)?;
    if let Some(address) = &policy.address {
        let upstream = chosen(named(address, port), "the route's own address".to_owned());
        return Ok(Upstream { accepts_early: true, ..upstream });
    }
    if *reach == Reach::Loopback {
        let target = Target::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        return Ok(chosen(target, "a process of this machine".to_owned()));
    }
    let subject = Subject::of(details, port, policy)?;
    match (vantage, reach) {
        (_, Reach::Routed) => routed::choose(&subject, &capabilities.dynamic_addresses),
        (Vantage::Inside(shared), _) => inside::choose(&subject, reach, shared),
        // What its host publishes is the same from anywhere.
        (Vantage::Host, _) | (Vantage::Apart, Reach::Remote(_)) => from_the_host(&subject, reach),
        (Vantage::Apart, _) => Err(NoUpstream::Apart(port)),
    }
}

/// What is dialled, as far as networks are concerned: the container, or the one whose network it
/// lives in.
struct Subject<'a> {
    port: u16,
    transport: Transport,
    mode: &'a NetworkMode,
    networks: Vec<&'a Network>,
    published: &'a [PublishedPort],
    /// The only network that is looked at, where one was named.
    named: Option<&'a str>,
    /// Whether it runs, so that what is not known now will not be known later either.
    is_alive: bool,
    /// Whose address it is, for `why`.
    whose: String,
}

impl<'a> Subject<'a> {
    fn of(details: &'a Details, port: u16, policy: &'a UpstreamPolicy) -> Result<Self, NoUpstream> {
        let named = policy.network.as_deref();
        let (mode, networks, published, whose) = match (&details.network_mode, &details.holder) {
            (NetworkMode::Container(other), None) => {
                return Err(NoUpstream::OthersNetwork(other.clone()));
            }
            (NetworkMode::Container(_), Some(holder)) => (
                &holder.network_mode,
                &holder.networks,
                &holder.published,
                format!("the address of `{}`, whose network it lives in,", holder.name),
            ),
            (mode, _) => (mode, &details.networks, &details.published, "its address".to_owned()),
        };
        match mode {
            NetworkMode::None => return Err(NoUpstream::NetworkModeNone),
            NetworkMode::Container(other) => return Err(NoUpstream::OthersNetwork(other.clone())),
            _ => {}
        }
        let networks: Vec<&Network> = match named {
            None => networks.iter().collect(),
            Some(wanted) => {
                let chosen = networks.iter().find(|network| network.name == wanted);
                vec![chosen.ok_or_else(|| NoUpstream::NotOnNetwork {
                    network: wanted.to_owned(),
                    its: networks.iter().map(|network| network.name.clone()).collect(),
                })?]
            }
        };
        let is_alive = details.observation.status.is_alive();
        let transport = policy.transport;
        Ok(Self { port, transport, mode, networks, published, named, is_alive, whose })
    }

    /// Its address on the first of these networks on which it has one. `kind`: what they are, for
    /// `why`. `None`: it runs and has none.
    fn address_on(&self, networks: &[&Network], kind: &str) -> Option<Upstream> {
        let whose = &self.whose;
        let found = networks.iter().find_map(|network| Some((network, address(network)?)));
        match (found, networks.first()) {
            (Some((network, address)), _) => Some(chosen(
                Target::Socket(SocketAddr::new(address, self.port)),
                format!("{whose} on the {kind} `{}`", network.name),
            )),
            (None, Some(first)) if !self.is_alive => Some(Upstream {
                target: None,
                why: format!("{whose} on the {kind} `{}`, once it runs", first.name),
                may_change: false,
                accepts_early: false,
            }),
            _ => None,
        }
    }

    /// How its port is published. IPv4 first: engines publish on both families, and on IPv6 not
    /// always in working order.
    fn bindings(&self) -> Vec<&'a PublishedPort> {
        let is_meant = |published: &&PublishedPort| {
            published.container.number == self.port
                && published.container.transport == self.transport
        };
        let mut bindings: Vec<_> = self.published.iter().filter(is_meant).collect();
        bindings.sort_by_key(|binding| binding.host_address.is_ipv6());
        bindings
    }

    /// The published port where `target` says that it is dialled.
    fn published(&self, binding: &PublishedPort, target: impl FnOnce(u16) -> Target) -> Upstream {
        let why = format!("its published port {}", self.port);
        let upstream = if let Some(host_port) = binding.host_port {
            chosen(target(host_port), why)
        } else {
            let why = format!("{why}, once it runs");
            Upstream { target: None, why, may_change: false, accepts_early: true }
        };
        Upstream { accepts_early: true, ..upstream }
    }
}

fn from_the_host(subject: &Subject<'_>, reach: &Reach) -> Result<Upstream, NoUpstream> {
    if *subject.mode == NetworkMode::Host {
        return on_the_hosts_network(reach, subject.port);
    }
    let bridges: Vec<&Network> = match reach {
        Reach::Local => subject.networks.iter().copied().filter(|one| one.is_bridge()).collect(),
        _ => Vec::new(),
    };
    match subject.address_on(&bridges, "bridge network") {
        Some(upstream) => Ok(upstream),
        None => published(subject, reach),
    }
}

fn chosen(target: Target, why: String) -> Upstream {
    Upstream { target: Some(target), why, may_change: false, accepts_early: false }
}

fn named(host: &str, port: u16) -> Target {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => Target::Socket(SocketAddr::new(address, port)),
        Err(_) => Target::Name(host.to_owned(), port),
    }
}

fn port(details: &Details, policy: &UpstreamPolicy) -> Result<u16, NoUpstream> {
    if let Some(port) = policy.port {
        return Ok(port);
    }
    let published = details.published.iter().map(|published| published.container);
    let mut ports: Vec<u16> = details
        .exposed
        .iter()
        .copied()
        .chain(published)
        .filter(|port| port.transport == policy.transport)
        .map(|port| port.number)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [] => Err(NoUpstream::NoPort),
        [only] => Ok(*only),
        _ => Err(NoUpstream::SeveralPorts(ports)),
    }
}

fn on_the_hosts_network(reach: &Reach, port: u16) -> Result<Upstream, NoUpstream> {
    match reach {
        Reach::Local => {
            let target = Target::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            Ok(chosen(target, "it is on this machine's own network".to_owned()))
        }
        Reach::Remote(host) => {
            Ok(chosen(named(host, port), format!("it is on the network of its host `{host}`")))
        }
        _ => Err(NoUpstream::Unreachable {
            port,
            why: "the host's network of a rootless engine is a namespace of its own".to_owned(),
        }),
    }
}

fn address(network: &Network) -> Option<IpAddr> {
    let addresses = || network.addresses.iter().copied();
    addresses().find(IpAddr::is_ipv4).or_else(|| addresses().next())
}

fn published(subject: &Subject<'_>, reach: &Reach) -> Result<Upstream, NoUpstream> {
    let port = subject.port;
    let bindings = subject.bindings();
    let Some(first) = bindings.first() else {
        return Err(NoUpstream::Unreachable { port, why: why_no_bridge(subject, reach) });
    };
    if let Reach::Remote(host) = reach {
        let reachable = bindings.iter().find(|binding| !binding.host_address.is_loopback());
        return match reachable {
            Some(binding) => Ok(subject.published(binding, |host_port| named(host, host_port))),
            None => Err(NoUpstream::PublishedOnRemoteLoopback(port)),
        };
    }
    let address = match first.host_address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Ok(subject.published(first, |host_port| Target::Socket(SocketAddr::new(address, host_port))))
}

fn why_no_bridge(subject: &Subject<'_>, reach: &Reach) -> String {
    match reach {
        Reach::Remote(host) => format!("container addresses on `{host}` mean nothing here"),
        Reach::LocalPublishedOnly => {
            "container addresses mean nothing outside of an engine that is rootless, or that may \
             not be asked whether it is (`GET /info`)"
                .to_owned()
        }
        _ if subject.networks.is_empty() => "it is on no network".to_owned(),
        _ => {
            let kind = |network: &&Network| {
                let driver = network.driver.as_deref().unwrap_or("unknown kind");
                format!("`{}` ({driver})", network.name)
            };
            let networks: Vec<_> = subject.networks.iter().map(kind).collect();
            format!("it has no address on a `bridge` network, only {}", networks.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
