//! From what the user wants and what the engines have to what is managed: pure, so that `check`
//! and `run` cannot disagree.

mod claims;
mod gates;
mod needs;
mod past;
mod policy;
mod refusals;
mod selves;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use drowse_gateway::{HostPattern, PassiveRule, PathPrefix, UpstreamPolicy, Vantage, upstream};
use drowse_provider::{
    Capabilities, ContainerStatus, Details, Observation, Reach, Reference, Transport,
    compose::{self, Member},
};
use drowse_watcher::Policy;

pub(crate) use claims::Incumbents;
use claims::{Reserved, in_order, name_is_taken_by, route_is_taken_by, settle};
use gates::gates;
pub(crate) use gates::{PlannedGates, UseLimits};
use needs::Absent;
pub(crate) use needs::{PlannedNeed, PlannedNeeds};
pub(crate) use past::{Crowds, unmanaged, ways_past};
use policy::{
    may_sleep_under_ha, network, no_high_availability, passive, policy, quiet_after, ready,
    schedule,
};
use refusals::{hosts_our_machine, left_alone, refusals};
use selves::{leads_to_us, refuse_our_own, refuse_our_port};
pub(crate) use services::is_named;
use services::{Bound, Services, lasting_reference, namesakes};

use crate::{
    config::{
        Config, ContainerConfig, Given, Origin, PROCESS_ENGINE, Problem, ProcessConfig, Ready,
        RouteSettings, Settings, WorkloadConfig,
    },
    entrance::Entrance,
    labels::{self, Dialect, Labelled, Reading},
    schedule::Schedule,
    whereabouts::Here,
};

/// An engine as it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineView {
    pub(crate) capabilities: Capabilities,
    /// From where its containers can be dialled.
    pub(crate) reach: Reach,
    /// drowse itself, as this engine has it.
    pub(crate) here: Here,
    /// Who else is on its networks.
    pub(crate) crowds: Arc<Crowds>,
    /// What the engine's machine calls itself, if it is known.
    pub(crate) machine: Option<String>,
    /// The containers that concern us; `None` before the first read.
    pub(crate) containers: Option<Vec<Arc<Details>>>,
    /// What concerns us, too, and could never be read, by id: hosts that nobody has may belong there.
    pub(crate) unread: BTreeMap<String, UnreadContainer>,
    /// Why none of its containers can be seen, if that is so; the same goes for hosts.
    pub(crate) blindness: Option<Problem>,
    /// Why the engine cannot be reached, while it cannot.
    pub(crate) trouble: Option<String>,
    /// Whether nothing of it will ever be managed: another engine is the same one.
    pub(crate) is_refused: bool,
    /// The ways to engines that may lead through one of its containers.
    pub(crate) entrances: Vec<Entrance>,
    /// How its containers say what they want.
    pub(crate) dialect: Dialect,
}

/// A container of which only its list tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadContainer {
    pub(crate) name: String,
    pub(crate) problem: Problem,
}

impl EngineView {
    /// What keeps it from being known whole.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = &Problem> {
        self.unread.values().map(|unread| &unread.problem).chain(&self.blindness)
    }

    /// Whether a host that nobody has may turn out to be of one of its containers. What is refused is
    /// not waited for.
    pub(crate) fn may_bring_hosts(&self) -> bool {
        !self.is_refused && self.containers.is_none() || self.unseen().next().is_some()
    }

    /// Whether the container of that name or number is there, and could not be read.
    pub(crate) fn is_unread(&self, reference: &Reference) -> bool {
        let nothing = BTreeMap::new();
        self.unread.iter().any(|(id, unread)| is_named(id, &unread.name, &nothing, reference))
    }

    /// Whether an address of one of its containers means that container here, and nobody else.
    pub(crate) fn addresses_are_ours(&self) -> bool {
        matches!(self.here.vantage, Vantage::Inside(_))
            || matches!(self.reach, Reach::Local | Reach::Routed)
    }

    /// Whether its containers are known by a number for good, and their names are anybody's.
    pub(crate) fn is_numbered(&self) -> bool {
        matches!(self.dialect, Dialect::Notes { .. })
    }

    /// An engine that was not read yet.
    pub(crate) fn unread(capabilities: Capabilities, reach: Reach) -> Self {
        Self {
            capabilities,
            reach,
            here: Here::default(),
            machine: None,
            crowds: Arc::default(),
            containers: None,
            unread: BTreeMap::new(),
            blindness: None,
            trouble: None,
            is_refused: false,
            entrances: Vec::new(),
            dialect: Dialect::default(),
        }
    }
}

