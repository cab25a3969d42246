//! The API's answers, from their JSON to our types.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;

use super::{
    lenient::{Number, Text, line},
    types::{
        CurrentStatus, Interface, Node, Resource, TaskOutcome, TaskStatus, TaskSummary, Version,
    },
};
use crate::Upid;

/// `{"data": …}`.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
    /// How many there are of what a list shows a part of.
    #[serde(default)]
    pub(super) total: Number,
}

#[derive(Deserialize)]
pub(super) struct VersionRow {
    #[serde(default)]
    version: Text,
    #[serde(default)]
    release: Text,
}

#[derive(Deserialize)]
pub(super) struct NodeRow {
    #[serde(default)]
    node: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    ssl_fingerprint: Text,
}

#[derive(Deserialize)]
pub(super) struct ResourceRow {
    #[serde(default, rename = "type")]
    kind: Text,
    #[serde(default)]
    vmid: Number,
    #[serde(default)]
    node: Text,
    #[serde(default)]
    name: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    uptime: Number,
    #[serde(default)]
    lock: Text,
    #[serde(default)]
    tags: Text,
    #[serde(default)]
    hastate: Text,
    #[serde(default)]
    template: Number,
}

#[derive(Deserialize)]
pub(super) struct StatusRow {
    #[serde(default)]
    vmid: Number,
    #[serde(default)]
    name: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    pid: Number,
    #[serde(default)]
    uptime: Number,
    #[serde(default)]
    lock: Text,
    #[serde(default)]
    tags: Text,
    #[serde(default)]
    template: Number,
    #[serde(default)]
    ha: Option<HighAvailability>,
    #[serde(default)]
    cpu: Number,
    #[serde(default)]
    cpus: Number,
    #[serde(default)]
    mem: Number,
    #[serde(default)]
    netin: Number,
    #[serde(default)]
    netout: Number,
}

#[derive(Deserialize)]
struct HighAvailability {
    #[serde(default)]
    managed: Number,
    #[serde(default)]
    state: Text,
}

#[derive(Deserialize)]
pub(super) struct InterfaceRow {
    #[serde(default)]
    name: Text,
    #[serde(default)]
    hwaddr: Text,
    #[serde(default, rename = "hardware-address")]
    hardware_address: Text,
    #[serde(default)]
    inet: Text,
    #[serde(default)]
    inet6: Text,
    #[serde(default, rename = "ip-addresses")]
    addresses: Option<Vec<AddressRow>>,
}

#[derive(Deserialize)]
struct AddressRow {
    #[serde(default, rename = "ip-address")]
    address: Text,
}

#[derive(Deserialize)]
pub(super) struct TaskStatusRow {
    #[serde(default)]
    status: Text,
    #[serde(default)]
    exitstatus: Text,
}

#[derive(Deserialize)]
pub(super) struct TaskRow {
    #[serde(default)]
    upid: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    endtime: Number,
}

#[derive(Deserialize)]
pub(super) struct LogRow {
    #[serde(default)]
    t: Text,
}

impl VersionRow {
    /// `None`: no version in it.
    pub(super) fn read(self) -> Option<Version> {
        let text = self.version.some()?;
        let numbers = |text: &str| {
            let mut parts = text.split(['.', '-']);
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        };
        let release = numbers(&text).or_else(|| numbers(&self.release.or_empty()))?;
        Some(Version { text, release })
    }
}

impl NodeRow {
    pub(super) fn read(self) -> Option<Node> {
        Some(Node {
            name: self.node.some()?,
            is_online: self.status.or_empty() == "online",
            fingerprint: self.ssl_fingerprint.some(),
        })
    }
}

impl ResourceRow {
    /// `None`: not a container.
    pub(super) fn read(self) -> Option<Resource> {
        if self.kind.or_empty() != "lxc" {
            return None;
        }
        Some(Resource {
            vmid: self.vmid.small()?,
            node: self.node.some()?,
            name: self.name.some(),
            status: self.status.some().unwrap_or_else(|| "unknown".to_owned()),
            uptime: seconds(self.uptime),
            lock: self.lock.some(),
            tags: tags(&self.tags.or_empty()),
            ha_state: self.hastate.some(),
            is_template: self.template.is_true(),
        })
    }
}

impl StatusRow {
    /// `vmid`: what was asked for, if the answer does not say it.
    pub(super) fn read(self, vmid: Option<u32>) -> Option<CurrentStatus> {
        let vmid = self.vmid.small().or(vmid)?;
        let ha = self.ha.as_ref();
        Some(CurrentStatus {
            vmid,
            // Proxmox's own name for a container without a host name.
            name: self.name.some().unwrap_or_else(|| format!("CT{vmid}")),
            status: self.status.some()?,
            pid: self.pid.count().filter(|pid| *pid != 0),
            uptime: seconds(self.uptime),
            lock: self.lock.some(),
            tags: tags(&self.tags.or_empty()),
            is_template: self.template.is_true(),
            is_ha_managed: ha.is_some_and(|ha| ha.managed.is_true()),
            ha_state: self.ha.and_then(|ha| ha.state.some()),
            // A share of the cores that it may use; slightly negative at times.
            cpu: self.cpu.float().unwrap_or(0.0).max(0.0) * self.cpus.float().unwrap_or(1.0),
            memory: self.mem.count().unwrap_or(0),
            received: self.netin.count().unwrap_or(0),
            sent: self.netout.count().unwrap_or(0),
        })
    }
}

