//! The ways to a workload that do not lead through the gateway: who takes one wakes nothing, and is
//! not seen to use it.

use std::collections::{BTreeMap, BTreeSet};

use drowse_provider::{Details, NetworkMode, PublishedPort, Summary, Transport};

use super::{Inventory, Plan, Planned};

/// How many neighbours are named; the others are counted.
const NAMED: usize = 5;

/// Who is on which network, of the containers that are none of ours: by the network's name. Bounded:
/// an engine may have thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crowds(BTreeMap<String, Crowd>);

/// The first of them by name, and how many there are beyond these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Crowd {
    named: BTreeSet<String>,
    others: usize,
}

impl Crowd {
    fn add(&mut self, name: &str) {
        if !self.named.insert(name.to_owned()) {
            return;
        }
        if self.named.len() > NAMED {
            self.named.pop_last();
            self.others += 1;
        }
    }
}

impl Crowds {
    /// Of these containers.
    pub(crate) fn of<'a>(list: impl Iterator<Item = &'a Summary>) -> Self {
        let mut crowds = BTreeMap::<String, Crowd>::new();
        for one in list.filter(|one| one.network_mode == NetworkMode::Networks) {
            for network in &one.networks {
                crowds.entry(network.clone()).or_default().add(&one.name);
            }
        }
        Self(crowds)
    }
}

/// The containers that a plan manages: engine and id.
pub(crate) fn managed(plan: &Plan) -> BTreeSet<(String, String)> {
    let managed = plan.workloads.iter();
    managed
        .filter_map(|planned| Some((planned.engine.clone(), planned.details.as_ref()?.id.clone())))
        .collect()
}

/// Every way past the gateway to this workload, in words.
pub(crate) fn ways_past(
    planned: &Planned,
    inventory: &Inventory,
    managed: &BTreeSet<(String, String)>,
) -> Vec<String> {
    let (Some(details), Some(view)) = (&planned.details, inventory.get(&planned.engine)) else {
        return Vec::new();
    };
    let mut ways = published(planned, details);
    // Those that concern us and are not managed all the same.
    let is_neighbour = |one: &&std::sync::Arc<Details>| {
        one.observation.status.is_alive()
            && one.id != details.id
            && view.here.own.as_ref().is_none_or(|own| own.id != one.id)
            && !managed.contains(&(planned.engine.clone(), one.id.clone()))
    };
    let unmanaged: Vec<_> = view.containers.iter().flatten().filter(is_neighbour).collect();
    let networks = details.holder.as_ref().map_or(&details.networks, |holder| &holder.networks);
    for network in networks {
        let mut crowd = view.crowds.0.get(&network.name).cloned().unwrap_or_default();
        for one in &unmanaged {
            if one.networks.iter().any(|its| its.name == network.name) {
                crowd.add(&one.name);
            }
        }
        if !crowd.named.is_empty() {
            ways.push(format!("from {} on the network `{}`", crowd.words(), network.name));
        }
    }
    ways
}

impl Crowd {
    fn words(&self) -> String {
        let mut words: Vec<_> = self.named.iter().map(|name| format!("`{name}`")).collect();
        if self.others > 0 {
            words.push(format!("{} more", self.others));
        }
        match words.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            _ => words.join(", "),
        }
    }
}

/// Ports that others than this machine can reach.
fn published(planned: &Planned, details: &Details) -> Vec<String> {
    let (published, whose) = match &details.holder {
        Some(holder) => {
            (&holder.published, format!(" (of `{}`, whose network it lives in)", holder.name))
        }
        None => (&details.published, String::new()),
    };
    let is_its = |port: &&PublishedPort| {
        // A holder's ports may be those of others that live in its network.
        details.holder.is_none()
            || planned.routes.iter().any(|route| route.port == Some(port.container.number))
            || planned.port == Some(port.container.number)
    };
    let mut by_port = BTreeMap::<_, Vec<String>>::new();
    for port in published.iter().filter(|port| !port.host_address.is_loopback()).filter(is_its) {
        let at = match port.host_port {
            Some(host_port) => std::net::SocketAddr::new(port.host_address, host_port).to_string(),
            None => format!("{}, at a port of the engine's choice", port.host_address),
        };
        by_port.entry(port.container).or_default().push(at);
    }
    let words = by_port.into_iter().map(|(port, at)| {
        let transport = match port.transport {
            Transport::Tcp => "",
            _ => " (not TCP)",
        };
        format!("its published port {}{transport} at {}{whose}", port.number, at.join(" and "))
    });
    words.collect()
}

#[cfg(test)]
mod tests;
