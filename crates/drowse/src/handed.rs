//! Sockets that a service manager has bound before drowse began (systemd's socket activation, see
//! `sd_listen_fds(3)`), and what it is told in return (`sd_notify(3)`). Since it keeps them over a
//! restart of drowse, whoever connects in between waits instead of being refused.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::{debug, warn};

use crate::config::Listen;

/// The sockets, until somebody takes them.
#[derive(Debug, Default)]
pub(crate) struct HandedSockets(Vec<(SocketAddr, TcpListener)>);

impl HandedSockets {
    /// Those of this process. What is no TCP socket is left alone, with a warning: nothing here listens
    /// on it. To be called before any thread begins, since it changes the environment.
    pub(crate) fn take() -> Self {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..handed.len() {
            match listener(&mut handed, index) {
                Ok(Some(socket)) => sockets.push(socket),
                Ok(None) => {}
                Err(error) => warn!(
                    index,
                    error = &error as &(dyn std::error::Error + 'static),
                    "a socket of the service manager is of no use: drowse takes TCP sockets"
                ),
            }
        }
        Self(sockets)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where those are bound that take connections for none of these addresses.
    pub(crate) fn beside(&self, wanted: &[Listen]) -> Vec<SocketAddr> {
        let is_wanted =
            |bound| wanted.iter().any(|it| bound == it.address || covers(bound, it.address));
        self.0.iter().map(|(bound, _)| *bound).filter(|bound| !is_wanted(*bound)).collect()
    }

    /// The socket that takes connections for this address: one that is bound to it, else to all addresses
    /// of its port. Then the address cannot be bound as well.
    pub(crate) fn for_address(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let exactly = self.0.iter().position(|(address, _)| *address == wanted);
        let index = exactly.or_else(|| self.0.iter().position(|(it, _)| covers(*it, wanted)))?;
        Some(self.0.swap_remove(index).1)
    }
}

fn listener(
    handed: &mut ListenFd,
    index: usize,
) -> std::io::Result<Option<(SocketAddr, TcpListener)>> {
    let Some(socket) = handed.take_tcp_listener(index)? else { return Ok(None) };
    socket.set_nonblocking(true)?;
    Ok(Some((socket.local_addr()?, socket)))
}

/// Whether who connects to `wanted` comes to a socket that is bound to `bound`. That an IPv6 socket takes
/// no IPv4 (`BindIPv6Only=ipv6-only`) is rare, and told by the clients that are refused.
fn covers(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let is_for_all = match bound.ip() {
        IpAddr::V4(address) => address.is_unspecified() && wanted.is_ipv4(),
        IpAddr::V6(address) => address == Ipv6Addr::UNSPECIFIED,
    };
    is_for_all && bound.port() == wanted.port()
}

/// What a service manager may be told. Where there is none, nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Requests are answered.
    Ready,
    /// The configuration is read again. [`Ready`](Self::Ready) follows.
    Reloading,
    /// Nothing new is accepted any more.
    Stopping,
}

/// Tells the service manager how far we are.
pub(crate) fn tell(phase: Phase) {
    let told = match phase {
        Phase::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // `Type=notify-reload` wants the moment as well.
        Phase::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Phase::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        let error: &(dyn std::error::Error + 'static) = &error;
        debug!(?phase, error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_socket_for_all_addresses_covers_those_of_its_port() {
        let covers =
            |bound: &str, wanted: &str| covers(bound.parse().unwrap(), wanted.parse().unwrap());
        assert!(covers("[::]:80", "0.0.0.0:80"));
        assert!(covers("[::]:80", "[::1]:80"));
        assert!(covers("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!covers("0.0.0.0:80", "[::1]:80"));
        assert!(!covers("0.0.0.0:80", "127.0.0.1:8080"));
        assert!(!covers("127.0.0.1:80", "0.0.0.0:80"));
    }

    #[test]
    fn each_socket_is_taken_once_the_exact_one_first() {
        let bind = |ip: Ipv4Addr, port| TcpListener::bind((ip, port)).unwrap();
        let exact = bind(Ipv4Addr::LOCALHOST, 0);
        let address = exact.local_addr().unwrap();
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        // Stands for one that is bound to all: both cannot be bound.
        let other = bind(Ipv4Addr::LOCALHOST, 0);
        let others = other.local_addr().unwrap();
        let mut handed = HandedSockets(vec![(all, other), (address, exact)]);
        let taken = handed.for_address(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        let taken = handed.for_address(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), others, "the one for all addresses");
        assert!(handed.for_address(address).is_none());
        assert!(handed.is_empty());
    }
}
