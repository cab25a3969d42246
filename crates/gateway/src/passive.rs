//! Which requests are none of anybody's use: those of monitors and bots.

use std::net::IpAddr;

use drowse_watcher::{LeaseKind, PhaseName, Snapshot, WakeError};
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, USER_AGENT},
};
use tokio::time::Instant;

use crate::{Network, PathPrefix, body::ResponseBody, route::RouteSpec};

/// Tells who is answered for a workload that sleeps that it does.
const STATE: HeaderName = HeaderName::from_static("drowse-state");

/// Which requests are passive: served if the workload is ready, refused if it is not, and in
/// neither case counted as use. For monitors and bots. Any of these makes a request passive; the
/// default names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassiveRule {
    /// Requests whose `User-Agent` contains one of these, without regard to case.
    pub user_agents: Vec<String>,
    /// Requests for these paths.
    pub paths: Vec<PathPrefix>,
    /// Requests by these methods.
    pub methods: Vec<Method>,
    /// Requests of clients in these networks: the client's address, also behind a trusted proxy.
    pub networks: Vec<Network>,
    /// What they get, without a body, while the workload sleeps or wakes; `None`: 503 with
    /// `Retry-After`, as also when it cannot be woken.
    pub answer: Option<StatusCode>,
}

impl PassiveRule {
    /// No request is passive.
    pub fn none() -> Self {
        Self::default()
    }

    /// The kind of lease that a request of this client takes.
    pub(crate) fn kind(&self, request: &http::request::Parts, client: IpAddr) -> LeaseKind {
        let path = request.uri.path();
        if self.paths.iter().any(|prefix| prefix.matches(path))
            || self.methods.contains(&request.method)
            || self.networks.iter().any(|network| network.contains(client))
            || self.is_named(request)
        {
            LeaseKind::Passive
        } else {
            LeaseKind::Active
        }
    }

    /// The kind of lease that a connection of this client takes, of which nothing else is known.
    pub(crate) fn kind_of_client(&self, client: IpAddr) -> LeaseKind {
        if self.networks.iter().any(|network| network.contains(client)) {
            LeaseKind::Passive
        } else {
            LeaseKind::Active
        }
    }

    fn is_named(&self, request: &http::request::Parts) -> bool {
        let is_part_of =
            |agent: &[u8], named: &String| contains_ignoring_case(agent, named.as_bytes());
        !self.user_agents.is_empty()
            && request.headers.get(USER_AGENT).is_some_and(|agent| {
                self.user_agents.iter().any(|named| is_part_of(agent.as_bytes(), named))
            })
    }
}

/// What a passive request gets instead of an error, if its route says so: for a monitor asleep is not
/// down. What cannot be woken is down, and so is what has been about to wake for longer than anybody
/// would be held.
pub(crate) fn answer(
    route: &RouteSpec,
    error: &WakeError,
    snapshot: &Snapshot,
) -> Option<Response<ResponseBody>> {
    let status = route.passive.answer.filter(|_| matches!(error, WakeError::Asleep))?;
    let is_well = snapshot.engine_lost_since.is_none() && !snapshot.lacks_right;
    let is_asleep = match snapshot.phase {
        // Ready: it became so in between, and whoever asks again is served.
        PhaseName::Asleep | PhaseName::Stopping | PhaseName::Ready => true,
        PhaseName::Starting | PhaseName::Probing => {
            Instant::now().saturating_duration_since(snapshot.since) <= route.hold
        }
        _ => false,
    };
    (is_well && is_asleep).then(|| {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(STATE, HeaderValue::from_static("asleep"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    })
}

fn contains_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
