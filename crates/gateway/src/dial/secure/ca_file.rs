//! A file with CAs, read again when it has changed.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{Configs, provider, verify::Named};
use crate::disk::Looks;

/// More than any bundle of CAs that is meant to be trusted.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// A file with CAs, and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct CaFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    looks: Looks,
    loaded: Mutex<Option<(Stamp, Configs)>>,
}

/// What tells a file from its predecessor and successor: device, inode, size, and when it was
/// changed.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl CaFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Inner { path, looks: Looks::new(), loaded: Mutex::default() }))
    }

    /// What the file says now. It is parsed only if it has changed. If it cannot be used (a renewal
    /// that is half done, say), or its disk hangs, what it said last counts on. The error is a lower-case
    /// fragment.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn configs(&self) -> Result<Configs, String> {
        let inner = Arc::clone(&self.0);
        let error = match self.0.looks.look(move || inner.now()).await {
            Ok(configs) => return configs,
            Err(error) => error,
        };
        let last = self.0.loaded().as_ref().map(|(_, configs)| configs.clone());
        last.ok_or_else(|| {
            let path = self.0.path.display();
            format!("the CA file `{path}` cannot be read ({error}): put it on a disk that answers")
        })
    }
}

impl Inner {
    fn now(&self) -> Result<Configs, String> {
        // Taken before the file is read: if it changes meanwhile, it is read again.
        let stamp = stamp(&self.path);
        if let Some((known, configs)) = &*self.loaded()
            && *known == stamp
        {
            return Ok(configs.clone());
        }
        let read = self.load();
        let mut loaded = self.loaded();
        match (read, &mut *loaded) {
            (Ok(configs), slot) => {
                *slot = Some((stamp, configs.clone()));
                Ok(configs)
            }
            (Err(error), Some((known, configs))) => {
                tracing::warn!(
                    error,
                    "the file with an upstream's CAs has changed and cannot be used: the last ones \
                     are trusted on"
                );
                *known = stamp;
                Ok(configs.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn loaded(&self) -> MutexGuard<'_, Option<(Stamp, Configs)>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Result<Configs, String> {
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
        let mut named = Vec::new();
        let broken = |error: String| {
            format!("a certificate in `{shown}` cannot be understood ({error}): is the file whole?")
        };
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| broken(error.to_string()))?;
            roots.add(certificate.clone()).map_err(|error| broken(error.to_string()))?;
            named.push(certificate);
        }
        if roots.is_empty() {
            return Err(format!(
                "there is no certificate in `{shown}`: a PEM file is needed, with `-----BEGIN \
                 CERTIFICATE-----`"
            ));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
            .build()
            .map_err(|error| format!("the CAs in `{shown}` cannot be used ({error})"))?;
        let verifier: Arc<dyn ServerCertVerifier> =
            Arc::new(Named::new(named, verifier, &provider()));
        Configs::new(&verifier)
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::PATIENCE;

    #[tokio::test]
    async fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let words = async |name: &str, text: Option<&str>| {
            let path = folder.path().join(name);
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let said = CaFile::new(path).configs().await.unwrap_err();
            said.replace(&folder.path().display().to_string(), "/etc")
        };
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        insta::assert_snapshot!(
            [
                words("missing.pem", None).await,
                words("empty.pem", Some("")).await,
                words("broken.pem", Some(broken)).await,
            ]
            .join("\n"),
            @r"
        the CA file `/etc/missing.pem` cannot be read (No such file or directory (os error 2)): correct its path, or let drowse's user read it
        there is no certificate in `/etc/empty.pem`: a PEM file is needed, with `-----BEGIN CERTIFICATE-----`
        a certificate in `/etc/broken.pem` cannot be understood (invalid peer certificate: BadEncoding): is the file whole?
        "
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_takes_one_thread_and_what_was_said_last_counts_on() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        // Whoever reads it waits for somebody who writes.
        let hangs = || mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let answers = || drop(fs::OpenOptions::new().write(true).open(&path).unwrap());
        let file = CaFile::new(path.clone());
        let read = || {
            let file = file.clone();
            tokio::spawn(async move { file.configs().await })
        };
        let late = async |all: Vec<tokio::task::JoinHandle<Result<Configs, String>>>| {
            while !file.0.looks.is_busy() {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(PATIENCE).await;
            let mut said = Vec::new();
            for one in all {
                said.push(one.await.unwrap());
            }
            answers();
            while file.0.looks.is_busy() {
                tokio::task::yield_now().await;
            }
            fs::remove_file(&path).unwrap();
            said
        };
        hangs();
        for said in late(vec![read(), read(), read()]).await {
            let words = said.unwrap_err().replace(&folder.path().display().to_string(), "/etc");
            insta::allow_duplicates! {
                insta::assert_snapshot!(words, @"the CA file `/etc/ca.pem` cannot be read (its disk has not answered within 2s): put it on a disk that answers");
            }
        }
        let signed = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
        fs::write(&path, signed.cert.pem()).unwrap();
        let first = file.configs().await.unwrap().any;
        fs::remove_file(&path).unwrap();
        hangs();
        let last = late(vec![read()]).await.remove(0).unwrap().any;
        assert!(Arc::ptr_eq(&first, &last));
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let certificate = || {
            let signed = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
            signed.cert.pem()
        };
        fs::write(&path, certificate()).unwrap();
        let file = CaFile::new(path.clone());
        let read = async || file.configs().await.unwrap().any;
        let first = read().await;
        assert!(Arc::ptr_eq(&first, &read().await));
        fs::write(&path, "half of i").unwrap();
        assert!(Arc::ptr_eq(&first, &read().await));
        fs::write(&path, certificate()).unwrap();
        assert!(!Arc::ptr_eq(&first, &read().await));
    }
}
