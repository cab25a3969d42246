//! The beginning of a connection that is to be led by the name that it asks for.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{DnsName, ServerName},
};

use super::*;
use crate::fuzzed::{block_on, connection};

/// What it asks for, and what was read of it.
async fn asks(mut stream: TcpStream) -> (Option<Option<String>>, Vec<u8>) {
    match read(&mut stream).await {
        Ok(Hello { bytes, asks: Asks::ForName(name) }) => (Some(Some(name)), bytes),
        Ok(Hello { bytes, asks: Asks::ForNone }) => (Some(None), bytes),
        Ok(Hello { bytes, asks: Asks::Otherwise(_) }) => (None, bytes),
        Err(_) => (None, Vec::new()),
    }
}

/// What a client says first that asks for this name.
fn hello_for(name: DnsName<'static>) -> Vec<u8> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(RootCertStore::empty());
    let config = Arc::new(config.with_no_client_auth());
    let mut client = ClientConnection::new(config, ServerName::DnsName(name)).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn client_hello() {
    drowse_fuzz::target("client_hello", |input| {
        let (asked, read) = block_on(connection(input, usize::MAX, asks));
        let (torn, _) = block_on(connection(input, 1 + input.len() % 61, asks));
        assert_eq!(asked, torn, "the same however it comes");
        assert!(input.starts_with(&read), "all of it is passed on, and nothing else");
        if let Some(Some(name)) = asked {
            assert!(!name.is_empty() && name.len() <= 253);
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
            // It stands in the clear, in whatever case.
            let bytes = input.to_ascii_lowercase();
            assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
        }
    });
}

#[test]
fn server_name() {
    drowse_fuzz::target("server_name", |input| {
        let Ok(text) = str::from_utf8(input) else { return };
        let Ok(name) = DnsName::try_from(text) else { return };
        let hello = hello_for(name.to_owned());
        let (asked, read) = block_on(connection(&hello, usize::MAX, asks));
        // Clients do not send the dot at a name's end.
        let name = text.strip_suffix('.').unwrap_or(text);
        assert_eq!(asked, Some(Some(name.to_ascii_lowercase())));
        assert_eq!(read, hello);
    });
}
