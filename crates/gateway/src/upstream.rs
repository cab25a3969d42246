//! Where a route's bytes go: decided from the engine's data, never by trying.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use drowse_provider::{Details, Engine, Network, NetworkMode, PublishedPort, Reach, Transport};

/// From where drowse dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vantage {
    /// From the network namespace of the machine that it runs on.
    Host,
}

/// What a route says about its upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamPolicy {
    /// The port inside the container; `None`: the only TCP port that it exposes.
    pub port: Option<u16>,
    /// A host name or IP address to dial instead of the container's own. A name is resolved at each
    /// wake.
    pub address: Option<String>,
}

impl UpstreamPolicy {
    /// The container's own address and its only port.
    pub fn new() -> Self {
        Self::default()
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
}

/// Decides where the bytes of one route go, at each run anew.
#[derive(Clone, Debug)]
pub struct Chooser {
    engine: Arc<dyn Engine>,
    vantage: Vantage,
    policy: UpstreamPolicy,
}

impl Chooser {
    /// A chooser for containers of `engine`, whose reach is asked at each choice.
    pub fn new(engine: Arc<dyn Engine>, vantage: Vantage, policy: UpstreamPolicy) -> Self {
        Self { engine, vantage, policy }
    }

    /// The upstream of a container with these details.
    ///
    /// # Errors
    /// [`NoUpstream`]: see [`choose`].
    pub fn choose(&self, details: &Details) -> Result<Upstream, NoUpstream> {
        choose(details, &self.engine.reach(), self.vantage, &self.policy)
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

/// Why there is no upstream, and what to add. `Display` is a lower-case fragment for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoUpstream {
    /// No port was given and the container exposes none.
    #[error("it exposes no TCP port: add `port`")]
    NoPort,
    /// No port was given and the container exposes several.
    #[error("it exposes several TCP ports ({}): add `port` with one of them", list(.0))]
    SeveralPorts(Vec<u16>),
    /// It has no network.
    #[error("it has no network (mode `none`): attach it to one, or add `address`")]
    NoNetwork,
    /// It shares the network of another container.
    #[error(
        "it lives in the network of container `{0}`: add `address` with where that one is reached"
    )]
    OthersNetwork(String),
    /// It is on no network that can be dialled from here, and its port is not published.
    #[error(
        "port {port} cannot be reached ({why}): publish it (`ports: [\"{port}\"]`), attach the \
         container to a `bridge` network, or add `address`"
    )]
    Unreachable {
        /// The container's port.
        port: u16,
        /// What stands in the way.
        why: String,
    },
    /// Its port is published on the other machine's loopback address only.
    #[error(
        "port {0} is published on the loopback address of another machine: publish it on one that \
         can be reached"
    )]
    PublishedOnRemoteLoopback(u16),
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Where the bytes for a container go. Pure: no I/O, no trying.
///
/// In this order: the policy's address; loopback, for what listens on this machine itself; the
/// container's address on a `bridge` network of a local rootful engine; the host's loopback, for
/// containers on the host's network; the published port. Never a bridge address of a remote or
/// rootless engine: it exists on every machine, and may be a stranger's here.
///
/// Of a container that does not run, the addresses are not known yet: the choice is the same, its
/// `target` is `None`.
///
/// # Errors
/// [`NoUpstream`] says what to add.
pub fn choose(
    details: &Details,
    reach: &Reach,
    vantage: Vantage,
    policy: &UpstreamPolicy,
) -> Result<Upstream, NoUpstream> {
    let Vantage::Host = vantage;
    let port = port(details, policy)?;
    if let Some(address) = &policy.address {
        return Ok(chosen(named(address, port), "the route's own address".to_owned()));
    }
    if *reach == Reach::Loopback {
        let target = Target::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        return Ok(chosen(target, "a process of this machine".to_owned()));
    }
    match &details.network_mode {
        NetworkMode::None => Err(NoUpstream::NoNetwork),
        NetworkMode::Container(other) => Err(NoUpstream::OthersNetwork(other.clone())),
        NetworkMode::Host => on_the_hosts_network(reach, port),
        _ => match on_a_bridge(details, reach, port) {
            Some(upstream) => Ok(upstream),
            None => published(details, reach, port),
        },
    }
}

fn chosen(target: Target, why: String) -> Upstream {
    Upstream { target: Some(target), why }
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
        .filter(|port| port.transport == Transport::Tcp)
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

fn on_a_bridge(details: &Details, reach: &Reach, port: u16) -> Option<Upstream> {
    if *reach != Reach::Local {
        return None;
    }
    let bridges = || details.networks.iter().filter(|network| is_bridge(network));
    let with_address = bridges().find_map(|network| Some((network, address(network)?)));
    match with_address {
        Some((network, address)) => Some(chosen(
            Target::Socket(SocketAddr::new(address, port)),
            format!("its address on the bridge network `{}`", network.name),
        )),
        None if !details.observation.status.is_alive() => {
            bridges().next().map(|network| Upstream {
                target: None,
                why: format!("its address on the bridge network `{}`, once it runs", network.name),
            })
        }
        None => None,
    }
}

fn is_bridge(network: &Network) -> bool {
    network.driver.as_deref() == Some("bridge")
}

fn address(network: &Network) -> Option<IpAddr> {
    let addresses = || network.addresses.iter().copied();
    addresses().find(IpAddr::is_ipv4).or_else(|| addresses().next())
}

fn published(details: &Details, reach: &Reach, port: u16) -> Result<Upstream, NoUpstream> {
    let mut bindings: Vec<&PublishedPort> = details
        .published
        .iter()
        .filter(|published| {
            published.container.number == port && published.container.transport == Transport::Tcp
        })
        .collect();
    // IPv4 first: engines publish on both families, and on IPv6 not always in working order.
    bindings.sort_by_key(|binding| binding.host_address.is_ipv6());
    if bindings.is_empty() {
        return Err(NoUpstream::Unreachable { port, why: why_no_bridge(details, reach) });
    }
    let why = format!("its published port {port}");
    let at = |target: &dyn Fn(u16) -> Target, binding: &PublishedPort| match binding.host_port {
        Some(host_port) => chosen(target(host_port), why.clone()),
        None => Upstream { target: None, why: format!("{why}, once it runs") },
    };
    if let Reach::Remote(host) = reach {
        let reachable = bindings.iter().find(|binding| !binding.host_address.is_loopback());
        return match reachable {
            Some(binding) => Ok(at(&|host_port| named(host, host_port), binding)),
            None => Err(NoUpstream::PublishedOnRemoteLoopback(port)),
        };
    }
    let binding = bindings[0];
    let address = match binding.host_address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Ok(at(&|host_port| Target::Socket(SocketAddr::new(address, host_port)), binding))
}

fn why_no_bridge(details: &Details, reach: &Reach) -> String {
    match reach {
        Reach::Remote(host) => format!("container addresses on `{host}` mean nothing here"),
        Reach::LocalPublishedOnly => {
            "container addresses mean nothing outside of an engine that is rootless, or that may \
             not be asked whether it is (`GET /info`)"
                .to_owned()
        }
        _ if details.networks.is_empty() => "it is on no network".to_owned(),
        _ => {
            let kind = |network: &Network| {
                let driver = network.driver.as_deref().unwrap_or("unknown kind");
                format!("`{}` ({driver})", network.name)
            };
            let networks: Vec<_> = details.networks.iter().map(kind).collect();
            format!("it has no address on a `bridge` network, only {}", networks.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
