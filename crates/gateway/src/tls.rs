//! TLS from clients: where certificates come from, and which of them a connection gets.
//!
//! Certificates are read when drowse starts, and again whenever what they are made of changes. A new
//! one that cannot be used leaves the old one in place.

mod choice;
mod identity;
mod refresh;
mod self_signed;
mod source;

use std::{collections::BTreeSet, fmt, io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use self::{choice::Identities, identity::Identity, refresh::Refresh};
pub use self::{
    identity::IdentityError,
    self_signed::SelfSigned,
    source::{CertificateError, CertificateFiles, CertificateSource},
};

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What TLS is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Where certificates come from. Of two for a name the first counts, and an exact name before a
    /// wildcard; who names no host, or one that none is for, gets the first.
    pub sources: Vec<CertificateSource>,
    /// The oldest version that is spoken.
    pub minimum: TlsVersion,
    /// How often it is looked whether a certificate has changed. 5 s.
    pub look_every: Duration,
}

impl TlsOptions {
    /// These certificates, and the defaults.
    pub fn new(sources: Vec<CertificateSource>) -> Self {
        Self { sources, minimum: TlsVersion::default(), look_every: Duration::from_secs(5) }
    }
}

/// A certificate, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateSummary {
    /// Where it is from: a path, or words.
    pub origin: String,
    /// The hosts that it is for.
    pub names: Vec<String>,
    /// Until when it counts, in seconds since 1970.
    pub not_after: i64,
    /// The SHA-256 of the certificate: `AB:CD:…`.
    pub fingerprint: String,
    /// Whether drowse made it itself.
    pub is_self_signed: bool,
}

/// TLS for listeners. A cheap handle; clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    config: Arc<ServerConfig>,
    present: Arc<Present>,
    refresh: Arc<Refresh>,
    look_every: Duration,
}

/// The present certificates: what the handshakes ask.
struct Present(ArcSwap<Identities>);

/// What is known of a connection after its handshake.
pub(crate) struct Secured {
    /// The host that the client named.
    server_name: Option<Box<str>>,
    /// What it was shown.
    identity: Arc<Identity>,
}

impl Tls {
    /// Reads each certificate once; makes the self-signed one if it is not there.
    ///
    /// Blocks on files.
    ///
    /// # Errors
    /// Every certificate that cannot be used, with its place among the sources; at least one.
    pub fn load(options: TlsOptions) -> Result<Self, Vec<(usize, CertificateError)>> {
        let of_all = |error| vec![(0, CertificateError::Tls(error))];
        let look_every = options.look_every;
        let (refresh, identities) = Refresh::load(options.sources)?;
        let present = Arc::new(Present(ArcSwap::from_pointee(identities)));
        let both: &[_] = &[&TLS12, &TLS13];
        let versions = match options.minimum {
            TlsVersion::V1_2 => both,
            TlsVersion::V1_3 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .map_err(of_all)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&present) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Sessions are resumed by what the client keeps: nothing is kept here.
        config.ticketer = Ticketer::new().map_err(of_all)?;
        let config = Arc::new(config);
        Ok(Self(Arc::new(Inner { config, present, refresh: Arc::new(refresh), look_every })))
    }

    /// The present certificates.
    pub fn certificates(&self) -> Vec<CertificateSummary> {
        self.0.refresh.summaries()
    }

    /// What is not as it should be with the present certificates, in words: keys that others may
    /// read, what expires soon.
    pub fn complaints(&self) -> Vec<String> {
        self.0.refresh.complaints()
    }

    /// Reads certificates again when they change, and makes the self-signed one anew when `hosts`
    /// has one more. Never returns; dropping the future ends it.
    pub async fn follow(&self, hosts: impl Fn() -> BTreeSet<String>) {
        let mut ticks = interval(self.0.look_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (refresh, hosts) = (Arc::clone(&self.0.refresh), hosts());
            // An error is a panic of ours, which has been told; the present ones stay.
            if let Ok(Some(identities)) = spawn_blocking(move || refresh.look(&hosts)).await {
                self.0.present.0.store(Arc::new(identities));
            }
        }
    }

    /// Reads what the client begins with, as a whole. Sets no deadline.
    ///
    /// # Errors
    /// What the client did not keep to.
    pub(crate) async fn hello<S>(stream: S) -> io::Result<StartHandshake<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        LazyConfigAcceptor::new(Acceptor::default(), stream).await
    }

    /// The rest of the handshake. What takes work is done at once, before anything is awaited of the
    /// client. Sets no deadline.
    ///
    /// # Errors
    /// What the client did not keep to, or could not agree to.
    pub(crate) async fn accept<S>(
        &self,
        hello: StartHandshake<S>,
    ) -> io::Result<(TlsStream<S>, Secured)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = hello.into_stream(Arc::clone(&self.0.config)).await?;
        let (_, session) = stream.get_ref();
        let server_name = session.server_name().map(|name| name.to_ascii_lowercase().into());
        let identity = Arc::clone(self.0.present.0.load().of(server_name.as_deref()));
        Ok((stream, Secured { server_name, identity }))
    }
}

impl Secured {
    /// Whether a request for this host may come on the connection: it is the one that the client
    /// named in its handshake, or the certificate is for it as well. Who named none may ask for any.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let host = without_port(host);
        let is_named =
            self.server_name.as_ref().is_none_or(|named| named.eq_ignore_ascii_case(host));
        is_named || self.identity.covers(host)
    }
}

/// A host without its port.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        Some(Arc::clone(self.0.load().of(name.as_deref()).key()))
    }
}

impl fmt::Debug for Present {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Present").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("certificates", &self.certificates()).finish()
    }
}

#[cfg(test)]
mod tests;
