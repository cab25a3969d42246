//! A connection that carries many requests at once: HTTP/2.
//!
//! It is not pinged. A server of gRPC takes pings that come more often than every five minutes for an attack,
//! while it has nothing to say, and closes the connection (`too_many_pings`): a silent call would end by what
//! is to keep it. That an upstream is gone is found out by TCP: unacknowledged bytes, and keep-alive.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{
    client::conn::http2::{self, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{Place, Waiters};
use crate::{body::RequestBody, dial::Stream};

/// How many requests are on one connection at most, however many the upstream allows.
const MAX_STREAMS: usize = 100;

/// How much of one answer may wait for its client. The connection's own window has room for as much
/// of each: a client that does not read stalls nobody else.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;

/// The largest head of an answer.
const MAX_HEAD: u32 = 64 * 1024;

/// What the upstream's limit is said to be before it was heard.
const UNHEARD: usize = usize::MAX - 1;

/// How long an upstream may take to greet.
const GREETING: Duration = Duration::from_secs(5);

/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Beside the number of requests on a connection: it takes no further one.
const RETIRED: usize = 1 << (usize::BITS - 1);

/// A connection with room for several requests.
pub(super) struct Multiplexed {
    sender: SendRequest<RequestBody>,
    tasks: Tasks,
    /// How many there are, and whether it is [`RETIRED`].
    streams: AtomicUsize,
    max: Arc<AtomicUsize>,
    /// Whether nothing was on it when it was last looked at.
    was_quiet: AtomicBool,
    /// Those who wait for a share of it, among others.
    waiters: Arc<Waiters>,
}

/// One request's share of a connection, until the exchange is through.
pub(crate) struct Share {
    pub(crate) sender: SendRequest<RequestBody>,
    of: Arc<Multiplexed>,
}

impl Multiplexed {
    /// Greets the upstream and waits for its greeting: how many requests it takes is known before the
    /// first is sent, and that it speaks HTTP/2 at all.
    ///
    /// `over`: when whoever it leads to has ended, and what is on it ends as well.
    pub(super) async fn greet(
        stream: Stream,
        place: Place,
        over: impl Future<Output = ()> + Send + 'static,
        waiters: &Arc<Waiters>,
    ) -> io::Result<Arc<Self>> {
        let tasks = Tasks::default();
        let mut builder = http2::Builder::new(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(UNHEARD)
            .max_header_list_size(MAX_HEAD);
        let (sender, mut connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Nobody is told when the greeting comes.
        let greeted = async {
            while connection.current_max_send_streams() == UNHEARD {
                tokio::select! {
                    _ = &mut connection => return false,
                    () = sleep(LOOK_AGAIN) => {}
                }
            }
            true
        };
        if timeout(GREETING, greeted).await != Ok(true) {
            return Err(io::Error::other(
                "it does not speak HTTP/2 there: set `scheme: http`, or the port of its HTTP/2",
            ));
        }
        let max = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let told = Arc::clone(&max);
        let cut = tasks.clone();
        // It ends with the last of its senders and streams, or with the connection.
        tokio::spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            let ended = poll_fn(|context| {
                let polled = connection.as_mut().poll(context);
                told.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            tokio::select! {
                ended = ended => {
                    if let Err(error) = ended {
                        let error = &error as &dyn std::error::Error;
                        tracing::debug!(error, "an upstream connection ended");
                    }
                }
                () = over => {
                    tracing::debug!("an upstream connection is cut: its run has ended");
                    cut.cut();
                }
            }
        });
        let (streams, was_quiet) = (AtomicUsize::new(0), AtomicBool::new(false));
        let waiters = Arc::clone(waiters);
        Ok(Arc::new(Self { sender, tasks, streams, max, was_quiet, waiters }))
    }

    /// A share, if there is room for one more request.
    pub(super) fn share(self: &Arc<Self>) -> Option<Share> {
        let max = self.max.load(Ordering::Relaxed).min(MAX_STREAMS);
        let one_more = |streams| (streams < max).then_some(streams + 1);
        let taken = self.streams.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        taken.is_ok().then(|| Share { sender: self.sender.clone(), of: Arc::clone(self) })
    }

    /// Whether it takes no further request: it was closed, or is about to be.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.streams.load(Ordering::Relaxed) & RETIRED != 0
    }

    /// Whether nothing was on it, now and when this was last asked.
    pub(super) fn is_long_quiet(&self) -> bool {
        let is_quiet = self.streams.load(Ordering::Relaxed) == 0;
        self.was_quiet.swap(is_quiet, Ordering::Relaxed) && is_quiet
    }
}

impl Share {
    /// Ends when the upload does that is still on its way. One that does not end although it was ended is stuck:
    /// its upstream has answered, has no room for what hyper has in hand of it, and resets nothing. It would keep
    /// its stream and its part of the connection's window for as long as that is open, and hyper has no way to
    /// end a stream whose answer is there. So the connection takes no further request, and is cut when the others
    /// on it are through.
    pub(super) fn end_after(self, upload: Option<impl Future<Output = bool> + Send + 'static>) {
        // Without a runtime everything is being torn down.
        let (Some(upload), Ok(runtime)) = (upload, Handle::try_current()) else { return };
        runtime.spawn(async move {
            if !upload.await {
                tracing::debug!("an upload is stuck: its connection is used no further");
                self.of.streams.fetch_or(RETIRED, Ordering::Relaxed);
            }
            drop(self);
        });
    }
}

/// Where hyper runs a connection, and what is on it.
#[derive(Clone, Default)]
struct Tasks(Arc<OnceLock<AbortHandle>>);

impl Tasks {
    /// Ends the connection at once, with whatever is on it.
    fn cut(&self) {
        if let Some(connection) = self.0.get() {
            connection.abort();
        }
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    /// The first is the connection itself, the further ones are of requests.
    fn execute(&self, future: F) {
        let task = tokio::spawn(future);
        self.0.get_or_init(|| task.abort_handle());
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let before = self.of.streams.fetch_sub(1, Ordering::SeqCst);
        self.of.was_quiet.store(false, Ordering::Relaxed);
        if before == RETIRED + 1 {
            self.of.tasks.cut();
        }
        self.of.waiters.tell();
    }
}
