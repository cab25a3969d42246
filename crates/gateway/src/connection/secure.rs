//! What a connection may begin with before its first request: the word of a proxy, and TLS.

use std::{error::Error as StdError, time::Duration};

use drowse_provider::Deadline;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;

use super::{
    Arrival, Context, JUST_CONNECTED, Protocol, asked, attended::Attended, begin, first_bytes,
    serve_http,
};
use crate::{
    proxy_protocol::{self, HeaderError},
    tls::{Secured, Tls},
};

/// The first byte of a TLS handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;

/// How long a handshake may go on when a shutdown begins amid it: two exchanges with the other end of the
/// world. What is served meanwhile goes on in any case.
const SHAKING: Duration = Duration::from_secs(1);

/// For a client that speaks HTTP in clear where TLS is spoken.
const NOT_IN_CLEAR: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
content-type: text/plain\r\ncontent-length: 57\r\n\r\n\
This port speaks TLS: write https:// instead of http://\r\n";

/// Reads the header of the PROXY protocol; `false` if the connection is of no use.
pub(super) async fn read_addresses(stream: &mut TcpStream, arrival: &mut Arrival) -> bool {
    let options = arrival.gateway.options();
    let bound = options.handshake_timeout;
    let deadline = Deadline::after(bound);
    let trusted = &options.trusted_proxies;
    let reading = proxy_protocol::accept(stream, arrival.peer.ip(), trusted, deadline);
    let Some(read) = begin(arrival, bound, JUST_CONNECTED, reading).await else { return false };
    match read {
        Ok(Some(addresses)) => {
            arrival.peer = addresses.source;
            arrival.local = Some(addresses.destination);
            true
        }
        // The proxy speaks for itself.
        Ok(None) => true,
        Err(error @ HeaderError::NotTrusted { .. }) => {
            if arrival.gateway.may_complain_of_strangers() {
                tracing::warn!("{error}");
            }
            false
        }
        Err(error) => {
            let (peer, error) = (arrival.peer, &error as &dyn StdError);
            tracing::debug!(%peer, error, "a connection ended before its first request");
            false
        }
    }
}

/// Serves HTTP within TLS until the end.
pub(super) async fn serve(mut stream: TcpStream, arrival: Arrival, tls: Tls) {
    // A client that says nothing yet takes no place from those who do.
    let mut first = [0];
    let begun = asked(&arrival, stream.peek(&mut first)).await;
    let Some(Ok(1)) = begun else {
        tracing::debug!(peer = %arrival.peer, "a connection ended without a handshake");
        return;
    };
    if first != [HANDSHAKE] {
        tracing::debug!(peer = %arrival.peer, "a client speaks no TLS");
        refuse_clear(&mut stream, &arrival).await;
        return;
    }
    let stream = Attended::new(stream);
    let bound = arrival.gateway.options().handshake_timeout;
    // However many are unfinished: each has its connection's place and no other, so one that stalls
    // keeps nobody waiting.
    let handshake = async {
        let hello = Tls::hello(stream).await?;
        tls.accept(hello).await
    };
    match begin(&arrival, bound, SHAKING, handshake).await {
        Some(Ok((stream, secured))) => serve_secured(Box::new(stream), secured, arrival).await,
        Some(Err(error)) => {
            let (peer, error) = (arrival.peer, &error as &dyn StdError);
            tracing::debug!(%peer, error, "a TLS handshake failed");
        }
        None => tracing::debug!(peer = %arrival.peer, "a TLS handshake took too long"),
    }
}

/// The stream is boxed: each future that it is handed to would have room for it.
async fn serve_secured(stream: Box<TlsStream<Attended>>, secured: Secured, arrival: Arrival) {
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    // What it speaks was said in the handshake; in a shutdown this waits for the request that it was for.
    let looked = asked(&arrival, first_bytes::look(stream)).await;
    let Some(Ok(Some((_, mut stream)))) = looked else {
        tracing::debug!(peer = %arrival.peer, "a connection ended without a request");
        return;
    };
    let context = Context::open(arrival, Some(secured), protocol);
    if protocol == Protocol::Http1 {
        stream.get_mut().get_mut().0.attend(&context);
    }
    serve_http(stream, context).await;
}

/// Tells a client in clear what is spoken here.
async fn refuse_clear(stream: &mut TcpStream, arrival: &Arrival) {
    // It is read, so that the answer is not followed by a reset that overtakes it.
    let mut rest = [0; 1024];
    _ = stream.try_read(&mut rest);
    let answering = async {
        stream.write_all(NOT_IN_CLEAR).await?;
        stream.shutdown().await
    };
    // Whether it comes to hear of it is its own affair.
    _ = timeout(arrival.gateway.options().handshake_timeout, answering).await;
}
