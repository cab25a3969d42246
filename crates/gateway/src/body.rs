//! Bodies that pass through, and what ends with them: the lease, and the use of an upstream's
//! connection.

mod gate;
mod patience;
mod stake;

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
use futures::{StreamExt as _, stream::BoxStream, task::AtomicWaker};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{sync::Notify, time::timeout};

use self::{
    gate::Gate,
    patience::{Lost, Patience},
    stake::{Stake, Watch, Way},
};
use crate::{
    Route, connection,
    handler::Exchange,
    headers,
    in_flight::{Counter, Flight},
    pool::{Connection, LINGER},
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
    /// What the exchange takes, until it is complete.
    taken: Option<(Connection, Usage)>,
    /// How it broke off. What came before is sent first: it is told of at the next look.
    failure: Option<hyper::Error>,
    flight: Flight,
    /// Looks whether anything passes, of an answer that is not there at once.
    watch: Option<Watch>,
}

impl Download {
    pub(crate) fn new(
        body: Incoming,
        connection: Connection,
        usage: Usage,
        flight: Flight,
    ) -> Self {
        let taken = Some((connection, usage));
        Self { body, ended: false, taken, failure: None, flight, watch: None }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let Self { body, taken, .. } = self;
        let mut fed = |context: &mut Context<'_>| Pin::new(&mut *body).poll_frame(context);
        let (polled, stake) = match taken {
            None => (fed(context), None),
            Some((connection, usage)) => match usage.stake() {
                None => (connection.poll(context, fed), None),
                Some(stake) => {
                    let poll = |context: &mut Context<'_>| connection.poll(context, fed);
                    let is_use = |come: &Option<_>| is_piece(come.as_ref());
                    (stake.pass(Way::Down, context, poll, is_use), Some(stake))
                }
            },
        };
        let polled = match polled {
            Poll::Ready(Some(Err(error))) => {
                let shown = &error as &dyn std::error::Error;
                tracing::debug!(error = shown, "an answer broke off");
                self.failure = Some(error);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            polled => polled,
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.flight.passed(frame.data_ref().map_or(0, Bytes::len));
                // Nobody asks for more after them.
                self.ended |= frame.is_trailers();
            }
            Poll::Ready(_) => self.ended = true,
            Poll::Pending => {}
        }
        if let Some(stake) = stake {
            let is_through = self.ended || self.body.is_end_stream();
            if is_through {
                // Its client may take the last piece whenever it wants.
                self.complete();
            } else if self.watch.is_none() {
                self.watch = connection::cut::handle().and_then(|cut| stake.watch(cut));
            }
        }
        polled
    }

    fn is_through(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    /// Ends the use of the connection and of the workload, as far as nothing is on its way.
    fn complete(&mut self) {
        self.watch = None;
        let Some((connection, usage)) = self.taken.take() else { return };
        let is_handed_over = !connection.is_shared() || usage.is_handed_over();
        if self.is_through() && usage.is_sent() && is_handed_over {
            connection.give_back();
        } else if self.is_through() && usage.is_asked_for() {
            connection.linger(usage.outlast());
        } else {
            // Its client is gone, or waits to be asked for what nobody will ask for.
            connection.cut(usage.end());
        }
    }
}

/// Whether this is a piece of an answer, and not its end, of whatever kind: that is nobody's use.
fn is_piece(come: Option<&Result<Frame<Bytes>, hyper::Error>>) -> bool {
    let Some(Ok(frame)) = come else { return false };
    frame.data_ref().is_some_and(|bytes| !bytes.is_empty())
}

impl Drop for Download {
    fn drop(&mut self) {
        self.complete();
    }
}

/// How long a body may be on its way back from a connection that did not take it: it is there all
/// but at once.
const RETURNING: Duration = Duration::from_millis(100);

/// The lease of one exchange.
pub(crate) enum Usage {
    Alone {
        _lease: Lease,
    },
    /// Somebody looks whether anything passes.
    Watched(Arc<Stake>),
    /// Shared with a request body, which is on its way in the upstream connection's task.
    WithUpload(Arc<Upload>),
}

/// What a request body and its answer share.
pub(crate) struct Upload {
    stake: Arc<Stake>,
    /// What is to be sent; `None`: it was taken out again, or ended.
    body: Mutex<Option<Incoming>>,
    /// Where its bytes are counted.
    counter: Counter,
    is_sent: AtomicBool,
    /// Whether anything of it was taken.
    is_touched: AtomicBool,
    /// Opens when the upstream asks for it.
    gate: Gate,
    /// For how long its client may keep the upstream waiting.
    bound: Option<Duration>,
    /// Why it broke off.
    fault: Mutex<Option<Fault>>,
    /// Tells whoever sends it that it was ended.
    sender: AtomicWaker,
    /// Told when it is not being sent any more.
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
    /// As the client comes to speak: a conversation, in which either may be silent.
    InTurns,
}

/// Why a request's body broke off, for the one who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its client has left, or sent what is no body.
    Broken,
    /// Its client sent nothing for so long.
    Stalled(Duration),
    /// Its answer was through long before.
    Overtaken,
}

