//! Docker and Podman engines.

use std::sync::Arc;

use drowse_docker::{DockerEngine, DockerOptions, Location, LocationError};

use super::Made;
use crate::{
    config::{DockerConfig, DockerEndpoint, unknown},
    labels::Dialect,
};

/// The error is a lower-case fragment.
pub(super) fn make(name: &str, config: &DockerConfig) -> Result<Made, String> {
    let engine = DockerEngine::connect(name, location(config)?, DockerOptions::new())
        .map_err(|error| error.kind().to_string())?;
    Ok(Made {
        endpoints: vec![one_spelling(&engine.url())],
        urls: vec![engine.url()],
        engine: Arc::new(engine),
        dialect: Dialect::Labels,
        cluster: None,
    })
}

/// Where an engine is. The error is a lower-case fragment.
fn location(config: &DockerConfig) -> Result<Location, String> {
    let named = match &config.endpoint {
        DockerEndpoint::Environment => Location::of_environment(),
        DockerEndpoint::Url(url) => Ok(Location::new(url)),
        DockerEndpoint::Context(name) => Location::of_context(name),
    };
    let location = named.map_err(|error| match &error {
        LocationError::UnknownContext { name, folder, known } if !known.is_empty() => {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            format!("{} (in `{}`)", unknown("Docker context", name, &known), folder.display())
        }
        _ => format!("{:#}", anyhow::anyhow!(error)),
    })?;
    let location = location.with_ssh(config.ssh.clone());
    Ok(match &config.tls {
        Some(files) => location.with_tls(files.clone()),
        None => location,
    })
}

/// One socket has many spellings: `/var/run` is mostly a link to `/run`, and whoever logs in to a
/// machine by ssh finds the same one.
fn one_spelling(url: &str) -> String {
    match url.split_once("://") {
        Some(("unix", path)) => {
            // A socket that is not there yet keeps the name that it was given.
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
            format!("unix://{}", path.display())
        }
        Some(("ssh", rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            let host = host.strip_suffix(":22").unwrap_or(host).to_lowercase();
            format!("ssh://{host}{path}")
        }
        _ => url.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_is_one_engine_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, link) = (folder.path().join("docker.sock"), folder.path().join("link"));
        std::fs::write(&socket, "").unwrap();
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let spelt = |url: &str| {
            let engine = DockerEngine::connect("home", url, DockerOptions::new()).unwrap();
            one_spelling(&engine.url())
        };
        let plain = spelt(&socket.display().to_string());
        assert_eq!(spelt(&format!("unix://{}", socket.display())), plain);
        assert_eq!(spelt(&link.join("docker.sock").display().to_string()), plain);
        assert_eq!(spelt("tcp://NAS"), "tcp://nas:2375");
        assert_eq!(spelt("http://nas:2375/"), "tcp://nas:2375");
        for url in ["ssh://nas", "ssh://me@Nas:22/", "ssh://root@nas/var/run/docker.sock"] {
            assert_eq!(spelt(url), "ssh://nas/var/run/docker.sock");
        }
        assert_eq!(spelt("ssh://me@[::1]:2222/d"), "ssh://[::1]:2222/d");
    }
}
