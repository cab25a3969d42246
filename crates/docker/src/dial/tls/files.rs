//! The files for TLS, read again when they have changed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_rustls::rustls::{
    self, ClientConfig, InconsistentKeys, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{TlsFiles, location::ClientFiles};

/// More than any chain of certificates.
const FILE_MAX: u64 = 1024 * 1024;

/// Why the files cannot be used. None of it tells anything of a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the file `{}` for TLS cannot be read: correct its path, or let drowse's user read it", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("there is no certificate in `{}`: a PEM file is needed, with `-----BEGIN CERTIFICATE-----`", .0.display())]
    NoCertificate(PathBuf),
    #[error("a certificate in `{}` cannot be understood: is the file whole?", path.display())]
    BadCertificate { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("there is no private key in `{}`: a PEM file is needed, with `-----BEGIN PRIVATE KEY-----`", .0.display())]
    NoKey(PathBuf),
    #[error("the private key in `{}` has a passphrase, and nobody is there to be asked for it: write it without one (`openssl pkey -in {} -out FILE`), for drowse's user alone", path.display(), path.display())]
    LockedKey { path: PathBuf },
    #[error("the private key in `{}` is of a kind that is not known: make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and a certificate for it", .0.display())]
    UnknownKey(PathBuf),
    #[error("the certificate in `{}` is not that of the key in `{}`: were they renewed together?", cert.display(), key.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the files for TLS cannot be used")]
    Unusable(#[source] rustls::Error),
}

impl FileError {
    /// What it was caused by.
    pub(crate) fn into_source(self) -> Option<Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Unreadable { source, .. } => Some(source.into()),
            Self::BadCertificate { source, .. } => Some(source),
            Self::Unusable(source) => Some(source.into()),
            Self::NoCertificate(_)
            | Self::NoKey(_)
            | Self::LockedKey { .. }
            | Self::UnknownKey(_)
            | Self::Mismatch { .. } => None,
        }
    }
}

/// The files of one engine, and what was made of them.
pub(crate) struct Files {
    /// Told in the log.
    engine: String,
    named: TlsFiles,
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    stamps: Stamps,
    config: Arc<ClientConfig>,
}

/// What tells a file from its predecessor and successor: device, inode, size, and when it was
/// changed.
type Stamp = (u64, u64, u64, i64, i64);
type Stamps = Vec<Option<Stamp>>;

impl Files {
    pub(crate) fn new(named: TlsFiles, engine: String) -> Self {
        Self { engine, named, loaded: Mutex::default() }
    }

    pub(crate) fn named(&self) -> &TlsFiles {
        &self.named
    }

    /// What the files say now. They are parsed only if they have changed. If they cannot be used
    /// (a renewal that is half done, say), the last ones that could are.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, FileError> {
        let files = Arc::clone(self);
        // A thread that may block: they may lie on a network.
        match tokio::task::spawn_blocking(move || files.config_now()).await {
            Ok(config) => config,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // Not begun: the runtime ends.
            Err(_) => Err(FileError::Unusable(rustls::Error::General("ended".to_owned()))),
        }
    }

    fn config_now(&self) -> Result<Arc<ClientConfig>, FileError> {
        let stamps = self.stamps();
        if let Some(loaded) = &*self.loaded()
            && loaded.stamps == stamps
        {
            return Ok(Arc::clone(&loaded.config));
        }
        let read = load(&self.named).map(Arc::new);
        let mut loaded = self.loaded();
        match (read, &mut *loaded) {
            (Ok(config), slot) => {
                *slot = Some(Loaded { stamps, config: Arc::clone(&config) });
                Ok(config)
            }
            (Err(error), Some(last)) => {
                tracing::warn!(
                    engine = self.engine,
                    error = &error as &dyn std::error::Error,
                    "files for TLS have changed and cannot be used: the last ones are used on"
                );
                last.stamps = stamps;
                Ok(Arc::clone(&last.config))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn stamps(&self) -> Stamps {
        let TlsFiles { ca, client } = &self.named;
        let clients = client.iter().flat_map(|ClientFiles { cert, key }| [cert, key]);
        let stamp = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            let changed = (found.ctime(), found.ctime_nsec());
            Some((found.dev(), found.ino(), found.size(), changed.0, changed.1))
        };
        std::iter::once(ca).chain(clients).map(stamp).collect()
    }

    fn loaded(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(files: &TlsFiles) -> Result<ClientConfig, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| bad_certificate(&files.ca, error))?;
    }
    // The provider is named: a library sets none for the whole process, and needs none there.
    let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(FileError::Unusable)?
        .with_root_certificates(roots);
    let Some(ClientFiles { cert, key }) = &files.client else {
        return Ok(builder.with_no_client_auth());
    };
    let (chain, secret) = (certificates(cert)?, private_key(key)?);
    // Each by itself first, so that the error is about the right file.
    aws_lc_rs::sign::any_supported_type(&secret).map_err(|_| FileError::UnknownKey(key.clone()))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            FileError::Mismatch { cert: cert.clone(), key: key.clone() }
        }
        rustls::Error::InvalidCertificate(_) => bad_certificate(cert, error),
        error => FileError::Unusable(error),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| bad_certificate(path, error))?;
    if certificates.is_empty() {
        return Err(FileError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = read(path)?;
    let holds = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(FileError::LockedKey { path: path.to_owned() });
    }
    // What the parser says of a file with a key is told to nobody.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| FileError::NoKey(path.to_owned()))
}

fn bad_certificate(
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> FileError {
    FileError::BadCertificate { path: path.to_owned(), source: error.into() }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(FileError::Unreadable { path: path.to_owned(), source }),
    }
}
