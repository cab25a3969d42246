//! What drowse answers itself, under `/.well-known/drowse/` of every known host: how far a workload is,
//! to the waiting page. Nothing here wakes a workload or keeps one awake.
//!
//! `events` tells each change as it comes (server-sent events); `ready` answers one question, once
//! something has changed or after a while: for those whose proxy lets no stream through.

mod events;

use std::{net::IpAddr, sync::Arc, time::Duration};

use drowse_watcher::{PhaseName, Snapshot};
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    Route,
    body::ResponseBody,
    connection::Context,
    page::{
        Language,
        state::{Pace, State, Told},
    },
    problem::{Problem, Reason, own},
    sources::{OfSource, Sources},
};

const PREFIX: &str = "/.well-known/drowse/";

/// How long a question is held while nothing changes. Shorter than what proxies before drowse wait.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// How many pages are told of changes at once, of all workloads together. Whoever comes beyond these is
/// told how things are, and asks again.
const MOST_ONLOOKERS: usize = 1_024;

/// How many of these are from one place: nobody takes what the others need.
const MOST_OF_SOURCE: usize = MOST_ONLOOKERS / 4;

/// How soon a page asks again: after it was told of a change, and if there was no place for it to wait for
/// one.
const AFTER_NEWS: Duration = Duration::from_millis(250);
const WITHOUT_PLACE: Duration = Duration::from_secs(5);

/// How many bytes of what a client has seen are compared.
const LONGEST_ID: usize = 32;

/// Places for those who are told of changes.
pub(crate) struct Onlookers {
    all: Arc<Semaphore>,
    sources: Sources,
}

/// A place, until it is dropped.
struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_source: OfSource,
}

impl Onlookers {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST_ONLOOKERS)), sources: Sources::default() }
    }

    fn place(&self, client: IpAddr) -> Option<Place> {
        let of_source = self.sources.enter(client, MOST_OF_SOURCE)?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _of_all: of_all, _of_source: of_source })
    }
}

/// Whether a path is drowse's own: it is never forwarded.
pub(crate) fn is_own(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The path of the page that asks, and with it the route.
pub(crate) fn path_asked_about(parts: &Parts) -> String {
    parameter(parts, "path").unwrap_or_else(|| "/".to_owned())
}

fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?.as_bytes();
    form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A question to drowse itself.
pub(crate) struct Asked {
    context: Arc<Context>,
    route: Route,
    question: Option<Question>,
    language: Language,
    client: IpAddr,
}

/// With what was seen last.
enum Question {
    Ready { seen: Option<String> },
    Events { seen: Option<String> },
}

impl Asked {
    pub(crate) fn new(context: Arc<Context>, route: Route, parts: &Parts, client: IpAddr) -> Self {
        let question = match (&parts.method, parts.uri.path().strip_prefix(PREFIX)) {
            (&Method::GET | &Method::HEAD, Some("ready")) => {
                Some(Question::Ready { seen: parameter(parts, "seen").filter(is_short) })
            }
            (&Method::GET, Some("events")) => {
                Some(Question::Events { seen: last_event_id(&parts.headers) })
            }
            _ => None,
        };
        let language = context.gateway.pages().language_for(&parts.headers);
        Self { context, route, question, language, client }
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    Some(id.to_owned()).filter(is_short)
}

#[expect(clippy::ptr_arg, reason = "a filter of options")]
fn is_short(id: &String) -> bool {
    id.len() <= LONGEST_ID
}

/// For what is drowse's own and leads nowhere.
pub(crate) fn nothing_here() -> Problem {
    Problem::new(Reason::NoRoute, "drowse itself has nothing at this path.")
}

/// Answers it. Wakes nothing and keeps nothing awake.
pub(crate) async fn answer(asked: Asked) -> Response<ResponseBody> {
    let Asked { context, route, question, language, client } = asked;
    let Some(question) = question else { return nothing_here().into_response() };
    let place = context.gateway.onlookers.place(client);
    match (question, place) {
        (Question::Ready { seen }, Some(_place)) => {
            wait_for_news(&context, &route, seen).await;
            told(&route, language, AFTER_NEWS)
        }
        (Question::Ready { .. }, None) => told(&route, language, WITHOUT_PLACE),
        (Question::Events { seen }, Some(place)) => {
            events::answer(context, route, language, seen, place)
        }
        (Question::Events { .. }, None) => {
            let detail = "Too many pages are told of changes at present: ask `ready`.";
            let problem = Problem::new(Reason::TooMany, detail);
            problem.retry_after(Duration::from_secs(5)).into_response()
        }
    }
}

async fn wait_for_news(context: &Context, route: &Route, seen: Option<String>) {
    let spec = route.spec();
    let mut watch = spec.workload.watch();
    let is_news = |snapshot: &Snapshot| {
        seen.as_ref().is_none_or(|seen| *seen != State::of(spec, snapshot).id())
    };
    // The deadline is an answer, too, the state as it is; and an error says that the workload is no
    // longer managed: its last state is told.
    tokio::select! {
        _ = timeout(LONGEST_POLL, watch.wait_for(is_news)) => {}
        () = context.phases.shutdown.cancelled() => {}
    }
}

/// How a workload is, to whoever asks.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    told: Told,
    /// How many seconds should pass before anybody asks for the application again, if at all: asking
    /// wakes.
    retry_after: Option<u64>,
    /// How long a page waits before it asks again how things are.
    pause_ms: u64,
}

fn told(route: &Route, language: Language, pause: Duration) -> Response<ResponseBody> {
    let (state, pace) = look(route);
    let retry_after = match state.phase {
        PhaseName::Failed | PhaseName::Gone => Some(10),
        // The wake that the page began is no more, or has not begun.
        PhaseName::Asleep | PhaseName::Unread => Some(2),
        _ => None,
    };
    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let answer = Answer { told: state.tell(pace, language), retry_after, pause_ms };
    // It consists of texts and numbers, which always can be written.
    own(StatusCode::OK, "application/json", serde_json::to_vec(&answer).unwrap_or_default())
}

fn look(route: &Route) -> (State, Pace) {
    let spec = route.spec();
    (State::of(spec, &spec.workload.snapshot()), Pace::of(&spec.workload))
}

#[cfg(test)]
mod fuzz;
