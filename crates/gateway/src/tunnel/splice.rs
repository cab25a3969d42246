//! The short way between two sockets: what comes from one is handed on to the other within the kernel
//! (`splice(2)`), and never copied into this program.
//!
//! That pays for torrents alone, so a direction is copied until it has moved so much, and again once it
//! trickles. What is handed on passes through a pipe, which is held only while something is in it: few
//! serve many connections, and one that is quiet has no descriptor more than its two.

mod pipes;

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::io::Errno;
use tokio::{io::Interest, net::TcpStream};

use self::pipes::Pipe;
pub(crate) use self::pipes::Pipes;
use crate::in_flight::Place;

/// Who has less than this to pass on at a time gains nothing.
const TRICKLE: u64 = 16 * 1024;

/// How much is passed on before others have a turn, about as much as by copying.
const TURN: u64 = 1 << 20;

/// One direction between two sockets.
pub(crate) struct Splice {
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    pipes: Pipes,
    /// What is on its way; kept only while there is something in it.
    pipe: Option<Pipe>,
    /// How many bytes are copied first.
    after: u64,
    /// What is left of them. `None`: it can only be copied here.
    left: Option<u64>,
}

/// What became of the bytes that there were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// They were passed on, and they were the last.
    End,
    /// They are to be copied.
    Copy,
}

impl Splice {
    /// From one to the other, once `after` bytes were copied; `None`: never.
    pub(crate) fn new(
        from: Arc<TcpStream>,
        to: Arc<TcpStream>,
        pipes: Pipes,
        after: Option<u64>,
    ) -> Self {
        Self { from, to, pipes, pipe: None, after: after.unwrap_or_default(), left: after }
    }

    /// So many bytes were copied.
    pub(crate) fn copied(&mut self, bytes: usize) {
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
    }

    /// Passes on what there is, and counts it when it is read and when it is written. Pending while
    /// nothing comes, or nothing more is taken.
    ///
    /// # Errors
    /// Those of the sockets.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        moved: &mut u64,
        place: &Place,
    ) -> Poll<io::Result<Passed>> {
        if self.left != Some(0) {
            return Poll::Ready(Ok(Passed::Copy));
        }
        let before = *moved;
        loop {
            ready!(self.poll_drain(context, moved))?;
            // Each byte counts twice.
            let passed = (*moved - before) / 2;
            if passed >= TURN {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.from.poll_read_ready(context))?;
            // Nothing is in it: so whatever blocks is the socket.
            let Some(mut pipe) = self.pipe.take().or_else(|| self.pipes.take()) else {
                return Poll::Ready(Ok(self.copy_again()));
            };
            match self.from.try_io(Interest::READABLE, || pipe.fill(&self.from)) {
                Ok(0) => return Poll::Ready(Ok(Passed::End)),
                Ok(read) => {
                    *moved += read as u64;
                    place.passed(read);
                    self.pipe = Some(pipe);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if passed < TRICKLE {
                        return Poll::Ready(Ok(self.copy_again()));
                    }
                }
                Err(error) if is_impossible(&error) => {
                    self.left = None;
                    return Poll::Ready(Ok(Passed::Copy));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Passes on what is in the pipe.
    fn poll_drain(&mut self, context: &mut Context<'_>, moved: &mut u64) -> Poll<io::Result<()>> {
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            ready!(self.to.poll_write_ready(context))?;
            match self.to.try_io(Interest::WRITABLE, || pipe.drain(&self.to)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => *moved += written as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn copy_again(&mut self) -> Passed {
        self.left = Some(self.after);
        Passed::Copy
    }
}

/// Whether it cannot be done on this machine: by its kernel, or since whoever confines this process
/// forbids it. What takes the first bytes in gives them out as well.
fn is_impossible(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP)
    )
}

#[cfg(test)]
mod tests;
