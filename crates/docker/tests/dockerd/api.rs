//! The engine's API, as somebody else would use it: not through the crate under test.

use std::path::PathBuf;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// A client of the private engine, one connection per request.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) socket: PathBuf,
}

impl Api {
    /// The engine that this variable of the environment names.
    pub(crate) fn of(variable: &str) -> Self {
        let Ok(url) = std::env::var(variable) else {
            panic!("{variable} must name a private engine: `cargo xtask with-engines -- …`");
        };
        let Some(path) = url.strip_prefix("unix://") else {
            panic!("{variable} must be a unix:// URL, not `{url}`");
        };
        Self { socket: PathBuf::from(path) }
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let head_length = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let body = answer.split_off(head_length);
        let head = String::from_utf8(answer).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// A request that must succeed, or find things as they should be.
    pub(crate) async fn must(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let (status, answer) = self.request(method, path, body).await;
        let words = String::from_utf8_lossy(&answer);
        assert!(status < 300 || status == 304, "{method} {path}: {status} {words}");
        answer
    }

    pub(crate) async fn create(&self, name: &str, definition: &Value) -> String {
        let path = format!("/containers/create?name={name}");
        let answer = self.must("POST", &path, definition.to_string().as_bytes()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["Id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn post(&self, name: &str, verb: &str) {
        self.must("POST", &format!("/containers/{name}/{verb}"), b"").await;
    }

    pub(crate) async fn inspect(&self, name: &str) -> Value {
        let answer = self.must("GET", &format!("/containers/{name}/json"), b"").await;
        serde_json::from_slice(&answer).unwrap()
    }

    /// Removes it, whatever its state, if it is there.
    pub(crate) async fn remove(&self, name: &str) {
        let path = format!("/containers/{name}?force=true&v=true");
        let (status, answer) = self.request("DELETE", &path, b"").await;
        let words = String::from_utf8_lossy(&answer);
        assert!(matches!(status, 204 | 404 | 409), "{status} {words}");
    }

    /// What it wrote since its last end. (Not since its start: a quick process writes before the
    /// engine notes that it started.)
    pub(crate) async fn log(&self, name: &str) -> String {
        let since = self.inspect(name).await["State"]["FinishedAt"].as_str().unwrap().to_owned();
        // Without the `Z`, times of fewer digits are compared rightly.
        let since = since.trim_end_matches('Z');
        let path = format!("/containers/{name}/logs?stdout=true&stderr=true&timestamps=true");
        let log = self.must("GET", &path, b"").await;
        let mut rest = log.as_slice();
        let mut lines = String::new();
        // Frames: a header of eight bytes that ends with the length, then the time and the text.
        while let Some((header, after)) = rest.split_at_checked(8) {
            let length = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
            let (frame, after) = after.split_at(length);
            rest = after;
            if let Some((time, text)) = std::str::from_utf8(frame).unwrap().split_once(' ')
                && time > since
            {
                lines.push_str(text);
            }
        }
        lines
    }
}
