//! Writing a header.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

use super::{Addresses, ProxyProtocol};

/// The header that says of a connection that it is between these two.
pub(crate) fn header(version: ProxyProtocol, between: Addresses) -> Vec<u8> {
    let ends = of_one_family(between);
    match version {
        ProxyProtocol::V1 => v1::Addresses::from(ends).to_string().into_bytes(),
        ProxyProtocol::V2 => {
            let command = v2::Version::Two | v2::Command::Proxy;
            let builder = v2::Builder::with_addresses(command, v2::Protocol::Stream, ends);
            // It fails for what is longer than 64 KiB: addresses have 36 bytes at most.
            builder.build().unwrap_or_default()
        }
    }
}

/// A header has addresses of one family: if one is of IPv6, the other is written as such.
fn of_one_family(Addresses { source, destination }: Addresses) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (as_ipv6(source), as_ipv6(destination))
    }
}

fn as_ipv6(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), address.port())
}
