//! HTTP/1.1 on one TLS connection, and nothing of what is asked on it.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt as _};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Body as _,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{ClientError, Endpoint, answer::Answer, tls::Tls};

/// What an answer's headers may take, all together.
const HEADERS_MAX: usize = 64 * 1024;

/// How long an address has before the host's next one is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection that speaks HTTP.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

/// Why there is no answer.
pub(super) enum Broken {
    /// Nothing of one came.
    BeforeAnswer(hyper::Error),
    /// It came in part.
    InAnswer(hyper::Error),
    /// It is longer than is read.
    TooLong(usize),
}

/// Makes connections.
pub(super) struct Dialer {
    tls: Tls,
    connect_timeout: Duration,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Which address of each endpoint answered last: it is tried first.
    answered: Mutex<HashMap<Endpoint, SocketAddr>>,
}

impl Dialer {
    pub(super) fn new(
        tls: Tls,
        connect_timeout: Duration,
        closing: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { tls, connect_timeout, closing, tasks, answered: Mutex::default() }
    }

    /// Connects. Dropping the future gives up the connection.
    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Connection, ClientError> {
        let unreachable = |error: io::Error| ClientError::Unreachable {
            endpoint: endpoint.to_string(),
            reason: endpoint.explain(&error),
            was_sent: false,
            source: Some(Arc::new(error)),
        };
        let connected = tokio::time::timeout(self.connect_timeout, async {
            let stream = self.connect(endpoint).await.map_err(unreachable)?;
            let stream = self.tls.handshake(endpoint, stream).await?;
            let shaken = http1::Builder::new()
                .max_buf_size(HEADERS_MAX)
                .handshake(TokioIo::new(stream))
                .await;
            shaken.map_err(|error| ClientError::Unreachable {
                endpoint: endpoint.to_string(),
                reason: "the connection broke at once".to_owned(),
                was_sent: false,
                source: Some(Arc::new(error)),
            })
        });
        let (sender, connection) = match connected.await {
            Ok(connected) => connected?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            if let Some(Err(error)) = closing.run_until_cancelled(connection).await {
                tracing::trace!(error = &error as &dyn std::error::Error, "connection ended");
            }
        });
        Ok(Connection { sender })
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        let last = self.answered().get(endpoint).copied();
        let stream = connect(endpoint, last).await?;
        self.answered().insert(endpoint.clone(), stream.peer_addr()?);
        Ok(stream)
    }

    fn answered(&self) -> MutexGuard<'_, HashMap<Endpoint, SocketAddr>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether a request can be sent on it, as far as is known: the other side may have closed it
    /// this very moment.
    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until another request can be sent, or never again: whether it can.
    pub(super) async fn settles(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Asks, and reads the whole answer, of at most `limit` bytes. Dropping the future closes the
    /// connection.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Answer, Broken> {
        let answer = self.sender.send_request(request).await.map_err(Broken::BeforeAnswer)?;
        let (head, mut body) = answer.into_parts();
        // A length that is announced too long is not even begun to be read.
        if body.size_hint().lower() > limit as u64 {
            return Err(Broken::TooLong(limit));
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                // All that counts is said in the head, and some end without TLS's own goodbye.
                Err(_) if !head.status.is_success() => break,
                Err(error) => return Err(Broken::InAnswer(error)),
            };
            if let Ok(data) = frame.into_data() {
                if whole.len() + data.len() > limit {
                    return Err(Broken::TooLong(limit));
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(Answer { head, body: whole.freeze() })
    }
}

/// Connects to the first of a host's addresses that answers. One from which nothing comes (IPv6 that
/// leads nowhere, mostly) does not hold up the next: that one is tried beside it.
async fn connect(endpoint: &Endpoint, last: Option<SocketAddr>) -> io::Result<TcpStream> {
    let found = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(|address| Some(*address) != last);
    let mut addresses = addresses.into_iter().peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::other("it has no address");
    loop {
        match addresses.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let ended = match addresses.peek() {
            Some(_) => tokio::time::timeout(HEAD_START, attempts.next()).await.ok().flatten(),
            None => attempts.next().await,
        };
        match ended {
            Some(Ok(stream)) => {
                keep_alive(&stream)?;
                return Ok(stream);
            }
            Some(Err(error)) => failure = error,
            None => {}
        }
    }
}

/// A half-open connection says nothing, for ever: ask the other side's kernel every few seconds.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5))
            .with_retries(3),
    )
}
