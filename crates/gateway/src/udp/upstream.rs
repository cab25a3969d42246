//! The socket to the upstream of one session.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use drowse_watcher::ReadyRun;
use rustix::io::Errno;
use tokio::{
    io::{Interest, ReadBuf},
    net::UdpSocket,
};

/// The upstream of a run, of which nothing bad is known.
pub(super) struct Way {
    pub(super) upstream: Arc<Upstream>,
    pub(super) run: Arc<ReadyRun>,
}

/// What sends to one address, and receives from there alone.
pub(super) struct Upstream(UdpSocket);

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Whole,
    /// It is longer than any may be there. Nothing was sent.
    TooLong,
}

/// What the upstream's machine, or one on the way, said of packets that it was sent.
#[derive(Debug)]
pub(super) enum Objection {
    /// One was longer than the path takes in one piece. The next one of its length goes in several.
    TooLong,
    /// Nobody listens there, or it is not to be reached.
    Refused(io::Error),
}

impl Upstream {
    /// Sends nothing.
    pub(super) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(to).await?;
        Ok(Self(socket))
    }

    /// Returns when there is room for a packet. Cancel safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    /// Returns when there is a reply or an objection. Cancel safe.
    pub(super) async fn has_news(&self) -> io::Result<()> {
        // An objection alone makes it not readable.
        self.0.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Sends a packet. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room for it; or what is said of an earlier
    /// one, and this one was not sent.
    pub(super) fn try_send(&self, packet: &[u8]) -> io::Result<Sent> {
        // It may be said of an earlier packet, and then is so once.
        for _ in 0..2 {
            match self.0.try_send(packet) {
                Err(error) if is_too_long(&error) => {}
                sent => return sent.map(|_| Sent::Whole),
            }
        }
        Ok(Sent::TooLong)
    }

    /// Receives a reply. Never waits.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    pub(super) fn try_receive(&self, packet: &mut ReadBuf<'_>) -> io::Result<()> {
        self.0.try_recv_buf(packet).map(drop)
    }

    /// What was said of earlier packets since this was asked last.
    pub(super) fn objection(&self) -> Option<Objection> {
        // More may be said from here on.
        _ = self.0.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        self.0.take_error().unwrap_or_else(Some).map(Objection::of)
    }
}

impl Objection {
    pub(super) fn of(error: io::Error) -> Self {
        if is_too_long(&error) { Self::TooLong } else { Self::Refused(error) }
    }
}

fn is_too_long(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::MSGSIZE)
}
