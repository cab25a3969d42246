//! The private Docker engine, over its API.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::net::UnixStream;

use crate::container::ContainerSpec;
use crate::http::{self as client, Response};
use crate::wait::{required, within};

/// How long the engine may take for one request. A stop with a grace period takes longer than
/// most.
const REQUEST_DEADLINE: Duration = Duration::from_mins(1);

/// The engine that the runner started for the tests.
#[derive(Debug, Clone)]
pub struct Dockerd {
    socket: PathBuf,
}

impl Dockerd {
    /// The engine that `DROWSE_TEST_DOCKER` names.
    ///
    /// # Panics
    /// Outside of `cargo xtask test` and `cargo xtask with-engines`.
    pub fn from_env() -> Self {
        Self::named_by("DROWSE_TEST_DOCKER")
    }

    /// The Podman that `DROWSE_TEST_PODMAN` names, which has the same API.
    ///
    /// # Panics
    /// Where the runner started none.
    pub fn podman() -> Self {
        Self::named_by("DROWSE_TEST_PODMAN")
    }

    /// The Podman that `DROWSE_TEST_ROOTLESS_PODMAN` names, of a user who is not root.
    ///
    /// # Panics
    /// Where the runner started none.
    pub fn rootless_podman() -> Self {
        Self::named_by("DROWSE_TEST_ROOTLESS_PODMAN")
    }

    fn named_by(variable: &str) -> Self {
        let url = required(variable);
        let Some(socket) = url.strip_prefix("unix://") else {
            panic!("{variable} is {url}, expected unix://…");
        };
        Self { socket: socket.into() }
    }

    /// The engine that listens at this socket.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Its socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// A container that is to be made of the test application. The real name has a suffix, so that
    /// tests that run at once do not meet.
    pub fn container(&self, name: &str) -> ContainerSpec {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        ContainerSpec::new(self.clone(), format!("{name}-{}-{count}", std::process::id()))
    }

    /// One request to its API.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let what = format!("{method} {path}");
        // The address is of no use on a socket of the file system.
        let mut request = client::get(([127, 0, 0, 1], 0), path).method(method);
        if let Some(body) = body {
            request = request.json(body);
        }
        let exchange = async {
            let stream = UnixStream::connect(&self.socket).await?;
            request.exchange(stream).await?.finish().await
        };
        within(REQUEST_DEADLINE, &what, exchange).await.unwrap_or_else(|e| panic!("{what}: {e:#}"))
    }

    /// One request with a body of any kind.
    ///
    /// # Panics
    /// If there is no answer.
    pub(crate) async fn send_body(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Response {
        let what = format!("{method} {path}");
        let request = client::post(([127, 0, 0, 1], 0), path, body).method(method);
        let request = request.header("content-type", content_type);
        let exchange = async {
            let stream = UnixStream::connect(&self.socket).await?;
            request.exchange(stream).await?.finish().await
        };
        within(REQUEST_DEADLINE, &what, exchange).await.unwrap_or_else(|e| panic!("{what}: {e:#}"))
    }

    /// One request that must succeed; the answer's JSON, or null where it has none.
    ///
    /// # Panics
    /// With what the engine says, if it refuses.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let answer = self.successful(method, path, body).await;
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// One request that must succeed.
    ///
    /// # Panics
    /// With what the engine says, if it refuses.
    pub(crate) async fn successful(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Response {
        let what = format!("{method} {path}");
        let answer = self.request(method, path, body).await;
        let fine = answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED;
        assert!(fine, "{what}: {} {}", answer.status, answer.text());
        answer
    }

    /// Removes a container whatever its state, without a runtime: for use in `drop`.
    pub(crate) fn remove_blocking(&self, name: &str) -> std::io::Result<()> {
        self.delete_blocking(&format!("/containers/{name}?force=1&v=1"))
    }

    /// Deletes something, without a runtime.
    pub(crate) fn delete_blocking(&self, path: &str) -> std::io::Result<()> {
        let mut stream = std::os::unix::net::UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
        write!(stream, "DELETE {path} HTTP/1.0\r\n\r\n")?;
        // Its answer comes when the container is gone; one that says "gone before" is as good.
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    }
}
