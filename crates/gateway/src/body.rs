//! Bodies that pass through, and what ends with them: the lease, and the use of an upstream's
//! connection.

mod gate;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use drowse_watcher::Lease;
use futures::{StreamExt as _, stream::BoxStream};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{sync::Notify, time::timeout};

use self::gate::Gate;
use crate::{
    Route, headers,
    in_flight::{Counter, Flight},
    pool::Connection,
};

/// What a client is answered with: streamed from an upstream, or drowse's own words.
pub(crate) enum ResponseBody {
    Own(Option<Bytes>),
    Streamed(Download),
    /// Drowse's own words, as they come.
    Events(BoxStream<'static, Bytes>),
}

impl ResponseBody {
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self::Own((!bytes.is_empty()).then_some(bytes))
    }

    pub(crate) fn empty() -> Self {
        Self::Own(None)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(download) => download.poll_frame(context),
            Self::Events(events) => {
                let words = ready!(events.poll_next_unpin(context));
                Poll::Ready(words.map(|words| Ok(Frame::data(words))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Streamed(download) => download.body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Streamed(download) => download.body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// An upstream's answer on its way to the client. Holds the lease, and gives the connection back
/// when the exchange is complete in both directions.
pub(crate) struct Download {
    body: Incoming,
    /// Was the end of the body seen? (A chunked one does not know beforehand.)
    ended: bool,
    connection: Option<Connection>,
    usage: Usage,
    flight: Flight,
}

impl Download {
    pub(crate) fn new(
        body: Incoming,
        connection: Connection,
        usage: Usage,
        flight: Flight,
    ) -> Self {
        Self { body, ended: false, connection: Some(connection), usage, flight }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.ended = true,
            Some(Ok(frame)) => self.flight.passed(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(error)) => {
                tracing::debug!(error = error as &dyn std::error::Error, "an answer broke off");
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let is_through = self.ended || self.body.is_end_stream();
        if is_through && self.usage.is_sent() {
            connection.give_back();
        } else if is_through && self.usage.is_asked_for() {
            connection.linger();
        } else {
            // Its client is gone, or waits to be asked for what nobody will ask for.
            connection.cut();
        }
    }
}

/// How long a body may be on its way back from a connection that did not take it: it is there all
/// but at once.
const RETURNING: Duration = Duration::from_millis(100);

/// The lease of one exchange. Shared only if there is a request body, which is then on its way in
/// the upstream connection's task.
pub(crate) enum Usage {
    Alone { _lease: Lease },
    WithUpload(Arc<Upload>),
}

/// What a request body and its answer share.
pub(crate) struct Upload {
    _lease: Lease,
    /// Where its bytes are counted.
    counter: Counter,
    is_sent: AtomicBool,
    /// Whether anything of it was taken.
    is_touched: AtomicBool,
    /// Opens when the upstream asks for it.
    gate: Gate,
    /// What comes back of a body that was not sent: all of it, if nothing of it was taken.
    back: Mutex<Option<Incoming>>,
    is_back: Notify,
    /// Its route, if that has something to hide from the application.
    guarded: Option<Route>,
}

/// When a request's body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    AtOnce,
    /// When the upstream asks for it (`Expect: 100-continue`).
    WhenAsked,
}

impl Usage {
    /// The lease for a request with this payload, and the body that sends it.
    pub(crate) fn new(
        lease: Lease,
        payload: Payload,
        flight: &Flight,
        sending: Sending,
    ) -> (Self, RequestBody) {
        match payload {
            Payload::Empty => (Self::Alone { _lease: lease }, RequestBody::Empty),
            Payload::Streamed(body) => {
                let upload = Arc::new(Upload {
                    _lease: lease,
                    counter: flight.counter(),
                    is_sent: AtomicBool::new(false),
                    is_touched: AtomicBool::new(false),
                    gate: Gate::new(sending),
                    back: Mutex::default(),
                    is_back: Notify::new(),
                    guarded: flight.route.0.guard.is_some().then(|| flight.route.clone()),
                });
                let usage = Self::WithUpload(Arc::clone(&upload));
                (usage, RequestBody::Streamed(Streaming { body: Some(body), upload }))
            }
        }
    }

    /// Whether the request is through to the upstream.
    pub(crate) fn is_sent(&self) -> bool {
        match self {
            Self::Alone { .. } => true,
            Self::WithUpload(upload) => upload.is_sent.load(Ordering::Acquire),
        }
    }

    /// Whether the upstream may have its body.
    fn is_asked_for(&self) -> bool {
        match self {
            Self::Alone { .. } => true,
            Self::WithUpload(upload) => upload.gate.is_open(),
        }
    }

    /// A request that is sent again under the same lease, with what was [reclaimed](Self::reclaim).
    pub(crate) fn renew(
        &self,
        parts: http::request::Parts,
        payload: Payload,
    ) -> http::Request<RequestBody> {
        let body = match (self, payload) {
            (Self::WithUpload(upload), Payload::Streamed(body)) => {
                RequestBody::Streamed(Streaming { body: Some(body), upload: Arc::clone(upload) })
            }
            _ => RequestBody::Empty,
        };
        http::Request::from_parts(parts, body)
    }

    /// The request's payload, which was on its way on a connection that failed; `None` if part of it is
    /// lost.
    pub(crate) async fn reclaim(&self) -> Option<Payload> {
        match self {
            Self::Alone { .. } => Some(Payload::Empty),
            Self::WithUpload(upload) if upload.is_touched.load(Ordering::Acquire) => None,
            Self::WithUpload(upload) => {
                timeout(RETURNING, upload.is_back.notified()).await.ok()?;
                upload.back().take().map(Payload::Streamed)
            }
        }
    }
}

impl Upload {
    fn back(&self) -> std::sync::MutexGuard<'_, Option<Incoming>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's body before it is sent.
pub(crate) enum Payload {
    Empty,
    Streamed(Incoming),
}

impl Payload {
    pub(crate) fn new(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Streamed(body) }
    }
}

/// A request's body on its way to an upstream. Keeps the lease as long as it is on its way.
pub(crate) enum RequestBody {
    Empty,
    Streamed(Streaming),
}

/// A body that is there only in part. Dropped untouched, it goes back to whoever sent it.
pub(crate) struct Streaming {
    /// `None`: it was taken out again.
    body: Option<Incoming>,
    upload: Arc<Upload>,
}

impl RequestBody {
    /// Takes the payload out of a request that was not sent.
    pub(crate) fn into_payload(self) -> Payload {
        match self {
            Self::Empty => Payload::Empty,
            Self::Streamed(mut streaming) => {
                streaming.body.take().map_or(Payload::Empty, Payload::Streamed)
            }
        }
    }

    /// What sends it from now on, whether or not the upstream asked for it.
    pub(crate) fn opener(&self) -> Option<impl Fn() + Send + Sync + 'static> {
        let Self::Streamed(Streaming { upload, .. }) = self else { return None };
        let upload = Arc::downgrade(upload);
        Some(move || {
            if let Some(upload) = upload.upgrade() {
                upload.gate.open();
            }
        })
    }
}

impl Streaming {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body: Some(body), upload } = self else { return Poll::Ready(None) };
        ready!(upload.gate.poll(context));
        let mut frame = ready!(Pin::new(&mut *body).poll_frame(context));
        upload.is_touched.store(true, Ordering::Release);
        if let Some(Ok(frame)) = &mut frame {
            upload.counter.passed(frame.data_ref().map_or(0, Bytes::len));
            if let Some(trailers) = frame.trailers_mut() {
                headers::prepare_trailers(trailers);
                if let Some(guard) =
                    upload.guarded.as_ref().and_then(|route| route.0.guard.as_ref())
                {
                    guard.hide(trailers);
                }
            }
        }
        if frame.is_none() || body.is_end_stream() {
            upload.is_sent.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if !self.upload.is_touched.load(Ordering::Acquire) {
            *self.upload.back() = self.body.take();
            self.upload.is_back.notify_one();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(streaming) => streaming.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(Streaming { body, .. }) => body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streamed(Streaming { body: Some(body), .. }) => body.size_hint(),
            Self::Empty | Self::Streamed(_) => SizeHint::with_exact(0),
        }
    }
}

/// A handler's answer never fails: what goes wrong becomes an answer.
pub(crate) type Answer = Result<http::Response<ResponseBody>, Infallible>;
