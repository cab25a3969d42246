//! Sockets that a service manager has bound before drowse began (systemd's socket activation, see
//! `sd_listen_fds(3)`), and what it is told in return (`sd_notify(3)`). Since it keeps them over a
//! restart of drowse, whoever connects in between waits instead of being refused.

use std::{
    collections::BTreeMap,
    env, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use drowse_provider::Transport;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::{debug, warn};

/// What the sockets are called, in their order and separated by colons.
const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// The sockets: those for HTTP until they are taken, those for TCP and UDP routes for good.
#[derive(Debug, Default)]
pub(crate) struct HandedSockets {
    tcp: Vec<(SocketAddr, TcpListener)>,
    udp: Vec<(SocketAddr, UdpSocket)>,
    /// What the service manager calls them (`FileDescriptorName=`), as far as it says.
    names: BTreeMap<(Transport, SocketAddr), String>,
}

/// One of them, with where it is bound.
enum Handed {
    Tcp(SocketAddr, TcpListener),
    Udp(SocketAddr, UdpSocket),
}

impl HandedSockets {
    /// Those of this process. What is no socket of TCP or UDP is left alone, with a warning: nothing here
    /// listens on it. To be called before any thread begins, since it changes the environment.
    pub(crate) fn take() -> Self {
        let mut handed = ListenFd::from_env();
        let names = env::var(NAMES_VARIABLE).unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut sockets = Self::default();
        for index in 0..handed.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let at = match socket(&mut handed, index) {
                Ok(Some(Handed::Tcp(bound, socket))) => {
                    sockets.tcp.push((bound, socket));
                    (Transport::Tcp, bound)
                }
                Ok(Some(Handed::Udp(bound, socket))) => {
                    sockets.udp.push((bound, socket));
                    (Transport::Udp, bound)
                }
                Ok(None) => continue,
                Err(error) => {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    warn!(
                        index,
                        name,
                        error,
                        "a socket of the service manager is of no use: drowse takes sockets of TCP and UDP"
                    );
                    continue;
                }
            };
            sockets.names.extend(name.map(|name| (at, name)));
        }
        sockets
    }

    /// Where those are bound that take connections, unless a route of the file has them.
    pub(crate) fn of_nobody(&self, is_a_routes: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        self.tcp.iter().map(|(bound, _)| *bound).filter(|bound| !is_a_routes(*bound)).collect()
    }

    /// Takes the socket that takes connections for this address: one that is bound to it, else to all
    /// addresses of its port. Then the address cannot be bound as well.
    pub(crate) fn for_address(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let exactly = self.tcp.iter().position(|(address, _)| *address == wanted);
        let index = exactly.or_else(|| self.tcp.iter().position(|(it, _)| covers(*it, wanted)))?;
        Some(self.tcp.swap_remove(index).1)
    }

    /// Another handle of the socket that is bound to just this address, for a route. What comes while no
    /// route has the address waits.
    pub(crate) fn listener_at(&self, address: SocketAddr) -> Option<io::Result<TcpListener>> {
        let (_, socket) = self.tcp.iter().find(|(bound, _)| *bound == address)?;
        Some(socket.try_clone())
    }

    /// The same of UDP.
    pub(crate) fn socket_at(&self, address: SocketAddr) -> Option<io::Result<UdpSocket>> {
        let (_, socket) = self.udp.iter().find(|(bound, _)| *bound == address)?;
        Some(socket.try_clone())
    }

    /// What the service manager calls the socket that is bound to just this address.
    pub(crate) fn name_at(&self, at: (Transport, SocketAddr)) -> Option<&str> {
        self.names.get(&at).map(String::as_str)
    }

    /// Those that nobody has taken.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let tcp = self.tcp.iter().map(|(bound, _)| (Transport::Tcp, *bound));
        tcp.chain(self.udp.iter().map(|(bound, _)| (Transport::Udp, *bound)))
    }
}

fn socket(handed: &mut ListenFd, index: usize) -> io::Result<Option<Handed>> {
    // One of another kind stays where it is.
    if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
        socket.set_nonblocking(true)?;
        return Ok(Some(Handed::Tcp(socket.local_addr()?, socket)));
    }
    let Some(socket) = handed.take_udp_socket(index)? else { return Ok(None) };
    socket.set_nonblocking(true)?;
    Ok(Some(Handed::Udp(socket.local_addr()?, socket)))
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
        let tcp = vec![(all, other), (address, exact)];
        let mut handed = HandedSockets { tcp, ..HandedSockets::default() };
        let taken = handed.for_address(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        let taken = handed.for_address(address).unwrap();
        assert_eq!(taken.local_addr().unwrap(), others, "the one for all addresses");
        assert!(handed.for_address(address).is_none());
        assert_eq!(handed.bound().count(), 0);
    }

    #[test]
    fn a_route_has_the_socket_of_its_address_and_no_wider_one() {
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (all, one) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let handed =
            HandedSockets { tcp: vec![(all, tcp)], udp: vec![(one, udp)], names: BTreeMap::new() };
        let narrow = SocketAddr::from((Ipv4Addr::LOCALHOST, all.port()));
        assert!(handed.listener_at(narrow).is_none());
        assert_eq!(handed.listener_at(all).unwrap().unwrap().local_addr().unwrap(), all);
        // It stays, for the next one who has it.
        for _ in 0..2 {
            assert_eq!(handed.socket_at(one).unwrap().unwrap().local_addr().unwrap(), one);
        }
        assert!(handed.socket_at(all).is_none() && handed.listener_at(one).is_none());
    }

    #[test]
    fn http_has_what_no_route_has() {
        let bind = || {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            (socket.local_addr().unwrap(), socket)
        };
        let (one, other) = (bind(), bind());
        let (http, route) = (one.0, other.0);
        let handed = HandedSockets { tcp: vec![one, other], ..HandedSockets::default() };
        assert_eq!(handed.of_nobody(|bound| bound == route), [http]);
    }
}
