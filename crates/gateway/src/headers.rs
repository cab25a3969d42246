//! What changes in the headers of a message that passes through (RFC 9110 section 7.6, RFC 7239).

use std::{fmt::Write as _, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::readiness::PROBE;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What upstreams are told about a client, made once per connection.
pub(crate) struct PeerHeaders {
    address: HeaderValue,
    /// The address as `Forwarded` writes it.
    node: String,
    port: Option<HeaderValue>,
}

impl PeerHeaders {
    pub(crate) fn new(peer: IpAddr, local_port: Option<u16>) -> Self {
        let node = match peer {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let address = HeaderValue::from_str(&peer.to_string())
            // An address always is a header value.
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address, node, port: local_port.map(HeaderValue::from) }
    }
}

/// Makes a client's headers those of the request to an upstream. Returns the protocol that it asks
/// to upgrade to, if it does.
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    host: &HeaderValue,
    peer: &PeerHeaders,
) -> Option<HeaderValue> {
    let upgrade = asked_upgrade(headers);
    let wants_trailers = headers.get(TE).is_some_and(|te| has_token(te, "trailers"));
    remove_hop_by_hop(headers);
    remove_forged(headers);

    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    if let Some(forwarded) = forwarded(&peer.node, host) {
        headers.insert(FORWARDED, forwarded);
    }
    if let Some(port) = &peer.port {
        headers.insert(X_FORWARDED_PORT, port.clone());
    }
    headers.insert(X_FORWARDED_FOR, peer.address.clone());
    headers.insert(X_FORWARDED_HOST, host.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(HOST, host.clone());
    upgrade
}

/// Makes an upstream's headers those of the answer to the client. `upgraded`: it is a 101.
pub(crate) fn prepare_response(headers: &mut HeaderMap, upgraded: bool) {
    let protocol = if upgraded { headers.get(UPGRADE).cloned() } else { None };
    remove_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// HTTP/2 over an upgrade would be a second connection within the first, past everything that is
/// decided per request here.
fn asked_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_asked = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| is_asked)?;
    (!has_token(protocol, "h2c") && !has_token(protocol, "h2")).then(|| protocol.clone())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        // What a request is for belongs to no single hop, whatever a client says.
        .filter(|name| *name != HOST)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
}

/// Takes off what only a proxy may say: nobody in front of drowse is trusted to be one.
fn remove_forged(headers: &mut HeaderMap) {
    let is_forged = |name: &HeaderName| {
        // Applications read both spellings as one name.
        let name = name.as_str().replace('_', "-");
        name == FORWARDED.as_str()
            || name == PROBE.as_str()
            || name.starts_with("x-forwarded")
            || name.starts_with("x-real-ip")
    };
    let forged: Vec<HeaderName> = headers.keys().filter(|name| is_forged(name)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// What comes after a client's body may be merged into the headers by an application: what a header
/// may not say, a trailer may not either (RFC 9110 section 6.5.1).
pub(crate) fn prepare_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    remove_forged(trailers);
    for name in [HOST, CONTENT_LENGTH, AUTHORIZATION, COOKIE] {
        trailers.remove(name);
    }
}

fn forwarded(node: &str, host: &HeaderValue) -> Option<HeaderValue> {
    let host = host.to_str().ok()?;
    let mut text = String::with_capacity(node.len() + host.len() + 24);
    // Writing to a string cannot fail. A host has no quote and no backslash in it: it was checked.
    _ = write!(text, "for={node};host=\"{host}\";proto=http");
    HeaderValue::try_from(text).ok()
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("").split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(value: &HeaderValue, wanted: &str) -> bool {
    tokens(value).any(|token| {
        // A protocol may carry a version or parameters: `TE: trailers;q=1`.
        let name = token.split([';', '/']).next().unwrap_or(token).trim();
        name.eq_ignore_ascii_case(wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_ipv6_is_quoted_where_it_must_be() {
        let peer = PeerHeaders::new("2001:db8::7".parse().unwrap(), Some(8080));
        let host = HeaderValue::from_static("[::1]:8080");
        let mut headers = HeaderMap::new();
        assert_eq!(prepare_request(&mut headers, &host, &peer), None);
        assert_eq!(headers[X_FORWARDED_FOR], "2001:db8::7");
        let forwarded = "for=\"[2001:db8::7]\";host=\"[::1]:8080\";proto=http";
        assert_eq!(headers[FORWARDED], forwarded);
    }

    #[test]
    fn an_upgrade_is_asked_for_by_both_headers() {
        let asked = |connection: &'static str, upgrade: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            let peer = PeerHeaders::new([127, 0, 0, 1].into(), None);
            let protocol = prepare_request(&mut headers, &HeaderValue::from_static("a"), &peer);
            assert_eq!(protocol.as_ref(), headers.get(UPGRADE));
            protocol
        };
        assert_eq!(asked("keep-alive, Upgrade", "websocket").unwrap(), "websocket");
        assert_eq!(asked("keep-alive", "websocket"), None);
        assert_eq!(asked("Upgrade", "h2c"), None);
        assert_eq!(asked("Upgrade", "websocket, h2c"), None);
        assert_eq!(asked("Upgrade", "HTTP/2.0, h2"), None);
    }
}
