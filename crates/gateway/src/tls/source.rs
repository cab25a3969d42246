//! Where certificates come from.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    identity::{Identity, IdentityError},
    self_signed::SelfSigned,
};

/// More than any chain of certificates: who names another file by mistake is told so.
const LARGEST_FILE: u64 = 1 << 20;

/// Where a certificate comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CertificateSource {
    /// Somebody else keeps it in files.
    Files(CertificateFiles),
    /// drowse makes it itself.
    SelfSigned(SelfSigned),
}

/// A certificate and its key in files, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read `{}`{}", path.display(), read_hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the files is no use.
    #[error("cannot use `{}`", path.display())]
    Unusable {
        /// The file that is at fault.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// The self-signed one could not be made.
    #[error("cannot make a self-signed certificate")]
    Make(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The self-signed one could not be kept.
    #[error("cannot keep the self-signed certificate in `{}`", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS as such cannot be had.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// What to do beyond what the error says.
fn read_hint(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let user = rustix::process::geteuid().as_raw();
    format!(" as user {user}: let that user read it, and go through the folders above it")
}

/// What changes when a file does.
pub(super) type Stamp = Vec<Option<[i64; 6]>>;

impl CertificateFiles {
    /// Reads and checks the pair.
    pub(super) fn read(&self) -> Result<Identity, CertificateError> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        Identity::from_pem(&certificate, &key).map_err(|source| {
            let path = if source.is_of_key() { &self.key } else { &self.certificate };
            CertificateError::Unusable { path: path.clone(), source }
        })
    }

    /// What it would take notice of.
    pub(super) fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key]
            .map(|path| fs::metadata(path).ok().as_ref().map(stamp))
            .into()
    }

    /// That others may read the key, if they may.
    pub(super) fn complaint(&self) -> Option<String> {
        let mode = fs::metadata(&self.key).ok()?.mode();
        let key = self.key.display();
        (mode & 0o004 != 0).then(|| {
            format!("everybody on this machine may read the private key `{key}`: `chmod o= {key}`")
        })
    }
}

fn stamp(metadata: &Metadata) -> [i64; 6] {
    [
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.ino().cast_signed(),
        metadata.size().cast_signed(),
    ]
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let reading = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(bytes)
    };
    reading().map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}
