//! The application behind the gateway: an HTTP server in this process that can do odd things.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What it speaks.
#[derive(Clone, Default)]
pub(crate) enum Speaks {
    #[default]
    Http1,
    /// HTTP/2 in clear, with so many requests at a time on a connection.
    Http2 { max_streams: u32 },
    /// What is agreed upon.
    Tls(TlsAcceptor),
}

/// Frees its port when dropped.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

pub(crate) struct State {
    pub(crate) connections: AtomicUsize,
    pub(crate) open: watch::Sender<usize>,
    pub(crate) requests: AtomicUsize,
    /// Whether probes and requests are answered, or get 503.
    pub(crate) is_up: AtomicBool,
    /// Closes every connection at its first byte, without an answer.
    pub(crate) closes: AtomicBool,
    /// Closes a connection at its second request, without an answer.
    pub(crate) closes_reused: AtomicBool,
    /// The heads of all requests but probes, as `METHOD target`, each with its headers.
    pub(crate) seen: Mutex<Vec<(String, http::HeaderMap)>>,
    /// The other end of each `/sse`, `/upload` in progress…
    pub(crate) events: watch::Sender<Vec<mpsc::Sender<Bytes>>>,
    pub(crate) received: watch::Sender<usize>,
}

impl Drop for Application {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Application {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::start_speaking(address, Speaks::Http1)
    }

    pub(crate) fn start_speaking(address: SocketAddr, speaks: Speaks) -> Self {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4().unwrap(),
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6().unwrap(),
        };
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            connections: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            requests: AtomicUsize::new(0),
            is_up: AtomicBool::new(true),
            closes: AtomicBool::new(false),
            closes_reused: AtomicBool::new(false),
            seen: Mutex::default(),
            events: watch::Sender::default(),
            received: watch::Sender::new(0),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&state), speaks));
        Self { address, state, server }
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn last_seen(&self) -> (String, http::HeaderMap) {
        self.state.seen.lock().unwrap().last().expect("no request came").clone()
    }

    /// Ends it as a crash would: the port refuses from now on, and connections break.
    pub(crate) async fn stop(mut self) {
        self.server.abort();
        _ = (&mut self.server).await;
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, speaks: Speaks) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        state.connections.fetch_add(1, Ordering::SeqCst);
        state.open.send_modify(|open| *open += 1);
        let (state, speaks) = (Arc::clone(&state), speaks.clone());
        connections.spawn(async move {
            match speaks {
                Speaks::Http1 => serve_http1(stream, &state).await,
                Speaks::Http2 { max_streams } => serve_http2(stream, &state, max_streams).await,
                Speaks::Tls(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => serve_http2(stream, &state, 100).await,
                            _ => serve_http1(stream, &state).await,
                        }
                    }
                }
            }
            state.open.send_modify(|open| *open -= 1);
        });
        while connections.try_join_next().is_some() {}
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

async fn serve_http1(stream: impl Stream, state: &Arc<State>) {
    let of_service = Arc::clone(state);
    let served = AtomicUsize::new(0);
    let service = service_fn(move |request| {
        let is_reused = served.fetch_add(1, Ordering::SeqCst) > 0;
        answer(request, Arc::clone(&of_service), is_reused)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    _ = connection.with_upgrades().await;
}

async fn serve_http2(stream: impl Stream, state: &Arc<State>, max_streams: u32) {
    let of_service = Arc::clone(state);
    let service = service_fn(move |request| answer(request, Arc::clone(&of_service), false));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(max_streams);
    _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed()
}

async fn answer(
    mut request: Request<Incoming>,
    state: Arc<State>,
    is_reused: bool,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let closes = state.closes.load(Ordering::SeqCst);
    if closes || (is_reused && state.closes_reused.load(Ordering::SeqCst)) {
        return Err("closed on purpose".into());
    }
    let is_probe = request.headers().contains_key("drowse-probe");
    if !state.is_up.load(Ordering::SeqCst) {
        let mut response = Response::new(full("starting"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    if !is_probe {
        let head = format!("{} {}", request.method(), request.uri());
        state.seen.lock().unwrap().push((head, request.headers().clone()));
        state.requests.fetch_add(1, Ordering::SeqCst);
    }
    let response = match request.uri().path() {
        "/close" => return Err("closed on purpose".into()),
        "/close-once" if state.requests.load(Ordering::SeqCst) == 1 => {
            return Err("closed on purpose".into());
        }
        "/hang" => std::future::pending().await,
        "/early" => Response::new(full("no need to read all that")),
        "/hop" => Response::builder()
            .header("connection", "x-hop, keep-alive")
            .header("keep-alive", "timeout=9")
            .header("x-hop", "1")
            .header("x-end", "1")
            .header("proxy-authenticate", "Basic")
            .body(full("hop"))?,
        "/echo" => {
            let received = state.received.clone();
            let body = request.into_body().map_frame(move |frame| {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                received.send_modify(|sum| *sum += bytes);
                frame
            });
            Response::new(body.map_err(Into::into).boxed())
        }
        "/upload" => {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                let bytes = frame?.data_ref().map_or(0, Bytes::len);
                state.received.send_modify(|sum| *sum += bytes);
            }
            Response::new(full(state.received.borrow().to_string()))
        }
        "/trailers-seen" => {
            let body = request.into_body().collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
            Response::new(full(names.join(" ")))
        }
        "/trailers" => {
            let sum: http::HeaderMap =
                [(http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("9"))]
                    .into_iter()
                    .collect();
            let frames = [Ok(Frame::data(Bytes::from_static(b"text"))), Ok(Frame::trailers(sum))];
            let body = StreamBody::new(futures::stream::iter(frames));
            Response::builder().header("trailer", "x-sum").body(BodyExt::boxed(body))?
        }
        "/sse" => {
            let (sender, receiver) = mpsc::channel(16);
            state.events.send_modify(|events| events.push(sender));
            let frames = receiver.map(|bytes| Ok(Frame::data(bytes)));
            Response::builder()
                .header(header::CONTENT_TYPE, "text/event-stream")
                .body(BodyExt::boxed(StreamBody::new(frames)))?
        }
        "/ws" => {
            let key = request.headers()[header::SEC_WEBSOCKET_KEY].clone();
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary())
                        && socket.send(message).await.is_err()
                    {
                        return;
                    }
                }
            });
            Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
                .body(full(""))?
        }
        "/missing" => Response::builder().status(404).body(full("the application's own 404"))?,
        _ => Response::new(full("hello")),
    };
    Ok(response)
}
