//! From what the user wants and what the engines have to what is managed: pure, so that `check`
//! and `run` cannot disagree.

mod access;
mod claims;
mod file;
mod gates;
mod inventory;
mod labelled;
mod names;
mod needs;
mod past;
mod policy;
mod ports;
mod refusals;
mod selves;
mod services;
mod spoken;
mod way_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use drowse_gateway::{
    Access, HostPattern, NoUpstream, PassiveRule, PathPrefix, Upstream, UpstreamPolicy,
    UpstreamScheme, upstream,
};
use drowse_provider::{ContainerStatus, Details, Observation, Reference, Transport};
use drowse_watcher::Policy;

pub(crate) use access::{networks_in_words, trouble as access_trouble, words as access_in_words};
pub(crate) use claims::Incumbents;
use claims::{Reserved, in_order, name_is_taken_by, route_is_taken_by, settle};
use gates::gates;
pub(crate) use gates::{PlannedGates, UseLimits};
pub(crate) use inventory::{EngineView, Inventory, UnreadContainer};
use needs::Absent;
pub(crate) use needs::{NeedTarget, PlannedNeed, PlannedNeeds};
pub(crate) use past::{Crowds, unmanaged, ways_past};
use policy::{
    may_sleep_under_ha, network, no_high_availability, passive, policy, quiet_after, ready,
    schedule,
};
pub(crate) use ports::{PlannedPortRoute, PortKind};
use refusals::{hosts_our_machine, left_alone, refusals};
use selves::{leads_to_us, refuse_our_own, refuse_our_port};
pub(crate) use services::is_named;
use services::{Bound, Services, lasting_reference, namesakes};
pub(crate) use spoken::Spoken;
use spoken::spoken;
use way_in::Said;

use crate::{
    config::{Config, Given, Origin, Problem, ProcessConfig, Ready, RouteSettings, Settings},
    labels,
    schedule::Schedule,
};

/// What is managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) container: PlannedContainer,
    pub(crate) policy: Policy,
    /// When it is kept awake and woken, whoever uses it.
    pub(crate) schedule: Option<Schedule>,
    /// What is asked before each sleep.
    pub(crate) gates: PlannedGates,
    pub(crate) routes: Vec<PlannedRoute>,
    /// Where the application listens, as far as is known.
    pub(crate) port: Option<u16>,
    /// On which of its networks the container is dialled.
    pub(crate) network: Option<String>,
    /// When it counts as ready, if that is said.
    pub(crate) ready: Option<Ready>,
    /// The group whose members are woken together.
    pub(crate) group: Option<String>,
    /// What the key `needs` says of it.
    pub(crate) needs_said: Option<Given<Vec<String>>>,
    pub(crate) needs: PlannedNeeds,
    /// The container as it was last read, if it was there.
    pub(crate) details: Option<Arc<Details>>,
    pub(crate) from: DefinedIn,
    /// Its TCP and UDP routes.
    pub(crate) port_routes: Vec<PlannedPortRoute>,
}

/// What a planned workload starts and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlannedContainer {
    OnEngine(Reference),
    Process(ProcessConfig),
}

/// Where a workload is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefinedIn {
    File,
    Labels,
    /// By a tag, and perhaps notes.
    Tag,
    /// By nobody: others need it, or it needs others.
    Needs,
}

/// A route that leads to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedRoute {
    pub(crate) name: String,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) path: PathPrefix,
    /// `None`: the container was never there to say, and its route does not.
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    /// Which requests neither wake nor keep awake.
    pub(crate) passive: PassiveRule,
    /// How long an upgraded connection may be quiet and still count.
    pub(crate) quiet_after: Option<Duration>,
    /// How its upstream is spoken to, and what changes on the way.
    pub(crate) spoken: Spoken,
    /// Whether the waiting page shows what engines say.
    pub(crate) page_details: bool,
    /// Who may enter.
    pub(crate) access: Access,
}

