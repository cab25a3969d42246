//! The socket of a port. One that is bound to all addresses of this machine tells at which of them a
//! packet came, and its replies leave from there: whoever asked one address takes no answer of another.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, sendmsg,
        setsockopt, sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket};

/// The longest packet.
pub(super) const LONGEST: usize = 65_535;

/// What packets come by and replies leave by.
pub(super) struct PortSocket(UdpSocket);

/// Who sends packets, and where they come: a client that asks two addresses is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    /// `None`: the socket has one address, or the packet was for many machines.
    asked: Option<Asked>,
}

/// An address of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    V4(Ipv4Addr),
    /// With the number of its interface, if the address means nothing without.
    V6(Ipv6Addr, u32),
}

/// Where a packet is received.
pub(super) struct Buffer {
    packet: Box<[u8]>,
    control: Vec<u8>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        let control = cmsg_space!(in_pktinfo, in6_pktinfo);
        Self { packet: vec![0; LONGEST].into_boxed_slice(), control }
    }

    /// The first bytes of it.
    pub(super) fn packet(&self, length: usize) -> &[u8] {
        self.packet.get(..length).unwrap_or(&self.packet)
    }
}

impl PortSocket {
    pub(super) fn new(socket: UdpSocket) -> Self {
        if let Err(errno) = tell_where(&socket) {
            let error = io::Error::from(errno);
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "replies leave from the address that the system chooses");
        }
        Self(socket)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Receives a packet: whose it is, and how long. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    pub(super) fn try_receive(&self, buffer: &mut Buffer) -> io::Result<(Client, usize)> {
        self.0.try_io(Interest::READABLE, || {
            let mut packet = [IoSliceMut::new(&mut buffer.packet)];
            let control = Some(buffer.control.as_mut_slice());
            let (fd, flags) = (self.0.as_raw_fd(), MsgFlags::empty());
            let received = recvmsg::<SockaddrStorage>(fd, &mut packet, control, flags)?;
            let peer = received.address.as_ref().and_then(address).ok_or(Errno::EAFNOSUPPORT)?;
            Ok((Client { peer, asked: asked(&received) }, received.bytes))
        })
    }

    /// Sends a packet to a client, from where it asked. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room for it.
    pub(super) fn try_reply(&self, packet: &[u8], client: Client) -> io::Result<()> {
        let to = SockaddrStorage::from(client.peer);
        let send = |from: ControlMessage<'_>| {
            self.0.try_io(Interest::WRITABLE, || {
                let (fd, packet, flags) =
                    (self.0.as_raw_fd(), [IoSlice::new(packet)], MsgFlags::empty());
                sendmsg(fd, &packet, &[from], flags, Some(&to))?;
                Ok(())
            })
        };
        match client.asked {
            None => self.0.try_send_to(packet, client.peer).map(drop),
            Some(Asked::V4(address)) => send(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                ipi_addr: in_addr { s_addr: 0 },
            })),
            Some(Asked::V6(address, interface)) => {
                send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
                    ipi6_addr: in6_addr { s6_addr: address.octets() },
                    ipi6_ifindex: interface,
                }))
            }
        }
    }
}

/// Lets the system tell with each packet at which address it came, if there is more than one.
fn tell_where(socket: &UdpSocket) -> nix::Result<()> {
    let Ok(bound) = socket.local_addr() else { return Ok(()) };
    if !bound.ip().is_unspecified() {
        return Ok(());
    }
    if bound.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    // A socket of IPv6 has IPv4's packets as well, unless it was told otherwise.
    setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
}

fn address(peer: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || Some(SocketAddrV4::from(*peer.as_sockaddr_in()?).into());
    let v6 = || Some(SocketAddrV6::from(*peer.as_sockaddr_in6()?).into());
    v4().or_else(v6)
}

/// Where a packet came, if replies can leave from there.
fn asked(received: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Asked> {
    let mut asked = None;
    for told in received.cmsgs().ok()? {
        match told {
            // The first of the two is one of ours even if the packet was for a whole network. That of
            // IPv6 comes beside it, with the packet's own.
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                return Some(Asked::V4(address));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                let is_ours = !address.is_multicast() && address.to_ipv4_mapped().is_none();
                asked = is_ours.then_some(Asked::V6(address, interface));
            }
            _ => {}
        }
    }
    asked
}
