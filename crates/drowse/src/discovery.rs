//! Which containers there are, and what they say: followed for as long as drowse runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use drowse_gateway::Vantage;
use drowse_provider::{
    Actor, ContainerStatus, Deadline, Details, Engine, EngineItem, Error, ErrorKind, Event,
    EventAction, NetworkMode, Reach, Reference, Summary, compose,
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    entrance::Entrance,
    labels,
    plan::{Crowds, EngineView, Inventory, is_named},
    whereabouts::{Here, NAME_VARIABLE, Whereabouts},
};

/// A container that went is believed gone after this time: updaters remove one and make it again,
/// and requests that come meanwhile shall wait instead of being told that there is no such host. Longer
/// than the watcher's own: a sleeper that was removed for good is told of by whoever knew it.
const QUIET: Duration = Duration::from_secs(12);

/// What one read of one container may take.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// When a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Reads under way at once, per engine.
const READS_AT_ONCE: usize = 8;

/// Follows one engine and keeps its part of the inventory true. Ends when the engine is closed.
pub(crate) async fn follow(
    engine: Arc<dyn Engine>,
    wanted: Arc<[Reference]>,
    mut entrance: Option<Entrance>,
    whereabouts: Arc<Whereabouts>,
    inventory: Arc<watch::Sender<Inventory>>,
) {
    let mut follower = Follower::new(engine.clone(), wanted, whereabouts, inventory);
    follower.entrance.clone_from(&entrance);
    let mut events = engine.events();
    let mut reads = FuturesUnordered::new();
    let mut look_ups = FuturesUnordered::new();
    let mut locating = None;
    loop {
        follower.begin_reads(&mut reads);
        follower.begin_to_locate(&mut locating);
        if reads.is_empty() || follower.is_shown {
            follower.publish();
        }
        let timer = follower.next_timer();
        tokio::select! {
            item = events.next() => match item {
                Some(item) => {
                    // A socket proxy that was made anew has another address.
                    if matches!(item, Ok(EngineItem::Synced(_))) && look_ups.is_empty() {
                        look_ups.extend(entrance.clone().map(Entrance::looked_up));
                    }
                    follower.item(item);
                }
                None => return,
            },
            Some(found) = look_ups.next(), if !look_ups.is_empty() => {
                follower.entered_by(&found);
                entrance = Some(found);
            }
            Some((id, outcome)) = reads.next(), if !reads.is_empty() => follower.read(id, outcome),
            Some(outcome) = async { Some(locating.as_mut()?.await) } => {
                locating = None;
                follower.located(outcome);
            }
            () = sleep_until(timer) => follower.timers(Instant::now()),
        }
    }
}

