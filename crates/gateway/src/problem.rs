//! Answers of drowse's own to programs: problem details (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use drowse_watcher::WakeError;

use crate::{body::ResponseBody, route::RouteSpec};

/// What such an answer consists of.
const PROBLEM: &str = "application/problem+json";

/// Why a request was not forwarded, or its answer not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    /// What happened, in a sentence for people: nothing that is not everybody's business.
    pub(crate) detail: String,
    /// The same in full, with the names and messages of containers and engines, and with addresses
    /// inside: for the log, and for those to whom the route shows it.
    pub(crate) in_full: Option<String>,
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
        Self { reason, detail: detail.into(), in_full: None, retry_after: None }
    }

    pub(crate) fn in_full(mut self, words: impl Into<String>) -> Self {
        self.in_full = Some(words.into());
        self
    }

    /// All that is known.
    pub(crate) fn words(&self) -> &str {
        self.in_full.as_deref().unwrap_or(&self.detail)
    }

    /// The same for whoever asks this route: with all that is known if it shows that, as its waiting
    /// page does, else as far as it is everybody's business.
    pub(crate) fn for_clients_of(mut self, route: &RouteSpec) -> Self {
        if let Some(words) = self.in_full.take()
            && route.page_details
        {
            self.detail = words;
        }
        self
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
        let mut response = own(status, PROBLEM, body);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The sentence of an answer that is a problem of drowse's own.
pub(crate) fn detail_of(answer: &Response<ResponseBody>) -> Option<String> {
    let ResponseBody::Own(Some(bytes)) = answer.body() else { return None };
    if answer.headers().get(CONTENT_TYPE)? != PROBLEM {
        return None;
    }
    let details: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    details["detail"].as_str().map(str::to_owned)
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

/// What everybody is told of a refused lease: its class, and whether its process ended with a code.
fn words_for_strangers(error: &WakeError) -> String {
    match error {
        WakeError::Failed { exit: Some(code), .. } => {
            format!("it does not start: its process ended with exit code {code}")
        }
        WakeError::Failed { exit: None, .. } => "it does not start".to_owned(),
        WakeError::Timeout { after, phase, .. } => format!("not ready after {after:?} ({phase})"),
        WakeError::Locked { .. } => "something else holds it".to_owned(),
        WakeError::Dependency { source, .. } => {
            format!("something that it needs is not ready: {}", words_for_strangers(source))
        }
        WakeError::Misconfigured { .. } => "its configuration is in error".to_owned(),
        // Why it is held was said for those who ask.
        WakeError::HeldAsleep { .. }
        | WakeError::NotFound
        | WakeError::EngineUnavailable { .. }
        | WakeError::NotPermitted { .. }
        | WakeError::Asleep
        | WakeError::Closed => words_of(error),
        _ => "it cannot be woken".to_owned(),
    }
}

/// What is told of a refused lease where details are shown.
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
    let (reason, retry_after) = class_of(error);
    Problem {
        reason,
        detail: format!("{workload}: {}", words_for_strangers(error)),
        in_full: Some(format!("{workload}: {}", words_of(error))),
        retry_after,
    }
}

fn class_of(error: &WakeError) -> (Reason, Option<Duration>) {
    let (soon, later) = (Duration::from_secs(5), Duration::from_mins(1));
    let (reason, retry_after) = match error {
        WakeError::NotFound => return (Reason::NotFound, None),
        WakeError::Dependency { source, .. } => return class_of(source),
        WakeError::Failed { retry_after, .. } => (Reason::StartFailed, *retry_after),
        WakeError::Timeout { .. } => (Reason::Timeout, soon),
        WakeError::EngineUnavailable { retry_after, .. } => {
            (Reason::EngineUnavailable, *retry_after)
        }
        WakeError::NotPermitted { retry_after, .. } => (Reason::NotPermitted, *retry_after),
        WakeError::Locked { retry_after, .. } => (Reason::Locked, *retry_after),
        WakeError::HeldAsleep { retry_after, .. } => {
            (Reason::HeldAsleep, retry_after.unwrap_or(later))
        }
        WakeError::Misconfigured { .. } => (Reason::Misconfigured, later),
        WakeError::Asleep => (Reason::Asleep, later),
        _ => (Reason::NotManaged, soon),
    };
    (reason, Some(retry_after))
}

#[cfg(test)]
mod tests {
    use drowse_watcher::PhaseName;

    use super::*;

    #[test]
    fn strangers_are_told_the_class_and_what_shows_the_rest_is_told_all() {
        let reason = || "of a secret".to_owned();
        let pause = Duration::from_secs(3);
        let failed = |exit| WakeError::Failed {
            reason: "no secret image".to_owned(),
            exit,
            retry_after: pause,
            source: None,
        };
        let errors = [
            WakeError::NotFound,
            failed(None),
            failed(Some(7)),
            WakeError::Timeout { after: pause, phase: PhaseName::Probing, reason: reason() },
            WakeError::Locked { by: "a secret backup".to_owned(), retry_after: pause },
            WakeError::HeldAsleep { reason: "a restore".to_owned(), retry_after: None },
            WakeError::Misconfigured { reason: reason() },
            WakeError::Dependency {
                name: "secret-db".to_owned(),
                source: Box::new(failed(Some(1))),
            },
        ];
        let problems = errors.map(|error| of_wake("wiki", &error));
        let told: Vec<_> = problems.iter().map(|problem| problem.detail.as_str()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        wiki: there is no such container
        wiki: it does not start
        wiki: it does not start: its process ended with exit code 7
        wiki: not ready after 3s (probing)
        wiki: something else holds it
        wiki: held asleep: a restore
        wiki: its configuration is in error
        wiki: something that it needs is not ready: it does not start: its process ended with exit code 1
        ");
        let all: Vec<_> = problems.iter().map(Problem::words).collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        wiki: there is no such container
        wiki: it does not start: no secret image
        wiki: it does not start: no secret image
        wiki: not ready after 3s (probing): of a secret
        wiki: locked: a secret backup
        wiki: held asleep: a restore
        wiki: its configuration is in error: of a secret
        wiki: it needs `secret-db`, which is not ready: it does not start: no secret image
        ");
    }
}
