//! Which protocol a client speaks that was not asked: its first bytes tell.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Protocol;

/// What a client of HTTP/2 begins with (RFC 9113 section 3.4). It is no request of HTTP/1.1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at a time: most heads of HTTP/1.1 whole, so that looking costs no further read.
const CHUNK: usize = 2 * 1024;

/// A stream whose first bytes were looked at, and are still to be read.
#[derive(Debug)]
pub(super) struct Opened<S> {
    first: Bytes,
    stream: S,
}

impl<S> Opened<S> {
    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

/// Reads until it is certain what the client speaks; `None` if it ends without a byte. Sets no
/// deadline. Dropping the future loses what was read.
pub(super) async fn look<S>(mut stream: S) -> io::Result<Option<(Protocol, Opened<S>)>>
where
    S: AsyncRead + Unpin,
{
    let mut first = Vec::new();
    let protocol = loop {
        let read = poll_fn(|context| poll_read(&mut stream, context, &mut first)).await?;
        if first.is_empty() {
            return Ok(None);
        }
        if first.starts_with(PREFACE) {
            break Protocol::Http2;
        }
        if read == 0 || !PREFACE.starts_with(&first) {
            break Protocol::Http1;
        }
    };
    Ok(Some((protocol, Opened { first: first.into(), stream })))
}

/// Appends what comes; how much that is.
fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    first: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    // On the stack: a connection that waits for its first byte needs no buffer.
    let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
    let mut read = ReadBuf::uninit(&mut chunk);
    ready!(Pin::new(stream).poll_read(context, &mut read))?;
    first.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..length]);
        self.first.advance(length);
        if self.first.is_empty() {
            // Its memory is given back.
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What a client that sends these pieces and ends is taken for, and what is read of it then.
    async fn looked(pieces: &[&[u8]]) -> Option<(Protocol, Vec<u8>)> {
        // Room for one byte less than a preface: it always comes in pieces.
        let (mut client, server) = duplex(PREFACE.len() - 1);
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let reading = async {
            let (protocol, mut opened) = look(server).await.unwrap()?;
            let mut all = Vec::new();
            opened.read_to_end(&mut all).await.unwrap();
            Some((protocol, all))
        };
        tokio::join!(sending, reading).1
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol_and_none_is_lost() {
        let (http1, http2) = (Protocol::Http1, Protocol::Http2);
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(looked(&[get]).await, Some((http1, get.to_vec())));
        let settings = [PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
        assert_eq!(looked(&[&settings]).await, Some((http2, settings.clone())));
        assert_eq!(looked(&[b"P", b"RI", &settings[3..]]).await, Some((http2, settings)));
        assert_eq!(looked(&[b"P", b"UT /"]).await, Some((http1, b"PUT /".to_vec())));
        assert_eq!(looked(&[b"PRI * HTTP/1.1"]).await, Some((http1, b"PRI * HTTP/1.1".to_vec())));
        assert_eq!(looked(&[b"PR"]).await, Some((http1, b"PR".to_vec())));
        assert_eq!(looked(&[]).await, None);
    }
}
