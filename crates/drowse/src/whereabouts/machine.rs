//! The machine that drowse runs on, as others see it: by the addresses of its network interfaces.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv6Addr},
};

use drowse_provider::Details;

/// The addresses of this machine's interfaces, or of the container's in whose network namespace
/// drowse runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// In lower case with colons.
    pub(crate) hardware: BTreeSet<String>,
    /// Without those that every machine has.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl Machine {
    /// As it is now. What cannot be read is left out.
    pub(crate) fn of_this_process() -> Self {
        let interfaces = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        let hardware: Vec<String> = interfaces
            .filter(|interface| interface.file_name() != "lo")
            .filter_map(|interface| fs::read_to_string(interface.path().join("address")).ok())
            .collect();
        let (routes, ipv6) = tables();
        Self::from_texts(&hardware, &routes, &ipv6)
    }

    fn from_texts(hardware: &[String], routes: &str, ipv6: &str) -> Self {
        let hardware = hardware.iter().map(|address| address.trim().to_lowercase());
        let is_hardware =
            |address: &String| address.len() == 17 && address.chars().any(|c| !"0:".contains(c));
        Self {
            hardware: hardware.filter(is_hardware).collect(),
            addresses: addresses(routes, ipv6),
        }
    }

    /// By what a container shows that it is this machine, if it does. Other networks have the same
    /// addresses again, and hardly the same hardware addresses: these decide, where both have them.
    pub(crate) fn is(&self, container: &Details) -> Option<String> {
        container.networks.iter().find_map(|network| {
            let how = match &network.hardware_address {
                Some(hardware) if !self.hardware.is_empty() => {
                    self.hardware.contains(hardware).then(|| format!("hardware address {hardware}"))
                }
                _ => {
                    let mut addresses = network.addresses.iter().chain(&network.fixed);
                    let ours = addresses.find(|address| self.addresses.contains(address));
                    ours.map(|address| format!("address {address}"))
                }
            };
            Some(format!("the {} of its `{}`", how?, network.name))
        })
    }
}

/// The addresses alone, as they are now: bridges, tunnels and leases come and go.
pub(crate) fn own_addresses() -> BTreeSet<IpAddr> {
    let (routes, ipv6) = tables();
    addresses(&routes, &ipv6)
}

/// The kernel's tables of routes and of IPv6 addresses.
fn tables() -> (String, String) {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    (read("/proc/net/fib_trie"), read("/proc/net/if_inet6"))
}

fn addresses(routes: &str, ipv6: &str) -> BTreeSet<IpAddr> {
    let addresses = ipv4(routes).chain(ipv6.lines().filter_map(ipv6_address));
    addresses.filter(is_somebodys).collect()
}

/// Of the kernel's table of routes: below each address that is this machine's own stands
/// `/32 host LOCAL`.
fn ipv4(routes: &str) -> impl Iterator<Item = IpAddr> {
    let mut last = None;
    routes.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
            return None;
        }
        (line == "/32 host LOCAL").then_some(last).flatten()
    })
}

/// Of a line such as `fe80…0001 02 40 20 80 eth0`.
fn ipv6_address(line: &str) -> Option<IpAddr> {
    let number = u128::from_str_radix(line.split(' ').next()?, 16).ok()?;
    Some(Ipv6Addr::from_bits(number).into())
}

/// Whether an address means one machine and no other.
fn is_somebodys(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !is_link_local && !address.is_loopback() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use drowse_provider::{ContainerStatus, Network, Observation};

    use super::*;

    const ROUTES: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.99.0.0/24 2 0 2
        |-- 10.99.0.0
           /24 link UNICAST
        |-- 10.99.0.7
           /32 host LOCAL
        |-- 10.99.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
";
    const IPV6: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000be2411fffe000007 02 40 20 80     eth0
fd000000000000000000000000000007 02 40 00 80     eth0
";

    fn machine() -> Machine {
        let hardware = ["BC:24:11:00:00:07\n", "00:00:00:00:00:00\n", "\n"].map(str::to_owned);
        Machine::from_texts(&hardware, ROUTES, IPV6)
    }

    fn container(hardware: &str, address: Option<&str>, fixed: Option<&str>) -> Details {
        let observation = Observation::new(ContainerStatus::Running, None);
        let mut details = Details::new("201", "wiki", observation);
        let read = |address: Option<&str>| {
            address.into_iter().map(|address| address.parse().unwrap()).collect()
        };
        let network = Network::new("net0", None, read(address));
        details.networks = vec![network.defined_as(Some(hardware.to_owned()), read(fixed))];
        details
    }

    #[test]
    fn what_every_machine_has_is_left_out() {
        let machine = machine();
        assert_eq!(machine.hardware, BTreeSet::from(["bc:24:11:00:00:07".to_owned()]));
        let addresses: Vec<_> = machine.addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(addresses, ["10.99.0.7", "fd00::7"]);
    }

    #[test]
    fn a_container_is_this_machine_by_any_of_its_addresses() {
        let blind = Machine { hardware: BTreeSet::new(), ..machine() };
        let is = |machine: &Machine, hardware, address, fixed| {
            machine.is(&container(hardware, address, fixed))
        };
        let other = "bc:24:11:00:00:08";
        insta::assert_snapshot!(
            [
                is(&machine(), "bc:24:11:00:00:07", None, None).unwrap(),
                is(&blind, other, Some("10.99.0.7"), None).unwrap(),
                is(&blind, other, None, Some("fd00::7")).unwrap(),
            ]
            .join("\n"),
            @r"
        the hardware address bc:24:11:00:00:07 of its `net0`
        the address 10.99.0.7 of its `net0`
        the address fd00::7 of its `net0`
        "
        );
        assert_eq!(is(&blind, other, Some("127.0.0.1"), Some("10.99.0.8")), None);
        assert_eq!(is(&machine(), other, Some("10.99.0.7"), None), None, "of another network");
    }

    /// This machine has at least one address that the kernel knows it by, unless it has no network.
    #[test]
    fn the_kernels_own_files_are_understood() {
        let machine = Machine::of_this_process();
        for address in &machine.addresses {
            std::net::UdpSocket::bind((*address, 0)).unwrap_or_else(|error| {
                panic!("{address} is not this machine's: {error}");
            });
        }
    }
}
