//! From inside a container of the same engine.

use std::net::{IpAddr, SocketAddr};

use drowse_provider::{Network, NetworkMode, PublishedPort, Reach};

use super::{NoUpstream, SharedNetwork, Subject, Target, Upstream, chosen};

/// A network that both are on, whatever its kind; else the host, at the gateway of one of our own
/// `bridge` networks. That is an address of the engine's own host whatever the engine's URL, so no
/// stranger's; of a rootless engine it is not one at which published ports can be counted on.
pub(super) fn choose(
    subject: &Subject<'_>,
    reach: &Reach,
    own: &[SharedNetwork],
) -> Result<Upstream, NoUpstream> {
    let host = Host { gateways: own, is_rootless: *reach == Reach::LocalPublishedOnly };
    if *subject.mode == NetworkMode::Host {
        return on_the_hosts_network(subject, &host);
    }
    let is_ours = |network: &&Network| own.iter().any(|ours| ours.name == network.name);
    let shared: Vec<&Network> = subject.networks.iter().copied().filter(is_ours).collect();
    if let Some(mut upstream) = subject.address_on(&shared, "network") {
        if let [_, others @ ..] = shared.as_slice()
            && !others.is_empty()
        {
            let others: Vec<_> = others.iter().map(|other| format!("`{}`", other.name)).collect();
            let others = others.join(", ");
            upstream.why =
                format!("{} (drowse is on {others} as well: `network` chooses)", upstream.why);
        }
        return Ok(upstream);
    }
    at_the_gateway(subject, &host)
}

/// The engine's host, as far as it can be dialled.
struct Host<'a> {
    gateways: &'a [SharedNetwork],
    is_rootless: bool,
}

impl Host<'_> {
    /// Its addresses, and on which of our networks each is. IPv4 first.
    fn addresses(&self) -> Vec<(IpAddr, &str)> {
        if self.is_rootless {
            return Vec::new();
        }
        let mut all: Vec<_> = self
            .gateways
            .iter()
            .flat_map(|network| {
                network.gateways.iter().map(|gateway| (*gateway, network.name.as_str()))
            })
            .collect();
        all.sort_by_key(|(address, _)| address.is_ipv6());
        all
    }

    /// Why it has none.
    fn why_none(&self) -> &'static str {
        if self.is_rootless {
            "the host of a rootless engine cannot be counted on"
        } else {
            "drowse is on no `bridge` network with a gateway"
        }
    }
}

fn on_the_hosts_network(subject: &Subject<'_>, host: &Host<'_>) -> Result<Upstream, NoUpstream> {
    let port = subject.port;
    match host.addresses().first() {
        Some((gateway, network)) => Ok(chosen(
            Target::Socket(SocketAddr::new(*gateway, port)),
            format!(
                "it is on the host's network: the host, as the gateway of `{network}` (it must \
                 listen on all addresses)"
            ),
        )),
        None => Err(NoUpstream::NotShared {
            port,
            why: format!("it is on the host's network, and {}", host.why_none()),
            network: None,
            publish: None,
        }),
    }
}

fn at_the_gateway(subject: &Subject<'_>, host: &Host<'_>) -> Result<Upstream, NoUpstream> {
    let bindings = subject.bindings();
    let addresses = host.addresses();
    let reachable = bindings.iter().find_map(|binding| {
        let (gateway, network) =
            addresses.iter().find(|(gateway, _)| is_bound_to(binding, *gateway))?;
        Some((*binding, *gateway, *network))
    });
    if let Some((binding, gateway, network)) = reachable {
        let target = |host_port| Target::Socket(SocketAddr::new(gateway, host_port));
        let mut upstream = subject.published(binding, target);
        upstream.why = format!("{}, at the gateway of `{network}`", upstream.why);
        return Ok(upstream);
    }
    let first = match subject.named {
        Some(network) => format!("drowse is not on the network `{network}`"),
        None => "the two share no network".to_owned(),
    };
    let second = match bindings.first() {
        None => "it is not published".to_owned(),
        Some(_) if addresses.is_empty() => host.why_none().to_owned(),
        Some(binding) if binding.host_address.is_loopback() => {
            format!("it is published on the host's loopback address {} only", binding.host_address)
        }
        Some(_) => "it is published on no address that can be reached from there".to_owned(),
    };
    let why = format!("{first}, and {second}");
    Err(NoUpstream::NotShared {
        port: subject.port,
        why,
        network: subject.networks.first().map(|network| network.name.clone()),
        publish: (!addresses.is_empty()).then(|| publish(subject, bindings.first().copied())),
    })
}

fn is_bound_to(binding: &PublishedPort, gateway: IpAddr) -> bool {
    let is_same_family = binding.host_address.is_ipv4() == gateway.is_ipv4();
    binding.host_address == gateway || (is_same_family && binding.host_address.is_unspecified())
}

/// What compose's `ports` would have to say.
fn publish(subject: &Subject<'_>, binding: Option<&PublishedPort>) -> String {
    match binding.and_then(|binding| binding.host_port) {
        Some(host_port) => format!("{host_port}:{}", subject.port),
        None => subject.port.to_string(),
    }
}
