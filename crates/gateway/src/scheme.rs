//! How an upstream is spoken to.

use std::{fmt, path::PathBuf};

/// How a route's upstream is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamScheme {
    /// HTTP/1.1, in clear.
    #[default]
    Http,
    /// Over TLS: HTTP/2 where the upstream offers it (ALPN), else HTTP/1.1.
    Https(UpstreamTls),
    /// HTTP/2 in clear, by prior knowledge: gRPC.
    H2c,
}

/// TLS to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamTls {
    /// Whose certificates are trusted.
    pub trust: UpstreamTrust,
    /// The name that the certificate must be for, and that is sent as SNI. `None`: the route's own
    /// address if it is a name, else its first host that is no wildcard, else the IP address.
    pub name: Option<String>,
}

/// Whose certificates an upstream is believed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamTrust {
    /// The CAs that this system trusts.
    #[default]
    System,
    /// The CAs in this PEM file, and no others; and the certificates in it themselves, whatever names and
    /// dates they have, for an upstream that has signed its own. Read again when it changes.
    CaFile(PathBuf),
    /// **Anyone who answers**: whoever comes between reads and changes what passes. Between drowse and
    /// a container on the same machine that is nobody but who rules the machine.
    Anyone,
}

impl UpstreamTls {
    /// With the CAs that this system trusts.
    pub fn new() -> Self {
        Self::default()
    }

    /// With certificates of these.
    #[must_use]
    pub fn trusting(mut self, trust: UpstreamTrust) -> Self {
        self.trust = trust;
        self
    }

    /// With this name for the certificate and SNI.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl UpstreamScheme {
    /// The word that configurations use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https(_) => "https",
            Self::H2c => "h2c",
        }
    }

    /// The scheme of URLs.
    pub(crate) fn of_url(&self) -> http::uri::Scheme {
        match self {
            Self::Https(_) => http::uri::Scheme::HTTPS,
            Self::Http | Self::H2c => http::uri::Scheme::HTTP,
        }
    }
}

impl fmt::Display for UpstreamScheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
