//! A header from whoever is at the other end.

use tokio::io::AsyncReadExt as _;

use super::{read::header as read_header, *};
use crate::fuzzed::{block_on, connection};

/// What was read, and what is left for whoever reads next.
async fn read(mut stream: TcpStream) -> (Result<Option<Addresses>, String>, Vec<u8>) {
    let read = read_header(&mut stream).await.map_err(|error| error.to_string());
    let mut rest = Vec::new();
    let _ended = stream.read_to_end(&mut rest).await;
    (read, rest)
}

/// What a header of version 1 says, read as one would by hand.
fn of_line(line: &str) -> Option<Addresses> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["PROXY", _, source, destination, source_port, destination_port] = words[..] else {
        return None;
    };
    let socket = |ip: &str, port: &str| {
        let ip: IpAddr = ip.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
    };
    Some(Addresses {
        source: socket(source, source_port)?,
        destination: socket(destination, destination_port)?,
    })
}

#[test]
fn proxy_protocol() {
    drowse_fuzz::target("proxy_protocol", |input| {
        let (told, rest) = block_on(connection(input, usize::MAX, read));
        let torn = block_on(connection(input, 1 + input.len() % 7, read));
        assert_eq!(told, torn.0, "the same however it comes");
        let Ok(told) = told else { return };
        assert_eq!(rest, torn.1, "nothing more is taken however it comes");

        assert!(input.ends_with(&rest), "what follows is untouched");
        let header = &input[..input.len() - rest.len()];
        if let Some(binary) = header.strip_prefix(ppp::v2::PROTOCOL_PREFIX) {
            let length = u16::from_be_bytes([binary[2], binary[3]]);
            assert_eq!(header.len(), 16 + usize::from(length));
            assert!(header.len() <= read::LONGEST);
        } else {
            let line = header.strip_suffix(b"\r\n").unwrap();
            assert!(header.len() <= 107 && !line.contains(&b'\r') && !line.contains(&b'\n'));
            let line = str::from_utf8(line).unwrap();
            assert!(line.starts_with("PROXY UNKNOWN") || told == of_line(line), "{line}: {told:?}");
        }

        let Some(told) = told else { return };
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let mut written = header_of(version, told);
            written.extend_from_slice(b"GET /");
            let again = block_on(connection(&written, usize::MAX, read));
            assert_eq!(again, (Ok(Some(told)), b"GET /".to_vec()), "{version:?}");
        }
    });
}

fn header_of(version: ProxyProtocol, between: Addresses) -> Vec<u8> {
    super::header(version, between)
}
