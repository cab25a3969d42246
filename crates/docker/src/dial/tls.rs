//! TLS to an engine: its certificate is checked against one CA, and ours is shown if we have one.

mod explain;
mod files;

use std::{error::Error, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use self::files::Files;
use super::DialError;
use crate::{TlsFiles, endpoint::Address};

/// Makes TLS connections to one engine.
pub(crate) struct Connector {
    address: Address,
    /// The host, as the engine's certificate must have it.
    name: ServerName<'static>,
    files: Arc<Files>,
}

impl Connector {
    /// Opens no file. The error is a lower-case fragment.
    pub(crate) fn new(address: &Address, files: &TlsFiles, engine: String) -> Result<Self, String> {
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| format!("`{}` cannot be a certificate's name", address.host))?;
        let files = Arc::new(Files::new(files.clone(), engine));
        Ok(Self { address: address.clone(), name, files })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let config = self.files.config().await.map_err(|error| DialError {
            reason: error.to_string(),
            source: error.into_source(),
        })?;
        let shaken = TlsConnector::from(config).connect(self.name.clone(), stream).await;
        shaken.map_err(|error| {
            let reason = explain::failure(&error, &self.address, self.files.named());
            DialError::new(reason, error)
        })
    }

    /// An engine that refuses our certificate says so only after the handshake, in TLS 1.3.
    pub(crate) fn explain_break(&self, error: &(dyn Error + 'static)) -> Option<String> {
        explain::refusal(error, &self.address, self.files.named())
    }
}
