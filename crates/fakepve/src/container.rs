//! Containers: how they are made, and what is seen of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A container to be put on a cluster.
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Ct {
    vmid: u32,
    name: String,
    node: String,
    tags: Vec<String>,
    notes: String,
    networks: Vec<String>,
    interfaces: Option<Vec<GuestInterface>>,
    config: BTreeMap<String, String>,
    is_running: bool,
    is_template: bool,
    starts_at_boot: bool,
    ignores_shutdown: bool,
    is_timed_really: bool,
    exits: bool,
    lock: Option<String>,
    ha_state: Option<String>,
    start_error: Option<String>,
    start_log: Vec<String>,
    app: Option<App>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shutdown_secs: Option<f64>,
}

/// A real program that runs while its container does.
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct App {
    command: Vec<String>,
    env: BTreeMap<String, String>,
}

/// A row of `/interfaces`.
#[derive(Clone, Debug, Serialize)]
pub struct GuestInterface {
    name: String,
    hwaddr: String,
    addresses: Vec<String>,
}

/// What a container is at this moment, whatever the API says.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct State {
    /// `running` or `stopped`.
    pub status: String,
    /// The process id of its init.
    pub pid: Option<u64>,
    /// Where it is.
    pub node: String,
    /// What works on it.
    pub lock: Option<String>,
    /// What its high availability was asked for, if it is managed.
    pub ha_state: Option<String>,
    /// Its whole configuration: nobody but its user may have changed it.
    pub config: BTreeMap<String, serde_json::Value>,
    /// How often its program was started.
    pub app_starts: u64,
}

impl State {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }
}

impl Ct {
    /// A stopped one on `pve1`, called `ctVMID`. Its `net0` is `eth0`, asks for an address by DHCP,
    /// and never gets one.
    pub fn new(vmid: u32) -> Self {
        Self {
            vmid,
            name: format!("ct{vmid}"),
            node: "pve1".into(),
            tags: Vec::new(),
            notes: String::new(),
            networks: vec![format!("name=eth0,bridge=vmbr0,hwaddr={},ip=dhcp", hardware(vmid))],
            interfaces: None,
            config: BTreeMap::new(),
            is_running: false,
            is_template: false,
            starts_at_boot: false,
            ignores_shutdown: false,
            is_timed_really: false,
            exits: false,
            lock: None,
            ha_state: None,
            start_error: None,
            start_log: Vec::new(),
            app: None,
            start_secs: None,
            shutdown_secs: None,
        }
    }

    /// Its number.
    pub fn vmid(&self) -> u32 {
        self.vmid
    }

    /// The hardware address of its `net0`, if that was left as it is.
    pub fn hardware_address(&self) -> String {
        hardware(self.vmid)
    }

    /// Its host name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The node that it is on.
    pub fn on(mut self, node: &str) -> Self {
        self.node = node.into();
        self
    }

    /// One more tag.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Its notes.
    pub fn notes(mut self, notes: &str) -> Self {
        self.notes = notes.into();
        self
    }

    /// The values of `net0`, `net1`…, as they are written there.
    pub fn networks<S: Into<String>>(mut self, networks: impl IntoIterator<Item = S>) -> Self {
        self.networks = networks.into_iter().map(Into::into).collect();
        self
    }

    /// A `net0` with this fixed address, `10.0.0.5/24`.
    pub fn fixed_address(self, address: &str) -> Self {
        let hardware = self.hardware_address();
        self.networks([format!("name=eth0,bridge=vmbr0,hwaddr={hardware},ip={address}")])
    }

    /// What `/interfaces` says while it runs, apart from `lo`. Else it says the fixed addresses.
    pub fn interfaces(mut self, interfaces: impl IntoIterator<Item = GuestInterface>) -> Self {
        self.interfaces = Some(interfaces.into_iter().collect());
        self
    }

    /// Any further option of its configuration.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }

    /// It runs, and has run for an hour.
    pub fn running(mut self) -> Self {
        self.is_running = true;
        self
    }

    /// It is a template.
    pub fn template(mut self) -> Self {
        self.is_template = true;
        self
    }

    /// Its node starts it when it boots.
    pub fn starts_at_boot(mut self) -> Self {
        self.starts_at_boot = true;
        self
    }

    /// Its init does not end when it is asked to.
    pub fn ignores_shutdown(mut self) -> Self {
        self.ignores_shutdown = true;
        self
    }

    /// The timeouts that its shutdowns are given are real seconds, not the cluster's.
    pub fn timed_really(mut self) -> Self {
        self.is_timed_really = true;
        self
    }

    /// Its init ends as soon as it was started.
    pub fn exits(mut self) -> Self {
        self.exits = true;
        self
    }

    /// Something works on it.
    pub fn locked(mut self, lock: &str) -> Self {
        self.lock = Some(lock.into());
        self
    }

    /// High availability manages it, and was asked for this state.
    pub fn ha(mut self, state: &str) -> Self {
        self.ha_state = Some(state.into());
        self
    }

    /// Its start tasks end with this exit status.
    pub fn start_fails(mut self, exit: &str) -> Self {
        self.start_error = Some(exit.into());
        self
    }

    /// … and log this before.
    pub fn start_logs(mut self, lines: &[&str]) -> Self {
        self.start_log = lines.iter().copied().map(Into::into).collect();
        self
    }

    /// How long its start task takes, in seconds of the cluster: 1.5.
    pub fn start_secs(mut self, seconds: f64) -> Self {
        self.start_secs = Some(seconds);
        self
    }

    /// How long it takes to end when it is asked to, in seconds of the cluster: 1.
    pub fn shutdown_secs(mut self, seconds: f64) -> Self {
        self.shutdown_secs = Some(seconds);
        self
    }

    /// What runs in it.
    pub fn app(mut self, app: App) -> Self {
        self.app = Some(app);
        self
    }
}

impl App {
    /// A program with its arguments.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), env: BTreeMap::new() }
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }
}

impl GuestInterface {
    /// Its name inside, its hardware address, and its addresses with their prefixes: `10.0.0.5/24`.
    pub fn new<S: Into<String>>(
        name: &str,
        hardware_address: &str,
        addresses: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            name: name.into(),
            hwaddr: hardware_address.into(),
            addresses: addresses.into_iter().map(Into::into).collect(),
        }
    }
}

/// As PVE makes them up, but each container's own.
fn hardware(vmid: u32) -> String {
    let [_, high, middle, low] = vmid.to_be_bytes();
    format!("BC:24:11:{high:02X}:{middle:02X}:{low:02X}")
}