/// How it is found out that a workload serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadyWhen {
    /// It runs.
    Running,
    /// Its own health check passes.
    Healthy,
    /// It answers.
    Answering(Probe),
    /// It accepts connections.
    Accepting(Dialled),
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialled {
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    pub(crate) network: Option<String>,
}

/// What an answer to a probe is asked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) path: PathPrefix,
    pub(crate) host: Option<HostPattern>,
    pub(crate) scheme: UpstreamScheme,
}

impl Planned {
    /// How it is found out that it serves: as is said, or by its first HTTP route, or else by its first
    /// TCP route. What has none is ready when it runs: nobody can ask it for anything.
    pub(crate) fn ready_when(&self) -> ReadyWhen {
        let route = match (self.ready, self.routes.first()) {
            (Some(Ready::Healthy), _) => return ReadyWhen::Healthy,
            (Some(Ready::Running), _) => return ReadyWhen::Running,
            (None, None) => {
                let mut by_tcp = self.port_routes.iter();
                let by_tcp = by_tcp.find(|route| route.transport() == Transport::Tcp);
                return by_tcp.map_or(ReadyWhen::Running, |route| {
                    ReadyWhen::Accepting(Dialled {
                        port: route.port,
                        address: route.address.clone(),
                        network: self.network.clone(),
                    })
                });
            }
            (None, Some(route)) => route,
        };
        ReadyWhen::Answering(Probe {
            port: route.port,
            address: route.address.clone(),
            network: self.network.clone(),
            path: if route.spoken.strip_prefix { PathPrefix::root() } else { route.path.clone() },
            host: route.hosts.first().cloned(),
            scheme: route.spoken.scheme.clone(),
        })
    }
}

impl Planned {
    /// What its HTTP and TCP routes say about their upstreams.
    fn policies_of_tcp(&self) -> Vec<UpstreamPolicy> {
        let by_http = self
            .routes
            .iter()
            .map(|route| upstream_policy(route.port, route.address.clone(), self.network.clone()));
        let by_port = self.port_routes.iter();
        let by_tcp = by_port.filter(|route| route.transport() == Transport::Tcp);
        by_http.chain(by_tcp.map(|it| it.upstream_policy(self.network.as_deref()))).collect()
    }
}

impl PlannedRoute {
    /// What a user asks for: `app.example.com/path`, for each host.
    pub(crate) fn urls(&self) -> Vec<String> {
        let path = self.path.as_str().trim_end_matches('/');
        self.hosts.iter().map(|host| format!("{host}{path}")).collect()
    }
}

/// A workload of the file whose engine has not been read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) container: String,
    pub(crate) vmid: Option<u32>,
}

/// What is managed, what will be, and what cannot be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) workloads: Vec<Planned>,
    pub(crate) waiting: Vec<Waiting>,
    /// What containers need that could not be read: names of workloads, each with who needs it.
    pub(crate) awaited: BTreeMap<String, String>,
    pub(crate) problems: Vec<Problem>,
}

/// Makes the plan. `incumbents`: who is managed until now.
pub(crate) fn make(config: &Config, inventory: &Inventory, incumbents: &Incumbents) -> Plan {
    let services = Services::of(inventory);
    let reserved = Reserved::of(config, inventory);
    let (plan, taken, absent) = (Plan::default(), BTreeMap::new(), Absent::default());
    let taken_ports = ports::Taken::default();
    let mut planner =
        Planner { config, inventory, services, reserved, plan, taken, taken_ports, absent };
    let mut managed_by_file: Vec<Bound> = Vec::new();
    for workload in &config.workloads {
        if let Some(bound) = planner.plan_file(workload, &managed_by_file) {
            managed_by_file.push(bound);
        }
    }
    let mut of_unknown_age = Vec::new();
    for (engine, view, details) in in_order(inventory) {
        if managed_by_file.iter().any(|bound| bound.covers(engine, details)) {
            continue;
        }
        match planner.plan_labels(engine, view, details) {
            Some(planned) if details.created.is_none() => of_unknown_age.push(planned),
            Some(planned) => planner.take(planned),
            None => {}
        }
    }
    for (planned, mistakes) in settle(of_unknown_age, incumbents) {
        if mistakes.is_empty() {
            planner.take(planned);
        } else {
            // A clone may have the same name.
            let subject = subject(&planned.engine, &planned.container_name());
            planner.complain(&subject, mistakes);
            planner.absent.add(planned.name, planned.engine, planned.details);
        }
    }
    let Planner { services, mut plan, absent, .. } = planner;
    needs::settle(&mut plan, &absent, config, inventory, &services);
    plan
}

