//! From where a client may come.

use std::{fmt, net::IpAddr};

use crate::Network;

/// From where a client may come. The default: from anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks(
    /// Each list narrows what those before it allow.
    Vec<Vec<Network>>,
);

impl AllowedNetworks {
    /// From anywhere.
    pub fn all() -> Self {
        Self::default()
    }

    /// Of these, only those that are in one of `networks` as well. Nobody is in an empty list.
    #[must_use]
    pub fn narrowed_to(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.0.push(networks.into_iter().collect());
        self
    }

    /// Whether nothing is said: everybody may come.
    pub fn are_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is one of them. IPv4 addresses that are written as IPv6 count as IPv4.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().all(|list| list.iter().any(|network| network.contains(address)))
    }
}

impl FromIterator<Network> for AllowedNetworks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self::all().narrowed_to(networks)
    }
}

impl fmt::Display for AllowedNetworks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_all() {
            return formatter.write_str("anywhere");
        }
        for (index, list) in self.0.iter().enumerate() {
            let list: Vec<_> = list.iter().map(Network::to_string).collect();
            let before = if index == 0 { "" } else { " and within " };
            write!(formatter, "{before}{}", list.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(networks: &[&str]) -> Vec<Network> {
        networks.iter().map(|network| network.parse().unwrap()).collect()
    }

    #[test]
    fn each_list_narrows_those_before_it() {
        let contain =
            |networks: &AllowedNetworks, address: &str| networks.contain(address.parse().unwrap());
        let all = AllowedNetworks::all();
        assert!(contain(&all, "203.0.113.7"));
        let home: AllowedNetworks = of(&["192.168.0.0/16", "fd00::/8"]).into_iter().collect();
        assert!(contain(&home, "192.168.3.4") && contain(&home, "::ffff:192.168.3.4"));
        assert!(!contain(&home, "203.0.113.7") && !contain(&home, "2001:db8::1"));
        let desk = home.clone().narrowed_to(of(&["192.168.3.0/24", "0.0.0.0/0"]));
        assert!(contain(&desk, "192.168.9.4"));
        assert!(!contain(&desk, "203.0.113.7") && !contain(&desk, "fd00::1"));
        assert!(!contain(&home.narrowed_to([]), "192.168.3.4"));
        assert_eq!(
            desk.to_string(),
            "192.168.0.0/16, fd00::/8 and within 192.168.3.0/24, 0.0.0.0/0"
        );
    }
}
