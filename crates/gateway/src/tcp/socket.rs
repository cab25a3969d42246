//! A TCP stream that is carried, and watched at the same time.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::{gateway::Inner, tunnel::splice::Splice};

/// A shared handle of a stream.
#[derive(Clone)]
pub(super) struct Socket(Arc<TcpStream>);

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// The way to another within the kernel, by the gateway's options.
    pub(super) fn splice_to(&self, to: &Self, gateway: &Inner) -> Splice {
        let (from, to) = (Arc::clone(&self.0), Arc::clone(&to.0));
        Splice::new(from, to, gateway.pipes.clone(), gateway.options().splice_after)
    }

    /// Returns when the other end is gone altogether, and has not merely said that it sends no more.
    pub(super) async fn is_gone(&self) {
        // An error here says the same.
        _ = self.0.ready(Interest::ERROR).await;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            let room = buffer.remaining();
            let mut read = None;
            // Less than there was room for was all that there was: said to block, it is not asked again
            // before more has come. (An end behind it is told apart from that.)
            let tried = self.0.try_io(Interest::READABLE, || {
                let length = self.0.try_read_buf(buffer)?;
                read = Some(());
                if length > 0 && length < room {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            });
            match (tried, read) {
                (_, Some(())) => return Poll::Ready(Ok(())),
                (Err(error), None) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match SockRef::from(&*self.0).shutdown(Shutdown::Write) {
            // Both have ended by now. What has come is there to be read.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            ended => ended,
        })
    }
}