impl InterfaceRow {
    pub(super) fn read(self) -> Option<Interface> {
        let listed = self.addresses.unwrap_or_default();
        let mut addresses: Vec<_> = listed
            .into_iter()
            .filter_map(|row| super::network::address(&row.address.or_empty()))
            .collect();
        // Older ones have no list, and one address of each kind with its prefix.
        for old in [self.inet.or_empty(), self.inet6.or_empty()] {
            if let Some(address) = super::network::address(&old)
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
        let hardware_address = self.hwaddr.some().or_else(|| self.hardware_address.some());
        Some(Interface {
            name: self.name.some()?,
            hardware_address: hardware_address.map(|address| address.to_lowercase()),
            addresses,
        })
    }
}

impl TaskStatusRow {
    pub(super) fn read(self) -> Option<TaskStatus> {
        match self.status.or_empty().as_str() {
            "running" => Some(TaskStatus::Running),
            "stopped" => Some(TaskStatus::Ended(outcome(
                self.exitstatus.some().as_deref().unwrap_or("unexpected status"),
            ))),
            _ => None,
        }
    }
}

impl TaskRow {
    /// `None`: it has no name that we know to read.
    pub(super) fn read(self) -> Option<TaskSummary> {
        let upid: Upid = self.upid.or_empty().parse().ok()?;
        let exit = self.status.some().filter(|status| status != "RUNNING");
        let exit = exit.map(|exit| line(&exit));
        let is_running = exit.is_none() && self.endtime.count().is_none();
        Some(TaskSummary { upid, is_running, exit })
    }
}

impl LogRow {
    pub(super) fn read(self) -> String {
        line(&self.t.or_empty())
    }
}

/// `/access/permissions`: by path, each privilege and whether it is handed down.
pub(super) fn permissions(
    rows: BTreeMap<String, BTreeMap<String, Number>>,
) -> BTreeMap<String, BTreeSet<String>> {
    rows.into_iter().map(|(path, held)| (path, held.into_keys().collect())).collect()
}

/// The same for one path alone. An answer may have the paths above it as well.
pub(super) fn permissions_on(
    rows: BTreeMap<String, BTreeMap<String, Number>>,
    path: &str,
) -> BTreeSet<String> {
    let is_above = |above: &str| {
        let rest = path.strip_prefix(above.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let here = |(at, held): (String, BTreeMap<String, Number>)| {
        let (is_here, is_above) = (at == path, is_above(&at));
        let counts = move |is_handed_down: &Number| {
            is_here || (is_above && is_handed_down.count().is_some_and(|flag| flag > 0))
        };
        held.into_iter().filter(move |(_, flag)| counts(flag)).map(|(privilege, _)| privilege)
    };
    rows.into_iter().flat_map(here).collect()
}

/// How a task ended, by its exit status.
fn outcome(exit: &str) -> TaskOutcome {
    let exit = line(exit);
    match exit.strip_prefix("WARNINGS: ") {
        _ if exit == "OK" => TaskOutcome::Ok,
        Some(number) => TaskOutcome::Warnings(number.trim().parse().unwrap_or(1)),
        None => TaskOutcome::Failed(exit),
    }
}

/// Proxmox separates tags by semicolons, and takes commas and spaces as well.
pub(super) fn tags(text: &str) -> Vec<String> {
    let tags = text.split([';', ',', ' ', '\t', '\n']).filter(|tag| !tag.is_empty());
    tags.map(str::to_owned).collect()
}

/// `-1` for a moment after a start.
fn seconds(uptime: Number) -> Duration {
    Duration::from_secs(uptime.count().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(answer: &str, path: &str) -> Vec<String> {
        permissions_on(serde_json::from_str(answer).unwrap(), path).into_iter().collect()
    }

    #[test]
    fn rights_on_a_path_are_its_own_and_those_that_are_handed_down() {
        let answer = r#"{
            "/": { "Sys.Audit": 1, "Sys.Modify": 0 },
            "/vms": { "VM.Audit": "1", "VM.Migrate": "0" },
            "/vms/201": { "VM.PowerMgmt": 0 },
            "/vms/2": { "VM.Console": 1 },
            "/nodes": { "Sys.Console": 1 }
        }"#;
        assert_eq!(on(answer, "/vms/201"), ["Sys.Audit", "VM.Audit", "VM.PowerMgmt"]);
        assert_eq!(on(answer, "/vms/202"), ["Sys.Audit", "VM.Audit"]);
        assert_eq!(on("{}", "/vms/201"), [""; 0]);
    }
}
