//! Ports on which drowse listens for TCP and UDP routes.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use drowse_gateway::ProxyProtocol;

/// Where a route is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenAt {
    /// At this port of the addresses at which HTTP is listened for.
    Port(u16),
    /// At this address.
    Address(SocketAddr),
}

impl ListenAt {
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Port(port) => port,
            Self::Address(address) => address.port(),
        }
    }

    /// The addresses, given those at which HTTP is listened for.
    pub(crate) fn addresses(self, listen: &[SocketAddr]) -> Vec<SocketAddr> {
        match self {
            Self::Address(address) => vec![address],
            Self::Port(port) => {
                let mut ips: Vec<IpAddr> = listen.iter().map(SocketAddr::ip).collect();
                ips.sort_unstable();
                ips.dedup();
                ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
            }
        }
    }
}

/// Ports that labels may have listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelPorts(Vec<RangeInclusive<u16>>);

impl LabelPorts {
    pub(crate) fn includes(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

impl Default for LabelPorts {
    /// All that are not reserved.
    fn default() -> Self {
        Self(vec![1024..=65535])
    }
}

impl FromIterator<RangeInclusive<u16>> for LabelPorts {
    fn from_iter<T: IntoIterator<Item = RangeInclusive<u16>>>(ranges: T) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl fmt::Display for LabelPorts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            if range.start() == range.end() {
                write!(formatter, "{}", range.start())?;
            } else {
                write!(formatter, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("`{text}` is no port: a number from 1 to 65535 is expected")),
    }
}

/// A port or a range of ports.
pub(super) fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first.trim())?, port(last.trim())?);
    if first > last {
        return Err(format!("`{text}` is no range of ports: write `{last}-{first}`"));
    }
    Ok(first..=last)
}

pub(super) fn listen_at(text: &str) -> Result<ListenAt, String> {
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() > 0
    {
        return Ok(ListenAt::Address(address));
    }
    if text.contains(':') {
        return Err(format!(
            "`{text}` is no address to listen on: expected a port such as `5432`, or an IP address \
             and a port such as `127.0.0.1:5432`"
        ));
    }
    port(text).map(ListenAt::Port)
}

pub(super) fn proxy_protocol(text: &str) -> Result<ProxyProtocol, String> {
    match text {
        "v1" => Ok(ProxyProtocol::V1),
        "v2" => Ok(ProxyProtocol::V2),
        _ => Err(format!("expected `v1` or `v2`, found `{}`", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_listened_on_where_http_is() {
        let listen = ["127.0.0.1:80", "127.0.0.1:8080", "[::1]:80"].map(|it| it.parse().unwrap());
        let at = |text: &str| {
            let addresses = listen_at(text).unwrap().addresses(&listen);
            addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(at("5432"), ["127.0.0.1:5432", "[::1]:5432"]);
        assert_eq!(at("0.0.0.0:53"), ["0.0.0.0:53"]);
    }

    #[test]
    fn ranges_say_what_they_include() {
        let ports: LabelPorts =
            ["5432", "20000-20010"].map(|text| range(text).unwrap()).into_iter().collect();
        assert_eq!(ports.to_string(), "5432, 20000-20010");
        assert!([5432, 20000, 20010].iter().all(|port| ports.includes(*port)));
        assert!(![5431, 20011, 80].iter().any(|port| ports.includes(*port)));
        assert!(!LabelPorts::default().includes(1023) && LabelPorts::default().includes(1024));
        assert_eq!(LabelPorts::from_iter([]).to_string(), "none");
    }

    #[test]
    fn what_is_no_port_is_refused_with_words() {
        let words = [
            listen_at("0").unwrap_err(),
            listen_at("70000").unwrap_err(),
            listen_at("localhost:53").unwrap_err(),
            listen_at("127.0.0.1:0").unwrap_err(),
            range("20-10").unwrap_err(),
            range("a-10").unwrap_err(),
            proxy_protocol("2").unwrap_err(),
        ];
        insta::assert_snapshot!(words.join("\n"), @r"
        `0` is no port: a number from 1 to 65535 is expected
        `70000` is no port: a number from 1 to 65535 is expected
        `localhost:53` is no address to listen on: expected a port such as `5432`, or an IP address and a port such as `127.0.0.1:5432`
        `127.0.0.1:0` is no address to listen on: expected a port such as `5432`, or an IP address and a port such as `127.0.0.1:5432`
        `20-10` is no range of ports: write `10-20`
        `a` is no port: a number from 1 to 65535 is expected
        expected `v1` or `v2`, found `2`
        ");
    }
}
