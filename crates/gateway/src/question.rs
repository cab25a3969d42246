//! Questions of drowse's own to an application: one `GET` on a connection of its own.

use std::{error::Error as StdError, pin::pin};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::{
    UpstreamScheme,
    dial::{Dialled, Spoken},
    dialect,
    upstream::Target,
};

/// How much of an answer's head is read.
const MAX_HEAD: usize = 32 * 1024;

/// A question, marked by a header of drowse's own. Without a host it is asked as the target.
pub(crate) fn ask_for(
    path: &str,
    host: Option<&HeaderValue>,
    target: &Target,
    mark: HeaderName,
) -> Result<Request<Empty<Bytes>>, String> {
    let host = match host {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(&target.to_string())
            .map_err(|_| format!("`{target}` is no host name"))?,
    };
    Request::get(path)
        .header(header::HOST, host)
        .header(mark, "1")
        .header(header::USER_AGENT, concat!("drowse/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| format!("`{path}`: {error}"))
}

/// Sends the request; the answer's status, and at most so much of its body. The connection is driven by
/// this future, so that it ends with it.
pub(crate) async fn send(
    dialled: Dialled,
    mut request: Request<Empty<Bytes>>,
    scheme: &UpstreamScheme,
    max_body: usize,
) -> hyper::Result<(StatusCode, Vec<u8>)> {
    let stream = TokioIo::new(dialled.stream);
    match dialled.spoken {
        Spoken::Http1 => {
            let mut builder = http1::Builder::new();
            let (mut sender, connection) = builder.max_buf_size(MAX_HEAD).handshake(stream).await?;
            driven(connection, max_body, async { sender.send_request(request).await }).await
        }
        Spoken::Http2 => {
            dialect::as_http2(&mut request, scheme.of_url());
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new());
            let (mut sender, connection) = builder.handshake(stream).await?;
            driven(connection, max_body, async { sender.send_request(request).await }).await
        }
    }
}

async fn driven(
    connection: impl Future<Output = hyper::Result<()>>,
    max_body: usize,
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> hyper::Result<(StatusCode, Vec<u8>)> {
    let mut connection = pin!(connection);
    let mut answer = pin!(async {
        let response = answer.await?;
        let status = response.status();
        Ok((status, beginning(response.into_body(), max_body).await))
    });
    tokio::select! {
        // The answer may be there already when the connection ends.
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

/// What is there of a body, up to a length. One that breaks off is as long as it is.
async fn beginning(mut body: Incoming, max: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < max
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(bytes) = frame.data_ref() {
            read.extend_from_slice(&bytes[..bytes.len().min(max - read.len())]);
        }
    }
    read
}

/// The innermost cause: hyper's own words say little.
pub(crate) fn last(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
