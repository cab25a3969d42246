//! What changes in the headers of a message that passes through (RFC 9110 section 7.6, RFC 7239).

use std::{net::IpAddr, sync::OnceLock};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::{
    authority,
    client::{Client, Scheme, Word, X_FORWARDED_FOR, X_FORWARDED_PROTO},
    readiness::PROBE,
    veto::VETO,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// What belongs to one hop. Few messages have any of it.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
];

pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What upstreams are told about the peer of a connection, made once per connection.
pub(crate) struct PeerHeaders {
    address: IpAddr,
    value: HeaderValue,
    /// The address as `Forwarded` writes it.
    node: String,
    port: Option<HeaderValue>,
    /// What its first request was told as `Forwarded`: its further ones are for the same host, nearly
    /// always.
    first: OnceLock<Told>,
}

/// `Forwarded`, and what it was made of.
struct Told {
    host: HeaderValue,
    scheme: Scheme,
    forwarded: HeaderValue,
}

impl PeerHeaders {
    pub(crate) fn new(peer: IpAddr, local_port: Option<u16>) -> Self {
        let port = local_port.map(HeaderValue::from);
        let first = OnceLock::new();
        Self { address: peer, value: value_of(peer), node: node(peer), port, first }
    }

    /// What a request of the peer itself is told.
    fn forwarded(&self, host: &HeaderValue, scheme: Scheme) -> Option<HeaderValue> {
        let made = || {
            let client = Client { address: self.address, scheme, word: Word::Connection };
            element(host, &client, self)
        };
        let first = if let Some(first) = self.first.get() {
            first
        } else {
            let told = Told { host: host.clone(), scheme, forwarded: made()? };
            self.first.get_or_init(|| told)
        };
        if first.host == host && first.scheme == scheme {
            Some(first.forwarded.clone())
        } else {
            made()
        }
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
    let look = Look::at(headers);
    let upgrade = if look.hop_by_hop.is_empty() { None } else { asked_upgrade(headers) };
    let wants_trailers =
        !look.hop_by_hop.is_empty() && headers.get(TE).is_some_and(|te| has_token(te, "trailers"));
    look.remove_hop_by_hop(headers);
    look.remove_forged(headers, client.word);

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
    Prepared { upgrade, names_others: look.names_others }
}

/// Makes an upstream's headers those of the answer to the client. `upgraded`: it is a 101.
pub(crate) fn prepare_response(headers: &mut HeaderMap, upgraded: bool) {
    let protocol = if upgraded { headers.get(UPGRADE).cloned() } else { None };
    Look::at(headers).remove_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// HTTP/2 over an upgrade would be a second connection within the first, past everything that is
/// decided per request here.
fn asked_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let is_asked = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    (is_asked && !has_token(protocol, "h2c") && !has_token(protocol, "h2"))
        .then(|| protocol.clone())
}

/// What one look at the names of a message's headers has found: what is not there need not be searched
/// for, name by name.
#[derive(Default)]
struct Look {
    hop_by_hop: HopByHop,
    /// Whether anything names somebody whom the sender forwards for.
    names_others: bool,
    /// Whether anything poses as drowse's own.
    poses: bool,
}

/// A set of [`HOP_BY_HOP`], a bit for each.
#[derive(Clone, Copy, Default)]
struct HopByHop(u16);

impl HopByHop {
    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn names(self) -> impl Iterator<Item = &'static HeaderName> {
        let is_in = move |place: &usize| self.0 >> place & 1 == 1;
        (0..HOP_BY_HOP.len()).filter(is_in).map(|place| &HOP_BY_HOP[place])
    }
}

impl Look {
    fn at(headers: &HeaderMap) -> Self {
        let mut look = Self::default();
        for name in headers.keys() {
            if let Some(place) = HOP_BY_HOP.iter().position(|hop| hop == name) {
                look.hop_by_hop.0 |= 1 << place;
            } else {
                look.names_others |= names_others(name);
                look.poses |= poses(name);
            }
        }
        look
    }

    fn remove_hop_by_hop(&self, headers: &mut HeaderMap) {
        if self.hop_by_hop.is_empty() {
            return;
        }
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
        for name in self.hop_by_hop.names() {
            headers.remove(name);
        }
    }

    /// Takes off what its sender may not say: nobody may pose as drowse itself, and on whose behalf it
    /// asks is told by trusted proxies alone, in the usual spelling.
    fn remove_forged(&self, headers: &mut HeaderMap, word: Word) {
        if !self.names_others && !self.poses {
            return;
        }
        let is_forged = |name: &HeaderName| {
            poses(name)
                || names_others(name) && (word == Word::Connection || name.as_str().contains('_'))
        };
        let forged: Vec<HeaderName> =
            headers.keys().filter(|name| is_forged(name)).cloned().collect();
        for name in forged {
            headers.remove(name);
        }
    }
}