struct Planner<'a> {
    config: &'a Config,
    inventory: &'a Inventory,
    services: Services<'a>,
    reserved: Reserved,
    plan: Plan,
    /// Who has a host and path: the workload's name.
    taken: BTreeMap<(HostPattern, PathPrefix), String>,
    taken_ports: ports::Taken,
    absent: Absent,
}

impl Planner<'_> {
    fn complain(&mut self, subject: &str, mistakes: Vec<String>) {
        let errors = mistakes.into_iter().map(|why| Problem::error(why).about(subject));
        self.plan.problems.extend(errors);
    }

    /// Turns a draft into a plan and notes what is wrong with it.
    fn planned(&self, draft: Draft, view: &EngineView, mistakes: &mut Vec<String>) -> Planned {
        let EngineView { capabilities, here, .. } = view;
        let Draft { name, engine, container, details, settings, route_settings, port, from } =
            draft;
        let inherited = settings.access.clone().or(&self.config.defaults.access);
        let passive = passive(&settings, &self.config.defaults);
        let quiet_after = quiet_after(&settings, &self.config.defaults);
        let network = network(&settings, &self.config.defaults, details.as_deref());
        if !view.is_numbered() {
            mistakes.extend(no_high_availability(&settings));
        }
        let may_sleep_under_ha = may_sleep_under_ha(&settings, &self.config.defaults);
        let ready =
            ready(&settings, &self.config.defaults, capabilities, details.as_deref(), mistakes);
        let needs_said = settings.needs.clone();
        let group = settings.group.as_ref().or(self.config.defaults.group.as_ref());
        let group = group.map(|group| group.value.clone());
        let schedule = schedule(&settings, self.config, mistakes);
        let policy = policy(
            &name,
            settings.clone(),
            &self.config.defaults,
            capabilities,
            details.as_deref(),
            mistakes,
        );
        if let Some(details) = &details {
            mistakes.extend(refusals(
                self.config,
                view,
                details,
                &policy.sleep,
                may_sleep_under_ha,
            ));
            mistakes.extend(hosts_our_machine(self.inventory, view, details));
            refuse_our_own(details, here, mistakes);
            refuse_our_port(details, view, Transport::Tcp, &self.config.addresses(), mistakes);
        }
        let (by_port, route_settings): (Vec<_>, Vec<_>) =
            route_settings.into_iter().partition(ports::is_port_route);
        let common = ports::Common {
            config: self.config,
            inventory: self.inventory,
            view,
            details: details.as_deref(),
            from,
            workload: &name,
            network: network.as_deref(),
            passive: &passive,
            quiet_after,
            access: &inherited,
        };
        let mut port_routes = Vec::with_capacity(by_port.len());
        let mut own_ports = ports::Taken::default();
        for route in by_port {
            if let Some(route) = ports::route(route, &common, &self.taken_ports, mistakes) {
                mistakes.extend(own_ports.refuse_own(&name, &route));
                own_ports.take(&name, &route);
                let policy = route.upstream_policy(network.as_deref());
                if let Some(Ok(upstream)) = details
                    .as_deref()
                    .filter(|_| route.transport() == Transport::Tcp)
                    .map(|details| upstream_at_rest(details, view, &policy))
                {
                    own_ports.is_reached(&name, &upstream, view);
                }
                port_routes.push(route);
            }
        }
        let by_tcp = [&self.taken_ports, &own_ports];
        let by_tcp = by_tcp.iter().flat_map(|ports| ports.listened_on(Transport::Tcp));
        let listened_on: Vec<_> = self.config.addresses().into_iter().chain(by_tcp).collect();
        let only_port =
            details.as_deref().map(|details| only_exposed_port(details, Transport::Tcp));
        // With room for these alone: the first of some of their size would have room for four.
        let mut routes = Vec::with_capacity(route_settings.len());
        let mut claimed = BTreeSet::new();
        for route in route_settings {
            mistakes.extend(ports::not_of_http(&route));
            let access = access::access(&route.access, &inherited);
            let said = Said::of(&route);
            let mut planned = self.route(route, &name, from, only_port.as_ref(), mistakes);
            planned.passive = passive.clone();
            planned.quiet_after = quiet_after;
            planned.access = access;
            for host in &planned.hosts {
                if !claimed.insert((host.clone(), planned.path.clone())) {
                    mistakes.push(format!("two of its routes claim `{host}{}`", planned.path));
                }
            }
            if let (Some(port), Some(details)) = (planned.port, &details) {
                let policy = upstream_policy(Some(port), planned.address.clone(), network.clone());
                match upstream_at_rest(details, view, &policy) {
                    Ok(upstream) => {
                        let why = leads_to_us(&upstream, view, &listened_on);
                        let why = why.or_else(|| said.refuse(&upstream, self.inventory));
                        mistakes.extend(why.map(|why| format!("route `{}`: {why}", planned.name)));
                    }
                    Err(why) => mistakes.push(format!("route `{}`: {why}", planned.name)),
                }
            }
            routes.push(planned);
        }
        let port = port
            .map(|port| port.value)
            .or_else(|| routes.iter().find_map(|route| route.port))
            .or_else(|| port_routes.iter().find_map(|route| route.port))
            .or_else(|| only_port.and_then(Result::ok));
        let gates = gates(
            &settings,
            &self.config.defaults,
            capabilities,
            (&routes, port),
            details.is_some(),
            mistakes,
        );
        let needs = PlannedNeeds::default();
        Planned {
            name,
            engine,
            container,
            policy,
            schedule,
            gates,
            routes,
            port,
            network,
            ready,
            group,
            needs_said,
            needs,
            details,
            from,
            port_routes,
        }
    }

    fn route(
        &self,
        route: RouteSettings,
        workload: &str,
        from: DefinedIn,
        only_port: Option<&Result<u16, String>>,
        mistakes: &mut Vec<String>,
    ) -> PlannedRoute {
        let is_in_notes =
            route.hosts.as_ref().is_some_and(|hosts| matches!(hosts.origin, Origin::Note(_)));
        let mut hosts = route.hosts.map(|hosts| hosts.value).unwrap_or_default();
        hosts.shrink_to_fit();
        let path = route.path.map_or_else(PathPrefix::root, |path| path.value);
        let port = match (route.port, only_port) {
            (Some(port), _) => Some(port.value),
            (None, Some(Ok(port))) => Some(*port),
            (None, Some(Err(why))) => {
                let key = match (from, route.name.as_str()) {
                    (DefinedIn::File, _) => "port".to_owned(),
                    (_, labels::DEFAULT_ROUTE) => "drowse.port".to_owned(),
                    (_, name) => format!("drowse.routes.{name}.port"),
                };
                mistakes.push(format!("route `{}`: which port? {why}: set `{key}`", route.name));
                None
            }
            (None, None) => None,
        };
        for host in &hosts {
            if is_in_notes && let Some(why) = self.reserved.refuse(host, &path) {
                mistakes.push(why);
            } else if let Some(owner) = self.taken.get(&(host.clone(), path.clone()))
                && owner != workload
            {
                mistakes.push(route_is_taken_by(host, &path, owner));
            }
        }
        let address = route.address.map(|address| address.value);
        let (passive, quiet_after) = (PassiveRule::none(), None);
        let mut wrong = Vec::new();
        let spoken = spoken(route.spoken, &path, &mut wrong);
        mistakes.extend(wrong.into_iter().map(|why| format!("route `{}`: {why}", route.name)));
        let page_details = route.page_details.is_some_and(|details| details.value);
        PlannedRoute {
            name: route.name,
            hosts,
            path,
            port,
            address,
            passive,
            quiet_after,
            spoken,
            page_details,
            access: Access::open(),
        }
    }

    fn take(&mut self, planned: Planned) {
        for route in &planned.routes {
            if let Some(warning) = route.spoken.warning() {
                let about = format!("workload `{}`", planned.name);
                let message = format!("route `{}`: {warning}", route.name);
                self.plan.problems.push(Problem::warning(message).about(about));
            }
            for host in &route.hosts {
                self.taken.insert((host.clone(), route.path.clone()), planned.name.clone());
            }
        }
        for route in &planned.port_routes {
            self.taken_ports.take(&planned.name, route);
        }
        if let (Some(details), Some(view)) = (&planned.details, self.inventory.get(&planned.engine))
        {
            for policy in planned.policies_of_tcp() {
                if let Ok(upstream) = upstream_at_rest(details, view, &policy) {
                    self.taken_ports.is_reached(&planned.name, &upstream, view);
                }
            }
        }
        self.plan.workloads.push(planned);
    }
}