/// The same for the connection that it is sent on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the client's part of the request broke off")]
    Broken(#[from] hyper::Error),
    #[error("the client sent nothing of the request's body for {0:?}")]
    Stalled(Duration),
    #[error("the answer was through before the request's body")]
    Overtaken,
}

impl Usage {
    /// The lease for a request with this payload, and the body that sends it.
    pub(crate) fn new(
        exchange: &Exchange,
        lease: Lease,
        payload: Payload,
        sending: Sending,
    ) -> (Self, RequestBody) {
        let Payload::Streamed(body) = payload else {
            let usage = if Stake::is_needed(exchange) {
                Self::Watched(Stake::new(exchange, lease))
            } else {
                Self::Alone { _lease: lease }
            };
            return (usage, RequestBody::Empty);
        };
        let flight = &exchange.flight;
        let body_timeout = flight.context.gateway.options().body_timeout;
        let upload = Arc::new(Upload {
            stake: Stake::new(exchange, lease),
            body: Mutex::new(Some(body)),
            counter: flight.counter(),
            is_sent: AtomicBool::new(false),
            is_touched: AtomicBool::new(false),
            gate: Gate::new(sending),
            bound: (sending != Sending::InTurns).then_some(body_timeout),
            fault: Mutex::default(),
            sender: AtomicWaker::new(),
            is_back: Notify::new(),
            guarded: flight.route.0.guard.is_some().then(|| flight.route.clone()),
        });
        let body = RequestBody::Streamed(Streaming::of(Arc::clone(&upload)));
        (Self::WithUpload(upload), body)
    }

    /// The lease, where it may be given back before the end.
    fn stake(&self) -> Option<&Arc<Stake>> {
        match self {
            Self::Alone { .. } => None,
            Self::Watched(stake) => Some(stake),
            Self::WithUpload(upload) => Some(&upload.stake),
        }
    }

    fn upload(&self) -> Option<&Arc<Upload>> {
        match self {
            Self::Alone { .. } | Self::Watched(_) => None,
            Self::WithUpload(upload) => Some(upload),
        }
    }

    /// Whether the request is through to the upstream.
    pub(crate) fn is_sent(&self) -> bool {
        self.upload().is_none_or(|upload| upload.is_sent.load(Ordering::Acquire))
    }

    /// Whether nothing of the request's body has passed for so long; of a conversation nobody can say.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.upload()
            .is_some_and(|upload| upload.bound.is_some() && upload.stake.passed().elapsed() >= time)
    }

    /// Whether the upstream may have its body.
    fn is_asked_for(&self) -> bool {
        self.upload().is_none_or(|upload| upload.gate.is_open())
    }

    /// Why the request's body broke off, if it did.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.upload().and_then(|upload| *upload.fault())
    }

    /// The body of a request that is sent again under the same lease, with what was
    /// [reclaimed](Self::reclaim).
    pub(crate) fn renew(&self, payload: Payload) -> RequestBody {
        match (self, payload) {
            (Self::WithUpload(upload), Payload::Streamed(body)) => {
                *upload.body() = Some(body);
                RequestBody::Streamed(Streaming::of(Arc::clone(upload)))
            }
            _ => RequestBody::Empty,
        }
    }

    /// The request's payload, which was on its way on a connection that failed; `None` if part of it is
    /// lost.
    pub(crate) async fn reclaim(&self) -> Option<Payload> {
        let Some(upload) = self.upload() else { return Some(Payload::Empty) };
        if upload.is_touched.load(Ordering::Acquire) {
            return None;
        }
        timeout(RETURNING, upload.is_back.notified()).await.ok()?;
        upload.body().take().map(Payload::Streamed)
    }

    /// Whether nobody sends anything of the request's body any more.
    fn is_handed_over(&self) -> bool {
        self.upload().is_none_or(Upload::is_handed_over)
    }

    /// Lets an upload go on whose answer is through, for a while, and then [ends](Self::end) it.
    fn outlast(self) -> Option<impl Future<Output = bool> + Send + 'static> {
        let Self::WithUpload(upload) = self else { return None };
        let bound = upload.bound.map_or(LINGER, |bound| bound.min(LINGER));
        Some(async move {
            if timeout(bound, upload.is_back.notified()).await.is_ok() {
                return true;
            }
            upload.end();
            upload.has_ended().await
        })
    }

    /// Ends an upload; whether that was to be had. `None`: there is none.
    pub(crate) fn end(self) -> Option<impl Future<Output = bool> + Send + 'static> {
        let Self::WithUpload(upload) = self else { return None };
        upload.end();
        Some(async move { upload.has_ended().await })
    }
}

