//! What is told of a container beyond its state.

use std::collections::BTreeMap;

use drowse_provider::{
    ContainerStatus, Details, Network, NetworkMode, Owner, RestartPolicy, Stats,
};

use super::{
    addresses::addresses_of,
    carrier::{ha_state, is_managed},
    goal::DEFAULT_STOP_TIMEOUT,
};
use crate::{ContainerConfig, CurrentStatus, Interface, cluster::Live};

/// `seen`: its interfaces, as far as they could be read; none while it is stopped.
pub(super) fn details_of(
    live: &Live,
    config: &ContainerConfig,
    labels: BTreeMap<String, String>,
    seen: &[Interface],
) -> Details {
    let status = &live.status;
    let mut details = Details::new(status.vmid.to_string(), &status.name, live.observation.clone());
    details.labels = labels;
    details.node = Some(live.at.node.to_string());
    details.stop_timeout = Some(config.stop_timeout.unwrap_or(DEFAULT_STOP_TIMEOUT));
    if is_managed(live) {
        // By its own name for it; it has none before management has looked at the container.
        let state = ha_state(live).unwrap_or("queued").to_owned();
        details.owner = Some(Owner::HighAvailability(state));
        // What ends by itself is started again; what was asked to stop is not.
        details.restart = RestartPolicy::UnlessStopped;
    }
    if config.networks.is_empty() {
        details.network_mode = NetworkMode::None;
    }
    let is_running = live.observation.status == ContainerStatus::Running;
    details.networks = config
        .networks
        .iter()
        .map(|(number, network)| {
            let addresses = if is_running { addresses_of(network, seen) } else { Vec::new() };
            let driver = network.bridge.as_ref().map(|_| "bridge".to_owned());
            Network::new(format!("net{number}"), driver, addresses)
                .defined_as(network.hardware_address.clone(), network.fixed.clone())
        })
        .collect();
    details
}

/// The API tells no CPU time, only the load of the last moments; that may be a little below zero.
pub(super) fn stats_of(status: &CurrentStatus) -> Stats {
    let mut stats = Stats::default();
    stats.cpu_load = Some(status.cpu.max(0.0));
    stats.memory_bytes = status.memory;
    stats.received_bytes = status.received;
    stats.sent_bytes = status.sent;
    stats
}

#[cfg(test)]
mod tests;
