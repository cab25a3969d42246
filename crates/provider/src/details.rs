//! What is known of a container beyond its state.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use crate::{Observation, Signal};

/// A container as `inspect` reads it. Addresses are those of the present run only: a stopped
/// container has none, and may get others at its next start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Details {
    /// The engine's own id, whole.
    pub id: String,
    /// The name without decoration (Docker's leading `/` is taken off).
    pub name: String,
    /// Its labels; for engines that have tags instead, each tag with an empty value.
    pub labels: BTreeMap<String, String>,
    /// State, run, health and exit code, of the same read.
    pub observation: Observation,
    /// When it was created, on the engine's clock.
    pub created: Option<SystemTime>,
    /// How it is attached to networks.
    pub network_mode: NetworkMode,
    /// Its networks, with its addresses on them while it runs. Ordered by name. Empty where it lives
    /// in another container's network: see [`holder`](Self::holder).
    pub networks: Vec<Network>,
    /// The container whose network it lives in ([`NetworkMode::Container`]), as that one was read
    /// at the same moment; `None` if it could not be read.
    pub holder: Option<Box<NetworkHolder>>,
    /// The ports it declares to listen on. Ordered.
    pub exposed: Vec<Port>,
    /// The ports that its host forwards to it, as configured (also while stopped). Ordered.
    pub published: Vec<PublishedPort>,
    /// Its own stop timeout; `None`: the engine's default counts.
    pub stop_timeout: Option<Duration>,
    /// Its own stop signal; `None`: TERM.
    pub stop_signal: Option<Signal>,
    /// What its engine does when it ends by itself.
    pub restart: RestartPolicy,
    /// Whether the engine deletes it, and its data, when it stops (Docker's `--rm`).
    pub removed_when_stopped: bool,
    /// Whether it has a health check of its own.
    pub has_health_check: bool,
    /// What replaces or restarts it when it is stopped, if anything does.
    pub owner: Option<Owner>,
    /// On which machine of its engine it is at this moment (Proxmox: the node); `None` where an
    /// engine is one machine.
    pub node: Option<String>,
}

impl Details {
    /// Details with nothing but identity and state: fill in the rest.
    pub fn new(id: impl Into<String>, name: impl Into<String>, observation: Observation) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            labels: BTreeMap::new(),
            observation,
            created: None,
            network_mode: NetworkMode::Networks,
            networks: Vec::new(),
            holder: None,
            exposed: Vec::new(),
            published: Vec::new(),
            stop_timeout: None,
            stop_signal: None,
            restart: RestartPolicy::No,
            removed_when_stopped: false,
            has_health_check: false,
            owner: None,
            node: None,
        }
    }
}

/// A container as one line of `list`: what one call for all of them tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The engine's own id, whole.
    pub id: String,
    /// The name without decoration.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is doing.
    pub status: crate::ContainerStatus,
    /// How it is attached to networks.
    pub network_mode: NetworkMode,
    /// The names of its networks. Ordered.
    pub networks: Vec<String>,
    /// On which machine of its engine it is: as [`Details::node`].
    pub node: Option<String>,
    /// What owns it, where a list tells: as [`Details::owner`].
    pub owner: Option<Owner>,
}

impl Summary {
    /// A line of a list, of a container without networks.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        labels: BTreeMap<String, String>,
        status: crate::ContainerStatus,
    ) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            labels,
            status,
            network_mode: NetworkMode::Networks,
            networks: Vec::new(),
            node: None,
            owner: None,
        }
    }

    /// On this machine of its engine.
    #[must_use]
    pub fn on_node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// Owned by this, or by nobody.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    /// Attached to networks so, and to these.
    #[must_use]
    pub fn with_networks(mut self, mode: NetworkMode, names: Vec<String>) -> Self {
        self.network_mode = mode;
        self.networks = names;
        self
    }
}

/// How a container is attached to networks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkMode {
    /// To the networks listed in [`Details::networks`].
    Networks,
    /// It shares its host's network: what it listens on is the host's.
    Host,
    /// It has no network.
    None,
    /// It shares the network of another container, of this id or name.
    Container(String),
}

/// The container whose network another one lives in: what of it concerns that other one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkHolder {
    /// The engine's own id, whole.
    pub id: String,
    /// The name without decoration.
    pub name: String,
    /// How it is attached to networks itself. Where it lives in the network of a further one, the
    /// engine crate follows that chain to its end: this is the container at the end.
    pub network_mode: NetworkMode,
    /// Its networks, with its addresses on them while it runs. Ordered by name.
    pub networks: Vec<Network>,
    /// The ports that its host forwards to it, and so to whoever lives in its network. Ordered.
    pub published: Vec<PublishedPort>,
}