/// All engines as they were last read, by name.
pub(crate) type Inventory = BTreeMap<String, EngineView>;

/// What is managed.
#[derive(Clone, Debug)]
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
}

/// What an answer to a probe is asked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) path: PathPrefix,
    pub(crate) host: Option<HostPattern>,
}

impl Planned {
    /// How it is found out that it serves: as is said, or by its first route. What has no route is
    /// ready when it runs: there is nobody to ask it for anything.
    pub(crate) fn ready_when(&self) -> ReadyWhen {
        let route = match (self.ready, self.routes.first()) {
            (Some(Ready::Healthy), _) => return ReadyWhen::Healthy,
            (Some(Ready::Running), _) | (None, None) => return ReadyWhen::Running,
            (None, Some(route)) => route,
        };
        ReadyWhen::Answering(Probe {
            port: route.port,
            address: route.address.clone(),
            network: self.network.clone(),
            path: route.path.clone(),
            host: route.hosts.first().cloned(),
        })
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
    pub(crate) problems: Vec<Problem>,
}

impl Planned {
    /// How the container is named to its engine: for logs, and as long as the workload is the same.
    pub(crate) fn container_name(&self) -> String {
        match &self.container {
            PlannedContainer::OnEngine(reference) => reference.to_string(),
            PlannedContainer::Process(_) => self.name.clone(),
        }
    }

    /// How people call the container: for tables.
    pub(crate) fn shown_name(&self) -> String {
        match (&self.container, &self.details) {
            (PlannedContainer::OnEngine(Reference::Vmid(_)), Some(details)) => details.name.clone(),
            _ => self.container_name(),
        }
    }

    /// The number that its cluster gives it, where its engine is one.
    pub(crate) fn vmid(&self) -> Option<u32> {
        match (&self.container, &self.details) {
            (PlannedContainer::OnEngine(Reference::Vmid(vmid)), _) => Some(*vmid),
            (_, Some(details)) => details.node.as_ref().and(details.id.parse().ok()),
            _ => None,
        }
    }

    /// Its tags, where its engine has numbers and tags.
    pub(crate) fn tags(&self) -> Vec<String> {
        let Some(details) = self.details.as_ref().filter(|_| self.vmid().is_some()) else {
            return Vec::new();
        };
        details.labels.keys().filter(|label| !labels::is_ours(label)).cloned().collect()
    }

    /// What works on the container and keeps orders from it, as it was last read.
    pub(crate) fn lock(&self) -> Option<String> {
        self.details.as_ref()?.observation.lock.clone()
    }

