//! A client whose upstream is not connected yet.

use std::io;

use tokio::{io::Interest, net::TcpStream};

use super::socket::Socket;

/// How much of what a client says is kept until there is somebody to tell it. The rest waits in its
/// own machine.
const MOST: usize = 16 * 1024;

/// A client that waits.
pub(super) struct Early {
    stream: TcpStream,
    said: Vec<u8>,
    /// Whether it has said that this was all.
    has_ended: bool,
    /// Whether its protocol knows no end of one direction alone (TLS): then that is its goodbye.
    ends_whole: bool,
}

/// The client is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Early {
    pub(super) fn new(stream: TcpStream, said: Vec<u8>, ends_whole: bool) -> Self {
        Self { stream, said, has_ended: false, ends_whole }
    }

    /// Whether it has said anything yet.
    pub(super) fn has_spoken(&self) -> bool {
        !self.said.is_empty()
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> &[u8] {
        &self.said
    }

    /// Whether it has said that this was all.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether there is no room for more of it.
    pub(super) fn is_full(&self) -> bool {
        self.said.len() >= MOST
    }

    /// Returns when the client is gone: its connection was reset, or it has ended it without having
    /// said a word. Who has spoken and then ends its direction awaits an answer. Cancel safe.
    pub(super) async fn is_gone(&mut self) -> Gone {
        loop {
            if let Err(gone) = self.listen().await {
                return gone;
            }
        }
    }

    /// Returns when the client has said more. Cancel safe.
    pub(super) async fn listen(&mut self) -> Result<(), Gone> {
        let room = MOST.saturating_sub(self.said.len());
        if self.has_ended || room == 0 {
            // An error here says the same.
            _ = self.stream.ready(Interest::ERROR).await;
            return Err(Gone);
        }
        let mut chunk = [0; 4096];
        let chunk = &mut chunk[..room.min(4096)];
        loop {
            self.stream.readable().await.map_err(|_| Gone)?;
            match self.stream.try_read(chunk) {
                Ok(0) if self.said.is_empty() || self.ends_whole => return Err(Gone),
                Ok(0) => self.has_ended = true,
                Ok(read) => self.said.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Err(Gone),
            }
            return Ok(());
        }
    }

    /// The connection, what was read of it, and whether that was all.
    pub(super) fn into_parts(self) -> (Socket, Vec<u8>, bool) {
        (Socket::new(self.stream), self.said, self.has_ended)
    }
}
