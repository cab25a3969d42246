//! What changes in the headers of a message that passes through (RFC 9110 section 7.6, RFC 7239).

use std::{fmt::Write as _, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::{
    authority,
    client::{Client, Word, X_FORWARDED_FOR, X_FORWARDED_PROTO},
    readiness::PROBE,
    veto::VETO,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What upstreams are told about the peer of a connection, made once per connection.
pub(crate) struct PeerHeaders {
    address: IpAddr,
    value: HeaderValue,
    /// The address as `Forwarded` writes it.
    node: String,
    port: Option<HeaderValue>,
}

impl PeerHeaders {
    pub(crate) fn new(peer: IpAddr, local_port: Option<u16>) -> Self {
        let port = local_port.map(HeaderValue::from);
        Self { address: peer, value: value_of(peer), node: node(peer), port }
    }
}

/// What was found in a request's headers when they were made those of the request to an upstream.
pub(crate) struct Prepared {
    /// The protocol that it asks to upgrade to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether its sender named somebody whom it forwards for.
    pub(crate) names_others: bool,
}

/// Makes a client's headers those of the request to an upstream: what they say about the way so far
/// is replaced by what is seen here, or, of a trusted proxy, continued.
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    host: &HeaderValue,
    client: &Client,
    peer: &PeerHeaders,
) -> Prepared {
    let upgrade = asked_upgrade(headers);
    let wants_trailers = headers.get(TE).is_some_and(|te| has_token(te, "trailers"));
    remove_hop_by_hop(headers);
    let names_others = headers.keys().any(names_others);
    remove_forged(headers, client.word);

    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    if let Some(forwarded) = forwarded(headers, host, client, peer) {
        headers.insert(FORWARDED, forwarded);
    }
    if let Some(port) = forwarded_port(headers, host, client, peer) {
        headers.insert(X_FORWARDED_PORT, port);
    }
    headers.insert(X_FORWARDED_FOR, forwarded_for(headers, client, peer));
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(client.scheme.as_str()));
    headers.insert(HOST, host.clone());
    Prepared { upgrade, names_others }
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
        // What a request is for, and on whose behalf, belongs to no single hop, whatever its
        // sender says.
        .filter(|name| *name != HOST && !names_others(name))
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

/// Takes off what its sender may not say: nobody may pose as drowse itself, and on whose behalf it
/// asks is told by trusted proxies alone, in the usual spelling.
fn remove_forged(headers: &mut HeaderMap, word: Word) {
    let is_forged = |name: &HeaderName| {
        is_spelled(name, PROBE.as_str())
            || is_spelled(name, VETO.as_str())
            || names_others(name) && (word == Word::Connection || name.as_str().contains('_'))
    };
    let forged: Vec<HeaderName> = headers.keys().filter(|name| is_forged(name)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Whether a header is one by which proxies name whom they forward for.
pub(crate) fn names_others(name: &HeaderName) -> bool {
    is_spelled(name, FORWARDED.as_str()) || begins(name, "x-forwarded") || begins(name, "x-real-ip")
}

fn is_spelled(name: &HeaderName, wanted: &str) -> bool {
    name.as_str().len() == wanted.len() && begins(name, wanted)
}

/// Applications read `-` and `_` in names as the same.
fn begins(name: &HeaderName, beginning: &str) -> bool {
    let name = name.as_str().as_bytes();
    let is_same = |(read, wanted): (&u8, u8)| *read == wanted || (*read == b'_' && wanted == b'-');
    name.len() >= beginning.len() && name.iter().zip(beginning.bytes()).all(is_same)
}

/// What comes after a client's body may be merged into the headers by an application: what a header
/// may not say, a trailer may not either (RFC 9110 section 6.5.1).
pub(crate) fn prepare_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    remove_forged(trailers, Word::Connection);
    for name in [HOST, CONTENT_LENGTH, AUTHORIZATION, COOKIE] {
        trailers.remove(name);
    }
}

/// The addresses so far, and the peer's.
fn forwarded_for(headers: &HeaderMap, client: &Client, peer: &PeerHeaders) -> HeaderValue {
    let told = match client.word {
        Word::XForwardedFor => continued(headers, &X_FORWARDED_FOR, peer.value.as_bytes()),
        Word::Forwarded if client.address != peer.address => {
            joined([value_of(client.address).as_bytes(), peer.value.as_bytes()])
        }
        _ => None,
    };
    told.unwrap_or_else(|| peer.value.clone())
}

/// The same in the standard's words. Where `X-Forwarded-For` counts, `Forwarded` is written anew: the
/// proxy may have passed on its client's.
fn forwarded(
    headers: &HeaderMap,
    host: &HeaderValue,
    client: &Client,
    peer: &PeerHeaders,
) -> Option<HeaderValue> {
    if client.word == Word::Forwarded {
        return continued(headers, &FORWARDED, format!("for={}", peer.node).as_bytes());
    }
    let host = public_host(headers, host).to_str().ok()?;
    let mut text = String::with_capacity(peer.node.len() + host.len() + 24);
    let is_passed_on = client.address != peer.address;
    let client_node = if is_passed_on { &node(client.address) } else { &peer.node };
    let scheme = client.scheme.as_str();
    // Writing to a string cannot fail. A host has no quote and no backslash in it: it was checked.
    _ = write!(text, "for={client_node};host=\"{host}\";proto={scheme}");
    if is_passed_on {
        _ = write!(text, ", for={}", peer.node);
    }
    HeaderValue::try_from(text).ok()
}

/// The port that the client connected to: of a proxy in front, its own. `None`: it stays as the
/// trusted proxy says.
fn forwarded_port(
    headers: &HeaderMap,
    host: &HeaderValue,
    client: &Client,
    peer: &PeerHeaders,
) -> Option<HeaderValue> {
    if client.word == Word::Connection {
        return peer.port.clone();
    }
    if headers.contains_key(X_FORWARDED_PORT) {
        return None;
    }
    let host = public_host(headers, host).to_str().unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    Some(HeaderValue::from(port.unwrap_or(client.scheme.default_port())))
}

/// The host as the client named it.
fn public_host<'a>(headers: &'a HeaderMap, host: &'a HeaderValue) -> &'a HeaderValue {
    headers.get(X_FORWARDED_HOST).filter(|told| authority::is_host(told.as_bytes())).unwrap_or(host)
}

/// All that a header says, in one line, and one entry more.
fn continued(headers: &HeaderMap, name: &HeaderName, entry: &[u8]) -> Option<HeaderValue> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    joined(lines.filter(|line| !line.is_empty()).chain([entry]))
}

fn joined<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<HeaderValue> {
    let entries: Vec<_> = entries.into_iter().collect();
    HeaderValue::from_bytes(&entries.join(&b", "[..])).ok()
}

fn value_of(address: IpAddr) -> HeaderValue {
    // An address always is a header value.
    HeaderValue::from_str(&address.to_string())
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// An address as `Forwarded` writes it.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
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

    fn prepared(headers: &mut HeaderMap, host: &'static str, peer: &str) -> Prepared {
        let peer: IpAddr = peer.parse().unwrap();
        let client = Client::of_connection(peer);
        let peer = PeerHeaders::new(peer, Some(8080));
        prepare_request(headers, &HeaderValue::from_static(host), &client, &peer)
    }

    #[test]
    fn a_peer_of_ipv6_is_quoted_where_it_must_be() {
        let mut headers = HeaderMap::new();
        assert_eq!(prepared(&mut headers, "[::1]:8080", "2001:db8::7").upgrade, None);
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
            let protocol = prepared(&mut headers, "a", "127.0.0.1").upgrade;
            assert_eq!(protocol.as_ref(), headers.get(UPGRADE));
            protocol
        };
        assert_eq!(asked("keep-alive, Upgrade", "websocket").unwrap(), "websocket");
        assert_eq!(asked("keep-alive", "websocket"), None);
        assert_eq!(asked("Upgrade", "h2c"), None);
        assert_eq!(asked("Upgrade", "websocket, h2c"), None);
        assert_eq!(asked("Upgrade", "HTTP/2.0, h2"), None);
    }

    #[test]
    fn every_spelling_of_a_forwarding_header_is_known() {
        let names_others = |name: &'static str| names_others(&HeaderName::from_static(name));
        for name in ["forwarded", "x-forwarded-for", "x_forwarded_for", "x-forwarded", "x-real_ip"]
        {
            assert!(names_others(name), "{name}");
        }
        for name in ["x-forward", "forwarded-by", "x-real", "host", "drowse-probe"] {
            assert!(!names_others(name), "{name}");
        }
    }
}
