//! The commands' side of the control socket.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Class, Done, Held, Refusal, Told, Unheld};
use crate::{
    cli::HoldArgs,
    events,
    exit::{CommandError, Exit},
    listing::Listing,
    state::StateFolder,
    why::Why,
};

/// For the answer to a question that needs no waiting, and beyond what a wait may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// More than a hundred thousand workloads.
const LARGEST_ANSWER: usize = 64 << 20;
/// More than any error has to say.
const LONGEST_LINE: usize = 1 << 20;
/// What the end may take beyond its grace period: engines are let go of.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// Which order a command gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Wake,
    Sleep { force: bool },
}

/// Asks for all workloads.
pub(crate) async fn list(state: &StateFolder) -> Result<Listing, CommandError> {
    match ask(state, Method::GET, "/v1/workloads", ANSWER_TIMEOUT).await? {
        Ok(listing) => Ok(listing),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// Asks for everything that is known of one workload.
pub(crate) async fn why(state: &StateFolder, name: &str) -> Result<Why, CommandError> {
    let path = format!("/v1/workloads/{}/why", encode(name));
    match ask(state, Method::GET, &path, ANSWER_TIMEOUT).await? {
        Ok(why) => Ok(why),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// What somebody wants to know of what happened.
#[derive(Clone, Debug)]
pub(crate) struct WantedEvents<'a> {
    /// Only of this workload.
    pub(crate) workload: Option<&'a str>,
    /// At most so many of those that are past, the latest.
    pub(crate) last: usize,
    /// Only those with a greater number.
    pub(crate) after: u64,
    /// Whether those to come are wanted, too.
    pub(crate) follow: bool,
}

/// Asks for what happened.
pub(crate) async fn events(
    state: &StateFolder,
    wanted: &WantedEvents<'_>,
) -> Result<Events, CommandError> {
    let WantedEvents { workload, last, after, follow } = wanted;
    let mut path = format!("/v1/events?last={last}&after={after}&follow={follow}");
    if let Some(name) = workload {
        path.extend(["&workload=", &encode(name)]);
    }
    let stream = connect(state).await?;
    let (answer, connection) = in_time(ANSWER_TIMEOUT, send(stream, Method::GET, &path)).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(in_time(ANSWER_TIMEOUT, refusal(answer)).await?));
    }
    let lines = Lines { body: answer.into_body(), unread: BytesMut::new() };
    Ok(Events { lines, _connection: connection })
}

/// What happened, as it is told.
pub(crate) struct Events {
    lines: Lines,
    _connection: AbortOnDropHandle<()>,
}

impl Events {
    /// The next, however long it takes until it happens; `None` when there is nothing more to tell, or
    /// drowse has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<events::Line>> {
        self.lines.next().await
    }

    /// The next of those that have happened.
    pub(crate) async fn next_in_time(&mut self) -> Result<Option<events::Line>, CommandError> {
        in_time(ANSWER_TIMEOUT, self.lines.next()).await
    }
}

/// Gives an order and waits until it is carried out, at most for `wait`.
pub(crate) async fn order(
    state: &StateFolder,
    order: Order,
    name: &str,
    wait: Duration,
) -> Result<Result<Done, Refusal>, CommandError> {
    let (name, milliseconds) = (encode(name), wait.as_millis());
    let path = match order {
        Order::Wake => format!("/v1/workloads/{name}/wake?timeout_ms={milliseconds}"),
        Order::Sleep { force } => {
            format!("/v1/workloads/{name}/sleep?timeout_ms={milliseconds}&force={force}")
        }
    };
    ask(state, Method::POST, &path, wait.saturating_add(ANSWER_TIMEOUT)).await
}

/// Holds a workload, and waits until it is awake or asleep.
pub(crate) async fn hold(
    state: &StateFolder,
    arguments: &HoldArgs,
) -> Result<Result<Held, Refusal>, CommandError> {
    let HoldArgs { name, asleep, length, reason, force, timeout: wait, .. } = arguments;
    let mut path = format!(
        "/v1/workloads/{}/hold?timeout_ms={}&asleep={asleep}&force={force}",
        encode(name),
        wait.as_millis()
    );
    if let Some(length) = length {
        path.extend(["&for_ms=", &length.as_millis().to_string()]);
    }
    if let Some(reason) = reason {
        path.extend(["&reason=", &encode(reason)]);
    }
    ask(state, Method::POST, &path, wait.saturating_add(ANSWER_TIMEOUT)).await
}

/// Releases a workload that is held.
pub(crate) async fn unhold(
    state: &StateFolder,
    name: &str,
) -> Result<Result<Unheld, Refusal>, CommandError> {
    let path = format!("/v1/workloads/{}/unhold", encode(name));
    ask(state, Method::POST, &path, ANSWER_TIMEOUT).await
}