impl Upload {
    /// Lets go of the client and of the workload, whether or not the upstream takes anything.
    fn end(&self) {
        if !self.is_sent.load(Ordering::Acquire) {
            self.fault().get_or_insert(Fault::Overtaken);
        }
        self.body().take();
        self.stake.release();
        self.sender.wake();
    }

    /// Whether it has come to its end by having been ended. Else whoever sends it has a piece in hand for
    /// which the upstream has no room, and asks for nothing more.
    async fn has_ended(self: &Arc<Self>) -> bool {
        self.is_handed_over() || timeout(RETURNING, self.is_back.notified()).await.is_ok()
    }

    fn is_handed_over(self: &Arc<Self>) -> bool {
        // Whoever sends it has the other handle.
        Arc::strong_count(self) == 1
    }

    fn body(&self) -> std::sync::MutexGuard<'_, Option<Incoming>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> std::sync::MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A body that is there only in part. Dropped untouched, it can be [reclaimed](Usage::reclaim).
pub(crate) struct Streaming {
    upload: Arc<Upload>,
    patience: Patience,
}

impl RequestBody {
    /// Takes the payload out of a request that was not sent.
    pub(crate) fn into_payload(self) -> Payload {
        match self {
            Self::Empty => Payload::Empty,
            Self::Streamed(streaming) => {
                streaming.upload.body().take().map_or(Payload::Empty, Payload::Streamed)
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
    fn of(upload: Arc<Upload>) -> Self {
        let patience = Patience::new(upload.bound);
        Self { upload, patience }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { upload, patience } = self;
        ready!(upload.gate.poll(context));
        upload.sender.register(context.waker());
        let poll = |context: &mut Context<'_>| {
            let mut body = upload.body();
            match body.as_mut() {
                Some(body) => Pin::new(body).poll_frame(context).map(Some),
                None => Poll::Ready(None),
            }
        };
        // By its end an application may be asked to begin.
        let is_use = |come: &Option<_>| !matches!(come, None | Some(Some(Err(_))));
        let polled = upload.stake.pass(Way::Up, context, poll, is_use);
        let Poll::Ready(frame) = polled else {
            let Lost(bound) = ready!(patience.poll(context, upload.stake.passed()));
            *upload.fault() = Some(Fault::Stalled(bound));
            return Poll::Ready(Some(Err(BodyError::Stalled(bound))));
        };
        let Some(frame) = frame else {
            let is_overtaken = *upload.fault() == Some(Fault::Overtaken);
            return Poll::Ready(is_overtaken.then_some(Err(BodyError::Overtaken)));
        };
        patience.renew();
        upload.is_touched.store(true, Ordering::Release);
        let frame = match frame {
            Some(Ok(mut frame)) => {
                upload.pass(&mut frame);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                *upload.fault() = Some(Fault::Broken);
                Some(Err(error.into()))
            }
            None => None,
        };
        if frame.is_none() || upload.body().as_ref().is_some_and(Body::is_end_stream) {
            upload.is_sent.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }
}

impl Upload {
    /// A piece is on its way to the upstream.
    fn pass(&self, frame: &mut Frame<Bytes>) {
        self.counter.passed(frame.data_ref().map_or(0, Bytes::len));
        if let Some(trailers) = frame.trailers_mut() {
            headers::prepare_trailers(trailers);
            if let Some(guard) = self.guarded.as_ref().and_then(|route| route.0.guard.as_ref()) {
                guard.hide(trailers);
            }
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if self.upload.is_touched.load(Ordering::Acquire) {
            // What its client may still have to say is for nobody.
            self.upload.body().take();
        }
        self.upload.is_back.notify_one();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(streaming) => streaming.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(Streaming { upload, .. }) => match &*upload.body() {
                Some(body) => body.is_end_stream(),
                // What was ended from outside is not complete.
                None => upload.is_sent.load(Ordering::Acquire),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exactly_none = SizeHint::with_exact(0);
        match self {
            Self::Empty => exactly_none,
            Self::Streamed(streaming) => {
                streaming.upload.body().as_ref().map_or(exactly_none, Body::size_hint)
            }
        }
    }
}

/// A handler's answer never fails: what goes wrong becomes an answer.
pub(crate) type Answer = Result<http::Response<ResponseBody>, Infallible>;
