//! Who asks: the client itself where it connects to drowse, else whoever the proxies in front say.
//!
//! A proxy that is trusted is believed about whom *it* spoke with, and about nobody else. So the
//! addresses are read from the right, where the last proxy wrote: the first one that is no trusted
//! proxy itself is the client's. What stands further to the left is hearsay; whoever asked may have
//! written it.

mod forwarded;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, header::FORWARDED};

use crate::trust::TrustedProxies;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How many proxies are walked through. More of them in front of one drowse is a loop.
const MAX_HOPS: usize = 32;

/// The longest address with its port, `[ffff:…:255.255.255.255]:65535`, has 53 characters.
const LONGEST_NODE: usize = 64;

/// On whose behalf a request comes, and how it spoke to the first who passed it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Never IPv4 in the shape of IPv6.
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) word: Word,
}

/// Whose word is taken that it is this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The connection's own: nobody who connects from there is believed.
    Connection,
    /// That of a trusted proxy, which names nobody: it asks for itself.
    Silence,
    /// That of a trusted proxy, in `X-Forwarded-For`.
    XForwardedFor,
    /// That of a trusted proxy, in `Forwarded` and not in `X-Forwarded-For`.
    Forwarded,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// What one proxy says about the peer that it got a request from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    address: IpAddr,
    scheme: Option<Scheme>,
}

impl Client {
    /// The client of a connection, of this scheme, whose peer is not trusted, whatever its headers say.
    pub(crate) fn of_connection(peer: IpAddr, scheme: Scheme) -> Self {
        Self { address: peer.to_canonical(), scheme, word: Word::Connection }
    }

    /// The client of a request that came from a trusted proxy.
    ///
    /// `X-Forwarded-For` counts before `Forwarded`: most proxies write the former, and pass the
    /// latter on as their client has sent it.
    /// What it does not say of the scheme, its own connection does.
    pub(crate) fn told_by(
        peer: IpAddr,
        connection: Scheme,
        headers: &HeaderMap,
        proxies: &TrustedProxies,
    ) -> Self {
        let peer = Hop { address: peer.to_canonical(), scheme: None };
        let (word, hop) = if headers.contains_key(X_FORWARDED_FOR) {
            (Word::XForwardedFor, walk(peer, x_forwarded_for(headers), proxies))
        } else if headers.contains_key(FORWARDED) {
            (Word::Forwarded, walk(peer, forwarded::hops(headers), proxies))
        } else {
            (Word::Silence, peer)
        };
        let scheme = x_forwarded_proto(headers).or(hop.scheme).unwrap_or(connection);
        Self { address: hop.address, scheme, word }
    }
}

/// From the peer through the hops, the nearest first, to the first that is no proxy of ours. One
/// that cannot be read (`None`) ends the walk at the last that could.
fn walk(peer: Hop, hops: impl Iterator<Item = Option<Hop>>, proxies: &TrustedProxies) -> Hop {
    let mut last = peer;
    for hop in hops.take(MAX_HOPS) {
        let Some(hop) = hop else { break };
        last = hop;
        if !proxies.contains(hop.address) {
            break;
        }
    }
    last
}

/// The entries of `X-Forwarded-For`, the last first.
fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<Hop>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // A list may have empty elements (RFC 9110 section 5.6.1).
        .filter(|entry| !entry.is_empty())
        .map(|entry| Some(Hop { address: node(entry)?, scheme: None }))
}

/// What the one `X-Forwarded-Proto` says. Several of them, or several in one, cannot be told apart.
fn x_forwarded_proto(headers: &HeaderMap) -> Option<Scheme> {
    let mut lines = headers.get_all(X_FORWARDED_PROTO).iter();
    let only = lines.next().filter(|_| lines.next().is_none())?;
    Scheme::from_bytes(only.as_bytes().trim_ascii())
}

/// An address, perhaps with a port, which says nothing: `192.0.2.1`, `192.0.2.1:4711`,
/// `2001:db8::1`, `[2001:db8::1]:4711`.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST_NODE)?;
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        address.parse::<Ipv6Addr>().ok()?.into()
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, _) = text.split_once(':').filter(|(_, port)| is_port(port))?;
        address.parse::<Ipv4Addr>().ok()?.into()
    };
    Some(address.to_canonical())
}

impl Scheme {
    /// `None`: it is neither. Traefik says `ws` and `wss` of upgraded connections.
    fn from_bytes(text: &[u8]) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        if is("http") || is("ws") {
            Some(Self::Http)
        } else if is("https") || is("wss") {
            Some(Self::Https)
        } else {
            None
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
