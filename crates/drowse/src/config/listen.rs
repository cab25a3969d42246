//! Where the gateway listens, and what is spoken there.

use std::net::SocketAddr;

use drowse_gateway::{CertificateFiles, TlsVersion};

use super::Place;

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Whether TLS is spoken there.
    pub(crate) tls: bool,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
}

impl From<SocketAddr> for Listen {
    /// HTTP in clear.
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: false, proxy_protocol: false }
    }
}

/// What TLS is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    pub(crate) place: Place,
    /// In the order in which they count, each with where it is named.
    pub(crate) certificates: Vec<(CertificateFiles, Place)>,
    /// Whether drowse makes one itself.
    pub(crate) self_signed: bool,
    pub(crate) minimum: TlsVersion,
}
