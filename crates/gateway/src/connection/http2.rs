//! An HTTP/2 connection: many requests at once, within bounds.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::FutureExt as _;
use hyper::{rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::{Context, cut::cuttable, stream};
use crate::{in_flight::Streams, woken::WhenWoken};

/// How long a client that has nothing in flight may take to hear that its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much of an answer is kept for a client that reads more slowly than the upstream writes.
const SEND_BUFFER: usize = 128 * 1024;

/// How many streams may be reset before they were looked at, and how many for errors of the client's,
/// before the connection is closed (CVE-2023-44487 and its kin).
const MAX_RESET_UNSEEN: usize = 20;
const MAX_RESET_FOR_ERRORS: usize = 256;

/// Serves a connection until its end. Dropping the future cuts it.
pub(super) async fn serve<S>(stream: S, context: Arc<Context>, streams: Arc<Streams>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let phases = context.phases.clone();
    let options = context.gateway.options();
    let idle = options.header_read_timeout;
    let max_header_bytes = u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX);
    let tasks = Tasks { tasks: context.tasks.clone(), streams: Arc::clone(&streams) };
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window())
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(max_header_bytes)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(MAX_RESET_FOR_ERRORS)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout)
        .enable_connect_protocol();
    let service = service_fn(move |request| stream::handle(Arc::clone(&context), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));

    let mut is_told = false;
    let (cut, shutdown) = (pin!(phases.cut.cancelled()), pin!(phases.shutdown.cancelled()));
    let (mut cut, mut shutdown) = (WhenWoken::new(cut), WhenWoken::new(shutdown));
    let mut look = pin!(sleep(idle));
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut connection => break ended,
            () = &mut cut => return,
            () = &mut shutdown, if !is_told => is_told = true,
            () = &mut look => {
                let patience = if is_told { FAREWELL } else { idle };
                let quiet = streams.quiet_for().unwrap_or_default();
                if let Some(rest) = patience.checked_sub(quiet).filter(|rest| !rest.is_zero()) {
                    look.as_mut().reset(Instant::now() + rest);
                    continue;
                }
                if is_told {
                    return;
                }
                is_told = true;
            }
        }
        connection.as_mut().graceful_shutdown();
        look.as_mut().reset(Instant::now() + FAREWELL);
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
    }
}

/// Where the streams of a connection are served.
#[derive(Clone)]
struct Tasks {
    tasks: TaskTracker,
    streams: Arc<Streams>,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let served = self.streams.serve();
        // It ends with its connection.
        self.tasks.spawn(cuttable(future).map(move |()| drop(served)));
    }
}
