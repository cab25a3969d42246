//! The changes of a workload as server-sent events. Each has the id of the state that it tells: who
//! comes back with it is told what is so now if that is another. Only the present state is ever told;
//! who is slow misses what has passed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_watcher::Snapshot;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{Place, look};
use crate::{
    Route,
    body::ResponseBody,
    connection::Context,
    page::{Language, state::State},
    problem::own,
};

/// How soon a browser comes back when a stream ends.
const RETRY: Duration = Duration::from_secs(2);

/// How often a word comes while nothing changes: no proxy takes the connection for dead, and a page
/// knows that the stream is alive. A stream of events alone could not say that.
const BEAT: Duration = Duration::from_secs(15);

/// The least time between two events.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one stream lasts. The browser comes back if the page is still there.
const LONGEST: Duration = Duration::from_mins(10);

/// One page's stream. Ends with the connection.
struct Following {
    context: Arc<Context>,
    route: Route,
    language: Language,
    watch: watch::Receiver<Snapshot>,
    /// The id of what was told last.
    seen: Option<String>,
    until: Instant,
    is_new: bool,
    _place: Place,
}

pub(super) fn answer(
    context: Arc<Context>,
    route: Route,
    language: Language,
    seen: Option<String>,
    place: Place,
) -> Response<ResponseBody> {
    let watch = route.spec().workload.watch();
    let until = Instant::now() + LONGEST;
    let following =
        Following { context, route, language, watch, seen, until, is_new: true, _place: place };
    let events = stream::unfold(following, |mut following| async move {
        let words = following.next().await?;
        Some((Bytes::from(words), following))
    });
    let mut response = own(StatusCode::OK, "text/event-stream", Bytes::new());
    *response.body_mut() = ResponseBody::Events(events.boxed());
    let headers = response.headers_mut();
    // Neither compressed nor gathered on the way: both would keep it back.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Following {
    /// What is said next; `None` at the end. Cancel safe: nothing counts as told before it is.
    async fn next(&mut self) -> Option<String> {
        if std::mem::take(&mut self.is_new) {
            let (state, _) = look(&self.route);
            let news = if self.seen.as_ref() == Some(&state.id()) { BEATS } else { &self.event() };
            return Some(format!("retry: {}\n{news}", RETRY.as_millis()));
        }
        let now = Instant::now();
        if now >= self.until {
            return None;
        }
        let shutdown = self.context.phases.shutdown.clone();
        let spec = self.route.spec();
        let seen = &self.seen;
        let is_news = |snapshot: &Snapshot| Some(State::of(spec, snapshot).id()) != *seen;
        let news = async {
            sleep(PAUSE).await;
            self.watch.wait_for(is_news).await.map(drop)
        };
        let news = tokio::select! {
            news = timeout_at(self.until.min(now + BEAT), news) => news,
            () = shutdown.cancelled() => return None,
        };
        match news {
            Ok(Ok(())) => Some(self.event()),
            // The workload is no longer managed. Whoever comes back finds the one that is.
            Ok(Err(_)) => None,
            Err(_) => Some(BEATS.to_owned()),
        }
    }

    fn event(&mut self) -> String {
        let (state, pace) = look(&self.route);
        let told = state.tell(pace, self.language);
        // It consists of texts and numbers, which always can be written, without a line's end.
        let data = serde_json::to_string(&told).unwrap_or_default();
        let id = told.id;
        let event = format!("id: {id}\ndata: {data}\n\n");
        self.seen = Some(id);
        event
    }
}

/// A comment would do for proxies, but no script is told of one.
const BEATS: &str = "event: beat\ndata:\n\n";
