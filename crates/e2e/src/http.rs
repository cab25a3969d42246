//! A small HTTP/1.1 client for tests: one connection per request, or one that the test holds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::wait::{DEADLINE, within};

/// The largest answer that is read as a whole.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Request {
    address: SocketAddr,
    source: Option<IpAddr>,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    deadline: Duration,
}

/// `GET target` from `address`. The host is `localhost` until [`Request::host`] says otherwise.
pub fn get(address: impl Into<SocketAddr>, target: &str) -> Request {
    Request {
        address: address.into(),
        source: None,
        method: Method::GET,
        target: target.to_owned(),
        headers: HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]),
        body: Bytes::new(),
        deadline: DEADLINE,
    }
}

/// `POST target` with a body.
pub fn post(address: impl Into<SocketAddr>, target: &str, body: impl Into<Bytes>) -> Request {
    let mut request = get(address, target);
    request.method = Method::POST;
    request.body = body.into();
    request
}

impl Request {
    /// Another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sent from this address of the loopback, so that clients can be told apart.
    #[must_use]
    pub fn source(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The `Host` header.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.headers.insert(HOST, HeaderValue::from_str(host).expect("a valid host"));
        self
    }

    /// One more header; the same name may come several times.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a valid header value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// This JSON as the body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into();
        self.header("content-type", "application/json")
    }

    /// As a browser asks for a page.
    #[must_use]
    pub fn navigation(self) -> Self {
        self.header("sec-fetch-mode", "navigate").header("accept", "text/html,*/*;q=0.8")
    }

    /// Until the whole answer is there; 20 s unless told.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// If there is none within the deadline.
    pub async fn send(self) -> Response {
        let shown = format!("{} {}", self.method, self.target);
        match self.try_send().await {
            Ok(response) => response,
            Err(error) => panic!("{shown}: {error:#}"),
        }
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// If no connection is made, it breaks, or the deadline passes.
    pub async fn try_send(self) -> anyhow::Result<Response> {
        let deadline = self.deadline;
        let exchange = async { self.try_open().await?.finish().await };
        tokio::time::timeout(deadline, exchange).await.context("the deadline has passed")?
    }

    /// Sends it and reads the head of the answer; the body is read by the test, as it comes.
    ///
    /// # Panics
    /// If there is none within the deadline.
    pub async fn open(self) -> Streaming {
        let what = format!("the head of the answer to {} {}", self.method, self.target);
        within(self.deadline, &what, self.try_open()).await.expect("an answer")
    }

    async fn try_open(self) -> anyhow::Result<Streaming> {
        let connecting = match self.source {
            None => TcpStream::connect(self.address).await,
            Some(source) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(source, 0))?;
                socket.connect(self.address).await
            }
        };
        self.exchange(connecting.context("connecting")?).await
    }

    /// Over a stream of any kind.
    pub(crate) async fn exchange<S>(self, stream: S) -> anyhow::Result<Streaming>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its end shows as the end of the body.
            drop(connection.await);
        }));
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.parse().context("the request's target")?;
        *request.headers_mut() = self.headers;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Streaming { status: head.status, headers: head.headers, body, _connection: connection })
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A header's value, if there is one that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Panics unless the test application has served it.
    pub fn assert_served(&self) {
        let is_its = self.text().starts_with("drowse-testapp");
        assert!(self.status == StatusCode::OK && is_its, "{} {}", self.status, self.text());
    }

    /// Panics unless it is drowse's own answer with this status, as programs read it; returns what
    /// went wrong, in words.
    pub fn assert_problem(&self, status: u16) -> String {
        let content_type = self.header("content-type").unwrap_or_default();
        let is_problem = content_type.starts_with("application/problem+json");
        let text = self.text();
        assert!(self.status == status && is_problem, "{} {content_type} {text}", self.status);
        assert_eq!(self.json()["status"], status, "{text}");
        text
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in: {}", self.text()),
        }
    }
}

/// An answer whose body is still coming. Dropping it breaks the connection off.
#[derive(Debug)]
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

impl Streaming {
    /// What comes next; `None` at the body's proper end.
    ///
    /// # Errors
    /// If the connection breaks before that.
    ///
    /// # Panics
    /// If nothing comes within the deadline.
    pub async fn chunk(&mut self, deadline: Duration) -> anyhow::Result<Option<Bytes>> {
        within(deadline, "the next bytes of a body", async {
            while let Some(frame) = self.body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Reads the rest.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Response> {
        let mut body = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.context("in the middle of the body")?.into_data() {
                body.extend_from_slice(&data);
            }
            if body.len() > BODY_LIMIT {
                bail!("the body is larger than {BODY_LIMIT} bytes");
            }
        }
        Ok(Response { status: self.status, headers: self.headers, body: body.freeze() })
    }
}

/// A connection on which the test says each byte.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    unread: BytesMut,
}

impl RawConnection {
    /// Connects.
    pub async fn open(address: impl Into<SocketAddr>) -> Self {
        let connecting = TcpStream::connect(address.into());
        let stream = within(DEADLINE, "a connection", connecting).await.expect("a connection");
        Self { stream, unread: BytesMut::new() }
    }

    /// Connects from this address of our own.
    ///
    /// # Panics
    /// If the address is none of ours, or nobody accepts the connection.
    pub async fn open_from(source: impl Into<IpAddr>, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(source.into(), 0)).expect("an address of ours");
        let stream = within(DEADLINE, "a connection", socket.connect(address)).await;
        Self { stream: stream.expect("a connection"), unread: BytesMut::new() }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = self.stream.write_all(bytes.as_ref());
        within(DEADLINE, "bytes to be taken", sending).await.expect("bytes to be taken");
    }

    /// Says that no more will be sent.
    pub async fn shut_down_sending(&mut self) {
        self.stream.shutdown().await.expect("the sending half to be closed");
    }

    /// Reads up to and including `end`.
    ///
    /// # Panics
    /// If the connection ends before, or `end` has not come within the deadline.
    pub async fn read_until(&mut self, end: &str, deadline: Duration) -> String {
        let what = format!("{end:?} on a raw connection");
        within(deadline, &what, async {
            loop {
                let position =
                    self.unread.windows(end.len()).position(|window| window == end.as_bytes());
                if let Some(position) = position {
                    let text = self.unread.split_to(position + end.len());
                    return String::from_utf8_lossy(&text).into_owned();
                }
                let read = self.stream.read_buf(&mut self.unread).await.expect("bytes");
                assert!(read > 0, "the connection ended before {what}, after {:?}", self.unread);
            }
        })
        .await
    }

    /// Reads one line; `None` if the connection ends before.
    pub async fn read_line(&mut self) -> Option<String> {
        within(DEADLINE, "a line on a raw connection", async {
            loop {
                if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                    let line = self.unread.split_to(end + 1);
                    return Some(String::from_utf8_lossy(&line).into_owned());
                }
                if !matches!(self.stream.read_buf(&mut self.unread).await, Ok(read) if read > 0) {
                    return None;
                }
            }
        })
        .await
    }

    /// Reads an answer's head.
    pub async fn read_head(&mut self, deadline: Duration) -> String {
        self.read_until("\r\n\r\n", deadline).await
    }

    /// Reads until the connection ends, in whatever way. What was left unread comes first.
    pub async fn read_to_end(&mut self, deadline: Duration) -> Bytes {
        within(deadline, "the end of a raw connection", async {
            while !matches!(self.stream.read_buf(&mut self.unread).await, Ok(0) | Err(_)) {}
        })
        .await;
        self.unread.split().freeze()
    }
}