/// The headers that `Connection` says belong to this hop as well.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    // What nearly every `Connection` says. The one is taken off anyhow, the other names no header
    // (RFC 9110 section 9.6).
    let is_usual = |token: &[u8]| {
        token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close")
    };
    let said = || headers.get_all(CONNECTION).iter();
    if said().all(|value| is_usual(value.as_bytes())) {
        return Vec::new();
    }
    said()
        .flat_map(tokens)
        .filter(|token| !is_usual(token.as_bytes()))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        // What a request is for, and on whose behalf, belongs to no single hop, whatever its
        // sender says.
        .filter(|name| *name != HOST && !names_others(name))
        .collect()
}

/// Whether a header is one of those that drowse itself sends.
fn poses(name: &HeaderName) -> bool {
    is_spelled(name, PROBE.as_str()) || is_spelled(name, VETO.as_str())
}

/// Whether a header is one by which proxies name whom they forward for.
pub(crate) fn names_others(name: &HeaderName) -> bool {
    is_spelled(name, FORWARDED.as_str()) || begins(name, "x-forwarded") || begins(name, "x-real-ip")
}

/// Whether a header is of this name, in either spelling.
pub(crate) fn is_spelled(name: &HeaderName, wanted: &str) -> bool {
    name.as_str().len() == wanted.len() && begins(name, wanted)
}

/// Applications read `-` and `_` in names as the same.
fn begins(name: &HeaderName, beginning: &str) -> bool {
    let name = name.as_str().as_bytes();
    let same = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let is_same = |(read, wanted): (&u8, u8)| same(*read) == same(wanted);
    name.len() >= beginning.len() && name.iter().zip(beginning.bytes()).all(is_same)
}

/// What comes after a client's body may be merged into the headers by an application: what a header
/// may not say, a trailer may not either (RFC 9110 section 6.5.1).
pub(crate) fn prepare_trailers(trailers: &mut HeaderMap) {
    let look = Look::at(trailers);
    look.remove_hop_by_hop(trailers);
    look.remove_forged(trailers, Word::Connection);
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
    if client.word == Word::Connection {
        return peer.forwarded(host, client.scheme);
    }
    element(public_host(headers, host), client, peer)
}

/// One element of `Forwarded`, of a proxy in front one for it as well.
fn element(host: &HeaderValue, client: &Client, peer: &PeerHeaders) -> Option<HeaderValue> {
    let host = host.to_str().ok()?;
    let is_passed_on = client.address != peer.address;
    let client_node = if is_passed_on { &node(client.address) } else { &peer.node };
    let scheme = client.scheme.as_str();
    // A host has no quote and no backslash in it: it was checked.
    let [also, peer_node] = if is_passed_on { [", for=", &peer.node] } else { [""; 2] };
    let pieces = ["for=", client_node, ";host=\"", host, "\";proto=", scheme, also, peer_node];
    // In one piece of memory of just this size, which the header keeps.
    HeaderValue::try_from(pieces.concat()).ok()
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

/// The host as the client named it, as far as whoever passed it on is believed.
pub(crate) fn told_host<'a>(
    headers: &'a HeaderMap,
    host: &'a HeaderValue,
    client: &Client,
) -> &'a HeaderValue {
    if client.word == Word::Connection { host } else { public_host(headers, host) }
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

/// One with bytes that are no text is none, and takes no other with it.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let tokens = value.as_bytes().split(|byte| *byte == b',');
    let tokens = tokens.filter_map(|token| str::from_utf8(token.trim_ascii()).ok());
    tokens.filter(|token| !token.is_empty())
}

fn has_token(value: &HeaderValue, wanted: &str) -> bool {
    tokens(value).any(|token| {
        // A protocol may carry a version or parameters: `TE: trailers;q=1`.
        let name = token.split([';', '/']).next().unwrap_or(token).trim();
        name.eq_ignore_ascii_case(wanted)
    })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(headers: &mut HeaderMap, host: &'static str, peer: &str) -> Prepared {
        let peer: IpAddr = peer.parse().unwrap();
        let client = Client::of_connection(peer, crate::client::Scheme::Http);
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
    fn each_request_of_a_connection_is_told_its_own_host() {
        let address: IpAddr = [127, 0, 0, 1].into();
        let client = Client::of_connection(address, Scheme::Http);
        let peer = PeerHeaders::new(address, None);
        for host in ["a.test", "b.test", "a.test"] {
            let mut headers = HeaderMap::new();
            prepare_request(&mut headers, &HeaderValue::from_static(host), &client, &peer);
            assert_eq!(headers[FORWARDED], format!("for=127.0.0.1;host=\"{host}\";proto=http"));
        }
    }

    #[test]
    fn what_belongs_to_one_hop_stays_on_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-own, Keep-Alive, host, x-forwarded-for"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("x-own", "1"),
            ("x-other", "1"),
            ("x-forwarded-for", "10.0.0.1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        prepare_response(&mut headers, false);
        let mut kept: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["x-forwarded-for", "x-other"]);
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