impl NetworkHolder {
    /// The network side of a container with these details.
    pub fn of(details: Details) -> Self {
        let Details { id, name, network_mode, networks, published, .. } = details;
        Self { id, name, network_mode, networks, published }
    }
}

/// A container's place on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// The network's name.
    pub name: String,
    /// The kind of network, as the engine calls it (`bridge`, `macvlan`, `overlay`…); `None` if the
    /// credential may not read it.
    pub driver: Option<String>,
    /// The container's addresses there: empty while it is stopped.
    pub addresses: Vec<IpAddr>,
    /// Its ways out of it: empty while it is stopped, and where there is none. On a `bridge` network
    /// they are the engine's host itself.
    pub gateways: Vec<IpAddr>,
    /// The hardware address that its definition gives it there: six pairs of lower-case hexadecimal
    /// digits with colons. `None` if it has none of its own.
    pub hardware_address: Option<String>,
    /// The addresses that its definition fixes there, also while it is stopped. They tell who it
    /// is; what is dialled are its [`addresses`](Self::addresses).
    pub fixed: Vec<IpAddr>,
}

impl Network {
    /// A place on the network `name`, without a way out.
    pub fn new(name: impl Into<String>, driver: Option<String>, addresses: Vec<IpAddr>) -> Self {
        let (gateways, fixed) = (Vec::new(), Vec::new());
        Self { name: name.into(), driver, addresses, gateways, hardware_address: None, fixed }
    }

    /// With this hardware address and these fixed addresses by its definition.
    #[must_use]
    pub fn defined_as(mut self, hardware_address: Option<String>, fixed: Vec<IpAddr>) -> Self {
        self.hardware_address = hardware_address;
        self.fixed = fixed;
        self
    }

    /// With these ways out of it.
    #[must_use]
    pub fn with_gateways(mut self, gateways: Vec<IpAddr>) -> Self {
        self.gateways = gateways;
        self
    }

    /// Whether it is a bridge of the engine's host.
    pub fn is_bridge(&self) -> bool {
        self.driver.as_deref() == Some("bridge")
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port inside a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its protocol.
    pub transport: Transport,
}

impl Port {
    /// A TCP port.
    pub fn tcp(number: u16) -> Self {
        Self { number, transport: Transport::Tcp }
    }
}

/// A port of the engine's host that leads into a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishedPort {
    /// Where it leads.
    pub container: Port,
    /// The host address it is bound to (unspecified: all of them).
    pub host_address: IpAddr,
    /// The host's port; `None` while stopped if the engine picks one at each start.
    pub host_port: Option<u16>,
}

/// What an engine does by itself when a container ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Nothing.
    No,
    /// Starts it again after a non-zero exit code.
    OnFailure,
    /// Starts it again, also when the engine itself restarts.
    Always,
    /// Starts it again unless a user stopped it.
    UnlessStopped,
}

/// What owns a container and would restart or replace it when it is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// A task of this Swarm service.
    SwarmService(String),
    /// This systemd unit or Quadlet.
    SystemdUnit(String),
    /// This pod.
    Pod(String),
    /// High availability management, in this state.
    HighAvailability(String),
}

/// From where an engine's container addresses can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// The engine runs on this machine, as root: container addresses on `bridge` networks and
    /// published ports can be dialled from this machine's network namespace.
    Local,
    /// On this machine, but container addresses mean nothing outside (rootless): published ports
    /// only.
    LocalPublishedOnly,
    /// What it runs listens on this machine itself (processes): loopback, at the port it is told.
    Loopback,
    /// On networks that this machine reaches as any other machine does (bridges of Proxmox nodes):
    /// a container is dialled at its own address, wherever its engine is. Ports are not published.
    Routed,
    /// On another machine, reached under this name: published ports there, never its bridge
    /// addresses, which may be a stranger's here.
    Remote(String),
}

/// What a container uses at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time used since its start, where the engine counts it.
    pub cpu: Option<Duration>,
    /// How many cores' worth of CPU it uses at this moment, where the engine says so instead.
    pub cpu_load: Option<f64>,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Bytes received since its start, over all its networks.
    pub received_bytes: u64,
    /// Bytes sent since its start, over all its networks.
    pub sent_bytes: u64,
}