/// Reads an engine's part of the inventory once: what `check` looks at.
///
/// # Errors
/// What the engine said.
pub(crate) async fn read_once(
    engine: &Arc<dyn Engine>,
    wanted: &[Reference],
    whereabouts: &Whereabouts,
    deadline: Deadline,
) -> Result<EngineView, Error> {
    let list = engine.list(deadline).await?;
    let crowds = crowds(&list, wanted, whereabouts);
    let here = whereabouts.seen_by(engine.as_ref(), deadline).await?;
    let relevant =
        list.into_iter().filter(|one| is_relevant(&one.id, &one.name, &one.labels, wanted));
    let reads = relevant.map(|one| async move {
        let provider = engine.provider(&Reference::Id(one.id))?;
        match provider.inspect(deadline).await {
            Ok(details) => Ok(Some(Arc::new(details))),
            // Gone since it was listed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let details: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).collect().await;
    let details: Result<_, Error> = details.into_iter().filter_map(Result::transpose).collect();
    Ok(EngineView {
        here,
        crowds: Arc::new(crowds),
        containers: Some(details?),
        ..EngineView::unread(engine.capabilities(), engine.reach())
    })
}

/// Who of a list is on which network, without those that concern us and without ourselves.
fn crowds(list: &[Summary], wanted: &[Reference], whereabouts: &Whereabouts) -> Crowds {
    Crowds::of(list.iter().filter(|one| {
        one.status.is_alive()
            && !whereabouts.may_be(&one.id, &one.name)
            && !is_relevant(&one.id, &one.name, &one.labels, wanted)
    }))
}

fn is_relevant(
    id: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    wanted: &[Reference],
) -> bool {
    labels::concern_us(labels)
        || wanted.iter().any(|reference| is_named(id, name, labels, reference))
}

/// Whether a container is on the networks that a list says.
fn is_where(known: &Details, listed: &Summary) -> bool {
    listed.network_mode != NetworkMode::Networks
        || known.network_mode != NetworkMode::Networks
        || listed.networks.is_empty()
        || known.networks.iter().map(|network| &network.name).eq(&listed.networks)
}

/// Whether a container is known to be on the network that an event names.
fn is_on(known: &Details, told: &Actor) -> bool {
    let name = told.attributes.get("name");
    name.is_none_or(|name| known.networks.iter().any(|network| network.name == *name))
}

/// Whether whoever has the name, or the place in a compose service, is what another one was.
fn is_successor(now: &Details, gone: &Details) -> bool {
    let service = compose::service_of(&now.labels);
    now.name == gone.name || (service.is_some() && service == compose::service_of(&gone.labels))
}

/// Whether a container looks as if somebody were still at work on it: docker-compose 1 takes a new one
/// off its network and puts it back, before it starts it.
fn is_half_made(details: &Details) -> bool {
    details.network_mode == NetworkMode::Networks
        && details.networks.is_empty()
        && details.observation.status == ContainerStatus::Stopped
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

type Locating = BoxFuture<'static, Result<Here, Error>>;

type Read = BoxFuture<'static, (String, Result<Details, Error>)>;

struct Follower {
    engine: Arc<dyn Engine>,
    wanted: Arc<[Reference]>,
    whereabouts: Arc<Whereabouts>,
    inventory: Arc<watch::Sender<Inventory>>,
    /// drowse itself, as this engine has it; `None` before it was asked.
    here: Option<Here>,
    /// When the engine is to be asked for that (again).
    locate_at: Option<Instant>,
    crowds: Arc<Crowds>,
    /// By id.
    known: BTreeMap<String, Arc<Details>>,
    /// Of those, the ones that went, and until when they are still shown.
    leaving: BTreeMap<String, Instant>,
    /// Where the engine is entered, if by a port.
    entrance: Option<Entrance>,
    /// Those that went by being given this name, while they did not run.
    put_aside: BTreeMap<String, String>,
    to_read: BTreeSet<String>,
    /// Reads under way, and whether something has happened since they began: what they find may be
    /// older than that.
    reading: BTreeMap<String, bool>,
    read_again: BTreeMap<String, Instant>,
    /// Those that looked half made when they were read: what the next read shows is believed.
    half_made: BTreeSet<String>,
    /// Whether a whole list was taken in.
    is_complete: bool,
    /// Whether the first list was taken in and each of its containers read: only from then on is
    /// "there is no such container" true.
    is_shown: bool,
}

impl Follower {
    fn new(
        engine: Arc<dyn Engine>,
        wanted: Arc<[Reference]>,
        whereabouts: Arc<Whereabouts>,
        inventory: Arc<watch::Sender<Inventory>>,
    ) -> Self {
        // In no container there is nothing to ask.
        let is_in_a_container = whereabouts.is_in_a_container();
        Self {
            engine,
            wanted,
            whereabouts,
            inventory,
            here: (!is_in_a_container).then(Here::default),
            locate_at: is_in_a_container.then(Instant::now),
            crowds: Arc::default(),
            known: BTreeMap::new(),
            leaving: BTreeMap::new(),
            entrance: None,
            put_aside: BTreeMap::new(),
            to_read: BTreeSet::new(),
            reading: BTreeMap::new(),
            read_again: BTreeMap::new(),
            half_made: BTreeSet::new(),
            is_complete: false,
            is_shown: false,
        }
    }

    fn item(&mut self, item: Result<EngineItem, Error>) {
        match item {
            Ok(EngineItem::Synced(list)) => self.synced(list),
            Ok(EngineItem::Event(event)) => self.event(&event),
            Ok(_) => {}
            Err(error) => {
                let words = error.to_string();
                let error: &(dyn std::error::Error + 'static) = &error;
                warn!(
                    engine = self.engine.name(),
                    error, "the engine is out of reach; trying again"
                );
                self.show(|view| view.trouble = Some(words.clone()));
            }
        }
    }

    fn synced(&mut self, list: Vec<Summary>) {
        debug!(engine = self.engine.name(), containers = list.len(), "read the engine's list");
        let gone: Vec<String> = {
            let listed: BTreeSet<&str> = list.iter().map(|one| one.id.as_str()).collect();
            self.known.keys().filter(|id| !listed.contains(id.as_str())).cloned().collect()
        };
        for id in gone {
            self.leaves(&id);
        }
        self.crowds = Arc::new(crowds(&list, &self.wanted, &self.whereabouts));
        if list.iter().any(|one| self.is_ours_and_elsewhere(one)) {
            self.locate_at = Some(Instant::now());
        }
        for one in list {
            if !is_relevant(&one.id, &one.name, &one.labels, &self.wanted) {
                continue;
            }
            let is_as_known = self.known.get(&one.id).is_some_and(|known| {
                known.name == one.name && known.labels == one.labels && is_where(known, &one)
            });
            if !is_as_known && !self.is_put_aside(&one.id, &one.name)
                || self.leaving.contains_key(&one.id) && !self.put_aside.contains_key(&one.id)
            {
                self.to_read.insert(one.id);
            }
        }
        let was_out_of_reach = self
            .inventory
            .borrow()
            .get(self.engine.name())
            .is_some_and(|view| view.trouble.is_some());
        if was_out_of_reach {
            info!(engine = self.engine.name(), "the engine is in reach");
        }
        self.is_complete = true;
        self.show(|view| view.trouble = None);
    }

    fn event(&mut self, event: &Event) {
        let actor = &event.actor;
        let is_known = self.known.contains_key(&actor.id);
        if self.own_id() == Some(&actor.id)
            && matches!(event.action, EventAction::Network | EventAction::Rename(_))
        {
            self.locate_at = Some(Instant::now());
        }
        if let Some(is_superseded) = self.reading.get_mut(&actor.id)
            && matches!(
                event.action,
                EventAction::Destroy | EventAction::Rename(_) | EventAction::Update
            )
        {
            *is_superseded = true;
        }
        match event.action {
            EventAction::Destroy => {
                self.put_aside.remove(&actor.id);
                self.leaves(&actor.id);
            }
            EventAction::Rename(_) | EventAction::Update if is_known => {
                self.to_read.insert(actor.id.clone());
            }
            EventAction::Start | EventAction::Die(_)
                if is_known && self.has_sibling(&actor.id, &self.known[&actor.id].labels) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            // Told with each start and each end, too: then of a network that is known.
            EventAction::Network
                if self.known.get(&actor.id).is_some_and(|known| !is_on(known, actor)) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            // An engine that tells no labels in its events is caught up with by its next list.
            EventAction::Create | EventAction::Start | EventAction::Rename(_)
                if !is_known
                    && is_relevant(&actor.id, &actor.name, &actor.attributes, &self.wanted) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            _ => {}
        }
    }

    /// Shows where the engine is entered, once it is known anew who has the addresses that were found
    /// there: what sleeps has none, and is known by the ones that it had.
    fn entered_by(&mut self, entrance: &Entrance) {
        if self.entrance.as_ref() == Some(entrance) {
            return;
        }
        let concerned = self.known.iter().filter(|(_, known)| entrance.has_address_of(known));
        self.to_read.extend(concerned.map(|(id, _)| id.clone()));
        self.entrance = Some(entrance.clone());
    }

    /// Whether another container is known of its compose service: then it matters which of them runs.
    fn has_sibling(&self, id: &str, labels: &BTreeMap<String, String>) -> bool {
        let Some(service) = compose::service_of(labels) else { return false };
        self.known.iter().any(|(other, known)| {
            other != id && compose::service_of(&known.labels) == Some(service)
        })
    }

    fn own_id(&self) -> Option<&str> {
        Some(&self.here.as_ref()?.own.as_ref()?.id)
    }

    /// Whether this is drowse's own container, on other networks than it was.
    fn is_ours_and_elsewhere(&self, one: &Summary) -> bool {
        let own = self.here.as_ref().and_then(|here| here.own.as_ref());
        own.is_some_and(|own| own.id == one.id && own.networks != one.networks)
    }

    fn begin_to_locate(&mut self, locating: &mut Option<Locating>) {
        if locating.is_some() || self.locate_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.locate_at = None;
        let (engine, whereabouts) = (self.engine.clone(), self.whereabouts.clone());
        *locating = Some(Box::pin(async move {
            whereabouts.seen_by(engine.as_ref(), Deadline::after(READ_TIMEOUT)).await
        }));
    }

    fn located(&mut self, outcome: Result<Here, Error>) {
        match outcome {
            Ok(here) => {
                if self.here.as_ref() != Some(&here) {
                    self.tell_where(&here);
                }
                self.here = Some(here);
            }
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                debug!(engine = self.engine.name(), error, "cannot find drowse's own container");
                self.locate_at = Some(Instant::now() + READ_AGAIN);
            }
        }
    }

    fn tell_where(&self, here: &Here) {
        match (&here.own, &here.vantage) {
            (Some(own), _) => info!(
                engine = self.engine.name(),
                container = own.name,
                networks = own.networks.join(", "),
                "drowse runs in this container"
            ),
            (None, Vantage::Apart) if !matches!(self.engine.reach(), Reach::Remote(_)) => warn!(
                engine = self.engine.name(),
                "drowse runs in a container that this engine does not know, from where none of its \
                 containers can be reached; if it is one of this engine's, set `{NAME_VARIABLE}` to \
                 its name"
            ),
            (None, _) => {}
        }
    }

    fn leaves(&mut self, id: &str) {
        self.to_read.remove(id);
        self.read_again.remove(id);
        self.half_made.remove(id);
        if self.known.contains_key(id) {
            self.leaving.entry(id.to_owned()).or_insert_with(|| Instant::now() + QUIET);
        }
    }

    fn begin_reads(&mut self, reads: &mut FuturesUnordered<Read>) {
        while reads.len() < READS_AT_ONCE
            && let Some(id) =
                self.to_read.iter().find(|id| !self.reading.contains_key(*id)).cloned()
        {
            self.to_read.remove(&id);
            self.reading.insert(id.clone(), false);
            let provider = self.engine.provider(&Reference::Id(id.clone()));
            reads.push(
                async move {
                    let outcome = match provider {
                        Ok(provider) => provider.inspect(Deadline::after(READ_TIMEOUT)).await,
                        Err(error) => Err(error),
                    };
                    (id, outcome)
                }
                .boxed(),
            );
        }
    }

    fn read(&mut self, id: String, outcome: Result<Details, Error>) {
        let is_superseded = self.reading.remove(&id).unwrap_or(false);
        match outcome {
            // Only a read that begins now tells what is true now.
            _ if is_superseded => {
                self.to_read.insert(id);
            }
            // Its start, if it comes, has it read before that.
            Ok(details)
                if self.is_shown && is_half_made(&details) && self.half_made.insert(id.clone()) =>
            {
                self.read_again.insert(id, Instant::now() + READ_AGAIN);
            }
            // Perhaps an updater's work, which will make another one of that name. Until then, or until
            // nothing has come of it, it is what it was.
            Ok(details)
                if self.is_shown
                    && !self.is_put_aside(&id, &details.name)
                    && self.goes_by_another_name(&id, &details) =>
            {
                self.put_aside.insert(id.clone(), details.name);
                self.leaves(&id);
            }
            Ok(details) => {
                self.leaving.remove(&id);
                self.put_aside.remove(&id);
                self.read_again.remove(&id);
                self.half_made.remove(&id);
                let succeeded: Vec<String> = self
                    .leaving
                    .keys()
                    .filter(|gone| {
                        self.known.get(*gone).is_some_and(|gone| is_successor(&details, gone))
                    })
                    .cloned()
                    .collect();
                for gone in succeeded {
                    self.forget(&gone);
                    // Whoever makes a successor may take some time to remove the one before.
                    if self.put_aside.contains_key(&gone) {
                        self.read_again.insert(gone, Instant::now() + QUIET);
                    }
                }
                if !self.known.contains_key(&id) && self.has_sibling(&id, &details.labels) {
                    // What was read of them before may not be so any more.
                    let service = compose::service_of(&details.labels);
                    let siblings = self.known.iter().filter(|(other, known)| {
                        !self.leaving.contains_key(*other)
                            && compose::service_of(&known.labels) == service
                    });
                    self.to_read.extend(siblings.map(|(other, _)| other.clone()));
                }
                self.known.insert(id, Arc::new(details));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => self.leaves(&id),
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                warn!(
                    engine = self.engine.name(),
                    container = id,
                    error,
                    "cannot read a container"
                );
                self.read_again.insert(id, Instant::now() + READ_AGAIN);
            }
        }
    }

    /// Whether a container that does not run has another name than it was known by. Of a compose service
    /// the name means nothing.
    fn goes_by_another_name(&self, id: &str, now: &Details) -> bool {
        self.known.get(id).is_some_and(|known| known.name != now.name)
            && !now.observation.status.is_alive()
            && compose::service_of(&now.labels).is_none()
    }

    /// Whether it is known to go by this name until it is known what becomes of it.
    fn is_put_aside(&self, id: &str, name: &str) -> bool {
        self.put_aside.get(id).is_some_and(|aside| aside == name)
    }

    fn forget(&mut self, id: &str) {
        self.leaving.remove(id);
        self.known.remove(id);
    }

    fn next_timer(&self) -> Option<Instant> {
        self.leaving.values().chain(self.read_again.values()).chain(&self.locate_at).min().copied()
    }

    fn timers(&mut self, now: Instant) {
        let due = |timers: &BTreeMap<String, Instant>| -> Vec<String> {
            timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect()
        };
        for id in due(&self.leaving) {
            if self.put_aside.contains_key(&id) {
                // Nothing has come of it: from its next read on it is what it is called.
                self.leaving.remove(&id);
                self.to_read.insert(id);
            } else {
                self.forget(&id);
            }
        }
        for id in due(&self.read_again) {
            self.read_again.remove(&id);
            self.to_read.insert(id);
        }
    }

    /// Shows what is known, once it is known whole.
    fn publish(&mut self) {
        let (true, Some(here)) = (self.is_complete, &self.here) else { return };
        let containers: Vec<_> = self.known.values().cloned().collect();
        let is_read = self.to_read.is_empty() && self.reading.is_empty();
        self.show(|view| {
            if is_read {
                view.entrance.clone_from(&self.entrance);
            }
            view.here = here.clone();
            view.crowds = self.crowds.clone();
            view.containers = Some(containers.clone());
        });
        self.is_shown = true;
    }

    /// Changes our part of the inventory; nobody is woken if it is as before.
    fn show(&self, change: impl Fn(&mut EngineView)) {
        self.inventory.send_if_modified(|inventory| {
            let view = inventory.entry(self.engine.name().to_owned()).or_insert_with(|| {
                EngineView::unread(self.engine.capabilities(), self.engine.reach())
            });
            let before = view.clone();
            // Both are learnt when the engine answers.
            view.capabilities = self.engine.capabilities();
            view.reach = self.engine.reach();
            change(view);
            *view != before
        });
    }
}

#[cfg(test)]
mod tests;
