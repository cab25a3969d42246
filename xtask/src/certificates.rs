//! A private CA, with a certificate for an engine and one for a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::cargo;

/// The files, in one folder: `ca.pem`, `cert.pem` and `key.pem` as Docker's own client names them,
/// and the engine's `server-cert.pem` and `server-key.pem`.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes all of them. They are in force for a day.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        let made = Self { folder: folder.to_owned() };
        made.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
             -subj /CN=drowse-test-ca -keyout ca-key.pem -out ca.pem",
        )?;
        made.sign(
            "server-",
            "subjectAltName=IP:127.0.0.1,DNS:engine.test\nextendedKeyUsage=serverAuth",
        )?;
        made.sign("", "extendedKeyUsage=clientAuth")?;
        Ok(made)
    }

    /// What dockerd is told of them.
    pub(crate) fn for_dockerd(&self) -> [String; 3] {
        let option =
            |name: &str, file: &str| format!("--tls{name}={}", self.folder.join(file).display());
        [
            option("cacert", "ca.pem"),
            option("cert", "server-cert.pem"),
            option("key", "server-key.pem"),
        ]
    }

    /// Makes a key and a certificate for it with these extensions.
    fn sign(&self, prefix: &str, extensions: &str) -> anyhow::Result<()> {
        fs::write(self.folder.join("extensions"), extensions)?;
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=drowse-test \
             -keyout {prefix}key.pem -out request.pem"
        ))?;
        self.openssl(&format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 1 \
             -extfile extensions -out {prefix}cert.pem"
        ))
    }

    fn openssl(&self, arguments: &str) -> anyhow::Result<()> {
        let mut command = Command::new("openssl");
        cargo::run_quietly(command.args(arguments.split_whitespace()).current_dir(&self.folder))
    }
}
