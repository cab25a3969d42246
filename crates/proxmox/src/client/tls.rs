//! TLS to a cluster: whom to trust.

mod explain;
mod files;
mod verify;

use std::{path::PathBuf, sync::Arc};

use rustls_platform_verifier::Verifier as SystemVerifier;
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig,
        client::danger::ServerCertVerifier,
        crypto::{CryptoProvider, aws_lc_rs},
    },
};

use self::{
    files::CaFile,
    verify::{Policy, Verifier},
};
use super::{ClientError, Endpoint, Fingerprint, file::blocking};

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The CAs that this system trusts: for nodes with a certificate of a public CA.
    System,
    /// The CAs in a PEM file, and no others: `/etc/pve/pve-root-ca.pem` of the cluster. Read again
    /// when it changes.
    CaFile(PathBuf),
    /// Certificates with one of these fingerprints.
    ///
    /// A pinned certificate of a node is trusted whatever name and dates it has: who shows it must
    /// have its key. Below a pinned CA, which the node must send along, the certificate must be
    /// signed by it, in force and for the endpoint's host.
    Fingerprints(Vec<Fingerprint>),
    /// **Anyone who answers**, who then has the credential and may do with it what we may: never
    /// outside a laboratory. Each client made so warns.
    Anyone,
}

/// Makes TLS connections.
pub(super) struct Tls {
    source: Source,
}

enum Source {
    /// The system's CAs, read at the first connection.
    System(OnceCell<Arc<ClientConfig>>),
    File(CaFile),
    Fixed(Arc<ClientConfig>),
}

impl Tls {
    /// Opens no file.
    pub(super) fn new(trust: Trust) -> Result<Self, rustls::Error> {
        let source = match trust {
            Trust::System => Source::System(OnceCell::new()),
            Trust::CaFile(path) => Source::File(CaFile::new(path)),
            Trust::Fingerprints(pins) => Source::Fixed(config(Policy::Pinned(pins))?),
            Trust::Anyone => Source::Fixed(config(Policy::Anyone)?),
        };
        Ok(Self { source })
    }

    pub(super) async fn handshake(
        &self,
        endpoint: &Endpoint,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let config = self
            .config()
            .await
            .map_err(|reason| ClientError::Untrusted { endpoint: endpoint.to_string(), reason })?;
        let shaken = TlsConnector::from(config).connect(endpoint.name().clone(), stream).await;
        shaken.map_err(|error| explain::failure(error, endpoint))
    }

    /// The error is a lower-case fragment.
    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        match &self.source {
            Source::Fixed(config) => Ok(Arc::clone(config)),
            Source::File(file) => file.config().await,
            Source::System(cell) => cell.get_or_try_init(system).await.cloned(),
        }
    }
}

/// Reads the system's CAs, from a thread that may block.
async fn system() -> Result<Arc<ClientConfig>, String> {
    let read = blocking(|| {
        let verifier = SystemVerifier::new(provider())?;
        config(Policy::Roots(Arc::new(verifier)))
    });
    let made = read.await.ok_or("the program ends")?;
    made.map_err(|error| {
        format!(
            "this system's CA certificates cannot be used ({error}): install the package \
             `ca-certificates`, or pin the cluster's certificate"
        )
    })
}

/// The provider is named: a library sets none for the whole process, and needs none there.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn config(policy: Policy) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier::new(policy, &provider));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
