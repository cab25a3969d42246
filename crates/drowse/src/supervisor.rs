//! Makes what runs follow the plan: starts and ends the management of workloads, and shows the
//! gateway where each route leads.

mod bonds;
mod forwarders;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use drowse_watcher::{Hold, LeaseKind, Workload, WorkloadSpec};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::{bonds::Bonds, forwarders::Forwarders};
use crate::{
    complaints::Complaints,
    config::Config,
    engines::Engines,
    events::Witness,
    front::{self, Front},
    gates::{Gates, Subject},
    holds::Holds,
    plan::{self, EngineView, Incumbents, Inventory, Planned, PlannedContainer, PlannedNeeds},
    ports::{self, Ports},
    store::Store,
    view::{Entry, Unread, View},
};

/// How often it is looked at whether requests that a former management let in are through.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What runs, and what it follows.
pub(crate) struct Supervisor {
    config: watch::Receiver<Arc<Config>>,
    engines: Arc<Engines>,
    front: Front,
    ports: Ports,
    /// By workload name.
    running: BTreeMap<String, Arc<Entry>>,
    /// Workloads whose management is ending: until it has, nobody else may begin to manage their
    /// containers.
    ending: BTreeMap<u64, Arc<Entry>>,
    endings: JoinSet<u64>,
    last_ending: u64,
    /// Workloads whose management has ended, and whose requests are not all through.
    former: Vec<Arc<Entry>>,
    /// What goes on beside the management of a workload, until the end.
    vigils: JoinSet<()>,
    bonds: Bonds,
    complaints: Complaints,
    forwarders: Forwarders,
    store: Store,
    holds: Holds,
    view: watch::Sender<Arc<View>>,
}

