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
    /// Its networks, with its addresses on them while it runs. Ordered by name.
    pub networks: Vec<Network>,
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
            exposed: Vec::new(),
            published: Vec::new(),
            stop_timeout: None,
            stop_signal: None,
            restart: RestartPolicy::No,
            removed_when_stopped: false,
            has_health_check: false,
            owner: None,
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
}

impl Summary {
    /// A line of a list.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        labels: BTreeMap<String, String>,
        status: crate::ContainerStatus,
    ) -> Self {
        Self { id: id.into(), name: name.into(), labels, status }
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
}

impl Network {
    /// A place on the network `name`.
    pub fn new(name: impl Into<String>, driver: Option<String>, addresses: Vec<IpAddr>) -> Self {
        Self { name: name.into(), driver, addresses }
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
    /// On another machine, reached under this name: published ports there, never its bridge
    /// addresses, which may be a stranger's here.
    Remote(String),
}

/// What a container uses at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time used since its start.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Bytes received since its start, over all its networks.
    pub received_bytes: u64,
    /// Bytes sent since its start, over all its networks.
    pub sent_bytes: u64,
}
