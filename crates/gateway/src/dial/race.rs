//! Connecting to one of several addresses: one that is dead costs little.

use std::{io, net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{late, tune};

/// How long an address has to itself before the next is tried as well (RFC 8305 section 5).
const AHEAD: Duration = Duration::from_millis(250);

/// How many addresses of a name are tried.
const MOST: usize = 16;

/// A TCP connection to one of these addresses, within `bound`: to the first, unless it refuses or is
/// slow; then to whichever takes one before the others do. Each is tried, however short the time.
/// Dropping the future ends all attempts.
pub(crate) async fn connect(addresses: &[SocketAddr], bound: Duration) -> io::Result<TcpStream> {
    let connecting = async {
        match addresses {
            [address] => TcpStream::connect(address).await,
            _ => race(addresses.get(..MOST).unwrap_or(addresses), bound).await,
        }
    };
    let stream =
        timeout(bound, connecting).await.unwrap_or_else(|_| Err(late("no connection", bound)))?;
    tune(&stream)?;
    Ok(stream)
}

async fn race(addresses: &[SocketAddr], bound: Duration) -> io::Result<TcpStream> {
    let ahead = ahead(addresses.len(), bound);
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        attempts.push(TcpStream::connect(address));
        let mut turn = std::pin::pin!(sleep(ahead));
        // Whoever fails makes room for the next at once; earlier ones that are slow go on.
        tokio::select! {
            biased;
            Some(connected) = attempts.next() => match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = &mut turn => {}
        }
    }
    while let Some(connected) = attempts.next().await {
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// How long each of so many addresses has to itself.
fn ahead(number: usize, bound: Duration) -> Duration {
    let number = u32::try_from(number).unwrap_or(u32::MAX).max(1);
    AHEAD.min(bound / number)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const BOUND: Duration = Duration::from_secs(30);

    /// One that takes no connection and refuses none, as long as this is kept: the queue of a listener
    /// that nobody accepts from is full.
    async fn dead() -> (SocketAddr, TcpStream, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // One place, which is taken here.
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        (address, TcpStream::connect(address).await.unwrap(), listener)
    }

    async fn refusing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_address_that_is_dead_or_refuses_does_not_keep_from_the_next() {
        let (dead, _queued, _listener) = dead().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        for addresses in [&[dead, alive][..], &[refusing().await, dead, alive], &[alive, dead]] {
            let stream = connect(addresses, BOUND).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), alive);
        }
    }

    #[test]
    fn each_address_has_its_turn_however_short_the_time() {
        assert_eq!(ahead(2, Duration::from_secs(5)), AHEAD);
        assert_eq!(ahead(4, Duration::from_millis(100)), Duration::from_millis(25));
    }

    #[tokio::test]
    async fn when_all_fail_it_is_an_error() {
        let refusing = refusing().await;
        let error = connect(&[refusing, refusing], BOUND).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let (dead, _queued, _listener) = dead().await;
        let error = connect(&[dead, dead], Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.to_string(), "no connection within 20ms");
        assert!(connect(&[], BOUND).await.is_err());
    }
}
