//! A client's connection: which protocol it speaks, its requests, and its end.

mod attended;
pub(crate) mod cut;
mod first_bytes;
mod http2;
mod secure;
mod stream;
mod timer;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use self::{attended::Attended, timer::Timekeeper};
use crate::{
    client::{Client, Scheme},
    dial, forwarders,
    gateway::{Inner, ListenerOptions, Phases, Signal, Slot},
    handler,
    headers::PeerHeaders,
    in_flight::{Place, Streams},
    tls::Secured,
    woken::WhenWoken,
};

/// A connection that was accepted, of which nothing was read yet.
pub(crate) struct Arrival {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) listener: Arc<ListenerOptions>,
    pub(crate) phases: Phases,
    /// Where an upgraded connection goes on.
    pub(crate) tasks: TaskTracker,
    /// Who connects: as a proxy in front says it by the PROXY protocol, if it does.
    pub(crate) peer: SocketAddr,
    /// What was connected to, likewise.
    pub(crate) local: Option<SocketAddr>,
    /// The connection's place among the open ones.
    pub(crate) slot: Slot,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// What the requests of one connection share.
pub(crate) struct Context {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) phases: Phases,
    /// Where an upgraded connection goes on.
    pub(crate) tasks: TaskTracker,
    pub(crate) peer: SocketAddr,
    /// What upstreams are told about the client.
    pub(crate) peer_headers: PeerHeaders,
    /// Whether the peer is a proxy that is believed about its clients.
    trusts_peer: bool,
    /// Whether the peer is known to send forwarding headers.
    is_noted: AtomicBool,
    /// The request on it, if it speaks HTTP/1.1.
    pub(crate) place: Place,
    /// The requests on it, if it speaks HTTP/2.
    pub(crate) streams: Option<Arc<Streams>>,
    /// What its handshake has told, if it speaks TLS.
    pub(crate) secured: Option<Box<Secured>>,
    /// Whether it has left HTTP for another protocol.
    pub(crate) is_upgraded: AtomicBool,
    /// Its key among the open connections.
    key: usize,
    _slot: Slot,
}

impl Context {
    /// Adds a connection to the open ones.
    fn open(arrival: Arrival, secured: Option<Secured>, protocol: Protocol) -> Arc<Self> {
        let Arrival { gateway, listener: _, phases, tasks, peer, local, slot } = arrival;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let peer_headers = PeerHeaders::new(peer.ip(), local.map(|local| local.port()));
        let trusts_peer = gateway.options().trusted_proxies.contains(peer.ip());
        let streams = (protocol == Protocol::Http2).then(|| Arc::new(Streams::new()));
        Arc::clone(&gateway).connections.add(|key| Self {
            gateway,
            phases,
            tasks,
            peer,
            peer_headers,
            trusts_peer,
            is_noted: AtomicBool::new(false),
            place: Place::new(),
            streams,
            secured: secured.map(Box::new),
            is_upgraded: AtomicBool::new(false),
            key,
            _slot: slot,
        })
    }

    /// On whose behalf a request of this connection comes.
    pub(crate) fn client_of(&self, headers: &HeaderMap) -> Client {
        let peer = self.peer.ip();
        let scheme = if self.secured.is_some() { Scheme::Https } else { Scheme::Http };
        if self.trusts_peer {
            Client::told_by(peer, scheme, headers, &self.gateway.options().trusted_proxies)
        } else {
            Client::of_connection(peer, scheme)
        }
    }

    /// Remembers that the peer sends forwarding headers. If it is not believed, says so, once.
    pub(crate) fn note_forwarder(&self) {
        if self.is_noted.load(Ordering::Relaxed) || self.is_noted.swap(true, Ordering::Relaxed) {
            return;
        }
        let peer = self.peer.ip();
        if self.gateway.forwarders.note(peer) && !self.trusts_peer {
            tracing::info!(%peer, "{}", forwarders::not_believed(peer));
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.gateway.connections.remove(self.key);
    }
}

/// How long a client that was accepted may take to begin when a shutdown does: it has just connected, and
/// is about to send its request.
const JUST_CONNECTED: Duration = Duration::from_millis(250);

/// Serves a connection until its end. Dropping the future cuts it.
pub(crate) async fn serve(mut stream: TcpStream, mut arrival: Arrival) {
    let user_timeout = Some(arrival.gateway.options().user_timeout);
    let tuned = dial::tune(&stream)
        .and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(user_timeout));
    if let Err(error) = tuned {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection is gone already");
        return;
    }
    arrival.local = stream.local_addr().ok();
    // What few listeners do is large: not part of every connection's memory.
    if arrival.listener.proxy_protocol
        && !Box::pin(secure::read_addresses(&mut stream, &mut arrival)).await
    {
        return;
    }
    if let Some(tls) = arrival.listener.tls.clone() {
        Box::pin(secure::serve(stream, arrival, tls)).await;
    } else {
        serve_clear(stream, arrival).await;
    }
}

/// Serves what its first bytes tell.
async fn serve_clear(stream: TcpStream, arrival: Arrival) {
    let looked = asked(&arrival, first_bytes::look(Attended::new(stream))).await;
    let Some(Ok(Some((protocol, mut stream)))) = looked else {
        tracing::debug!(peer = %arrival.peer, "a connection ended without a request");
        return;
    };
    let context = Context::open(arrival, None, protocol);
    if protocol == Protocol::Http1 {
        stream.get_mut().attend(&context);
    }
    serve_http(stream, context).await;
}

/// Waits for a client's first bytes, for as long as a head may take to arrive; `None` if it does not begin.
/// (Browsers open connections that they may come to need.)
async fn asked<T>(arrival: &Arrival, beginning: impl Future<Output = T>) -> Option<T> {
    let bound = arrival.gateway.options().header_read_timeout;
    begin(arrival, bound, JUST_CONNECTED, beginning).await
}

/// Waits for a client to begin, at most `bound`, and in a shutdown at most `still`; `None` if it does not.
async fn begin<T>(
    arrival: &Arrival,
    bound: Duration,
    still: Duration,
    beginning: impl Future<Output = T>,
) -> Option<T> {
    let mut beginning = pin!(timeout(bound, beginning));
    tokio::select! {
        biased;
        begun = &mut beginning => return begun.ok(),
        () = arrival.phases.shutdown.cancelled() => {}
        () = arrival.phases.cut.cancelled() => return None,
    }
    tokio::select! {
        biased;
        begun = timeout(still, beginning) => begun.ok()?.ok(),
        () = arrival.phases.cut.cancelled() => None,
    }
}

async fn serve_http<S>(stream: S, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match &context.streams {
        None => cut::cuttable(serve_http1(stream, context)).await,
        Some(streams) => {
            let streams = Arc::clone(streams);
            // Large as well.
            Box::pin(http2::serve(stream, context, streams)).await;
        }
    }
}

async fn serve_http1<S>(stream: S, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = context.gateway.options();
    let phases = context.phases.clone();
    let mut builder = http1::Builder::new();
    builder
        .timer(Timekeeper::default())
        .header_read_timeout(options.header_read_timeout)
        // The stream itself knows who has left and who has said all.
        .half_close(true)
        .max_header_size(options.max_header_bytes);
    let service = service_fn(move |request| handler::handle(Arc::clone(&context), request));
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    let mut signal = pin!(phases.next());

    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        signal = WhenWoken::new(signal.as_mut()) => {
            if signal == Signal::Cut {
                return;
            }
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = phases.cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
    }
}
