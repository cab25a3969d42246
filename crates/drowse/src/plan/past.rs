//! The ways to a workload that do not lead through the gateway: who takes one wakes nothing, and is
//! not seen to use it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drowse_provider::{Details, Network, NetworkMode, PublishedPort, Reach, Summary, Transport};

use super::{EngineView, Inventory, Plan, Planned};

/// How many neighbours are named; the others are counted.
const NAMED: usize = 5;

/// Who is on which network, of the containers that are none of ours: by the network's name. Bounded:
/// an engine may have thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crowds {
    networks: BTreeMap<String, Crowd>,
}

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
        let mut crowds = Self::default();
        for one in list.filter(|one| one.network_mode == NetworkMode::Networks) {
            for network in &one.networks {
                crowds.networks.entry(network.clone()).or_default().add(&one.name);
            }
        }
        crowds
    }
}

/// The running containers that concern us and that their user did not enable all the same, by their
/// engine's name.
pub(crate) type Unmanaged = BTreeMap<String, Vec<Unnoticed>>;

/// A running container whose requests nobody notices.
pub(crate) struct Unnoticed {
    details: Arc<Details>,
    /// The workloads that stay awake while it runs.
    holds: BTreeSet<String>,
}

/// What a plan made from this inventory does not manage of it.
pub(crate) fn unmanaged(plan: &Plan, inventory: &Inventory) -> Unmanaged {
    let managed: BTreeMap<&str, &Planned> = plan
        .workloads
        .iter()
        .filter_map(|planned| Some((planned.details.as_ref()?.id.as_str(), planned)))
        .collect();
    let of_engine = |(name, view): (&String, &EngineView)| {
        let own = view.here.own.as_ref().map(|own| own.id.as_str());
        let alive = view
            .containers
            .iter()
            .flatten()
            .filter(|one| one.observation.status.is_alive() && own != Some(one.id.as_str()));
        let unnoticed = alive.filter_map(|one| {
            let holds = match managed.get(one.id.as_str()) {
                None => BTreeSet::new(),
                Some(planned) if planned.is_implicit() => {
                    planned.needs.iter().map(|need| need.name.clone()).collect()
                }
                Some(_) => return None,
            };
            Some(Unnoticed { details: one.clone(), holds })
        });
        (name.clone(), unnoticed.collect())
    };
    inventory.iter().map(of_engine).collect()
}

/// Every way past the gateway to this workload, in words.
pub(crate) fn ways_past(
    planned: &Planned,
    inventory: &Inventory,
    unmanaged: &Unmanaged,
) -> Vec<String> {
    let (Some(details), Some(view)) = (&planned.details, inventory.get(&planned.engine)) else {
        return Vec::new();
    };
    if view.reach == Reach::Routed {
        // Its networks are named from within: a neighbour's `net0` may be another network.
        return own_addresses(details);
    }
    let mut ways = published(planned, details);
    if details.network_mode == NetworkMode::Host {
        ways.push("at every port that it listens on: it is on the network of its host".to_owned());
    }
    let networks = details.holder.as_ref().map_or(&details.networks, |holder| &holder.networks);
    for network in networks {
        let mut crowd = view.crowds.networks.get(&network.name).cloned().unwrap_or_default();
        for one in unmanaged.get(&planned.engine).into_iter().flatten() {
            let is_there = one.details.networks.iter().any(|its| its.name == network.name);
            if is_there && !one.holds.contains(&planned.name) {
                crowd.add(&one.details.name);
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

/// What is dialled at its own address by drowse is dialled there by others, too.
fn own_addresses(details: &Details) -> Vec<String> {
    let by_network = |network: &Network| {
        let known: BTreeSet<_> = network.addresses.iter().chain(&network.fixed).collect();
        let at: Vec<_> = known.into_iter().map(ToString::to_string).collect();
        let at = if at.is_empty() { String::new() } else { format!(" ({})", at.join(", ")) };
        format!("at its own address on `{}`{at}, for whoever reaches that network", network.name)
    };
    details.networks.iter().map(by_network).collect()
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
            || planned.port_routes.iter().any(|route| route.port == Some(port.container.number))
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
