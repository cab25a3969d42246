//! Connections to upstreams.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::upstream::Target;

/// The addresses of a target: a name is looked up.
pub(crate) async fn resolve(target: &Target) -> io::Result<Vec<SocketAddr>> {
    match target {
        Target::Socket(address) => Ok(vec![*address]),
        Target::Name(name, port) => {
            let addresses: Vec<_> = lookup_host((name.as_str(), *port)).await?.collect();
            if addresses.is_empty() {
                let message = format!("the name `{name}` has no address");
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
            Ok(addresses)
        }
    }
}

/// A connection to the first of these addresses that takes one, within `bound`.
pub(crate) async fn connect(addresses: &[SocketAddr], bound: Duration) -> io::Result<TcpStream> {
    let connecting = async {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let stream = timeout(bound, connecting).await.unwrap_or_else(|_| {
        let message = format!("no connection within {bound:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })?;
    tune(&stream)?;
    Ok(stream)
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
