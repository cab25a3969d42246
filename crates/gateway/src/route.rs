//! Routes: how traffic finds a workload.

use std::{fmt, sync::Arc, time::Duration};

use drowse_watcher::{Holder, LeaseKind, Workload};

use crate::{HostPattern, PathPrefix, pool::Pools, upstream::Chooser};

/// What a route is made of. Build it with [`RouteSpec::new`] and set what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteSpec {
    /// Its name, for logs, lists and as the holder of its leases.
    pub name: String,
    /// The hosts that it answers to.
    pub hosts: Vec<HostPattern>,
    /// The paths that it answers to; `/` unless said.
    pub path: PathPrefix,
    /// Where it leads.
    pub workload: Workload,
    /// Which address of the workload's container is dialled.
    pub upstream: Chooser,
    /// How long a request is held at most while the workload wakes; 5 min unless said.
    pub hold: Duration,
    /// How long an upstream may take until it begins to answer; 1 h unless said.
    pub answer_timeout: Duration,
    /// Which requests neither wake nor keep awake.
    pub passive: PassiveRule,
}

impl RouteSpec {
    /// A route for all paths of these hosts.
    pub fn new(
        name: impl Into<String>,
        hosts: impl IntoIterator<Item = HostPattern>,
        workload: Workload,
        upstream: Chooser,
    ) -> Self {
        Self {
            name: name.into(),
            hosts: hosts.into_iter().collect(),
            path: PathPrefix::root(),
            workload,
            upstream,
            hold: Duration::from_mins(5),
            answer_timeout: Duration::from_hours(1),
            passive: PassiveRule::default(),
        }
    }
}

/// Which requests are passive: served if the workload is ready, refused if it is not, and in
/// neither case counted as use. For monitors and bots. The default names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassiveRule {
    /// Requests whose `User-Agent` contains one of these, without regard to case.
    pub user_agents: Vec<String>,
    /// Requests for these paths.
    pub paths: Vec<PathPrefix>,
}

impl PassiveRule {
    /// No request is passive.
    pub fn none() -> Self {
        Self::default()
    }

    /// The kind of lease that a request takes.
    pub(crate) fn kind(&self, request: &http::request::Parts) -> LeaseKind {
        let agent = || {
            let agent = request.headers.get(http::header::USER_AGENT)?.as_bytes();
            self.user_agents
                .iter()
                .any(|named| contains_ignoring_case(agent, named.as_bytes()))
                .then_some(())
        };
        let path = request.uri.path();
        if self.paths.iter().any(|prefix| prefix.matches(path))
            || (!self.user_agents.is_empty() && agent().is_some())
        {
            LeaseKind::Passive
        } else {
            LeaseKind::Active
        }
    }
}

fn contains_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// A route. A cheap handle: clones are the same route, and share its connections. Keep the handle
/// of a route that did not change when the table is built anew, and its connections stay.
#[derive(Clone)]
pub struct Route(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) spec: RouteSpec,
    /// Made once: taking a lease must not look anything up.
    pub(crate) holder: Holder,
    pub(crate) pools: Pools,
}

impl Route {
    /// A route as specified.
    pub fn new(spec: RouteSpec) -> Self {
        let holder = spec.workload.holder(&format!("route {}", spec.name));
        let pools = Pools::new(spec.upstream.clone());
        Self(Arc::new(Inner { spec, holder, pools }))
    }

    /// What it is made of.
    pub fn spec(&self) -> &RouteSpec {
        &self.0.spec
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.spec.fmt(formatter)
    }
}
