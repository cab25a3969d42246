//! Connections for fuzz targets: bytes that come whole, or torn.

use std::{
    io::Write as _,
    net,
    os::unix::net::UnixStream,
    pin::Pin,
    task::{Context, Poll},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    runtime::Runtime,
    task::yield_now,
};

thread_local! {
    static RUNTIME: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

/// Runs a future to its end.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What `read` makes of a connection on which these bytes come, so many at a time, and then its end.
pub(crate) async fn connection<T, F: Future<Output = T>>(
    bytes: &[u8],
    at_a_time: usize,
    read: impl FnOnce(TcpStream) -> F,
) -> T {
    // A pair of connected sockets is all that is needed, and takes no port.
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut ours = UnixStream::from(ours);
    ours.set_nonblocking(true).unwrap();
    let theirs = net::TcpStream::from(theirs);
    theirs.set_nonblocking(true).unwrap();
    let writing = async move {
        for piece in bytes.chunks(at_a_time.max(1)) {
            // Whoever has read enough may be gone.
            if ours.write_all(piece).is_err() {
                return;
            }
            yield_now().await;
        }
    };
    let reading = read(TcpStream::from_std(theirs).unwrap());
    tokio::join!(writing, reading).1
}

/// Bytes that come so many at a time.
pub(crate) struct Torn<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) at_a_time: usize,
}

impl AsyncRead for Torn<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.at_a_time.max(1).min(self.rest.len()).min(buffer.remaining());
        let (piece, rest) = self.rest.split_at(length);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
