//! Clients: one that speaks HTTP, and one that writes bytes.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The future's output, which must come soon enough.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it did not happen")
}

/// Waits for a level.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: it did not become so");
        sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a problem of this kind, and never to be stored.
    pub(crate) fn is_problem(&self, status: u16, reason: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["reason"], reason, "{self:?}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    }
}

/// A connection to the gateway.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn send(
    connection: &mut SendRequest<Empty<Bytes>>,
    request: Request<()>,
) -> Answer {
    connection.ready().await.unwrap();
    let request = request.map(|()| Empty::new());
    let (head, body) = connection.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// `GET path` of `app.test` with these headers.
pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(path).header("host", "app.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub(crate) async fn get_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut connection = connect(address).await;
    soon(send(&mut connection, request(path, headers))).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    get_with(address, path, &[]).await
}

/// A client that writes bytes.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(soon(TcpStream::connect(address)).await.unwrap())
    }

    pub(crate) async fn write(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.unwrap();
    }

    /// Writes, and says in the same breath that this was all.
    pub(crate) async fn write_all_there_is(&mut self, text: &str) {
        soon(self.0.writable()).await.unwrap();
        assert_eq!(self.0.try_write(text.as_bytes()).unwrap(), text.len());
        socket2::SockRef::from(&self.0).shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Goes away, a while after its last word: so it does not count as having said all.
    pub(crate) async fn leave(self) {
        sleep(Duration::from_millis(100)).await;
        drop(self);
    }

    /// Reads until the text so far contains this.
    pub(crate) async fn read_until(&mut self, wanted: &str) -> String {
        let mut text = Vec::new();
        soon(async {
            while !String::from_utf8_lossy(&text).contains(wanted) {
                let read = self.0.read_buf(&mut text).await.unwrap();
                assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&text));
            }
        })
        .await;
        String::from_utf8(text).unwrap()
    }

    /// Reads until the other end closes.
    pub(crate) async fn read_all(&mut self) -> String {
        let mut text = Vec::new();
        // A reset after the answer is an end, too.
        _ = soon(self.0.read_to_end(&mut text)).await;
        String::from_utf8(text).unwrap()
    }
}
