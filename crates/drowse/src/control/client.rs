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

use super::{Class, Done, Refusal, Told};
use crate::{
    exit::{CommandError, Exit},
    state::StateFolder,
    view::Listing,
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
    Sleep,
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Sleep => "sleep",
        }
    }
}

/// Asks for all workloads.
pub(crate) async fn list(state: &StateFolder) -> Result<Listing, CommandError> {
    match ask(state, Method::GET, "/v1/workloads", ANSWER_TIMEOUT).await? {
        Ok(listing) => Ok(listing),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// Gives an order and waits until it is carried out, at most for `wait`.
pub(crate) async fn order(
    state: &StateFolder,
    order: Order,
    name: &str,
    wait: Duration,
) -> Result<Result<Done, Refusal>, CommandError> {
    let path = format!(
        "/v1/workloads/{}/{}?timeout_ms={}",
        encode(name),
        order.as_str(),
        wait.as_millis()
    );
    ask(state, Method::POST, &path, wait.saturating_add(ANSWER_TIMEOUT)).await
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
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(Ok(serde_json::from_slice(&body)?));
        }
        let refusal = serde_json::from_slice(&body).with_context(|| format!("status {status}"))?;
        Ok(Err(refusal))
    };
    in_time(longest, exchange).await
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
