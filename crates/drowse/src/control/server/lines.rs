//! Answers that are written line by line, as there is something to tell.

use std::convert::Infallible;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use tokio::sync::mpsc;

/// What was found out and not sent yet. When it is full, whoever tells waits for a place: what was
/// ordered goes on, and what happens is kept elsewhere.
const UNSENT: usize = 16;

/// An answer of which each line is JSON. The telling ends early if the client goes away.
pub(super) fn telling<T, F>(teller: impl FnOnce(mpsc::Sender<T>) -> F) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (told, lines) = mpsc::channel(UNSENT);
    let client = told.clone();
    let teller = teller(told);
    tokio::spawn(async move {
        tokio::select! {
            () = teller => {}
            () = client.closed() => {}
        }
    });
    let lines = stream::unfold(lines, |mut lines| async {
        let told = lines.recv().await?;
        Some((Ok::<_, Infallible>(line(&told)), lines))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

fn line(told: &impl Serialize) -> Bytes {
    #[expect(clippy::expect_used, reason = "see the message")]
    let mut line = serde_json::to_vec(told).expect("strings and numbers are always JSON");
    line.push(b'\n');
    line.into()
}
