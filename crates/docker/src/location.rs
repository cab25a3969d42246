//! Where an engine is, and with what it is reached there.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use crate::{DEFAULT_URL, context};

/// Where an engine is, and the files that are needed to reach it.
///
/// A plain URL is one as well: `"tcp://nas:2375".into()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub(crate) url: String,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) ssh: SshFiles,
}

/// The files for TLS: whom to trust, and who we are. PEM, read when they are needed and again when
/// they have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub(crate) ca: PathBuf,
    pub(crate) client: Option<ClientFiles>,
}

/// A client's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What `ssh` is told to use instead of its user's own files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshFiles {
    pub(crate) identity: Option<PathBuf>,
    pub(crate) known_hosts: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

/// Why an environment or a context names no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// There is no Docker context of this name.
    #[error("there is no Docker context `{name}` in `{}`{}", folder.display(), listed(known))]
    UnknownContext {
        /// The name that was asked for.
        name: String,
        /// Where contexts are looked for.
        folder: PathBuf,
        /// The contexts that there are, in order.
        known: Vec<String>,
    },
    /// A context's file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A context's file is not one.
    #[error("`{}` is no Docker context's file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A context names no Docker engine: it is another program's.
    #[error("the Docker context `{name}` names no Docker engine")]
    NoEngine {
        /// The context.
        name: String,
    },
    /// The engine's certificate would not be checked, so that anybody could answer in its place.
    #[error(
        "{what} leaves the engine's certificate unchecked, and whoever answers in its place would \
         be given orders and believed: {instead}"
    )]
    Unverified {
        /// What says so.
        what: String,
        /// What to do.
        instead: String,
    },
    /// Of the files for TLS one is missing.
    #[error("`{}` is missing: TLS needs {why}", path.display())]
    Incomplete {
        /// The missing file.
        path: PathBuf,
        /// What for.
        why: &'static str,
    },
    /// Neither `DOCKER_CONFIG` nor a home folder says where contexts are.
    #[error("there is no home folder to look for Docker's contexts in: set `DOCKER_CONFIG`")]
    NoFolder,
}

fn listed(known: &[String]) -> String {
    match known {
        [] => ", nor any other".to_owned(),
        known => format!(": there is {}", known.join(", ")),
    }
}

// === impl Location ===

impl Location {
    /// The engine at `url`: `unix:///path`, the plain path of a socket, `tcp://host:port` (with TLS
    /// if [files](Self::with_tls) for it are given) or `ssh://[user@]host[:port][/path/of/socket]`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), tls: None, ssh: SshFiles::default() }
    }

    /// Reached with TLS, by these files. Only for `tcp://` and `https://`.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Reached with these files for `ssh`. Only for `ssh://`.
    #[must_use]
    pub fn with_ssh(mut self, files: SshFiles) -> Self {
        self.ssh = files;
        self
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The engine that the environment names, as Docker's own client reads it: `DOCKER_HOST` (with
    /// `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`), else the context in `DOCKER_CONTEXT`, else
    /// [`DEFAULT_URL`]. The context that `docker context use` chose is not followed: what a
    /// person's terminal uses at the moment is not what a service is for.
    ///
    /// # Errors
    /// Why what the environment says cannot be used.
    pub fn of_environment() -> Result<Self, LocationError> {
        Self::by(&Environment::of_process())
    }

    /// The engine of the Docker context `name`, which is looked for in `DOCKER_CONFIG`, else in
    /// `~/.docker`. `default` is what `DOCKER_HOST` says, else [`DEFAULT_URL`].
    ///
    /// # Errors
    /// [`LocationError::UnknownContext`] if there is none of this name; the others say what is
    /// wrong with it.
    pub fn of_context(name: &str) -> Result<Self, LocationError> {
        Self::by_context(name, &Environment::of_process())
    }

    fn by(environment: &Environment) -> Result<Self, LocationError> {
        match (environment.text("DOCKER_HOST"), environment.text("DOCKER_CONTEXT")) {
            (None, Some(name)) => Self::by_context(&name, environment),
            _ => Self::by_host(environment),
        }
    }

    fn by_context(name: &str, environment: &Environment) -> Result<Self, LocationError> {
        if name == context::DEFAULT {
            return Self::by_host(environment);
        }
        context::read(name, &environment.config_folder()?)
    }

    fn by_host(environment: &Environment) -> Result<Self, LocationError> {
        let Some(url) = environment.text("DOCKER_HOST") else { return Ok(Self::new(DEFAULT_URL)) };
        let location = Self::new(url);
        if !location.url.starts_with("tcp://") {
            return Ok(location);
        }
        if environment.text("DOCKER_TLS_VERIFY").is_some() {
            let folder = match environment.text("DOCKER_CERT_PATH") {
                Some(path) => PathBuf::from(path),
                None => environment.config_folder()?,
            };
            return Ok(location.with_tls(TlsFiles::in_folder(&folder)?));
        }
        if environment.text("DOCKER_TLS").is_some() {
            return Err(LocationError::Unverified {
                what: "`DOCKER_TLS` without `DOCKER_TLS_VERIFY`".to_owned(),
                instead: "set `DOCKER_TLS_VERIFY=1`".to_owned(),
            });
        }
        Ok(location)
    }
}

