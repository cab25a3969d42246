//! What drowse answers itself, under `/.well-known/drowse/` of every known host.

use std::{sync::Arc, time::Duration};

use drowse_watcher::{PhaseName, Snapshot};
use http::{Method, Response, StatusCode, request::Parts};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    Route,
    body::ResponseBody,
    gateway::Context,
    page,
    problem::{Problem, Reason, own},
};

const PREFIX: &str = "/.well-known/drowse/";

/// Names the page from which the waiting page asks, and with it the route.
const PATH_HEADER: &str = "drowse-path";

/// How long a question is held while nothing changes. Shorter than what proxies before drowse wait.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// Whether a path is drowse's own: it is never forwarded.
pub(crate) fn is_own(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The path of the page that asks.
pub(crate) fn path_asked_about(parts: &Parts) -> &str {
    parts.headers.get(PATH_HEADER).and_then(|path| path.to_str().ok()).unwrap_or("/")
}

/// A question to drowse itself.
pub(crate) struct Asked {
    context: Arc<Context>,
    route: Option<Route>,
    is_ready: bool,
    is_read: bool,
    seen: Option<String>,
}

impl Asked {
    pub(crate) fn new(context: Arc<Context>, route: Option<Route>, parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or("");
        let seen = query.split('&').find_map(|pair| pair.strip_prefix("seen="));
        Self {
            context,
            route,
            is_ready: parts.uri.path().strip_prefix(PREFIX) == Some("ready"),
            is_read: parts.method == Method::GET || parts.method == Method::HEAD,
            seen: seen.map(str::to_owned),
        }
    }
}

/// Answers it. Wakes nothing and keeps nothing awake.
pub(crate) async fn answer(asked: Asked) -> Response<ResponseBody> {
    let (true, true, Some(route)) = (asked.is_ready, asked.is_read, &asked.route) else {
        let detail = "drowse itself has nothing at this path.";
        return Problem::new(Reason::NoRoute, detail).into_response();
    };
    let mut watch = route.spec().workload.watch();
    let news = async {
        // An error says that the workload is no longer managed: its last state is told.
        let is_news = |snapshot: &Snapshot| Some(snapshot.phase.as_str()) != asked.seen.as_deref();
        drop(watch.wait_for(is_news).await);
    };
    tokio::select! {
        // The deadline is an answer, too: the state as it is.
        _ = timeout(LONGEST_POLL, news) => {}
        () = asked.context.phases.shutdown.cancelled() => {}
    }
    let state = State::of(&route.spec().workload.snapshot());
    // It consists of texts and numbers, which always can be written.
    own(StatusCode::OK, "application/json", serde_json::to_vec(&state).unwrap_or_default())
}

/// What the waiting page is told.
#[derive(Serialize)]
struct State {
    ready: bool,
    phase: &'static str,
    /// What is happening, in words.
    text: &'static str,
    /// Why, in words.
    detail: String,
    /// How many seconds the page should let pass before it asks for the application again, if it
    /// should: asking wakes.
    retry_after: Option<u64>,
}

impl State {
    fn of(snapshot: &Snapshot) -> Self {
        let retry_after = match snapshot.phase {
            PhaseName::Failed | PhaseName::Gone => Some(10),
            // The wake that the page began is no more, or has not begun.
            PhaseName::Asleep | PhaseName::Unread => Some(2),
            _ => None,
        };
        Self {
            ready: snapshot.phase == PhaseName::Ready,
            phase: snapshot.phase.as_str(),
            text: page::words(snapshot),
            detail: page::detail(snapshot),
            retry_after,
        }
    }
}
