//! Bodies that pass through, and what ends with them: the lease, and the use of an upstream's
//! connection.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use drowse_watcher::Lease;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{gateway::Context as ClientConnection, headers, in_flight::Flight, pool::Connection};

/// What a client is answered with: streamed from an upstream, or drowse's own words.
pub(crate) enum ResponseBody {
    Own(Option<Bytes>),
    Streamed(Download),
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Streamed(download) => download.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Streamed(download) => download.body.size_hint(),
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
        let is_complete = (self.ended || self.body.is_end_stream()) && self.usage.is_sent();
        // Otherwise dropping the connection closes it: what is on the wire belongs to this exchange.
        if is_complete && let Some(connection) = self.connection.take() {
            connection.give_back();
        }
    }
}

/// The lease of one exchange. Shared only if there is a request body, which is then on its way in
/// the upstream connection's task.
pub(crate) enum Usage {
    Alone { _lease: Lease },
    WithUpload(Arc<Upload>),
}

/// What a request body and its answer share.
pub(crate) struct Upload {
    _lease: Lease,
    /// The client's connection: where its bytes are counted. It has no further request before this one
    /// is through.
    connection: Arc<ClientConnection>,
    is_sent: AtomicBool,
}

impl Usage {
    /// The lease for a request with this payload, and the body that sends it.
    pub(crate) fn new(
        lease: Lease,
        payload: Payload,
        connection: &Arc<ClientConnection>,
    ) -> (Self, RequestBody) {
        match payload {
            Payload::Empty => (Self::Alone { _lease: lease }, RequestBody::Empty),
            Payload::Streamed(body) => {
                let upload = Arc::new(Upload {
                    _lease: lease,
                    connection: Arc::clone(connection),
                    is_sent: AtomicBool::new(false),
                });
                let usage = Self::WithUpload(Arc::clone(&upload));
                (usage, RequestBody::Streamed { body, upload })
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

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// A request's body on its way to an upstream. Keeps the lease as long as it is on its way.
pub(crate) enum RequestBody {
    Empty,
    Streamed { body: Incoming, upload: Arc<Upload> },
}

impl RequestBody {
    /// Takes the payload out of a request that was not sent.
    pub(crate) fn into_payload(self) -> Payload {
        match self {
            Self::Empty => Payload::Empty,
            Self::Streamed { body, .. } => Payload::Streamed(body),
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
        let Self::Streamed { body, upload } = self.get_mut() else {
            return Poll::Ready(None);
        };
        let mut frame = ready!(Pin::new(&mut *body).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame {
            upload.connection.place.passed(frame.data_ref().map_or(0, Bytes::len));
            if let Some(trailers) = frame.trailers_mut() {
                headers::prepare_trailers(trailers);
            }
        }
        if frame.is_none() || body.is_end_stream() {
            upload.is_sent.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed { body, .. } => body.size_hint(),
        }
    }
}

/// A handler's answer never fails: what goes wrong becomes an answer.
pub(crate) type Answer = Result<http::Response<ResponseBody>, Infallible>;
