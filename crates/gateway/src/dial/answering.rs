//! An upstream may answer, and close, before it has read the whole request.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose answer is read to its end also when what is written finds nobody any more: an
/// application that refuses an upload says so and closes, and its answer has come by the time that the
/// next piece of the upload fails.
///
/// From the failure on what is written is thrown away. Once everything that came is read, the failure is
/// told in place of the end, so that an answer that was cut is not taken for one that ended.
pub(crate) struct Answering<S> {
    stream: S,
    failure: Option<io::ErrorKind>,
}

impl<S> Answering<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, failure: None }
    }

    /// What `write` comes to; `thrown_away` if nobody reads it.
    fn write<T>(
        &mut self,
        thrown_away: T,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        S: Unpin,
    {
        if self.failure.is_some() {
            return Poll::Ready(Ok(thrown_away));
        }
        match ready!(write(Pin::new(&mut self.stream))) {
            Err(error) if is_gone(error.kind()) => {
                self.failure = Some(error.kind());
                Poll::Ready(Ok(thrown_away))
            }
            result => Poll::Ready(result),
        }
    }
}

fn is_gone(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<S: AsyncRead + Unpin> AsyncRead for Answering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.remaining();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        match this.failure {
            Some(kind) if before > 0 && buffer.remaining() == before => {
                Poll::Ready(Err(kind.into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Answering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(bytes.len(), |stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.get_mut().write(length, |stream| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write((), |stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write((), |stream| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A connection whose other end answered this and closed it with something unread.
    async fn refused(answer: &[u8]) -> Answering<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        stream.write_all(b"an upload's beginning").await.unwrap();
        upstream.readable().await.unwrap();
        upstream.write_all(answer).await.unwrap();
        drop(upstream);
        Answering::new(stream)
    }

    #[tokio::test]
    async fn an_answer_is_read_after_a_write_failed() {
        let mut stream = refused(b"too much").await;
        while stream.failure.is_none() {
            stream.write_all(b"more").await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"too much");
        // It is not known whether that was all.
        assert!(is_gone(end.unwrap_err().kind()));
        stream.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn an_orderly_end_is_one() {
        let (near, far) = tokio::io::duplex(64);
        let mut stream = Answering::new(near);
        drop(far);
        let mut answer = Vec::new();
        assert_eq!(stream.read_to_end(&mut answer).await.unwrap(), 0);
    }
}
