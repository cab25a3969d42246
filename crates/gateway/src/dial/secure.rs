//! TLS to upstreams: whom to trust, and why a handshake came to nothing.

mod ca_file;
mod explain;
mod verify;

use std::{
    error::Error as StdError,
    io,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig,
    client::danger::ServerCertVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
};
use rustls_platform_verifier::Verifier as SystemVerifier;
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::{ca_file::CaFile, verify::Anyone};
use super::Protocols;
use crate::{UpstreamTls, UpstreamTrust, disk::Looks};

/// What this system trusts, read once: it is large, and the same for every route.
static SYSTEM: OnceCell<Configs> = OnceCell::const_new();
static SYSTEM_LOOKS: LazyLock<Looks> = LazyLock::new(Looks::new);

/// Makes TLS connections to the upstream of one route.
#[derive(Debug)]
pub(crate) struct Secure {
    source: Source,
    /// `None`: the IP address that was dialled.
    name: Option<ServerName<'static>>,
}

#[derive(Debug)]
enum Source {
    System,
    File(CaFile),
    Fixed(Result<Configs, String>),
}

/// One for each set of protocols that is offered.
#[derive(Clone, Debug)]
struct Configs {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl Secure {
    /// Opens no file. `name`: of the upstream, if the configuration says none.
    pub(crate) fn new(tls: &UpstreamTls, name: Option<&str>) -> Self {
        let name = tls.name.as_deref().or(name);
        let source = match &tls.trust {
            UpstreamTrust::System => Source::System,
            UpstreamTrust::CaFile(path) => Source::File(CaFile::new(path.clone())),
            UpstreamTrust::Anyone => {
                let anyone: Arc<dyn ServerCertVerifier> = Arc::new(Anyone::new(&provider()));
                Source::Fixed(Configs::new(&anyone))
            }
        };
        Self { source, name: name.and_then(|name| ServerName::try_from(name.to_owned()).ok()) }
    }

    /// The error's text says how to mend it.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        protocols: Protocols,
    ) -> io::Result<TlsStream<TcpStream>> {
        let configs = self.configs().await.map_err(io::Error::other)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::from(stream.peer_addr()?.ip().to_canonical()),
        };
        let config = match protocols {
            Protocols::Any => configs.any,
            Protocols::Http1 => configs.http1,
        };
        let shaken = TlsConnector::from(config).connect(name.clone(), stream).await;
        shaken.map_err(|error| explain::failure(error, &name.to_str()))
    }

    /// The error is a lower-case fragment.
    async fn configs(&self) -> Result<Configs, String> {
        match &self.source {
            Source::Fixed(configs) => configs.clone(),
            Source::File(file) => file.configs().await,
            Source::System => SYSTEM.get_or_try_init(system).await.cloned(),
        }
    }
}

impl Configs {
    fn new(verifier: &Arc<dyn ServerCertVerifier>) -> Result<Self, String> {
        let with = |protocols: &[&[u8]]| {
            let builder = ClientConfig::builder_with_provider(provider());
            let mut config = builder
                .with_safe_default_protocol_versions()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(verifier))
                .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok::<_, rustls::Error>(Arc::new(config))
        };
        let both = || Ok(Self { any: with(&[b"h2", b"http/1.1"])?, http1: with(&[b"http/1.1"])? });
        both().map_err(|error: rustls::Error| format!("TLS cannot be used ({error})"))
    }
}

/// Reads the system's CAs, from a thread that may block.
async fn system() -> Result<Configs, String> {
    let unusable = |error: &dyn StdError| {
        format!(
            "this system's CA certificates cannot be used ({error}): install the package \
             `ca-certificates`, or name the CA with `ca_file`"
        )
    };
    let read = SYSTEM_LOOKS.look(|| SystemVerifier::new(provider())).await;
    let verifier = read.map_err(|error| unusable(&error))?.map_err(|error| unusable(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> = Arc::new(verifier);
    Configs::new(&verifier)
}

/// The provider is named: a library sets none for the whole process, and needs none there.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
