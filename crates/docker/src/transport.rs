//! HTTP/1.1 to one engine: requests and their connections, and nothing of Docker.

use std::{
    error::Error,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{Method, Request, Response, response::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    dial::{DialError, Dialer, Stream},
    endpoint::Endpoint,
};

/// What an answer's headers may take, all together.
const HEADERS_MAX: usize = 64 * 1024;

/// How long an idle connection is kept. Shorter than the keep-alive times of the usual proxies, so
/// that it is us who closes.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// How many reads are under way at once; further ones wait for their turn, within their deadlines.
/// A thousand workloads that are read at the start of the program must not be a thousand
/// connections.
const READS_MAX: usize = 16;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// No connection could be made. The reason says how to mend it.
    #[error("{reason}")]
    Connect { reason: String, source: Option<Box<dyn Error + Send + Sync>> },
    /// The connection broke before the answer was complete.
    #[error("the connection broke before the answer was complete")]
    Broken(#[source] hyper::Error),
    /// No answer came for as long as an order is waited for.
    #[error("the engine took the order and never answered")]
    Silent,
    /// The engine handle was closed meanwhile.
    #[error("closed")]
    Closed,
    /// The answer's body is longer than is read.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge { limit: usize },
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

/// The head of an answer that is still to come.
pub(crate) type Opening = BoxFuture<'static, Result<Response<Incoming>, TransportError>>;

/// A connection to the engine, which speaks HTTP.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Why it broke, if that was while nothing was asked on it.
    broken: oneshot::Receiver<hyper::Error>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The connections to one engine. None is made before the first request.
pub(crate) struct Transport {
    endpoint: Endpoint,
    dialer: Dialer,
    connect_timeout: Duration,
    closing: CancellationToken,
    tasks: TaskTracker,
    reads: Semaphore,
    /// Ordered by age: the youngest last.
    idle: Mutex<Vec<Idle>>,
}

impl Transport {
    pub(crate) fn new(
        endpoint: Endpoint,
        dialer: Dialer,
        connect_timeout: Duration,
        closing: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            endpoint,
            dialer,
            connect_timeout,
            closing,
            tasks,
            reads: Semaphore::new(READS_MAX),
            idle: Mutex::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The host on which the engine is, as far as is known; `None`: this machine, by a socket of
    /// its own.
    pub(crate) fn host(&self) -> Option<String> {
        self.dialer.host().or_else(|| self.endpoint.host().map(str::to_owned))
    }

    /// Why a connection broke, if that can be known: a lower-case fragment.
    pub(crate) fn explain_break(&self, error: &hyper::Error) -> Option<String> {
        self.dialer.explain_break(error)
    }

    /// Reads the whole answer, of at most `limit` bytes. May use an idle connection, and asks once
    /// more on a new one if that was dead.
    pub(crate) async fn get(&self, path: &str, limit: usize) -> Result<Answer, TransportError> {
        let _turn = self.reads.acquire().await.map_err(|_| TransportError::Closed)?;
        // Boxed: whoever waits for a turn takes little memory.
        Box::pin(self.get_now(path, limit)).await
    }

    async fn get_now(&self, path: &str, limit: usize) -> Result<Answer, TransportError> {
        if let Some(mut connection) = self.take_idle() {
            match connection.exchange(self.request(Method::GET, path), limit).await {
                // It was closed by the engine while it lay idle.
                Err(TransportError::Broken(_)) => {}
                settled => return self.finish(connection, settled),
            }
        }
        let mut connection = self.dial().await?;
        let answer = connection.exchange(self.request(Method::GET, path), limit).await;
        self.finish(connection, answer)
    }

    /// Gives an order: always on a new connection and never twice, since an idle connection that
    /// dies leaves it open whether the order was taken.
    ///
    /// Dropped before the order is sent, nothing is ordered. Afterwards the connection is held open
    /// for `abandoned_for` more: some engines give up an order whose client has gone.
    pub(crate) async fn post(
        &self,
        path: &str,
        limit: usize,
        abandoned_for: Duration,
    ) -> Result<Answer, TransportError> {
        let mut connection = self.dial().await?;
        let request = self.request(Method::POST, path);
        let (answer, answered) = oneshot::channel();
        let closing = self.closing.clone();
        self.tasks.spawn(closing.run_until_cancelled_owned(async move {
            let exchange = connection.exchange(request, limit);
            let outcome = tokio::time::timeout(abandoned_for, exchange).await;
            // Nobody listens any more if the caller has given up.
            _ = answer.send(outcome);
        }));
        match answered.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(TransportError::Silent),
            Err(_) => Err(TransportError::Closed),
        }
    }

    /// Connects, and asks on that connection for an answer without end: the future of its head.
    /// Dropping the body closes the connection.
    pub(crate) async fn open(&self, path: &str) -> Result<Opening, TransportError> {
        let mut connection = self.dial().await?;
        let request = self.request(Method::GET, path);
        Ok(Box::pin(async move { connection.send(request).await }))
    }

    #[expect(
        clippy::expect_used,
        reason = "paths are built from checked names and encoded queries"
    )]
    fn request(&self, method: Method, path: &str) -> Request<Empty<Bytes>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.endpoint.host_header())
            .header(http::header::USER_AGENT, concat!("drowse/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .expect("the path is a valid one")
    }

    fn finish(
        &self,
        connection: Connection,
        answer: Result<Answer, TransportError>,
    ) -> Result<Answer, TransportError> {
        if answer.is_ok() && !connection.sender.is_closed() {
            let mut idle = self.idle();
            idle.push(Idle { connection, since: Instant::now() });
            let surplus = idle.len().saturating_sub(self.endpoint.connections_kept());
            idle.drain(..surplus);
        }
        answer
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|idle| idle.since.elapsed() < IDLE_MAX && !idle.connection.sender.is_closed());
        let youngest_ready = idle.iter().rposition(|idle| idle.connection.sender.is_ready())?;
        Some(idle.remove(youngest_ready).connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(&self) -> Result<Connection, TransportError> {
        let connected = tokio::time::timeout(self.connect_timeout, async {
            let stream = self.dialer.dial(&self.endpoint).await?;
            self.speak_http(stream).await.map_err(|error| {
                let reason = format!("the connection to `{}` broke at once", self.endpoint);
                DialError::new(reason, error)
            })
        });
        let DialError { reason, source } = match connected.await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => {
                let timed_out = io::Error::from(io::ErrorKind::TimedOut);
                DialError::new(self.endpoint.explain(&timed_out), timed_out)
            }
        };
        Err(TransportError::Connect { reason, source })
    }

    async fn speak_http(&self, stream: Box<dyn Stream>) -> hyper::Result<Connection> {
        let (sender, connection) =
            http1::Builder::new().max_buf_size(HEADERS_MAX).handshake(TokioIo::new(stream)).await?;
        let closing = self.closing.clone();
        let (end, broken) = oneshot::channel();
        self.tasks.spawn(async move {
            if let Some(Err(error)) = closing.run_until_cancelled(connection).await {
                tracing::trace!(error = &error as &dyn Error, "connection ended");
                // Nobody asks any more.
                _ = end.send(error);
            }
        });
        Ok(Connection { sender, broken })
    }
}

impl Connection {
    /// Asks, and waits for the answer's head.
    async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, TransportError> {
        let refused = match self.sender.send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // It broke before the request was written. Why, was told to the connection: an engine that
        // refuses our certificate says so, and waits for no request.
        if refused.is_canceled() || refused.is_closed() {
            return Err(TransportError::Broken((&mut self.broken).await.unwrap_or(refused)));
        }
        Err(TransportError::Broken(refused))
    }

    /// Asks, and reads the whole answer, of at most `limit` bytes.
    async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        limit: usize,
    ) -> Result<Answer, TransportError> {
        let (parts, mut body) = self.send(request).await?.into_parts();
        // A length that is announced too long is not even begun to be read.
        if body.size_hint().lower() > limit as u64 {
            return Err(TransportError::TooLarge { limit });
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(TransportError::Broken)?.into_data() {
                if whole.len() + data.len() > limit {
                    return Err(TransportError::TooLarge { limit });
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(Answer { head: parts, body: whole.freeze() })
    }
}
