//! Which of the addresses inside a container are its own.

use std::net::IpAddr;

use crate::{ContainerConfig, Interface, NetworkInterface};

/// Whether the configuration alone tells every address, so that the container need not be asked.
pub(super) fn are_all_fixed(config: &ContainerConfig) -> bool {
    config.networks.values().all(|network| !network.is_dynamic && !network.fixed.is_empty())
}

/// The addresses of a running container on one of its networks: what its own interface there says,
/// else what the configuration fixes. `seen`: its interfaces, as far as they could be read.
///
/// Never those of a bridge, VLAN or tunnel that was made inside the container, even where that took
/// over the interface's hardware address: what listens there may be anything.
pub(super) fn addresses_of(network: &NetworkInterface, seen: &[Interface]) -> Vec<IpAddr> {
    let own = interface_of(network, seen);
    let mut addresses = Vec::new();
    for address in own.iter().flat_map(|own| &own.addresses).map(IpAddr::to_canonical) {
        if is_dialable(address) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { network.fixed.clone() } else { addresses }
}

fn interface_of<'a>(network: &NetworkInterface, seen: &'a [Interface]) -> Option<&'a Interface> {
    let wanted = network.hardware_address.as_deref()?;
    let mut of_this_hardware =
        seen.iter().filter(|interface| interface.hardware_address.as_deref() == Some(wanted));
    let first = of_this_hardware.next()?;
    let others: Vec<_> = of_this_hardware.collect();
    if first.name == network.name || others.is_empty() {
        return Some(first);
    }
    // Several share it, and only the one with the name that Proxmox gave is not made inside.
    others.into_iter().find(|interface| interface.name == network.name)
}

/// Whether it can be dialled from elsewhere without saying on which link.
fn is_dialable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !is_link_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "bc:24:11:00:00:01";

    fn network(fixed: &[&str], is_dynamic: bool) -> NetworkInterface {
        NetworkInterface {
            name: "eth0".to_owned(),
            bridge: Some("vmbr0".to_owned()),
            hardware_address: Some(OWN.to_owned()),
            fixed: parse(fixed),
            is_dynamic,
        }
    }

    fn interface(name: &str, hardware_address: &str, addresses: &[&str]) -> Interface {
        Interface {
            name: name.to_owned(),
            hardware_address: Some(hardware_address.to_owned()),
            addresses: parse(addresses),
        }
    }

    fn parse(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    /// Must-not-happen 47: docker0 and tailscale0 inside.
    #[test]
    fn only_the_interface_of_the_configurations_hardware_address_counts() {
        let seen = [
            interface("lo", "00:00:00:00:00:00", &["127.0.0.1", "::1"]),
            interface("docker0", "02:42:ac:11:00:01", &["172.17.0.1"]),
            Interface { hardware_address: None, ..interface("tailscale0", "", &["100.64.0.7"]) },
            interface("eth0", OWN, &["10.0.0.7", "fe80::1", "fd00::7"]),
        ];
        assert_eq!(addresses_of(&network(&[], true), &seen), parse(&["10.0.0.7", "fd00::7"]));
    }

    #[test]
    fn a_bridge_inside_that_took_over_the_hardware_address_does_not_count() {
        let bridged = [
            interface("br0", OWN, &["10.0.0.8"]),
            interface("eth0", OWN, &[]),
            interface("eth0.5", OWN, &["10.5.0.8"]),
        ];
        assert_eq!(addresses_of(&network(&[], true), &bridged), parse(&[]));
        let nameless = [interface("br0", OWN, &["10.0.0.8"]), interface("br1", OWN, &["10.0.0.9"])];
        assert_eq!(addresses_of(&network(&[], true), &nameless), parse(&[]));
    }

    #[test]
    fn an_interface_that_was_renamed_inside_counts() {
        let renamed = [interface("lan", OWN, &["10.0.0.7"])];
        assert_eq!(addresses_of(&network(&[], true), &renamed), parse(&["10.0.0.7"]));
    }

    #[test]
    fn what_is_fixed_counts_only_while_nothing_is_seen() {
        let network = network(&["10.0.0.101"], false);
        assert_eq!(addresses_of(&network, &[]), parse(&["10.0.0.101"]));
        let not_yet = [interface("eth0", OWN, &["169.254.3.4", "fe80::1"])];
        assert_eq!(addresses_of(&network, &not_yet), parse(&["10.0.0.101"]));
        let other = [interface("eth0", OWN, &["10.0.0.9", "10.0.0.9"])];
        assert_eq!(addresses_of(&network, &other), parse(&["10.0.0.9"]));
    }

    #[test]
    fn of_a_network_without_hardware_address_only_the_fixed_ones_are_known() {
        let network = NetworkInterface { hardware_address: None, ..network(&["10.0.0.5"], true) };
        let seen = [interface("eth0", OWN, &["10.0.0.7"])];
        assert_eq!(addresses_of(&network, &seen), parse(&["10.0.0.5"]));
    }
}