/// A container, for messages about what it says.
fn subject(engine: &str, container: &str) -> String {
    format!("container `{container}` on engine `{engine}`")
}

/// A workload before anything about it was checked.
struct Draft {
    name: String,
    engine: String,
    container: PlannedContainer,
    details: Option<Arc<Details>>,
    settings: Settings,
    route_settings: Vec<RouteSettings>,
    port: Option<Given<u16>>,
    from: DefinedIn,
}

/// What a route says about its upstream, as the gateway takes it.
pub(crate) fn upstream_policy(
    port: Option<u16>,
    address: Option<String>,
    network: Option<String>,
) -> UpstreamPolicy {
    let mut policy = UpstreamPolicy::new();
    policy.port = port;
    policy.address = address;
    policy.network = network;
    policy
}

/// Where a route leads while its container sleeps.
fn upstream_at_rest(
    details: &Details,
    view: &EngineView,
    policy: &UpstreamPolicy,
) -> Result<Upstream, NoUpstream> {
    let EngineView { reach, capabilities, here, .. } = view;
    upstream::choose(&at_rest(details), reach, capabilities, &here.vantage, policy)
}

/// The container as it is while it sleeps. What is wrong with its definition shows then as well;
/// what only shows while it is being started is none of a plan's business.
fn at_rest(details: &Details) -> Details {
    let mut still = details.clone();
    still.observation = Observation::new(ContainerStatus::Stopped, None);
    let holders = still.holder.iter_mut().flat_map(|holder| &mut holder.networks);
    for network in still.networks.iter_mut().chain(holders) {
        network.addresses.clear();
    }
    still
}

/// The container's only exposed port of this kind, or what to do where there is not one.
fn only_exposed_port(details: &Details, transport: Transport) -> Result<u16, String> {
    let published = details.published.iter().map(|published| published.container);
    let exposed = details.exposed.iter().copied().chain(published);
    let exposed: BTreeSet<u16> =
        exposed.filter(|port| port.transport == transport).map(|port| port.number).collect();
    match (exposed.first(), exposed.len()) {
        (Some(only), 1) => Ok(*only),
        (None, _) => Err("the container exposes none".to_owned()),
        _ => {
            let several: Vec<_> = exposed.iter().map(u16::to_string).collect();
            Err(format!("the container exposes {}", several.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests;
