//! The commands' side of the control socket.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};

use super::{Class, Done, Refusal};
use crate::{
    exit::{CommandError, Exit},
    state::StateFolder,
    view::Listing,
};

/// For the answer to a question that needs no waiting, and beyond what a wait may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// More than a hundred thousand workloads.
const LARGEST_ANSWER: usize = 64 << 20;

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
    state.check_as_client().map_err(|error| CommandError::new(Exit::Unavailable, error))?;
    let socket = state.socket();
    let stream = UnixStream::connect(&socket).await.map_err(|error| {
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
    })?;
    match timeout(longest, exchange(stream, method, path)).await {
        Ok(answer) => Ok(answer.context("the running drowse gives no sensible answer")?),
        Err(_) => Err(CommandError::words(
            Exit::Unavailable,
            format!("the running drowse has not answered for {} s", longest.as_secs()),
        )),
    }
}

async fn exchange<T: DeserializeOwned>(
    stream: UnixStream,
    method: Method,
    path: &str,
) -> anyhow::Result<Result<T, Refusal>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "drowse")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        anyhow::Ok((status, body))
    };
    // The connection is done when the answer is.
    let (status, body) = tokio::select! {
        answer = answer => answer?,
        ended = connection => {
            ended?;
            return Err(anyhow!("the connection was closed before the answer came"));
        }
    };
    if status == StatusCode::OK {
        return Ok(Ok(serde_json::from_slice(&body)?));
    }
    let refusal = serde_json::from_slice(&body).with_context(|| format!("status {status}"))?;
    Ok(Err(refusal))
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
