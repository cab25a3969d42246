//! Docker's contexts, as `docker context create` writes them: for each a folder that is called by
//! the hash of its name, with its engine's URL, and another with the files for TLS.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::location::{Location, LocationError, TlsFiles};

/// The context that is not written anywhere.
pub(crate) const DEFAULT: &str = "default";

/// More than any context's file.
const FILE_MAX: u64 = 1024 * 1024;

/// How many folders are looked into for the names of contexts.
const LISTED_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Debug, Default, Deserialize)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Debug, Deserialize)]
struct DockerEndpoint {
    #[serde(default, rename = "Host")]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The engine of the context `name`, by the settings of Docker's client in `folder`.
pub(crate) fn read(name: &str, folder: &Path) -> Result<Location, LocationError> {
    let contexts = folder.join("contexts");
    let all = contexts.join("meta");
    let path = all.join(folder_of(name)).join("meta.json");
    let meta = match read_meta(&path) {
        Err(LocationError::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            let (name, known) = (name.to_owned(), names(&all));
            return Err(LocationError::UnknownContext { name, folder: folder.to_owned(), known });
        }
        meta => meta?,
    };
    let engine = match meta.endpoints.docker {
        Some(engine) if !engine.host.is_empty() => engine,
        _ => return Err(LocationError::NoEngine { name: name.to_owned() }),
    };
    if engine.skip_tls_verify {
        return Err(LocationError::Unverified {
            what: format!("the Docker context `{name}` says `SkipTLSVerify`, which"),
            instead: format!(
                "give it the CA's certificate, with `docker context update {name} --docker \
                 host={},ca=FILE,cert=FILE,key=FILE`",
                engine.host
            ),
        });
    }
    let tls = contexts.join("tls").join(folder_of(name)).join("docker");
    let location = Location::new(engine.host);
    // Without any of the files there is no TLS.
    if ["ca.pem", "cert.pem", "key.pem"].iter().any(|file| tls.join(file).exists()) {
        return Ok(location.with_tls(TlsFiles::in_folder(&tls)?));
    }
    Ok(location)
}

/// The contexts that there are, as far as they can be read.
fn names(all: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(all).into_iter().flatten().flatten().take(LISTED_MAX);
    let mut names: Vec<String> = folders
        .filter_map(|folder| Some(read_meta(&folder.path().join("meta.json")).ok()?.name))
        .collect();
    names.sort();
    names
}

fn read_meta(path: &Path) -> Result<Meta, LocationError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
    read.map_err(|source| LocationError::Unreadable { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|error| LocationError::Malformed { path: path.to_owned(), source: error.into() })
}

/// The name of a context's folders: that of the context in hexadecimal SHA-256.
fn folder_of(name: &str) -> PathBuf {
    let mut folder = String::new();
    for byte in Sha256::digest(name) {
        // Writing to a string cannot fail.
        _ = write!(folder, "{byte:02x}");
    }
    folder.into()
}