impl<T: Into<String>> From<T> for Location {
    fn from(url: T) -> Self {
        Self::new(url)
    }
}

// === impl TlsFiles ===

impl TlsFiles {
    /// The engine's certificate must be signed by a certificate in the file `ca`.
    pub fn new(ca: impl Into<PathBuf>) -> Self {
        Self { ca: ca.into(), client: None }
    }

    /// We show the certificate in the file `cert`, whose private key is in the file `key`.
    #[must_use]
    pub fn with_client(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some(ClientFiles { cert: cert.into(), key: key.into() });
        self
    }

    /// `ca.pem`, `cert.pem` and `key.pem`, as Docker's own client names them. The last two may
    /// both be missing.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, LocationError> {
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
        if !ca.exists() {
            let why = "the certificate of the CA that signed the engine's";
            return Err(LocationError::Incomplete { path: ca, why });
        }
        match (cert.exists(), key.exists()) {
            (true, true) => Ok(Self::new(ca).with_client(cert, key)),
            (false, false) => Ok(Self::new(ca)),
            (true, false) => {
                Err(LocationError::Incomplete { path: key, why: "the key of `cert.pem`" })
            }
            (false, true) => {
                Err(LocationError::Incomplete { path: cert, why: "the certificate of `key.pem`" })
            }
        }
    }
}

// === impl SshFiles ===

impl SshFiles {
    /// None: what `ssh` uses by itself counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the private key in this file, and no other.
    #[must_use]
    pub fn with_identity(mut self, file: impl Into<PathBuf>) -> Self {
        self.identity = Some(file.into());
        self
    }

    /// With the host keys in this file, and no others.
    #[must_use]
    pub fn with_known_hosts(mut self, file: impl Into<PathBuf>) -> Self {
        self.known_hosts = Some(file.into());
        self
    }

    /// With this file as ssh's configuration, and no other.
    #[must_use]
    pub fn with_config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(file.into());
        self
    }
}

type Variables = dyn Fn(&str) -> Option<OsString>;

/// Environment variables, so that tests need not change the process's own.
pub(crate) struct Environment {
    variable: Box<Variables>,
    home: Option<PathBuf>,
}

impl Environment {
    fn of_process() -> Self {
        Self { variable: Box::new(|name| env::var_os(name)), home: env::home_dir() }
    }

    /// A variable that is set and not empty.
    fn text(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then_some(value)
    }

    /// Where Docker's own client keeps its settings.
    fn config_folder(&self) -> Result<PathBuf, LocationError> {
        match self.text("DOCKER_CONFIG") {
            Some(folder) => Ok(PathBuf::from(folder)),
            None => match &self.home {
                Some(home) if !home.as_os_str().is_empty() => Ok(home.join(".docker")),
                _ => Err(LocationError::NoFolder),
            },
        }
    }
}

#[cfg(test)]
mod tests;
