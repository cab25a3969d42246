//! A file with CAs, read again when it has changed.

use std::{
    fs::File,
    io::Read as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::verify::Policy;
use crate::client::file::{Stamp, blocking};

/// More than any bundle of CAs that is meant to be trusted.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// A file with CAs, and what was made of it.
#[derive(Clone)]
pub(super) struct CaFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    stamp: Stamp,
    config: Arc<ClientConfig>,
}

impl CaFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Inner { path, loaded: Mutex::default() }))
    }

    /// What the file says now. It is parsed only if it has changed. If it cannot be used (a renewal
    /// that is half done, say), what it said last is. The error is a lower-case fragment.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.config_now()).await.unwrap_or(Err("the program ends".to_owned()))
    }
}

impl Inner {
    fn config_now(&self) -> Result<Arc<ClientConfig>, String> {
        let stamp = Stamp::of(&self.path);
        let lock = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*lock()
            && loaded.stamp == stamp
        {
            return Ok(Arc::clone(&loaded.config));
        }
        let read = self.load();
        let mut loaded = lock();
        match (read, &mut *loaded) {
            (Ok(config), slot) => {
                *slot = Some(Loaded { stamp, config: Arc::clone(&config) });
                Ok(config)
            }
            (Err(error), Some(last)) => {
                tracing::warn!(
                    error,
                    "the file with CAs has changed and cannot be used: the last ones are trusted on"
                );
                last.stamp = stamp;
                Ok(Arc::clone(&last.config))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let shown = self.path.display();
        let mut text = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
        read.map_err(|error| {
            format!(
                "the CA file `{shown}` cannot be read ({error}): correct its path, or let drowse's \
                 user read it"
            )
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let broken = |error: String| {
                format!(
                    "a certificate in `{shown}` cannot be understood ({error}): is the file whole?"
                )
            };
            let certificate = certificate.map_err(|error| broken(error.to_string()))?;
            roots.add(certificate).map_err(|error| broken(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(format!(
                "there is no certificate in `{shown}`: a PEM file is needed, with `-----BEGIN \
                 CERTIFICATE-----`"
            ));
        }
        let unusable = |error: String| format!("the CAs in `{shown}` cannot be used ({error})");
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), super::provider())
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        super::config(Policy::Roots(verifier)).map_err(|error| unusable(error.to_string()))
    }
}