    /// The machine of its engine that it is on, where there are several.
    pub(crate) fn node(&self) -> Option<String> {
        self.details.as_ref()?.node.clone()
    }
}

/// Makes the plan. `incumbents`: who is managed until now.
pub(crate) fn make(config: &Config, inventory: &Inventory, incumbents: &Incumbents) -> Plan {
    let services = Services::of(inventory);
    let reserved = Reserved::of(config, inventory);
    let (plan, taken, absent) = (Plan::default(), BTreeMap::new(), Absent::default());
    let mut planner = Planner { config, inventory, services, reserved, plan, taken, absent };
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
    absent: Absent,
}

impl Planner<'_> {
    /// Plans a workload of the file; what it is bound to.
    fn plan_file(&mut self, workload: &WorkloadConfig, managed: &[Bound]) -> Option<Bound> {
        let mut mistakes = Vec::new();
        let (engine, container, details, view) = match &workload.container {
            ContainerConfig::Process(process) => (
                PROCESS_ENGINE.to_owned(),
                PlannedContainer::Process(process.clone()),
                None,
                &EngineView::unread(Capabilities::all(), Reach::Loopback),
            ),
            ContainerConfig::OnEngine { engine, reference } => {
                let view = self.inventory.get(engine)?;
                let Some(containers) = &view.containers else {
                    self.reserve_hosts(workload);
                    self.plan.waiting.push(Waiting {
                        name: workload.name.clone(),
                        engine: engine.clone(),
                        container: reference.to_string(),
                        vmid: match reference {
                            Reference::Vmid(vmid) => Some(*vmid),
                            _ => None,
                        },
                    });
                    return None;
                };
                let found = match namesakes(view, containers, reference) {
                    Some(several) => Err(several),
                    None => {
                        self.services.find(engine, containers, reference).map_err(|e| e.to_string())
                    }
                };
                let details = found.unwrap_or_else(|why| {
                    mistakes.push(why);
                    None
                });
                let container = PlannedContainer::OnEngine(reference.clone());
                (engine.clone(), container, details.cloned(), view)
            }
        };
        let bound = details.as_ref().map(|details| Bound::to(&engine, details));
        let alone = left_alone(self.config, &workload.name, &container, details.as_deref());
        if let Some(why) = alone {
            let subject = format!("workload `{}`", workload.name);
            self.plan.problems.push(Problem::warning(why).about(subject).at(&workload.place));
            if let Some(details) = details {
                self.absent.add_needs(&engine, &details, &workload.settings);
                self.absent.add(workload.name.clone(), engine, Some(details));
            }
            return bound;
        }
        if let Some(details) = &details
            && managed.iter().any(|other| other.covers(&engine, details))
        {
            self.plan.problems.push(
                Problem::error(format!(
                    "workload `{}`: its container is another workload's already",
                    workload.name
                ))
                .at(&workload.place),
            );
            return None;
        }
        let (labelled, wrong) = match details.as_ref().map(|it| view.dialect.read(&it.labels)) {
            Some(Reading::Enabled(labelled)) => (*labelled, Vec::new()),
            Some(Reading::Wrong { mistakes, rest }) => (*rest, mistakes),
            _ => (Labelled::default(), Vec::new()),
        };
        let draft = |labelled: Labelled| Draft {
            name: workload.name.clone(),
            engine: engine.clone(),
            container: container.clone(),
            details: details.clone(),
            settings: workload.settings.clone().or(&labelled.settings),
            route_settings: workload.routes.clone().unwrap_or(labelled.routes),
            port: labelled.port,
            from: DefinedIn::File,
        };
        let planned = if view.is_numbered() {
            let (planned, left_out) = self.planned_by_notes(draft, labelled, view, &mut mistakes);
            for why in wrong.into_iter().chain(left_out) {
                let message =
                    format!("workload `{}`: left out of what its notes say: {why}", workload.name);
                self.plan.problems.push(Problem::warning(message).at(&workload.place));
            }
            planned
        } else {
            mistakes.extend(wrong);
            self.planned(draft(labelled), view, &mut mistakes)
        };
        for mistake in &mistakes {
            let message = format!("workload `{}`: {mistake}", workload.name);
            self.plan.problems.push(Problem::error(message).at(&workload.place));
        }
        if mistakes.is_empty() {
            self.take(planned);
        } else {
            if let Some(details) = &planned.details {
                self.absent.add_needs(&planned.engine, details, &workload.settings);
            }
            self.absent.add(planned.name, planned.engine, planned.details);
        }
        bound
    }

    /// What the file gives to a workload is not up for grabs while its engine is out of reach.
    fn reserve_hosts(&mut self, workload: &WorkloadConfig) {
        for route in workload.routes.iter().flatten() {
            let path = route.path.as_ref().map_or_else(PathPrefix::root, |path| path.value.clone());
            for host in route.hosts.iter().flat_map(|hosts| &hosts.value) {
                self.taken.insert((host.clone(), path.clone()), workload.name.clone());
            }
        }
    }

    /// Plans what labels or notes define, if nothing is wrong with it.
    fn plan_labels(
        &mut self,
        engine: &str,
        view: &EngineView,
        details: &Arc<Details>,
    ) -> Option<Planned> {
        let subject = subject(engine, &details.name);
        let labelled = match view.dialect.read(&details.labels) {
            Reading::Nothing => return None,
            Reading::NotEnabled => {
                if !details.labels.contains_key("drowse.enable") {
                    let how = view.dialect.how_to_enable();
                    let why = format!("it has labels of drowse and is not managed: {how}");
                    self.plan.problems.push(Problem::warning(why).about(&*subject));
                }
                // What it says of that counts all the same.
                self.complain(
                    &subject,
                    view.dialect.needs(&details.labels).err().into_iter().collect(),
                );
                return None;
            }
            Reading::Wrong { mistakes, .. } => {
                self.complain(&subject, mistakes);
                return None;
            }
            Reading::Enabled(labelled) => *labelled,
        };
        if compose::is_one_off(&details.labels) {
            return None;
        }
        let mut mistakes = Vec::new();
        let reference = lasting_reference(view, details);
        let containers = view.containers.as_deref().unwrap_or_default();
        match self.services.find(engine, containers, &reference) {
            Ok(Some(chosen)) if chosen.id == details.id => {}
            // Another one stands for the service now.
            Ok(_) => return None,
            Err(replicas) => mistakes.push(replicas.to_string()),
        }
        let lasting_name = || Member::from(&**details).lasting_name().to_owned();
        let name = labelled.name.map_or_else(lasting_name, |name| name.value);
        let container = PlannedContainer::OnEngine(reference);
        if let Some(why) = left_alone(self.config, &name, &container, Some(details)) {
            self.plan.problems.push(Problem::warning(why).about(subject));
            self.absent.add(name, engine.to_owned(), Some(details.clone()));
            return None;
        }
        if let Some(other) = self.plan.workloads.iter().find(|other| other.name == name) {
            mistakes.push(name_is_taken_by(other));
        }
        let planned = self.planned(
            Draft {
                name,
                engine: engine.to_owned(),
                container,
                details: Some(details.clone()),
                settings: labelled.settings,
                route_settings: labelled.routes,
                port: labelled.port,
                from: if view.is_numbered() { DefinedIn::Tag } else { DefinedIn::Labels },
            },
            view,
            &mut mistakes,
        );
        if mistakes.is_empty() {
            return Some(planned);
        }
        self.complain(&subject, mistakes);
        self.absent.add(planned.name, planned.engine, planned.details);
        None
    }

