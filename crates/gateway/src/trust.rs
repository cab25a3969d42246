//! Whose word is taken about on whose behalf a request comes.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// Addresses that belong together: `172.18.0.0/16`, `fd00::/8`, or a single one as `172.18.0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// What was given is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It is neither an address nor an address with a length after a `/`.
    #[error(
        "`{text}` is no network: expected an address such as `172.18.0.5`, or a network such as \
         `172.18.0.0/16` or `fd00::/8`"
    )]
    Malformed {
        /// What was given.
        text: String,
    },
    /// The address has bits beyond the network's length: a typing mistake in one of the two.
    #[error(
        "`{text}` names an address within a network: write `{network}` for the whole network, or \
         `{address}` for the one address"
    )]
    HostBits {
        /// What was given.
        text: String,
        /// The network that it is in.
        network: Network,
        /// The address alone.
        address: IpAddr,
    },
}

impl Network {
    /// Whether the address is in it. IPv4 addresses that are written as IPv6 (`::ffff:10.0.0.1`)
    /// count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl From<IpAddr> for Network {
    /// The one address.
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let malformed = || NetworkError::Malformed { text: text.to_owned() };
        let given: IpNet = text.parse().map_err(|_| malformed())?;
        if given.addr() != given.network() {
            return Err(NetworkError::HostBits {
                text: text.to_owned(),
                network: Self(given.trunc()),
                address: given.addr(),
            });
        }
        // Peers are compared as IPv4 where they are IPv4; a network of such addresses must be, too.
        let network = match (given.network().to_canonical(), given.prefix_len().checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(length)) if given.network().is_ipv6() => {
                IpNet::new(address, length).map_err(|_| malformed())?
            }
            _ => given,
        };
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(formatter)
        } else {
            self.0.fmt(formatter)
        }
    }
}

/// The reverse proxies in front: whoever connects from one of these networks is believed when it
/// says for whom it asks. The default trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Nobody is trusted.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this very address is given, not only a network that it is in.
    pub fn names(&self, address: IpAddr) -> bool {
        let is_single = |network: &&Network| network.0.prefix_len() == network.0.max_prefix_len();
        self.0.iter().filter(is_single).any(|network| network.contains(address))
    }

    /// Whether this address is in one of the networks. IPv4 addresses that are written as IPv6
    /// count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        networks.iter().map(|network| network.parse::<Network>().unwrap()).collect()
    }

    fn contains(proxies: &TrustedProxies, address: &str) -> bool {
        proxies.contains(address.parse().unwrap())
    }

    #[test]
    fn networks_and_single_addresses_of_both_families() {
        let proxies = trusted(&["172.18.0.0/16", "10.0.0.7", "fd00::/8", "2001:db8::1"]);
        for inside in ["172.18.0.5", "172.18.255.255", "10.0.0.7", "fd12::1", "2001:db8::1"] {
            assert!(contains(&proxies, inside), "{inside}");
        }
        for outside in ["172.19.0.1", "10.0.0.8", "fc00::1", "2001:db8::2", "127.0.0.1", "::1"] {
            assert!(!contains(&proxies, outside), "{outside}");
        }
        assert!(!contains(&TrustedProxies::none(), "127.0.0.1"));
        assert!(contains(&trusted(&["0.0.0.0/0"]), "192.0.2.1"));
        assert!(!contains(&trusted(&["0.0.0.0/0"]), "2001:db8::1"));
    }

    #[test]
    fn ipv4_within_ipv6_is_ipv4() {
        for network in ["172.18.0.0/16", "::ffff:172.18.0.0/112"] {
            let proxies = trusted(&[network]);
            for inside in ["172.18.0.5", "::ffff:172.18.0.5"] {
                assert!(contains(&proxies, inside), "{inside} in {network}");
            }
            assert!(!contains(&proxies, "172.19.0.5"));
        }
        assert!(contains(&trusted(&["::ffff:10.0.0.7"]), "10.0.0.7"));
    }

    #[test]
    fn a_network_shows_itself_as_it_may_be_written() {
        for text in ["172.18.0.0/16", "172.18.0.5", "fd00::/8", "::1", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        let refused = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        insta::assert_snapshot!(
            ["172.18.0", "traefik", "", "10.0.0.0/33", "172.18.0.5/16", "fd00::1/8"]
                .map(refused)
                .join("\n"),
            @r"
            `172.18.0` is no network: expected an address such as `172.18.0.5`, or a network such as `172.18.0.0/16` or `fd00::/8`
            `traefik` is no network: expected an address such as `172.18.0.5`, or a network such as `172.18.0.0/16` or `fd00::/8`
            `` is no network: expected an address such as `172.18.0.5`, or a network such as `172.18.0.0/16` or `fd00::/8`
            `10.0.0.0/33` is no network: expected an address such as `172.18.0.5`, or a network such as `172.18.0.0/16` or `fd00::/8`
            `172.18.0.5/16` names an address within a network: write `172.18.0.0/16` for the whole network, or `172.18.0.5` for the one address
            `fd00::1/8` names an address within a network: write `fd00::/8` for the whole network, or `fd00::1` for the one address
            "
        );
    }
}
