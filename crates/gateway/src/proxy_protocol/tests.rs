use std::{error::Error, time::Duration};

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
};

use super::*;

const GENEROUS: Duration = Duration::from_secs(30);

/// What is read of a connection on which these pieces arrive, and what is left in it.
async fn read(pieces: &[&[u8]]) -> (Result<Option<Addresses>, HeaderError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    sender.set_nodelay(true).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let sending = async {
        for piece in pieces {
            // Whoever refuses a header does not wait for the rest of it.
            _ = sender.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        _ = sender.shutdown().await;
    };
    let reading = async {
        let header = read_header(&mut stream, Deadline::after(GENEROUS)).await;
        let mut rest = Vec::new();
        if header.is_ok() {
            stream.read_to_end(&mut rest).await.unwrap();
        }
        (header, rest)
    };
    tokio::join!(sending, reading).1
}

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2 with these bytes after its beginning.
fn binary(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &kind, &length, rest].concat()
}

#[tokio::test]
async fn what_follows_a_header_stays_in_the_connection() {
    let ends = addresses("203.0.113.7:50000", "192.0.2.1:443");
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let bytes = [header(version, ends), b"SSH-2.0-\r\n".to_vec()].concat();
        let (read, rest) = read(&[&bytes]).await;
        assert_eq!(read.unwrap(), Some(ends), "{version:?}");
        assert_eq!(rest, b"SSH-2.0-\r\n", "{version:?}");
    }
}

#[tokio::test]
async fn headers_are_those_of_the_specification() {
    let ends = addresses("203.0.113.7:50000", "192.0.2.1:443");
    let line = header(ProxyProtocol::V1, ends);
    assert_eq!(line, b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n");
    let bytes = header(ProxyProtocol::V2, ends);
    let rest = [203, 0, 113, 7, 192, 0, 2, 1, 0xc3, 0x50, 1, 0xbb];
    assert_eq!(bytes, binary([0x21, 0x11], &rest));

    let mixed = addresses("203.0.113.7:50000", "[2001:db8::1]:443");
    let line = header(ProxyProtocol::V1, mixed);
    assert_eq!(line, b"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 50000 443\r\n");
    assert_eq!(read(&[&line]).await.0.unwrap(), Some(mixed), "read as IPv4 again");
}

#[tokio::test]
async fn a_proxy_may_speak_for_itself_or_of_something_else() {
    let unix = [1; 216];
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
        binary([0x20, 0x00], &[]),
        binary([0x20, 0x11], &[1; 12]),
        binary([0x20, 0x77], b"whatever"),
        binary([0x21, 0x00], b"whatever"),
        binary([0x21, 0x31], &unix),
        binary([0x21, 0x12], &[1; 12]),
    ] {
        let (read, rest) = read(&[&header, b"rest"]).await;
        assert_eq!(read.unwrap(), None, "{header:?}");
        assert_eq!(rest, b"rest", "{header:?}");
    }
}

#[tokio::test]
async fn what_a_proxy_adds_is_skipped() {
    let mut rest = vec![203, 0, 113, 7, 192, 0, 2, 1, 0xc3, 0x50, 1, 0xbb];
    rest.extend([0x04, 0, 3, 0, 0, 0]);
    let (read, rest) = read(&[&binary([0x21, 0x11], &rest), b"rest"]).await;
    assert_eq!(read.unwrap(), Some(addresses("203.0.113.7:50000", "192.0.2.1:443")));
    assert_eq!(rest, b"rest");
}

#[tokio::test]
async fn what_is_no_header_is_refused_and_said() {
    let long_line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let mut refused = Vec::new();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY".to_vec(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 2001:db8::1 50000 443\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\rx\r\n".to_vec(),
        long_line.into_bytes(),
        binary([0x11, 0x11], &[1; 12]),
        binary([0x21, 0x11], &[1; 8]),
        binary([0x21, 0x11], &[1; 5000]),
        binary([0x21, 0x11], &[1; 12])[..20].to_vec(),
    ] {
        let error = read(&[&bytes]).await.0.unwrap_err();
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        refused.push(format!("{error}{source}"));
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    the connection begins with something else than a PROXY protocol header
    the connection ended before its PROXY protocol header was whole: unexpected end of file
    the PROXY protocol header is malformed: Header contains invalid TCP port for the destination.
    the PROXY protocol header is malformed: there is no carriage return at the end of the line
    the PROXY protocol header is malformed: Header contains invalid IP address for the destination.
    the PROXY protocol header is malformed: Header must end in '
    '.
    the PROXY protocol header is malformed: the line is too long
    the PROXY protocol header is malformed: Expected version 10 to be equal to 2.
    the PROXY protocol header is malformed: Header length of 8 bytes cannot store the 12 bytes required for the address family.
    the PROXY protocol header has more than 4096 bytes
    the connection ended before its PROXY protocol header was whole: early eof
    ");
}

#[tokio::test]
async fn another_protocol_is_refused_before_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    sender.write_all(b"hi").await.unwrap();
    let refused = read_header(&mut stream, Deadline::after(Duration::MAX)).await;
    assert!(matches!(refused, Err(HeaderError::NoHeader)), "{refused:?}");
}

#[tokio::test]
async fn who_says_nothing_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    sender.write_all(b"PROXY TCP4 203").await.unwrap();
    let late = read_header(&mut stream, Deadline::after(Duration::from_millis(1))).await;
    insta::assert_snapshot!(late.unwrap_err(), @"no whole PROXY protocol header arrived in time");
}

#[tokio::test]
async fn who_is_not_trusted_is_refused_unread() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let ends = addresses("203.0.113.7:50000", "192.0.2.1:443");
    sender.write_all(&header(ProxyProtocol::V1, ends)).await.unwrap();
    let deadline = Deadline::after(GENEROUS);
    let peer = "::ffff:127.0.0.1".parse().unwrap();
    let refused = accept(&mut stream, peer, &TrustedProxies::none(), deadline).await.unwrap_err();
    insta::assert_snapshot!(refused, @r#"127.0.0.1 is not trusted to say for whom it connects, so it is refused where the PROXY protocol is expected; if it is your proxy, add `trusted_proxies: ["127.0.0.1"]` to the configuration"#);
    let trusted = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    assert_eq!(accept(&mut stream, peer, &trusted, deadline).await.unwrap(), Some(ends));
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|ip| IpAddr::from(ip).to_canonical()),
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn cut(bytes: &[u8], at: usize) -> [&[u8]; 2] {
    let (first, second) = bytes.split_at(at % (bytes.len() + 1));
    [first, second]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_however_it_arrives(
        source in any_address(),
        destination in any_address(),
        is_binary: bool,
        rest: Vec<u8>,
        at: usize,
    ) {
        let version = if is_binary { ProxyProtocol::V2 } else { ProxyProtocol::V1 };
        let ends = Addresses { source, destination };
        let bytes = [header(version, ends), rest.clone()].concat();
        let (found, left) = Runtime::new().unwrap().block_on(read(&cut(&bytes, at)));
        prop_assert_eq!(found.unwrap(), Some(ends));
        prop_assert_eq!(left, rest);
    }

    #[test]
    fn whatever_arrives_is_read_or_refused(
        is_binary: bool,
        kind: [u8; 2],
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at: usize,
    ) {
        let bytes =
            if is_binary { binary(kind, &bytes) } else { [b"PROXY ".as_slice(), &bytes].concat() };
        // It must end, and not panic.
        drop(Runtime::new().unwrap().block_on(read(&cut(&bytes, at))));
    }
}
