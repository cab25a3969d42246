//! A client's socket of HTTP/1.1, which is looked at also while nobody reads from it.
//!
//! While a request waits, nothing more is read of its client than was read: not of the body, whose first
//! piece nobody has taken yet, nor of what may follow. Then nobody would learn that the client has left, and
//! what it asked for would be done for nobody when the workload wakes. (An end that lies behind more than
//! the socket has room for does not arrive before that is read.)

use std::{
    io,
    mem::{MaybeUninit, take},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::TcpStream,
    time::Instant,
};

use super::Context;

/// A client that ends its direction so soon after its last word, and before it was answered anything, says that
/// this was all, and waits for its answer (`nc -N`). One that ends it later has had enough: a client that was
/// closed says no more than that, until something is sent to it.
const SAME_BREATH: Duration = Duration::from_millis(50);

/// A client's stream.
pub(crate) struct Attended {
    stream: Stream,
    /// The connection that it is, once it is known to speak HTTP/1.1, and until its end was read.
    context: Option<Arc<Context>>,
    /// Whether somebody waits for what it says next.
    is_read: bool,
    /// When it was heard last.
    heard: Instant,
    /// Whether it was not looked at since.
    is_unseen: bool,
    /// Whether it was sent anything since.
    is_answered: bool,
    /// Whether it has said that it says no more.
    has_ended: bool,
}

#[derive(Default)]
enum Stream {
    Used(TcpStream),
    /// Waits for an end that cannot be read.
    Watched(Arc<TcpStream>, BoxFuture<'static, io::Result<Ready>>),
    /// Only while one of the others is made of the other.
    #[default]
    Neither,
}

impl Attended {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Used(stream),
            context: None,
            is_read: false,
            heard: Instant::now(),
            is_unseen: true,
            is_answered: false,
            has_ended: false,
        }
    }

    /// Looks from now on whether the client is there.
    pub(super) fn attend(&mut self, context: &Arc<Context>) {
        self.context = Some(Arc::clone(context));
        // Its first words were read before it was known what it speaks.
        self.is_heard();
    }

    /// The stream, to read from and to write to. Ends a watch.
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if matches!(self.stream, Stream::Watched(..))
            && let Stream::Watched(stream, watch) = take(&mut self.stream)
        {
            drop(watch);
            // The watch had the only other handle.
            self.stream = Arc::into_inner(stream).map_or(Stream::Neither, Stream::Used);
        }
        match &mut self.stream {
            Stream::Used(stream) => Ok(Pin::new(stream)),
            Stream::Watched(..) | Stream::Neither => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn watch(&mut self, interest: Interest) -> io::Result<()> {
        self.stream()?;
        if let Stream::Used(stream) = take(&mut self.stream) {
            let stream = Arc::new(stream);
            let watched = Arc::clone(&stream);
            let watch = async move { watched.ready(interest).await };
            self.stream = Stream::Watched(stream, Box::pin(watch));
        }
        Ok(())
    }

    fn is_heard(&mut self) {
        (self.heard, self.is_unseen, self.is_answered) = (Instant::now(), true, false);
    }

    /// An error says that the client is gone. Else the task is woken when it may be.
    fn look(&mut self, context: &mut TaskContext<'_>) -> io::Result<()> {
        loop {
            let polled = match &mut self.stream {
                Stream::Used(_) if self.has_ended => {
                    self.watch(Interest::ERROR)?;
                    continue;
                }
                Stream::Used(stream) => {
                    let mut byte = [MaybeUninit::uninit()];
                    match stream.poll_peek(context, &mut ReadBuf::uninit(&mut byte))? {
                        Poll::Ready(1..) => {
                            // It has said more than anybody has read. An end behind that is told, too
                            // (`EPOLLRDHUP`).
                            self.is_heard();
                            self.watch(Interest::PRIORITY)?;
                            continue;
                        }
                        polled => polled.map(drop),
                    }
                }
                Stream::Watched(_, watch) => watch.as_mut().poll(context)?.map(drop),
                Stream::Neither => return Err(io::ErrorKind::NotConnected.into()),
            };
            let is_first = take(&mut self.is_unseen);
            if polled.is_pending() {
                return Ok(());
            }
            let is_soon = is_first || self.heard.elapsed() < SAME_BREATH;
            let is_same_breath = is_soon && !self.is_answered;
            if self.has_ended || self.ends_whole() || !is_same_breath {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.has_ended = true;
            self.watch(Interest::ERROR)?;
        }
    }

    /// What it has said by now it has said before it is answered.
    fn answers(&mut self, context: &mut TaskContext<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if !self.is_answered && self.is_attended() {
            self.look(context)?;
        }
        self.is_answered = true;
        self.stream()
    }

    /// Whether its protocol knows no end of one direction alone (TLS): then that is its goodbye.
    fn ends_whole(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.secured.is_some())
    }

    /// Whether it is looked whether the client is there: an upgraded connection is read all the time.
    fn is_attended(&self) -> bool {
        self.context.as_ref().is_some_and(|it| !it.is_upgraded.load(Ordering::Relaxed))
    }
}

impl AsyncRead for Attended {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.stream()?.poll_read(context, buffer);
        self.is_read = polled.is_pending();
        if self.context.is_some() && matches!(polled, Poll::Ready(Ok(()))) {
            if buffer.filled().len() > before {
                self.is_heard();
            } else {
                // Whoever reads knows.
                self.context = None;
            }
        }
        polled
    }
}

impl AsyncWrite for Attended {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answers(context)?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answers(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// There is nothing to flush. It is called each time that the connection's task has done what there
    /// was to do: then it is looked whether the client is there, unless whoever reads will notice.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if take(&mut self.is_read) || !self.is_attended() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.look(context))
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
