//! Connections to upstreams.

mod answering;
mod lookup;
mod race;
mod secure;
mod stream;

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use self::secure::Secure;
pub(crate) use self::{answering::Answering, lookup::Lookup, race::connect, stream::Stream};
use crate::{
    UpstreamScheme,
    shortage::Unresolved,
    upstream::{Chooser, Target},
};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long what is sent to an upstream of HTTP may be unacknowledged, or find no room: nobody is there, or
/// nobody who reads. The kernel does not tell the two apart, and an application that is busy may not read for
/// a while: no less than this (nginx grants as much).
const USER_TIMEOUT: Duration = Duration::from_mins(1);

/// Makes connections to the upstream of one route.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) scheme: UpstreamScheme,
    secure: Option<Secure>,
}

/// Which protocols a connection may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// Whichever the upstream speaks.
    Any,
    /// HTTP/1.1: what is to be upgraded.
    Http1,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// A new connection, and what is spoken on it.
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    pub(crate) spoken: Spoken,
}

impl Dialer {
    /// Does no I/O. `host`: the public name of what is dialled, if it has one.
    pub(crate) fn new(scheme: &UpstreamScheme, chooser: &Chooser, host: Option<&str>) -> Self {
        Self::to(scheme, chooser.name().or(host))
    }

    /// The same of what has no container: by this scheme, and with this name for its certificate.
    pub(crate) fn to(scheme: &UpstreamScheme, name: Option<&str>) -> Self {
        let secure = match scheme {
            UpstreamScheme::Http | UpstreamScheme::H2c => None,
            UpstreamScheme::Https(tls) => Some(Secure::new(tls, name)),
        };
        Self { scheme: scheme.clone(), secure }
    }

    /// What is spoken, as far as it is known before anybody is asked.
    pub(crate) fn spoken(&self, protocols: Protocols) -> Option<Spoken> {
        match (&self.scheme, protocols) {
            (UpstreamScheme::H2c, Protocols::Any) => Some(Spoken::Http2),
            (UpstreamScheme::Https(_), Protocols::Any) => None,
            (UpstreamScheme::Http, _) | (_, Protocols::Http1) => Some(Spoken::Http1),
        }
    }

    /// A connection to one of these addresses, within `bound`: see [`connect`].
    pub(crate) async fn dial(
        &self,
        addresses: &[SocketAddr],
        protocols: Protocols,
        bound: Duration,
    ) -> io::Result<Dialled> {
        let stream = connect(addresses, bound).await?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        let Some(secure) = &self.secure else {
            let spoken = self.spoken(protocols).unwrap_or(Spoken::Http1);
            return Ok(Dialled { stream: Stream::Plain(stream), spoken });
        };
        let stream = timeout(HANDSHAKE, secure.handshake(stream, protocols))
            .await
            .unwrap_or_else(|_| Err(late("no TLS", HANDSHAKE)))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let spoken = if is_http2 { Spoken::Http2 } else { Spoken::Http1 };
        Ok(Dialled { stream: Stream::Tls(Box::new(stream)), spoken })
    }
}

/// The addresses of a target: a name is looked up.
pub(crate) async fn resolve(target: &Target) -> io::Result<Vec<SocketAddr>> {
    match target {
        Target::Socket(address) => Ok(vec![*address]),
        Target::Name(name, port) => {
            let unresolved = |source| Unresolved { name: name.clone(), source };
            let found = lookup_host((name.as_str(), *port)).await;
            let addresses: Vec<_> = found.map_err(|error| unresolved(Some(error)))?.collect();
            if addresses.is_empty() {
                return Err(unresolved(None).into());
            }
            Ok(addresses)
        }
    }
}

/// The same, for at most `bound`.
pub(crate) async fn resolve_within(
    bound: Duration,
    target: &Target,
) -> io::Result<Vec<SocketAddr>> {
    timeout(bound, resolve(target))
        .await
        .unwrap_or_else(|_| Err(not_resolved_within(bound, target)))
}

fn not_resolved_within(bound: Duration, target: &Target) -> io::Error {
    let error = late("there was no answer", bound);
    match target {
        Target::Socket(_) => error,
        Target::Name(name, _) => Unresolved { name: name.clone(), source: Some(error) }.into(),
    }
}

fn late(what: &str, bound: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {bound:?}"))
}

/// Sends small writes at once, and finds out in about two minutes when the other end is gone: a
/// dead peer must not keep a workload awake.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_mins(1))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Also one that carries many requests, each of which would wait for it.
    #[tokio::test]
    async fn an_upstream_that_is_gone_is_found_out_in_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [listener.local_addr().unwrap()];
        for scheme in [UpstreamScheme::Http, UpstreamScheme::H2c] {
            let dialer = Dialer::to(&scheme, None);
            let bound = Duration::from_secs(30);
            let dialled = dialer.dial(&addresses, Protocols::Any, bound).await.unwrap();
            let Stream::Plain(stream) = &dialled.stream else { panic!("it is in clear") };
            let socket = SockRef::from(stream);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_mins(1)));
            assert!(socket.keepalive().unwrap());
        }
    }
}
