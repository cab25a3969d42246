//! The endpoints.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, TRAILER};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::state::App;
use crate::websocket;

pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// The largest chunk that `/stream` sends at once.
const CHUNK: usize = 16 * 1024;

/// The connection that a request came on.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    close: Notify,
}

impl Connection {
    pub(crate) async fn close_requested(&self) {
        self.close.notified().await;
    }
}

/// Answers one request. The error is `/close`: hyper then closes the connection.
pub(crate) async fn answer(
    request: Request<Incoming>,
    app: Arc<App>,
    connection: Arc<Connection>,
) -> Result<Response<Body>, Closed> {
    app.requested();
    let path = request.uri().path().to_owned();
    let query = Query::of(&request);
    if !app.is_ready() && path != "/stamp" {
        return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n"));
    }
    Ok(match path.as_str() {
        "/" => text(StatusCode::OK, app.describe()),
        "/stamp" => json_body(&app.stamps()),
        "/headers" => json_body(&reflect(&request, &app)),
        "/echo" => echo(request),
        "/upload" => upload(request).await,
        "/refuse" => text(StatusCode::PAYLOAD_TOO_LARGE, "too much\n"),
        "/trailers" => trailers(request).await,
        "/slow" => {
            tokio::time::sleep(query.milliseconds("ms", 1_000)).await;
            text(StatusCode::OK, "at last\n")
        }
        "/stream" => slow_bytes(query.number("bytes", 1_048_576), query.milliseconds("ms", 1_000)),
        "/sse" => events(query.milliseconds("ms", 100), query.number("count", usize::MAX)),
        "/ws" => websocket::upgrade(request),
        "/hang" => std::future::pending().await,
        "/close" => return Err(Closed),
        "/keepalive-close" => {
            connection.close.notify_one();
            text(StatusCode::OK, "and gone\n")
        }
        "/burn" => {
            burn(query.milliseconds("ms", 1_000));
            text(StatusCode::OK, "busy from now on\n")
        }
        "/crash" => std::process::exit(query.number("code", 1)),
        "/health" if app.is_healthy() => text(StatusCode::OK, "healthy\n"),
        "/health" => text(StatusCode::SERVICE_UNAVAILABLE, "not healthy\n"),
        "/health/set" => {
            app.set_healthy(query.number("up", true));
            text(StatusCode::OK, "so be it\n")
        }
        _ => match path.strip_prefix("/status/").map(str::parse::<StatusCode>) {
            Some(Ok(status)) => text(status, format!("{status}\n")),
            _ => text(StatusCode::NOT_FOUND, "no such endpoint; see drowse-testapp --help\n"),
        },
    })
}

/// Keeps one core busy for so long, beside everything else.
fn burn(time: Duration) {
    std::thread::spawn(move || {
        let since = tokio::time::Instant::now();
        while since.elapsed() < time {
            std::hint::spin_loop();
        }
    });
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on request")
    }
}

impl std::error::Error for Closed {}

/// The query string's `key=value` pairs. No escapes: the tests need none.
struct Query(String);

impl Query {
    fn of(request: &Request<Incoming>) -> Self {
        Self(request.uri().query().unwrap_or_default().to_owned())
    }

    /// The value of `key`, or `default` where it is missing or cannot be read.
    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(default)
    }

    fn milliseconds(&self, key: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(key, default))
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", full(body))
}

fn json_body(value: &Value) -> Response<Body> {
    respond(StatusCode::OK, "application/json", full(format!("{value}\n")))
}

fn reflect(request: &Request<Incoming>, app: &App) -> Value {
    let headers: Vec<_> = request.headers().iter().map(pair).collect();
    json!({
        "name": app.settings.name,
        "run": app.run(),
        "method": request.method().as_str(),
        "path": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    })
}

fn pair((name, value): (&HeaderName, &HeaderValue)) -> Value {
    json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body().boxed_unsync());
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut count = 0;
    let mut hash = Fnv1a::default();
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                count += data.len();
                hash.write(&data);
            }
            Ok(Err(_trailers)) => {}
            Err(_) => return text(StatusCode::BAD_REQUEST, "the body broke off\n"),
        }
    }
    json_body(&json!({ "bytes": count, "fnv1a": format!("{:016x}", hash.0) }))
}

/// What came after the request's body, and something of its own after the answer's.
async fn trailers(request: Request<Incoming>) -> Response<Body> {
    let Ok(body) = request.into_body().collect().await else {
        return text(StatusCode::BAD_REQUEST, "the body broke off\n");
    };
    let came: Vec<_> = body.trailers().into_iter().flatten().map(pair).collect();
    let sum = [(HeaderName::from_static("x-sum"), HeaderValue::from(body.to_bytes().len()))];
    let frames = [
        Frame::data(Bytes::from(json!(came).to_string())),
        Frame::trailers(sum.into_iter().collect()),
    ];
    let body = StreamBody::new(stream::iter(frames.map(Ok)));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-sum"));
    response
}

/// FNV-1a, 64 bits: enough to see that no byte was lost or swapped, and three lines in any test.
struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// `total` bytes in equal chunks, spread evenly over `time`.
fn slow_bytes(total: usize, time: Duration) -> Response<Body> {
    let chunks = u32::try_from(total.div_ceil(CHUNK).max(20).min(total.max(1))).unwrap_or(u32::MAX);
    let size = total.div_ceil(chunks as usize).max(1);
    let pause = time / chunks;
    let body = stream::unfold(0, move |sent| async move {
        if sent >= total {
            return None;
        }
        tokio::time::sleep(pause).await;
        let end = total.min(sent + size);
        let chunk: Bytes = (sent..end).map(letter).collect();
        Some((Ok(Frame::data(chunk)), end))
    });
    respond(StatusCode::OK, "application/octet-stream", StreamBody::new(body).boxed_unsync())
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 26 fits")]
fn letter(index: usize) -> u8 {
    b'a' + (index % 26) as u8
}

fn events(pause: Duration, count: usize) -> Response<Body> {
    let body = stream::iter(0..count).then(move |number| async move {
        if number > 0 {
            tokio::time::sleep(pause).await;
        }
        Ok(Frame::data(Bytes::from(format!("data: {number}\n\n"))))
    });
    respond(StatusCode::OK, "text/event-stream", StreamBody::new(body).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = Fnv1a::default();
        hash.write(b"foobar");
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_query_falls_back_where_it_cannot_be_read() {
        let query = Query("ms=5&bytes=many&up=false".to_owned());
        assert_eq!(query.milliseconds("ms", 9), Duration::from_millis(5));
        assert_eq!(query.number("bytes", 7), 7);
        assert!(!query.number("up", true));
    }
}
