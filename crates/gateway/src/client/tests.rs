use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::trust::Network;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Trusts 10.0.0.0/8 and one address of IPv6.
fn told(headers: &[(&'static str, &[u8])]) -> Client {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    let networks = ["10.0.0.0/8", "fd00::1"].map(|network| network.parse::<Network>().unwrap());
    Client::told_by(PEER, Scheme::Http, &map, &networks.into_iter().collect())
}

fn address_of(header: &'static str, value: &str) -> String {
    told(&[(header, value.as_bytes())]).address.to_string()
}

#[test]
fn the_client_is_the_last_address_that_is_no_proxy() {
    for (value, client) in [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6,203.0.113.7 , 10.1.2.3", "203.0.113.7"),
        ("203.0.113.7, fd00::1, 10.1.2.3", "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.1.2.3", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("203.0.113.7, ,", "203.0.113.7"),
        // All of them are proxies: the one that asked first.
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("", "10.0.0.1"),
    ] {
        assert_eq!(address_of("x-forwarded-for", value), client, "{value}");
    }
    let lines: [(_, &[u8]); 2] =
        [("x-forwarded-for", b"6.6.6.6, 203.0.113.7"), ("x-forwarded-for", b"10.1.2.3")];
    assert_eq!(told(&lines).address.to_string(), "203.0.113.7");
}

#[test]
fn what_cannot_be_read_ends_the_walk_at_the_last_that_could() {
    for (value, client) in [
        ("6.6.6.6, unknown", "10.0.0.1"),
        ("6.6.6.6, unknown, 10.1.2.3", "10.1.2.3"),
        ("6.6.6.6, 203.0.113.7:port, 10.1.2.3", "10.1.2.3"),
        ("6.6.6.6, [2001:db8::7", "10.0.0.1"),
        ("6.6.6.6, [2001:db8::7]x", "10.0.0.1"),
        ("6.6.6.6, [203.0.113.7]", "10.0.0.1"),
        ("6.6.6.6, 203.0.113.256", "10.0.0.1"),
        ("6.6.6.6, 203.0.113.7:+80", "10.0.0.1"),
        ("6.6.6.6, fe80::1%eth0", "10.0.0.1"),
    ] {
        assert_eq!(address_of("x-forwarded-for", value), client, "{value}");
    }
    assert_eq!(told(&[("x-forwarded-for", b"6.6.6.6, \xff")]).address, PEER);
    let endless = "10.1.2.3, ".repeat(1_000);
    assert_eq!(address_of("x-forwarded-for", &format!("6.6.6.6, {endless}")), "10.1.2.3");
}

#[test]
fn the_standard_header_is_read_where_there_is_no_other() {
    for (value, client) in [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=\"203.0.113.7:4711\";Proto=https", "203.0.113.7"),
        ("for=6.6.6.6, for=\"[2001:db8::7]:4711\" ; by=_x", "2001:db8::7"),
        ("for=6.6.6.6,for=203.0.113.7,for=10.1.2.3", "203.0.113.7"),
        ("for=203.0.113.7;host=\"a,b;for=6.6.6.6\"", "203.0.113.7"),
        // A quote that is never closed swallows nothing of what comes after it.
        ("for=6.6.6.6;x=\", for=203.0.113.7", "203.0.113.7"),
        ("for=6.6.6.6;x=\"a\\\", for=203.0.113.7", "203.0.113.7"),
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden, for=10.1.2.3", "10.1.2.3"),
        ("for=6.6.6.6;for=203.0.113.7", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        ("nonsense", "10.0.0.1"),
        ("for=\"203.0.113.7", "10.0.0.1"),
    ] {
        assert_eq!(address_of("forwarded", value), client, "{value}");
    }
    let both: [(_, &[u8]); 2] =
        [("forwarded", b"for=6.6.6.6"), ("x-forwarded-for", b"203.0.113.7")];
    assert_eq!(told(&both).address.to_string(), "203.0.113.7");
    assert_eq!(told(&both).word, Word::XForwardedFor);
}

#[test]
fn the_scheme_is_what_the_proxy_says_if_it_is_one() {
    let by = |name: &'static str, value: &str| told(&[(name, value.as_bytes())]).scheme;
    for (value, scheme) in [
        ("https", Scheme::Https),
        ("HTTPS", Scheme::Https),
        ("wss", Scheme::Https),
        ("http", Scheme::Http),
        ("ws", Scheme::Http),
        ("gopher", Scheme::Http),
        ("https, http", Scheme::Http),
        ("", Scheme::Http),
    ] {
        assert_eq!(by("x-forwarded-proto", value), scheme, "{value}");
    }
    assert_eq!(by("forwarded", "for=203.0.113.7;proto=https"), Scheme::Https);
    // The other proxy's word, about the way between the two.
    assert_eq!(by("forwarded", "for=203.0.113.7;proto=https, for=10.1.1.1"), Scheme::Https);
    assert_eq!(by("forwarded", "for=203.0.113.7, for=10.1.1.1;proto=https"), Scheme::Http);
    let twice: [(_, &[u8]); 2] = [("x-forwarded-proto", b"https"), ("x-forwarded-proto", b"http")];
    assert_eq!(told(&twice).scheme, Scheme::Http);
}

#[test]
fn nobody_but_a_trusted_proxy_is_believed() {
    let client = Client::of_connection("::ffff:203.0.113.7".parse().unwrap(), Scheme::Http);
    assert_eq!(client.address.to_string(), "203.0.113.7");
    assert_eq!((client.scheme, client.word), (Scheme::Http, Word::Connection));
    assert_eq!(
        told(&[]),
        Client { word: Word::Silence, ..Client::of_connection(PEER, Scheme::Http) }
    );
}

/// Whether a text names an address somewhere.
fn names(text: &[u8], address: IpAddr) -> bool {
    let is_between = |byte: &u8| b",;=\"[] \t".contains(byte);
    text.split(is_between).filter_map(|piece| str::from_utf8(piece).ok()).any(|piece| {
        let without_port = piece.rsplit_once(':').map_or(piece, |(address, _)| address);
        [piece, without_port]
            .iter()
            .filter_map(|piece| piece.parse::<IpAddr>().ok())
            .any(|named| named.to_canonical() == address)
    })
}

/// What a header's value may hold.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "for=",
        "For=\"",
        "proto=https",
        "by=",
        ",",
        ", ",
        ";",
        "\"",
        "\\",
        "[",
        "]",
        ":",
        ":80",
        "10.0.0.1",
        "10.1.2.3",
        "203.0.113.7",
        "2001:db8::7",
        "::ffff:10.0.0.1",
        "unknown",
        "_x",
    ]);
    let noise = proptest::collection::vec(
        (b' '..=b'\xff').prop_filter("it is allowed in a header", |byte| *byte != 0x7f),
        0..8,
    );
    let piece = prop_oneof![3 => pieces.prop_map(|piece| piece.as_bytes().to_vec()), 1 => noise];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_address_is_made_up(value in any_value()) {
        for header in ["x-forwarded-for", "forwarded"] {
            let client = told(&[(header, &value)]).address;
            prop_assert!(client == PEER || names(&value, client), "{client} of {header}");
        }
    }

    #[test]
    fn what_the_proxy_adds_counts_whatever_stands_before_it(value in any_value()) {
        let client: IpAddr = [203, 0, 113, 9].into();
        let added = [value.as_slice(), b", 203.0.113.9"].concat();
        prop_assert_eq!(told(&[("x-forwarded-for", &added)]).address, client);
        for element in ["for=203.0.113.9", "for=\"203.0.113.9:1\";host=\"a\";proto=https"] {
            let added = [value.as_slice(), b", ", element.as_bytes()].concat();
            prop_assert_eq!(told(&[("forwarded", &added)]).address, client);
            let lines = [("forwarded", value.as_slice()), ("forwarded", element.as_bytes())];
            prop_assert_eq!(told(&lines).address, client);
        }
    }
}