    fn complain(&mut self, subject: &str, mistakes: Vec<String>) {
        let errors = mistakes.into_iter().map(|why| Problem::error(why).about(subject));
        self.plan.problems.extend(errors);
    }

    /// Turns a draft of the file into a plan, with as much of its container's notes as can be: whoever
    /// edits these must not thereby take down what the file defines. What is left out of them, and why.
    fn planned_by_notes(
        &self,
        draft: impl Fn(Labelled) -> Draft,
        notes: Labelled,
        view: &EngineView,
        mistakes: &mut Vec<String>,
    ) -> (Planned, Vec<String>) {
        let routes = Labelled { settings: Settings::default(), ..notes.clone() };
        let settings = Labelled { settings: notes.settings.clone(), ..Labelled::default() };
        let mut left_out = None;
        for part in [notes, routes, settings] {
            let mut wrong = Vec::new();
            let planned = self.planned(draft(part), view, &mut wrong);
            if wrong.is_empty() {
                return (planned, left_out.unwrap_or_default());
            }
            left_out.get_or_insert(wrong);
        }
        // What is wrong without any of them is the file's own.
        let mut wrong = Vec::new();
        let planned = self.planned(draft(Labelled::default()), view, &mut wrong);
        let mut left_out = left_out.unwrap_or_default();
        left_out.retain(|why| !wrong.contains(why));
        mistakes.extend(wrong);
        (planned, left_out)
    }

    /// Turns a draft into a plan and notes what is wrong with it.
    fn planned(&self, draft: Draft, view: &EngineView, mistakes: &mut Vec<String>) -> Planned {
        let EngineView { capabilities, reach, here, .. } = view;
        let Draft { name, engine, container, details, settings, route_settings, port, from } =
            draft;
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
            refuse_our_port(details, view, &self.config.listen, mistakes);
        }
        let only_port = details.as_deref().map(only_exposed_port);
        let mut routes = Vec::new();
        let mut claimed = BTreeSet::new();
        for route in route_settings {
            let mut planned = self.route(route, &name, from, only_port.as_ref(), mistakes);
            planned.passive = passive.clone();
            planned.quiet_after = quiet_after;
            for host in &planned.hosts {
                if !claimed.insert((host.clone(), planned.path.clone())) {
                    mistakes.push(format!("two of its routes claim `{host}{}`", planned.path));
                }
            }
            if let (Some(port), Some(details)) = (planned.port, &details) {
                let policy = upstream_policy(Some(port), planned.address.clone(), network.clone());
                match upstream::choose(
                    &at_rest(details),
                    reach,
                    capabilities,
                    &here.vantage,
                    &policy,
                ) {
                    Ok(upstream) => {
                        let why = leads_to_us(&upstream, view, &self.config.listen);
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
        let hosts = route.hosts.map(|hosts| hosts.value).unwrap_or_default();
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
        PlannedRoute { name: route.name, hosts, path, port, address, passive, quiet_after }
    }

    fn take(&mut self, planned: Planned) {
        for route in &planned.routes {
            for host in &route.hosts {
                self.taken.insert((host.clone(), route.path.clone()), planned.name.clone());
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

/// The container's only exposed TCP port, or what to do where there is not one.
fn only_exposed_port(details: &Details) -> Result<u16, String> {
    let published = details.published.iter().map(|published| published.container);
    let exposed = details.exposed.iter().copied().chain(published);
    let exposed: BTreeSet<u16> =
        exposed.filter(|port| port.transport == Transport::Tcp).map(|port| port.number).collect();
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
