//! The PROXY protocol, versions 1 and 2: a header in front of a connection's own bytes, by which a
//! proxy says for whom it connects. Read from who stands in front, written to applications.
//!
//! Anybody could write such a header. So on a listener that expects one, whoever is none of the
//! trusted proxies is refused: neither is its header believed, nor are its bytes taken for a client's
//! own, since the next hop could not tell them from those of a client that a proxy vouches for.

mod read;
mod write;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use drowse_provider::Deadline;
use tokio::{net::TcpStream, time::timeout_at};

pub(crate) use write::header;

use crate::TrustedProxies;

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// Version 1: one line of text.
    V1,
    /// Version 2: binary.
    V2,
}

/// Between which two ends a connection is, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The client.
    pub(crate) source: SocketAddr,
    /// What the client has connected to.
    pub(crate) destination: SocketAddr,
}

/// Why a connection has no header that counts. It can only be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// It comes from nobody whose header would be believed.
    #[error(
        "{peer} is not trusted to say for whom it connects, so it is refused where the PROXY \
         protocol is expected; if it is your proxy, add `trusted_proxies: [\"{peer}\"]` to the \
         configuration"
    )]
    NotTrusted {
        /// Who connected.
        peer: IpAddr,
    },
    /// Its first bytes are not those of a header.
    #[error("the connection begins with something else than a PROXY protocol header")]
    NoHeader,
    /// There is a header, and something is wrong with it.
    #[error("the PROXY protocol header is malformed")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The header is longer than any that is in use.
    #[error("the PROXY protocol header has more than {} bytes", read::LONGEST)]
    TooLong,
    /// It was not there in time.
    #[error("no whole PROXY protocol header arrived in time")]
    Late,
    /// The connection ended or broke.
    #[error("the connection ended before its PROXY protocol header was whole")]
    Ended(#[source] io::Error),
}

/// Reads the header of a connection from `peer`, if that is a trusted proxy, and nothing beyond it.
/// `None`: the proxy speaks for itself (`UNKNOWN`, `LOCAL`: health checks), or not of TCP addresses.
///
/// Not cancel safe: a part of the header may have been read. Drop the connection as well.
///
/// # Errors
/// [`HeaderError`]: at once for who is not trusted, and as soon as what is there can be no header.
pub(crate) async fn accept(
    stream: &mut TcpStream,
    peer: IpAddr,
    trusted: &TrustedProxies,
    deadline: Deadline,
) -> Result<Option<Addresses>, HeaderError> {
    if !trusted.contains(peer) {
        return Err(HeaderError::NotTrusted { peer: peer.to_canonical() });
    }
    read_header(stream, deadline).await
}

/// Reads a header, whoever sent it, and nothing beyond it. See [`accept`].
///
/// # Errors
/// [`HeaderError`], all but [`NotTrusted`](HeaderError::NotTrusted).
pub(crate) async fn read_header(
    stream: &mut TcpStream,
    deadline: Deadline,
) -> Result<Option<Addresses>, HeaderError> {
    let reading = timeout_at(deadline.at(), read::header(stream));
    reading.await.unwrap_or(Err(HeaderError::Late))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
