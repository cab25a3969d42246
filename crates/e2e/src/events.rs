//! The engine's own record of what happened to containers.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::container::TestContainer;
use crate::dockerd::Dockerd;
use crate::http as client;
use crate::wait::{DEADLINE, within};

/// Longer than any test: the stream is silent while nothing happens.
const SILENCE: Duration = Duration::from_hours(1);

/// Follows the engine's events of the containers that carry one label. An engine remembers few,
/// so they are kept here from the beginning.
#[derive(Debug)]
pub struct EventLog {
    seen: Arc<watch::Sender<Vec<Seen>>>,
    _following: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone)]
struct Seen {
    id: String,
    action: String,
}

impl EventLog {
    /// From the label's first event on.
    pub(crate) async fn follow(engine: &Dockerd, label: &str) -> Self {
        let filters = serde_json::json!({ "type": ["container"], "label": [label] }).to_string();
        let mut query = form_urlencoded::Serializer::new(String::new());
        // Since ever: nothing is missed between the request and its taking effect.
        query.append_pair("since", "1").append_pair("filters", &filters);
        let request = client::get(([127, 0, 0, 1], 0), &format!("/events?{}", query.finish()));
        let socket = engine.socket();
        let mut stream = within(DEADLINE, "the engine's events", async {
            let stream = UnixStream::connect(socket).await?;
            request.method(Method::GET).exchange(stream).await
        })
        .await
        .expect("the engine's events");
        let seen = Arc::new(watch::Sender::new(Vec::new()));
        let all = seen.clone();
        let following = tokio::spawn(async move {
            let mut unread = Vec::new();
            while let Ok(Some(bytes)) = stream.chunk(SILENCE).await {
                unread.extend_from_slice(&bytes);
                while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = unread.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line).expect("an event is JSON");
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let id = text(&event["Actor"]["ID"]);
                    all.send_modify(|seen| seen.push(Seen { id, action: text(&event["Action"]) }));
                }
            }
        });
        Self { seen, _following: AbortOnDropHandle::new(following) }
    }

    /// How often this has happened to a container so far, as far as was heard.
    pub fn heard(&self, container: &TestContainer, action: &str) -> usize {
        count(&self.seen.borrow(), container, action)
    }

    /// All that has happened to a container so far, as far as was heard.
    pub fn history(&self, container: &TestContainer) -> Vec<String> {
        let seen = self.seen.borrow();
        let own = seen.iter().filter(|event| event.id == container.id());
        own.map(|event| event.action.clone()).collect()
    }

    /// What has happened to these containers so far, of these kinds, in its order: each with the name
    /// that the test has for the container, as in `db start`.
    pub fn order(&self, containers: &[(&str, &TestContainer)], actions: &[&str]) -> Vec<String> {
        let seen = self.seen.borrow();
        let told = seen.iter().filter(|event| actions.contains(&event.action.as_str()));
        let named = told.filter_map(|event| {
            let (name, _) = containers.iter().find(|(_, one)| one.id() == event.id)?;
            Some(format!("{name} {}", event.action))
        });
        named.collect()
    }

    /// Waits until this has happened to a container so many times.
    ///
    /// # Panics
    /// If it has not within the deadline; what has happened is shown.
    pub async fn wait_for(
        &self,
        container: &TestContainer,
        action: &str,
        times: usize,
        deadline: Duration,
    ) {
        let mut seen = self.seen.subscribe();
        let enough = seen.wait_for(|seen| count(seen, container, action) >= times);
        let in_time = matches!(tokio::time::timeout(deadline, enough).await, Ok(Ok(_)));
        assert!(
            in_time,
            "not {times} × `{action}` of {} within {deadline:?}: {:?}",
            container.name(),
            self.history(container),
        );
    }

    /// Waits until everything is heard that has happened to a container up to now.
    ///
    /// # Panics
    /// If it is gone.
    pub async fn catch_up(&self, container: &TestContainer) {
        const MARK: &str = "archive-path";
        let before = self.heard(container, MARK);
        // Reading a file is an event as well, and changes nothing. Events come in their order.
        container.read_folder("/tmp").await;
        self.wait_for(container, MARK, before + 1, DEADLINE).await;
    }
}

fn count(seen: &[Seen], container: &TestContainer, action: &str) -> usize {
    let such = |event: &&Seen| event.id == container.id() && event.action == action;
    seen.iter().filter(such).count()
}
