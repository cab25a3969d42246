//! What a TLS client says first: for which name it asks. Nothing is decrypted.

use std::io;

use rustls::server::{AcceptedAlert, Acceptor};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The longest beginning of a connection that is read for a name. With post-quantum keys a
/// `ClientHello` has some 2 KiB.
const LONGEST: usize = 16 * 1024;

/// A fatal alert `unrecognized_name` (RFC 8446, 6.2), in a record of its own.
pub(super) const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// How a connection begins.
pub(super) struct Hello {
    /// All that was read of it.
    pub(super) bytes: Vec<u8>,
    pub(super) asks: Asks,
}

/// What the client wants.
pub(super) enum Asks {
    /// This name, by TLS.
    ForName(String),
    /// No name, by TLS.
    ForNone,
    /// Something else than TLS, or TLS that cannot be read: what to answer.
    Otherwise(AcceptedAlert),
}

/// Why nothing is known of what the client wants.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error("the connection ended before its TLS handshake began")]
    Ended(#[source] io::Error),
    #[error("the TLS handshake begins with more than {LONGEST} bytes")]
    TooLong,
}

/// Reads a connection's `ClientHello`. Not cancel safe: drop the connection as well.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Hello, HelloError> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if before >= LONGEST {
            return Err(HelloError::TooLong);
        }
        let read = stream.read_buf(&mut bytes).await.map_err(HelloError::Ended)?;
        if read == 0 {
            return Err(HelloError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut fresh = bytes.get(before..).unwrap_or_default();
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh).map_err(HelloError::Ended)?;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                let asks = name.map_or(Asks::ForNone, Asks::ForName);
                return Ok(Hello { bytes, asks });
            }
            Err((_, alert)) => return Ok(Hello { bytes, asks: Asks::Otherwise(alert) }),
        }
    }
}

#[cfg(test)]
mod fuzz;
