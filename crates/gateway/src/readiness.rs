//! The default probe of an HTTP route.

use std::error::Error as StdError;

use async_trait::async_trait;
use bytes::Bytes;
use drowse_provider::Details;
use drowse_watcher::{Attempt, NotReady, Readiness};
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::{Chooser, dial};

/// Marks drowse's own probes. Taken off what clients send.
pub(crate) const PROBE: HeaderName = HeaderName::from_static("drowse-probe");

/// How much of an answer is read: its head.
const MAX_HEAD: usize = 32 * 1024;

/// Ready when the application answers a `GET` with any status below 500.
///
/// Each attempt is one request on a connection of its own, with the header `drowse-probe: 1`. Only
/// the head of the answer is read. Refused, unreachable, timed out, reset, closed without an answer
/// and no answer in HTTP all mean "not yet".
#[derive(Clone, Debug)]
pub struct HttpReadiness {
    chooser: Chooser,
    host: Option<HeaderValue>,
    path: String,
}

impl HttpReadiness {
    /// Asks for `/` at the upstream that `chooser` chooses, which is also the `Host`.
    pub fn new(chooser: Chooser) -> Self {
        Self { chooser, host: None, path: "/".to_owned() }
    }

    /// With this `Host`: an application that serves several answers others with an error, perhaps.
    /// What is no header value is left out.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        self.host = HeaderValue::from_str(host).ok();
        self
    }

    /// With this path, which begins with `/` and may have a query.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }
}

#[async_trait]
impl Readiness for HttpReadiness {
    async fn probe(&self, details: &Details, attempt: Attempt) -> Result<(), NotReady> {
        let upstream =
            self.chooser.choose(details).map_err(|none| NotReady::new(none.to_string()))?;
        let Some(target) = upstream.target else {
            let reason = format!("no address yet ({})", upstream.why);
            return Err(NotReady::new(reason).without_address());
        };
        // Nobody answers there: perhaps it has another address by now.
        let nobody = |reason: String| {
            let not_ready = NotReady::new(reason);
            if upstream.may_change { not_ready.at_passing_address() } else { not_ready }
        };
        let host = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::from_str(&target.to_string())
                .map_err(|_| NotReady::new(format!("`{target}` is no host name")))?,
        };
        let request = Request::get(&self.path)
            .header(header::HOST, host)
            .header(PROBE, "1")
            .header(header::USER_AGENT, concat!("drowse/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| NotReady::new(format!("`{}`: {error}", self.path)))?;

        let connecting = async {
            let addresses = dial::resolve(&target).await?;
            dial::connect(&addresses, attempt.connect_timeout()).await
        };
        let stream = timeout(attempt.answer_timeout(), connecting)
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|error| nobody(format!("{target}: {error}")))?;
        let answer = timeout(attempt.answer_timeout(), ask(TokioIo::new(stream), request));
        match answer.await {
            Ok(Ok(status)) if status.is_server_error() => {
                Err(NotReady::new(format!("{target}: answers {status}")))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(nobody(format!("{target}: {}", last(&error)))),
            Err(_) => {
                let waited = attempt.answer_timeout();
                Err(nobody(format!("{target}: no answer within {waited:?}")))
            }
        }
    }

    fn is_at_passing_address(&self) -> bool {
        self.chooser.is_at_passing_address()
    }
}

/// Sends the request and reads the head of the answer. The connection is driven by this future, so
/// that it ends with it.
async fn ask(
    stream: TokioIo<tokio::net::TcpStream>,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<http::StatusCode> {
    let mut builder = http1::Builder::new();
    let (mut sender, connection) = builder.max_buf_size(MAX_HEAD).handshake(stream).await?;
    let answer = sender.send_request(request);
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let response = tokio::select! {
        // The answer may be there already when the connection ends.
        biased;
        response = &mut answer => response,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }?;
    Ok(response.status())
}

/// The innermost cause: hyper's own words say little.
fn last(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