impl Supervisor {
    /// A supervisor of nothing yet, and what it will manage.
    pub(crate) fn new(
        config: watch::Receiver<Arc<Config>>,
        engines: Arc<Engines>,
        front: Front,
        store: Store,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, receiver) = watch::channel(Arc::new(View::default()));
        let forwarders = Forwarders::new(front.forwarders());
        let ports = Ports::new(front.gateway(), front.handed());
        let supervisor = Self {
            config,
            engines,
            front,
            ports,
            running: BTreeMap::new(),
            ending: BTreeMap::new(),
            endings: JoinSet::new(),
            last_ending: 0,
            former: Vec::new(),
            vigils: JoinSet::new(),
            bonds: Bonds::default(),
            complaints: Complaints::default(),
            forwarders,
            holds: Holds::new(store.clone()),
            store,
            view,
        };
        (supervisor, receiver)
    }

    /// The ports on which it listens for TCP and UDP routes.
    pub(crate) fn ports(&self) -> Ports {
        self.ports.clone()
    }

    /// What people want of workloads until they say otherwise.
    pub(crate) fn holds(&self) -> Holds {
        self.holds.clone()
    }

    /// Follows the inventory and the configuration until `end`, then ends all management; containers are left as they
    /// are.
    pub(crate) async fn run(
        mut self,
        mut inventory: watch::Receiver<Inventory>,
        end: CancellationToken,
    ) {
        loop {
            let now = inventory.borrow_and_update().clone();
            self.apply(&now).await;
            if !self.wait_for_news(&mut inventory, &end).await {
                break;
            }
        }
        for (_, entry) in std::mem::take(&mut self.running) {
            self.end(entry);
        }
        while self.endings.join_next().await.is_some() {}
    }

    /// Returns when there may be something to do; `false` at the end.
    async fn wait_for_news(
        &mut self,
        inventory: &mut watch::Receiver<Inventory>,
        end: &CancellationToken,
    ) -> bool {
        loop {
            let complaints_at = self.complaints.next();
            let complaints = async {
                match complaints_at {
                    Some(moment) => tokio::time::sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end.cancelled() => return false,
                changed = inventory.changed() => {
                    // Whoever runs us keeps the sender until we have ended.
                    return changed.is_ok();
                }
                // Whoever began us may keep to the configuration they had.
                Ok(()) = self.config.changed() => return true,
                Some(ended) = self.endings.join_next() => {
                    if let Some(entry) = ended.ok().and_then(|ended| self.ending.remove(&ended)) {
                        self.hand_on(&entry);
                        self.former.push(entry);
                    }
                    return true;
                }
                Some(_) = self.vigils.join_next() => {}
                () = complaints => self.complaints.tell(Instant::now()),
                () = self.forwarders.due() => {
                    for workload in self.forwarders.recognise(&self.running, &self.engines) {
                        self.vigils.spawn(forwarders::keep_awake(workload));
                    }
                }
            }
        }
    }

    async fn apply(&mut self, inventory: &Inventory) {
        let moved = self.look_around(inventory);
        let config = self.config.borrow_and_update().clone();
        let plan = plan::make(&config, inventory, &self.incumbents());
        let unmanaged = plan::unmanaged(&plan, inventory);
        self.bonds.look(&config, &plan, inventory);
        let mut before = std::mem::take(&mut self.running);
        let mut fresh = Vec::new();
        for planned in plan.workloads {
            match before.remove(&planned.name) {
                Some(entry) if is_same(&entry.planned, &planned) => {
                    let is_moved = moved.contains(&planned.engine);
                    let is_open = !plan::ways_past(&planned, inventory, &unmanaged).is_empty();
                    self.keep(entry, planned, is_moved, is_open).await;
                }
                Some(entry) => {
                    self.end(entry);
                    fresh.push(planned);
                }
                None => fresh.push(planned),
            }
        }
        for (_, entry) in before {
            info!(
                workload = entry.planned.name,
                engine = entry.planned.engine,
                container = entry.planned.container_name(),
                "no longer managed"
            );
            self.end(entry);
        }
        let mut in_between = Vec::new();
        for planned in fresh {
            let before = self.ending.values().filter(|entry| is_of_same(&entry.planned, &planned));
            let before: Vec<Arc<Entry>> = before.cloned().collect();
            if before.is_empty() {
                let ways_past = plan::ways_past(&planned, inventory, &unmanaged);
                let view = inventory.get(&planned.engine);
                self.begin(planned, view, &ways_past);
            } else {
                // It begins when the last one has ended: that brings us here again. Until then its
                // hosts are known, and whoever comes is told to come again.
                in_between.extend(before);
            }
        }
        // Before anybody can want any of them; holds may want them awake at once.
        self.bonds.tell(&self.running, in_between.is_empty()).await;
        self.holds.settle(self.running.values().map(Arc::as_ref)).await;
        self.look_after_former_requests();
        self.complaints.update(&plan.problems, Instant::now());
        let waiting = plan.waiting.into_iter().map(|planned| Unread {
            trouble: inventory.get(&planned.engine).and_then(|view| view.trouble.clone()),
            planned,
        });
        let unread_engines: Vec<_> = self
            .engines
            .discovered()
            .map(|configured| configured.engine.name())
            .map(|engine| (engine, inventory.get(engine)))
            .filter(|(_, view)| view.is_none_or(|view| view.containers.is_none()))
            .map(|(engine, view)| (engine.to_owned(), view.and_then(|view| view.trouble.clone())))
            .collect();
        // Whoever tried to read them has told the log.
        let unread: Vec<_> = inventory.values().flat_map(|view| view.unseen().cloned()).collect();
        let is_discovering = self.engines.discovered().any(|configured| {
            inventory.get(configured.engine.name()).is_none_or(EngineView::may_bring_hosts)
        });
        let entries: Vec<Arc<Entry>> = self.running.values().cloned().collect();
        self.front.show(&entries, &in_between, is_discovering);
        self.ports.show(&entries, &in_between, is_discovering);
        self.view.send_replace(Arc::new(View {
            entries,
            waiting: waiting.collect(),
            unread_engines,
            problems: plan.problems.into_iter().chain(unread).collect(),
            ports: Some(self.ports.clone()),
        }));
    }

    /// What is managed, also what is about to be managed anew.
    fn incumbents(&self) -> Incumbents {
        let entries = self.running.values().chain(self.ending.values()).chain(&self.former);
        Incumbents::of(entries.map(|entry| &entry.planned))
    }

    /// Takes in from where each engine's containers are dialled now; the engines for which that is
    /// another place than before.
    fn look_around(&self, inventory: &Inventory) -> BTreeSet<String> {
        let is_moved = |(name, view): &(&String, &EngineView)| {
            self.engines.standpoint(name).set(view.here.vantage.clone())
        };
        inventory.iter().filter(is_moved).map(|(name, _)| name.clone()).collect()
    }

    /// Goes on with a workload whose policy or routes may have changed, or that is dialled from
    /// elsewhere now.
    async fn keep(
        &mut self,
        entry: Arc<Entry>,
        mut planned: Planned,
        is_moved: bool,
        is_open: bool,
    ) {
        if is_absent(&planned) {
            // It says nothing of what it needs, either; it is as it was when it is there again.
            let needs = match planned.needs {
                needs @ PlannedNeeds::InError { .. } => needs,
                PlannedNeeds::Of(_) => entry.planned.needs.clone(),
            };
            planned = Planned { policy: planned.policy, needs, ..entry.planned.clone() };
        } else {
            self.follow_gates(&entry, &planned, is_open);
        }
        if !is_moved && entry.planned == planned {
            // What was read while drowse began stays where it is, and the memory of the new plan goes back
            // as it came: put in its place, workload by workload, it would leave a gap for each.
            self.running.insert(planned.name, entry);
            return;
        }
        if entry.planned.policy != planned.policy {
            info!(workload = planned.name, "its policy has changed");
            entry.workload.set_policy(planned.policy.clone()).await;
        }
        let mut routes = entry.routes.clone();
        if (is_moved || entry.planned.routes != planned.routes)
            && let Some((engine, _)) = self.engines.find(&planned.engine)
        {
            let standpoint = self.engines.standpoint(&planned.engine);
            routes = planned
                .routes
                .iter()
                .map(|route| {
                    // A route that stays keeps its connections.
                    let mut known = entry.planned.routes.iter();
                    known.position(|known| !is_moved && known == route).map_or_else(
                        || front::route(&planned, route, &entry.workload, &engine, &standpoint),
                        |index| entry.routes[index].clone(),
                    )
                })
                .collect();
        }
        let mut port_routes = entry.port_routes.clone();
        if (is_moved || entry.planned.port_routes != planned.port_routes)
            && let Some((engine, _)) = self.engines.find(&planned.engine)
        {
            let standpoint = self.engines.standpoint(&planned.engine);
            let made = planned
                .port_routes
                .iter()
                .map(|route| ports::route(&planned, route, &entry.workload, &engine, &standpoint));
            port_routes = made.collect();
        }
        let (workload, gates) = (entry.workload.clone(), entry.gates.clone());
        let entry = Entry { planned, workload, routes, gates, port_routes };
        self.running.insert(entry.planned.name.clone(), Arc::new(entry));
    }

    /// What is asked before a sleep follows the plan.
    fn follow_gates(&self, entry: &Entry, planned: &Planned, is_open: bool) {
        if let Some((engine, _)) = self.engines.find(&planned.engine) {
            let standpoint = &self.engines.standpoint(&planned.engine);
            let provider = entry.workload.provider();
            entry.gates.follow(planned, is_open, Subject { provider, engine: &engine, standpoint });
        }
    }

    fn begin(&mut self, planned: Planned, view: Option<&EngineView>, ways_past: &[String]) {
        let Planned { name, engine, container, port, .. } = &planned;
        let Some((handle, slots)) = self.engines.find(engine) else {
            error!(workload = name, engine, "there is no such engine");
            return;
        };
        let provider = self
            .engines
            .reference(name, container, *port)
            .and_then(|reference| handle.provider(&reference));
        let provider = match provider {
            Ok(provider) => provider,
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                error!(workload = name, engine, error, "cannot be managed");
                return;
            }
        };
        let standpoint = self.engines.standpoint(engine);
        let readiness = front::readiness(&planned, &handle, &standpoint);
        let spec = WorkloadSpec::new(name, provider, readiness, planned.policy.clone());
        let leads = |route| match front::upstream(&planned, route, view) {
            Ok((Some(target), _)) => format!("{} -> {target}", route.urls().join(", ")),
            Ok((None, why)) | Err(why) => format!("{} -> {why}", route.urls().join(", ")),
        };
        let leads_by_port = |route| {
            let leads = ports::upstream(&planned, route, view);
            let (Ok((Some(to), _) | (None, to)) | Err(to)) = leads;
            format!("{} -> {to}", route.urls().join(", "))
        };
        let by_port = planned.port_routes.iter().map(leads_by_port);
        let routes = planned.routes.iter().map(leads).chain(by_port).collect::<Vec<_>>();
        if planned.is_implicit() {
            let container = planned.container_name();
            info!(
                workload = name,
                engine, container, "not enabled: started when needed, never stopped"
            );
        } else {
            info!(
                workload = name,
                engine,
                container = planned.container_name(),
                routes = routes.join("; "),
                past = (!ways_past.is_empty()).then(|| ways_past.join("; ")),
                "managed"
            );
        }
        let subject =
            Subject { provider: &spec.provider, engine: &handle, standpoint: &standpoint };
        let gates = Arc::new(Gates::new(&planned, !ways_past.is_empty(), subject));
        let spec = spec.with_gates(vec![gates.clone()]);
        let witness = Witness::new(self.store.clone(), engine, &planned.shown_name());
        let mut spec = spec
            .with_slots(slots)
            .with_observer(Arc::new(witness))
            .with_memory(self.store.recall(name))
            .with_hold_asleep(self.holds.asleep(name));
        if let Some(group) = &planned.group {
            spec = spec.with_group(self.bonds.group(group));
        }
        let workload = self.bonds.begin(spec, &planned.needs);
        // One of the file whose container has been given this name keeps its requests.
        for other in self.running.values().filter(|other| is_of_same(&other.planned, &planned)) {
            self.vigils.spawn(keep_awake_for(other.workload.clone(), workload.clone()));
        }
        if self.forwarders.knows(engine, planned.container_name()) {
            self.vigils.spawn(forwarders::keep_awake(workload.clone()));
        }
        let routes = planned
            .routes
            .iter()
            .map(|route| front::route(&planned, route, &workload, &handle, &standpoint))
            .collect();
        let by_port = planned.port_routes.iter();
        let port_routes = by_port
            .map(|route| ports::route(&planned, route, &workload, &handle, &standpoint))
            .collect();
        let entry = Entry { planned, workload, routes, gates, port_routes };
        self.running.insert(entry.planned.name.clone(), Arc::new(entry));
    }

    /// Whoever manages a container now learns of the requests that a former management let in.
    fn look_after_former_requests(&mut self) {
        for former in std::mem::take(&mut self.former) {
            if former.workload.leases() == 0 {
                continue;
            }
            let is_heir = |entry: &&Arc<Entry>| is_of_same(&former.planned, &entry.planned);
            if let Some(heir) = self.running.values().find(is_heir) {
                let heir = heir.workload.clone();
                self.vigils.spawn(keep_awake_for(former.workload.clone(), heir));
            } else {
                self.former.push(former);
            }
        }
    }

    /// Its management has ended: whoever manages it next goes on with what it knew.
    fn hand_on(&self, entry: &Entry) {
        let name = &entry.planned.name;
        // Another container may have been given that name meanwhile.
        if !self.running.contains_key(name) {
            self.store.hand_on(name, &entry.workload.memory());
        }
    }

    fn end(&mut self, entry: Arc<Entry>) {
        self.last_ending += 1;
        let number = self.last_ending;
        let workload = entry.workload.clone();
        self.bonds.end(&workload);
        self.ending.insert(number, entry);
        self.endings.spawn(async move {
            workload.close().await;
            number
        });
    }
}

