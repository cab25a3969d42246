//! What the API answers, as far as we read it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::Upid;

/// `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// As it is written: `8.4.21`.
    pub text: String,
    /// The first two numbers, for comparisons: `(8, 4)`.
    pub release: (u32, u32),
}

/// A row of `GET /nodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether the cluster sees it.
    pub is_online: bool,
    /// The SHA-256 fingerprint of its certificate, as the API writes it.
    pub fingerprint: Option<String>,
}

/// A container in `GET /cluster/resources?type=vm` (virtual machines are left out). Lags up to 12 s
/// behind, except node, name, lock and tags.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Resource {
    /// Its number in the cluster.
    pub vmid: u32,
    /// The node that it is on.
    pub node: String,
    /// Its name; `None` while its node is not known to the cluster.
    pub name: Option<String>,
    /// `running`, `stopped` or `unknown`.
    pub status: String,
    /// Seconds since its start; zero while it is stopped. Never negative.
    pub uptime: Duration,
    /// What works on it.
    pub lock: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its high availability state, if it is managed.
    pub ha_state: Option<String>,
    /// Whether it is a template, which never runs.
    pub is_template: bool,
}

/// `GET /nodes/{node}/lxc/{vmid}/status/current`, or a row of `GET /nodes/{node}/lxc`. Live.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CurrentStatus {
    /// Its number in the cluster.
    pub vmid: u32,
    /// Its name.
    pub name: String,
    /// `running` or `stopped`.
    pub status: String,
    /// The process id of its init on its node, while it runs.
    pub pid: Option<u64>,
    /// Time since its start; zero while it is stopped.
    pub uptime: Duration,
    /// What works on it.
    pub lock: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether it is a template.
    pub is_template: bool,
    /// Whether high availability manages it. Always `false` in a list.
    pub is_ha_managed: bool,
    /// Its high availability state, where the API says it.
    pub ha_state: Option<String>,
    /// The CPU that it uses, in cores.
    pub cpu: f64,
    /// The memory that it uses, in bytes.
    pub memory: u64,
    /// Bytes received since its start.
    pub received: u64,
    /// Bytes sent since its start.
    pub sent: u64,
}

/// `GET /nodes/{node}/lxc/{vmid}/config`: read, never written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerConfig {
    /// Changes with every change of the configuration.
    pub digest: Option<String>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its notes, as they are written there.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// What works on it.
    pub lock: Option<String>,
    /// Whether its node starts it when it boots.
    pub starts_at_boot: bool,
    /// Whether it is a template.
    pub is_template: bool,
    /// How long its shutdown may take before it is killed: `down=` of its start-up options.
    pub stop_timeout: Option<Duration>,
    /// Its network interfaces by their number: 0 is `net0`.
    pub networks: BTreeMap<u32, NetworkInterface>,
}

/// A `netN` of a container's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkInterface {
    /// Its name inside the container: `eth0`.
    pub name: String,
    /// The bridge on the node.
    pub bridge: Option<String>,
    /// Its hardware address, in lower case with colons.
    pub hardware_address: Option<String>,
    /// Its fixed addresses, IPv4 and IPv6.
    pub fixed: Vec<IpAddr>,
    /// Whether an address comes by DHCP or by IPv6's own configuration.
    pub is_dynamic: bool,
}

/// A row of `GET /nodes/{node}/lxc/{vmid}/interfaces`: what the container's own kernel view has,
/// also bridges and tunnels made inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its name inside the container.
    pub name: String,
    /// Its hardware address, in lower case with colons.
    pub hardware_address: Option<String>,
    /// All its addresses, also link-local ones.
    pub addresses: Vec<IpAddr>,
}

/// `GET /nodes/{node}/tasks/{upid}/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It runs.
    Running,
    /// It ended so.
    Ended(TaskOutcome),
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// `OK`.
    Ok,
    /// `WARNINGS: n`: it did what it was to do.
    Warnings(u32),
    /// Anything else, in its own words.
    Failed(String),
}

/// A row of `GET /nodes/{node}/tasks`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskSummary {
    /// The task.
    pub upid: Upid,
    /// Whether it still runs.
    pub is_running: bool,
    /// How it ended, as it is written, if it did.
    pub exit: Option<String>,
}
