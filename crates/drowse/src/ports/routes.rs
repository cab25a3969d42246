//! From a planned route to the gateway's, and to where it would lead.

use std::sync::Arc;

use drowse_gateway::{Chooser, Standpoint, TcpRoute, TcpRouteSpec, UdpRoute, UdpRouteSpec};
use drowse_provider::Engine;
use drowse_watcher::Workload;

use crate::{
    front,
    plan::{EngineView, Planned, PlannedPortRoute, PortKind},
};

/// A TCP or UDP route of the gateway.
#[derive(Clone, Debug)]
pub(crate) enum PortRoute {
    Tcp(TcpRoute),
    Udp(UdpRoute),
}

/// A route of a workload.
pub(crate) fn route(
    planned: &Planned,
    route: &PlannedPortRoute,
    workload: &Workload,
    engine: &Arc<dyn Engine>,
    standpoint: &Standpoint,
) -> PortRoute {
    let policy = route.upstream_policy(planned.network.as_deref());
    let chooser = Chooser::new(engine.clone(), standpoint.clone(), policy);
    let name = format!("{}/{}", planned.name, route.name);
    match &route.kind {
        PortKind::Tcp(tcp) => {
            let mut spec = TcpRouteSpec::new(name, workload.clone(), chooser);
            spec.server_names.clone_from(&tcp.server_names);
            spec.passive = route.passive.clone();
            spec.quiet_after = tcp.quiet_after;
            spec.networks = route.networks.clone();
            spec.send_proxy_protocol = tcp.send_proxy_protocol;
            spec.expects_proxy_protocol = tcp.expects_proxy_protocol;
            PortRoute::Tcp(TcpRoute::new(spec))
        }
        PortKind::Udp { idle } => {
            let mut spec = UdpRouteSpec::new(name, workload.clone(), chooser);
            spec.passive = route.passive.clone();
            spec.idle = *idle;
            spec.networks = route.networks.clone();
            PortRoute::Udp(UdpRoute::new(spec))
        }
    }
}

/// Where a route would lead, and why: the address if it is known before the container runs.
///
/// # Errors
/// Why it leads nowhere, and what to add.
pub(crate) fn upstream(
    planned: &Planned,
    route: &PlannedPortRoute,
    view: Option<&EngineView>,
) -> Result<(Option<String>, String), String> {
    let policy = route.upstream_policy(planned.network.as_deref());
    front::upstream_by(planned, &policy, view)
}