/// Requests that were let in before a container came under another management are in flight still:
/// the new one does not know their leases, and must not put it to sleep under them.
async fn keep_awake_for(former: Workload, now: Workload) {
    let holder = now.holder("requests of before it was managed anew");
    let mut news = now.watch();
    let mut lease = None;
    while former.leases() > 0 {
        // Active: its idle time begins when the last of them is through. It wakes nothing: what they
        // are served by runs.
        lease = lease.or_else(|| now.try_lease(&holder, LeaseKind::Active).map(Hold::from));
        tokio::select! {
            changed = news.changed(), if lease.is_none() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether two plans are about one container: a rename leaves the id, an update the name.
fn is_of_same(a: &Planned, b: &Planned) -> bool {
    let id = |planned: &Planned| planned.details.as_ref().map(|details| details.id.clone());
    a.engine == b.engine
        && (a.container_name() == b.container_name() || (id(a).is_some() && id(a) == id(b)))
}

/// Whether the management can go on as it is: its policy and its routes may change, its container
/// and the way to find out whether it serves may not.
fn is_same(before: &Planned, after: &Planned) -> bool {
    let is_process_changed = matches!(
        (&before.container, &after.container),
        (PlannedContainer::Process(before), PlannedContainer::Process(after)) if before != after
    );
    before.engine == after.engine
        && before.container_name() == after.container_name()
        && !is_process_changed
        && before.group == after.group
        // A container that is not there says nothing of its ports.
        && (is_absent(after) || (before.port == after.port && before.ready_when() == after.ready_when()))
}

/// Whether its container was not there when its engine was last read.
fn is_absent(planned: &Planned) -> bool {
    matches!(planned.container, PlannedContainer::OnEngine(_)) && planned.details.is_none()
}

#[cfg(test)]
mod tests;
