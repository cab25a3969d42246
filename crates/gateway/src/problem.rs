//! Answers of drowse's own to programs: problem details (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use drowse_watcher::WakeError;

use crate::body::ResponseBody;

/// Why a request was not forwarded, or its answer not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    /// What happened, in a sentence for people.
    pub(crate) detail: String,
    /// When it is worth trying again.
    pub(crate) retry_after: Option<Duration>,
}

/// The classes of problems: the status, a title, and a word for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    BadRequest,
    HeadTooLarge,
    BodyTimeout,
    Forbidden,
    Unauthorized,
    AuthUnavailable,
    Misdirected,
    NoRoute,
    Discovering,
    Waking,
    NotFound,
    StartFailed,
    Timeout,
    EngineUnavailable,
    NotPermitted,
    Locked,
    Asleep,
    HeldAsleep,
    Misconfigured,
    NotManaged,
    NoUpstream,
    UpstreamFailed,
    UpstreamTimeout,
    ShuttingDown,
    TooManyWaiting,
    TooMany,
    OutOfMeans,
    Unresolved,
}

impl Reason {
    /// The status, a title for people, and a word for programs, which stays.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "Bad request", "bad-request"),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request head too large",
                "head-too-large",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "The rest of the request did not come",
                "body-timeout",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Not for everybody", "forbidden"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Who is it?", "unauthorized"),
            Self::AuthUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "Nobody can tell who it is", "auth-unavailable")
            }
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "Another connection, please", "misdirected")
            }
            Self::NoRoute => (StatusCode::NOT_FOUND, "No such route", "no-route"),
            Self::Discovering => (StatusCode::SERVICE_UNAVAILABLE, "Not yet known", "discovering"),
            Self::Waking => (StatusCode::SERVICE_UNAVAILABLE, "Waking up", "waking"),
            Self::NotFound => (StatusCode::NOT_FOUND, "No such container", "not-found"),
            Self::StartFailed => (StatusCode::BAD_GATEWAY, "It does not start", "start-failed"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "Not ready in time", "timeout"),
            Self::EngineUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "Engine out of reach", "engine-unavailable")
            }
            Self::NotPermitted => {
                (StatusCode::SERVICE_UNAVAILABLE, "drowse lacks a right", "not-permitted")
            }
            Self::Locked => (StatusCode::SERVICE_UNAVAILABLE, "Container locked", "locked"),
            Self::Asleep => (StatusCode::SERVICE_UNAVAILABLE, "Asleep", "asleep"),
            Self::HeldAsleep => (StatusCode::SERVICE_UNAVAILABLE, "Held asleep", "held-asleep"),
            Self::Misconfigured => {
                (StatusCode::SERVICE_UNAVAILABLE, "Configuration in error", "misconfigured")
            }
            Self::NotManaged => {
                (StatusCode::SERVICE_UNAVAILABLE, "No longer managed", "not-managed")
            }
            Self::NoUpstream => (StatusCode::BAD_GATEWAY, "No upstream", "no-upstream"),
            Self::UpstreamFailed => {
                (StatusCode::BAD_GATEWAY, "The application failed", "upstream-failed")
            }
            Self::UpstreamTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "The application did not answer in time",
                "upstream-timeout",
            ),
            Self::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "Shutting down", "shutting-down")
            }
            Self::TooManyWaiting => {
                (StatusCode::SERVICE_UNAVAILABLE, "Too many wait", "too-many-waiting")
            }
            Self::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "Too many at once", "too-many"),
            Self::OutOfMeans => {
                (StatusCode::SERVICE_UNAVAILABLE, "drowse is out of means", "out-of-means")
            }
            Self::Unresolved => {
                (StatusCode::SERVICE_UNAVAILABLE, "Address not found", "unresolved")
            }
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        self.parts().0
    }
}

/// What clients see.
#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let (status, title, reason) = self.reason.parts();
        let retry_after = self.retry_after.map(whole_seconds);
        let details = Details {
            r#type: "about:blank",
            title,
            status: status.as_u16(),
            detail: &self.detail,
            reason,
            retry_after,
        };
        // It consists of texts and numbers, which always can be written.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = own(status, "application/problem+json", body);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The whole seconds of a `Retry-After`: rounded up, at least one.
pub(crate) fn whole_seconds(pause: Duration) -> u64 {
    let rounded = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
    rounded.max(1)
}

/// An answer of drowse's own: never to be stored.
pub(crate) fn own(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What strangers are told of a right that drowse lacks: which, and where, is its user's business.
pub(crate) const LACKS_RIGHT: &str = "drowse lacks a right on its engine; its log says which";

/// What the one who asked is told of a refused lease.
pub(crate) fn words_of(error: &WakeError) -> String {
    match error {
        WakeError::NotPermitted { .. } => LACKS_RIGHT.to_owned(),
        WakeError::Dependency { name, source } => {
            format!("it needs `{name}`, which is not ready: {}", words_of(source))
        }
        error => error.to_string(),
    }
}

/// The problem that a refused lease is for the one who asked.
pub(crate) fn of_wake(workload: &str, error: &WakeError) -> Problem {
    let detail = format!("{workload}: {}", words_of(error));
    match error {
        WakeError::NotFound => Problem::new(Reason::NotFound, detail),
        WakeError::Failed { retry_after, .. } => {
            Problem::new(Reason::StartFailed, detail).retry_after(*retry_after)
        }
        WakeError::Timeout { .. } => {
            Problem::new(Reason::Timeout, detail).retry_after(Duration::from_secs(5))
        }
        WakeError::EngineUnavailable { retry_after, .. } => {
            Problem::new(Reason::EngineUnavailable, detail).retry_after(*retry_after)
        }
        WakeError::NotPermitted { retry_after, .. } => {
            Problem::new(Reason::NotPermitted, detail).retry_after(*retry_after)
        }
        WakeError::Locked { retry_after, .. } => {
            Problem::new(Reason::Locked, detail).retry_after(*retry_after)
        }
        WakeError::Dependency { source, .. } => Problem { detail, ..of_wake(workload, source) },
        WakeError::HeldAsleep { retry_after, .. } => {
            let retry_after = retry_after.unwrap_or(Duration::from_mins(1));
            Problem::new(Reason::HeldAsleep, detail).retry_after(retry_after)
        }
        WakeError::Misconfigured { .. } => {
            Problem::new(Reason::Misconfigured, detail).retry_after(Duration::from_mins(1))
        }
        WakeError::Asleep => {
            Problem::new(Reason::Asleep, detail).retry_after(Duration::from_mins(1))
        }
        _ => Problem::new(Reason::NotManaged, detail).retry_after(Duration::from_secs(5)),
    }
}