/// An order for everything that is managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderForAll {
    Wake,
    Release { force: bool },
}

/// Gives an order for everything and passes on what is told of it, as it is told. Returns when there is
/// nothing more to tell; after [`Told::Ending`] that is when drowse has ended.
pub(crate) async fn order_all(
    state: &StateFolder,
    order: OrderForAll,
    wait: Duration,
    mut each: impl FnMut(Told) -> anyhow::Result<()>,
) -> Result<(), CommandError> {
    let milliseconds = wait.as_millis();
    let path = match order {
        OrderForAll::Wake => format!("/v1/wake?timeout_ms={milliseconds}"),
        OrderForAll::Release { force } => {
            format!("/v1/release?timeout_ms={milliseconds}&force={force}")
        }
    };
    let mut longest = wait.saturating_add(ANSWER_TIMEOUT);
    let stream = connect(state).await?;
    let (answer, _connection) = in_time(longest, send(stream, Method::POST, &path)).await?;
    let mut lines = Lines { body: answer.into_body(), unread: BytesMut::new() };
    while let Some(told) = in_time(longest, lines.next()).await? {
        if let Told::Ending { grace_ms } = told {
            longest = Duration::from_millis(grace_ms).saturating_add(END_TIMEOUT);
        }
        each(told)?;
    }
    Ok(())
}

/// The end of a command that was refused.
pub(crate) fn refused(refusal: Refusal) -> CommandError {
    let exit = match refusal.class {
        Class::EngineUnavailable => Exit::Unavailable,
        _ => Exit::Failure,
    };
    CommandError::words(exit, refusal.error)
}

async fn ask<T: DeserializeOwned>(
    state: &StateFolder,
    method: Method,
    path: &str,
    longest: Duration,
) -> Result<Result<T, Refusal>, CommandError> {
    let stream = connect(state).await?;
    let exchange = async {
        let (answer, _connection) = send(stream, method, path).await?;
        if answer.status() == StatusCode::OK {
            return Ok(Ok(serde_json::from_slice(&whole(answer).await?)?));
        }
        Ok(Err(refusal(answer).await?))
    };
    in_time(longest, exchange).await
}

async fn refusal(answer: Response<Incoming>) -> anyhow::Result<Refusal> {
    let status = answer.status();
    serde_json::from_slice(&whole(answer).await?).with_context(|| format!("status {status}"))
}

async fn whole(answer: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
    Ok(body.map_err(|error| anyhow!("{error}"))?.to_bytes())
}

async fn connect(state: &StateFolder) -> Result<UnixStream, CommandError> {
    state.check_as_client().map_err(|error| CommandError::new(Exit::Unavailable, error))?;
    let socket = state.socket();
    UnixStream::connect(&socket).await.map_err(|error| {
        let socket = socket.display();
        let words = match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "the running drowse belongs to another user: its control socket `{socket}` cannot \
                 be opened"
            ),
            _ => format!(
                "no drowse is running here: nobody answers at the control socket `{socket}` \
                 (start one with `drowse run`, or name its folder with `--state-dir`)"
            ),
        };
        CommandError::new(Exit::Unavailable, anyhow!(words))
    })
}

async fn in_time<T>(
    longest: Duration,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, CommandError> {
    match timeout(longest, answer).await {
        Ok(answer) => Ok(answer.context("the running drowse gives no sensible answer")?),
        Err(_) => Err(CommandError::words(
            Exit::Unavailable,
            format!("the running drowse has not answered for {} s", longest.as_secs()),
        )),
    }
}

/// Sends a request; returns the head of its answer, and the connection, which the body needs.
async fn send(
    stream: UnixStream,
    method: Method,
    path: &str,
) -> anyhow::Result<(Response<Incoming>, AbortOnDropHandle<()>)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What ends it early shows in the answer.
    let connection = AbortOnDropHandle::new(tokio::spawn(async { _ = connection.await }));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "drowse")
        .body(Empty::<Bytes>::new())?;
    Ok((sender.send_request(request).await?, connection))
}

/// A body of JSON, line by line.
struct Lines {
    body: Incoming,
    unread: BytesMut,
}

impl Lines {
    async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(end);
                self.unread.advance(1);
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.unread.len() > LONGEST_LINE {
                return Err(anyhow!("a line of more than {LONGEST_LINE} bytes"));
            }
            match self.body.frame().await {
                Some(frame) => {
                    let data = frame?.into_data().unwrap_or_default();
                    self.unread.extend_from_slice(&data);
                }
                None if self.unread.is_empty() => return Ok(None),
                None => return Err(anyhow!("it ends in the middle of a line")),
            }
        }
    }
}

/// A name as one part of a URL's path.
fn encode(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
