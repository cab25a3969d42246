//! The private engine's bare API, past drowse.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::exchange::{self, TIMEOUT};
/// The test application, as every private engine has it.
const IMAGE: &str = "drowse-testapp:1";

#[derive(Debug, Clone)]
pub(super) struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The one of the sandbox that this process runs in.
    pub(super) fn of_the_sandbox() -> anyhow::Result<Self> {
        let url = std::env::var("DROWSE_TEST_DOCKER").context("DROWSE_TEST_DOCKER")?;
        let socket = url.strip_prefix("unix://").context("DROWSE_TEST_DOCKER is no unix socket")?;
        Ok(Self { socket: socket.into() })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The version that it tells.
    pub(super) fn version(&self) -> anyhow::Result<String> {
        let version = self.ask("GET", "/version", None)?;
        Ok(version["Version"].as_str().context("an engine without a version")?.to_owned())
    }

    /// Makes a container of the test application, and does not start it.
    pub(super) fn create(&self, name: &str, environment: &[&str]) -> anyhow::Result<()> {
        let container = json!({
            "Image": IMAGE,
            "Env": environment,
            "ExposedPorts": { "80/tcp": {} },
        });
        self.ask("POST", &format!("/containers/create?name={name}"), Some(&container))?;
        Ok(())
    }

    /// Returns when the engine says that it is started.
    pub(super) fn start(&self, name: &str) -> anyhow::Result<()> {
        self.ask("POST", &format!("/containers/{name}/start"), None)?;
        Ok(())
    }

    pub(super) fn stop(&self, name: &str) -> anyhow::Result<()> {
        self.ask("POST", &format!("/containers/{name}/stop?t=5"), None)?;
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.ask("DELETE", &format!("/containers/{name}?force=true"), None)?;
        Ok(())
    }

    /// The address of a container that runs.
    pub(super) fn address(&self, name: &str) -> anyhow::Result<Ipv4Addr> {
        let details = self.ask("GET", &format!("/containers/{name}/json"), None)?;
        let address = details["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default();
        address.parse().with_context(|| format!("{name} has the address `{address}`"))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        // HTTP/1.0: the answer ends with the connection, and is not chunked.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = || {
            let stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            let answer = exchange::ask(stream, request.as_bytes())?.successful()?;
            if answer.is_empty() { Ok(Value::Null) } else { answer.json() }
        };
        answer().with_context(|| format!("{method} {path}"))
    }
}
