//! From the engine's `inspect` to the contract's [`Details`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

use bollard::models::{PortMap, RestartPolicyNameEnum};
use drowse_provider::{
    Details, Network, NetworkMode, Owner, Port, PublishedPort, RestartPolicy, Signal, Transport,
};
use jiff::Timestamp;

use crate::{
    state::{health_of, observation_of, system_time},
    wire::{Config, HostConfig, Inspected},
};

const SWARM_TASK: &str = "com.docker.swarm.task.id";
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const SYSTEMD_UNIT: &str = "PODMAN_SYSTEMD_UNIT";
const KUBERNETES_POD: &str = "io.kubernetes.pod.name";
/// The image of a Podman pod's own container, which holds the pod's network.
const POD_IMAGE: &str = "podman-pause";
const POD_SUFFIX: &str = "-infra";

/// Puts together what is known of a container. `drivers`: of its networks, as far as they may be
/// read.
pub(crate) fn details_of(inspected: Inspected, drivers: &BTreeMap<String, String>) -> Details {
    let observation = observation_of(&inspected.state);
    let is_alive = observation.status.is_alive();
    let owner = owner_of(&inspected);
    let Inspected { id, name, created, state, config, host_config, network_settings, .. } =
        inspected;
    let name = name.strip_prefix('/').unwrap_or(&name);

    let mut details = Details::new(id, name, observation);
    details.created = created.parse::<Timestamp>().ok().and_then(system_time);
    details.network_mode = network_mode_of(&host_config.network_mode);
    details.networks = network_settings
        .networks
        .iter()
        // An engine may tell the last addresses of one that is stopped: they are no longer its own.
        .map(|(name, endpoint)| {
            let now = |addresses| if is_alive { parsed(addresses) } else { Vec::new() };
            Network::new(name, drivers.get(name).cloned(), now([&endpoint.ipv4, &endpoint.ipv6]))
                .with_gateways(now([&endpoint.gateway, &endpoint.ipv6_gateway]))
        })
        .collect();
    let exposed: BTreeSet<Port> =
        config.exposed_ports.keys().filter_map(|port| port_of(port)).collect();
    let bound = if is_alive { published(&network_settings.ports) } else { BTreeSet::new() };
    let published = if bound.is_empty() { configured(&host_config, &exposed) } else { bound };
    details.published = published.into_iter().collect();
    details.exposed = exposed.into_iter().collect();
    details.stop_timeout = stop_timeout_of(&config);
    details.stop_signal = stop_signal_of(&config);
    details.restart = restart_policy_of(&host_config);
    details.removed_when_stopped = host_config.auto_remove;
    // Podman has an empty one where there is no check.
    let is_checked = state.health.is_some_and(|health| health_of(&health.status).is_some());
    details.has_health_check = is_checked || declares_health_check(&config);
    details.labels = config.labels;
    details.owner = owner;
    details
}

/// What is owned by something that puts it back when it is stopped, as far as the container itself
/// tells.
fn owner_of(inspected: &Inspected) -> Option<Owner> {
    let Inspected { name, config, pod, .. } = inspected;
    let label = |key: &str| config.labels.get(key).cloned();
    if let Some(task) = label(SWARM_TASK) {
        Some(Owner::SwarmService(label(SWARM_SERVICE).unwrap_or(task)))
    } else if let Some(unit) = label(SYSTEMD_UNIT) {
        Some(Owner::SystemdUnit(unit))
    } else if !pod.is_empty() {
        Some(Owner::Pod(pod.clone()))
    } else if is_pods_own(inspected) {
        let name = name.strip_prefix('/').unwrap_or(name);
        Some(Owner::Pod(name.strip_suffix(POD_SUFFIX).unwrap_or(name).to_owned()))
    } else {
        label(KUBERNETES_POD).map(Owner::Pod)
    }
}

/// Whether it is the container that holds a pod's network.
fn is_pods_own(inspected: &Inspected) -> bool {
    inspected.config.image.contains(POD_IMAGE)
}

/// The pod of a container that lives in the network of `holder`, if that is a pod's.
pub(crate) fn pod_of(holder: &Inspected) -> Option<Owner> {
    is_pods_own(holder).then(|| owner_of(holder)).flatten()
}

pub(crate) fn network_mode_of(mode: &str) -> NetworkMode {
    match mode {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match mode.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_owned()),
            None => NetworkMode::Networks,
        },
    }
}

/// Those that there are: an engine leaves the others empty.
fn parsed(addresses: [&String; 2]) -> Vec<IpAddr> {
    addresses.into_iter().filter_map(|address| address.parse().ok()).collect()
}

/// `80/tcp`; without a protocol it is TCP.
fn port_of(text: &str) -> Option<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let transport = match protocol {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        _ => return None,
    };
    Some(Port { number: number.parse().ok()?, transport })
}

fn published(ports: &PortMap) -> BTreeSet<PublishedPort> {
    ports
        .iter()
        .filter_map(|(port, bindings)| Some((port_of(port)?, bindings.as_deref()?)))
        .flat_map(|(container, bindings)| {
            bindings.iter().map(move |binding| PublishedPort {
                container,
                host_address: binding
                    .host_ip
                    .as_deref()
                    .and_then(|address| address.parse().ok())
                    .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                // Neither nothing, nor zero, nor a range is a port that is known beforehand.
                host_port: binding
                    .host_port
                    .as_deref()
                    .and_then(|port| port.parse().ok())
                    .filter(|port| *port != 0),
            })
        })
        .collect()
}

/// What will be published at the next start.
fn configured(host_config: &HostConfig, exposed: &BTreeSet<Port>) -> BTreeSet<PublishedPort> {
    let mut ports = published(&host_config.port_bindings);
    if host_config.publish_all_ports {
        let bound: BTreeSet<Port> = ports.iter().map(|port| port.container).collect();
        ports.extend(exposed.difference(&bound).map(|port| PublishedPort {
            container: *port,
            host_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host_port: None,
        }));
    }
    ports
}

/// A negative timeout waits without end, which is as long as a duration can say.
fn stop_timeout_of(config: &Config) -> Option<Duration> {
    config
        .stop_timeout
        .map(|seconds| u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs))
}

pub(crate) fn stop_signal_of(config: &Config) -> Option<Signal> {
    config.stop_signal.parse().ok()
}

pub(crate) fn restart_policy_of(host_config: &HostConfig) -> RestartPolicy {
    match RestartPolicyNameEnum::from_str(&host_config.restart_policy.name) {
        Ok(RestartPolicyNameEnum::ALWAYS) => RestartPolicy::Always,
        Ok(RestartPolicyNameEnum::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Ok(RestartPolicyNameEnum::ON_FAILURE) => RestartPolicy::OnFailure,
        Ok(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | Err(_) => RestartPolicy::No,
    }
}

/// `["NONE"]` switches an image's check off.
fn declares_health_check(config: &Config) -> bool {
    config
        .healthcheck
        .as_ref()
        .and_then(|check| check.test.first())
        .is_some_and(|first| first != "NONE")
}

#[cfg(test)]
mod tests;
