//! Routes: how traffic finds a workload.

use std::{fmt, sync::Arc, time::Duration};

use drowse_watcher::{Holder, Workload};

use crate::{
    Access, HeaderChanges, HostPattern, PassiveRule, PathPrefix, UpstreamScheme, access::Guard,
    dial::Dialer, in_flight::RouteNumber, pool::Pools, seldom::Seldom, upstream::Chooser,
};

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
    /// How long an upgraded connection (WebSocket), or an answer on its way (server-sent events, a paused
    /// download), may move no byte in either direction until it no longer keeps the workload awake. The
    /// next byte counts as use again. When the workload goes to sleep meanwhile, the connection (of HTTP/2:
    /// the stream) is closed. Never unless said: an application that is silent in the middle of an answer
    /// is in use. But for one whose client takes nothing over HTTP/2, which
    /// [`user_timeout`](crate::GatewayOptions::user_timeout) counts for: over HTTP/1.1 it would be cut.
    pub quiet_after: Option<Duration>,
    /// How its upstream is spoken to; HTTP/1.1 in clear unless said.
    pub scheme: UpstreamScheme,
    /// Whether the path's prefix is taken off before the upstream sees it, which is told of it in
    /// `X-Forwarded-Prefix`. What it answers stays as it is, `Location` too.
    pub strip_prefix: bool,
    /// Whether a request that came by http is sent to https, before anything is woken.
    pub https_only: bool,
    /// What changes in requests' headers, after all else has.
    pub request_headers: HeaderChanges,
    /// What changes in the headers of the upstream's answers.
    pub response_headers: HeaderChanges,
    /// Whether the waiting page and the errors for programs show what an engine says, what the workload
    /// needs and where it is: names, messages and addresses of containers, for everybody who may ask.
    /// Not unless said: then they tell the class and an exit code, and the log the rest.
    pub page_details: bool,
    /// Who may enter, asked before anything is woken; everybody unless said.
    pub access: Access,
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
            quiet_after: None,
            scheme: UpstreamScheme::default(),
            strip_prefix: false,
            https_only: false,
            request_headers: HeaderChanges::none(),
            response_headers: HeaderChanges::none(),
            page_details: false,
            access: Access::open(),
        }
    }
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
    pub(crate) number: RouteNumber,
    /// `None`: everybody may enter, as by most routes: hence the box.
    pub(crate) guard: Option<Box<Guard>>,
    /// When it was said last that its upstream has failed.
    pub(crate) failures: Seldom,
}

impl Route {
    /// A route as specified.
    pub fn new(spec: RouteSpec) -> Self {
        let holder = spec.workload.holder(&format!("route {}", spec.name));
        let host = spec.hosts.iter().find_map(HostPattern::exact);
        let dialer = Dialer::new(&spec.scheme, &spec.upstream, host);
        let pools = Pools::new(spec.workload.clone(), spec.upstream.clone(), dialer);
        let guard = Guard::new(&spec.access).map(Box::new);
        let (number, failures) = (RouteNumber::next(), Seldom::default());
        Self(Arc::new(Inner { spec, holder, pools, number, guard, failures }))
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
