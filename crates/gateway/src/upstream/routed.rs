//! On networks that this machine reaches as any other does, from wherever drowse runs.

use std::net::{IpAddr, SocketAddr};

use drowse_provider::{Network, Support};

use super::{NoUpstream, Subject, Target, Upstream};

/// The container's own address on the first of its networks (of a Proxmox container: `net0`), or on
/// the one that was named; never on another, which may lead elsewhere. `dynamic_addresses`: whether
/// its engine tells addresses that are not fixed.
pub(super) fn choose(
    subject: &Subject<'_>,
    dynamic_addresses: &Support,
) -> Result<Upstream, NoUpstream> {
    let Subject { port, whose, .. } = subject;
    let Some(network) = subject.networks.first() else {
        return Err(NoUpstream::NoNetwork);
    };
    let name = &network.name;
    if let Some(address) = address(network) {
        return Ok(Upstream {
            target: Some(Target::Socket(SocketAddr::new(address, *port))),
            why: format!("{whose} on `{name}`"),
            may_change: !network.fixed.contains(&address),
            accepts_early: false,
        });
    }
    let fixed = network.fixed.iter().find(|address| is_usable(**address));
    let why = match (fixed, dynamic_addresses) {
        (Some(fixed), _) if !subject.is_alive => {
            format!("{whose} on `{name}`, {fixed} as it is configured, once it runs")
        }
        (None, Support::No(why)) => {
            let (port, network, why) = (*port, name.clone(), why.to_string());
            return Err(NoUpstream::NoFixedAddress { port, network, why });
        }
        (None, Support::Yes) if !subject.is_alive => format!("{whose} on `{name}`, once it runs"),
        _ => format!(
            "{whose} on `{name}`, once it has one; `network` names another of its networks, \
             `address` an address"
        ),
    };
    Ok(Upstream { target: None, why, may_change: true, accepts_early: false })
}

fn address(network: &Network) -> Option<IpAddr> {
    let usable = || network.addresses.iter().copied().filter(|address| is_usable(*address));
    usable().find(IpAddr::is_ipv4).or_else(|| usable().next())
}

/// Whether it means this container to other machines too. A link-local one means somebody else on
/// each link, and says that there is no better one yet.
fn is_usable(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_local || address.is_unspecified() || address.is_multicast())
}
