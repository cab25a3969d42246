//! Which containers there are, and what they say: followed for as long as drowse runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use drowse_provider::{
    ContainerStatus, Deadline, Details, Engine, EngineItem, Error, ErrorKind, Event, EventAction,
    NetworkMode, Reference, Summary,
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    labels,
    plan::{EngineView, Inventory, is_named},
};

/// A container that went is believed gone after this time: updaters remove one and make it again,
/// and requests that come meanwhile shall wait instead of being told that there is no such host.
const QUIET: Duration = Duration::from_secs(10);

/// What one read of one container may take.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// When a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// How many digits of an id tell a container from others, by Docker's own custom.
const SHORT_ID: usize = 12;

/// Reads under way at once, per engine.
const READS_AT_ONCE: usize = 8;

/// Follows one engine and keeps its part of the inventory true. Ends when the engine is closed.
pub(crate) async fn follow(
    engine: Arc<dyn Engine>,
    wanted: Arc<[Reference]>,
    inventory: Arc<watch::Sender<Inventory>>,
) {
    let mut follower = Follower::new(engine.clone(), wanted, inventory);
    let mut events = engine.events();
    let mut reads = FuturesUnordered::new();
    loop {
        follower.begin_reads(&mut reads);
        if reads.is_empty() || follower.is_shown {
            follower.publish();
        }
        let timer = follower.next_timer();
        tokio::select! {
            item = events.next() => match item {
                Some(item) => follower.item(item),
                None => return,
            },
            Some((id, outcome)) = reads.next(), if !reads.is_empty() => follower.read(id, outcome),
            () = sleep_until(timer) => follower.timers(Instant::now()),
        }
    }
}

/// Reads each engine's part of the inventory once: what `check` looks at.
///
/// # Errors
/// What the engine said.
pub(crate) async fn read_once(
    engine: &Arc<dyn Engine>,
    wanted: &[Reference],
    deadline: Deadline,
) -> Result<Vec<Arc<Details>>, Error> {
    let list = engine.list(deadline).await?;
    let relevant = list.into_iter().filter(|one| {
        is_relevant(&one.id, &one.name, &one.labels, wanted)
            && !is_being_replaced(&one.id, &one.name, &one.labels)
    });
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
    details.into_iter().filter_map(Result::transpose).collect()
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

/// Whether docker-compose 1 is making another container in the place of this one: it has stopped it,
/// given it a name with the beginning of its own id before the old one, and will remove it when the
/// other one runs. Whoever started it now would be in the way.
fn is_being_replaced(id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let short_id = id.get(..SHORT_ID).unwrap_or(id);
    let is_put_aside = name.strip_prefix(short_id).is_some_and(|rest| rest.starts_with('_'));
    is_put_aside && labels.contains_key("com.docker.compose.project")
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

type Read = BoxFuture<'static, (String, Result<Details, Error>)>;

struct Follower {
    engine: Arc<dyn Engine>,
    wanted: Arc<[Reference]>,
    inventory: Arc<watch::Sender<Inventory>>,
    /// By id.
    known: BTreeMap<String, Arc<Details>>,
    /// Of those, the ones that went, and until when they are still shown.
    leaving: BTreeMap<String, Instant>,
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
        inventory: Arc<watch::Sender<Inventory>>,
    ) -> Self {
        Self {
            engine,
            wanted,
            inventory,
            known: BTreeMap::new(),
            leaving: BTreeMap::new(),
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
        for one in list {
            if !is_relevant(&one.id, &one.name, &one.labels, &self.wanted) {
                continue;
            }
            let is_as_known = self
                .known
                .get(&one.id)
                .is_some_and(|known| known.name == one.name && known.labels == one.labels);
            if !is_as_known || self.leaving.contains_key(&one.id) {
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
        if let Some(is_superseded) = self.reading.get_mut(&actor.id)
            && matches!(
                event.action,
                EventAction::Destroy | EventAction::Rename(_) | EventAction::Update
            )
        {
            *is_superseded = true;
        }
        match event.action {
            EventAction::Destroy => self.leaves(&actor.id),
            EventAction::Rename(_) | EventAction::Update if is_known => {
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
            // Under its own name it is as good as gone, and its successor is to come.
            Ok(details) if is_being_replaced(&id, &details.name, &details.labels) => {
                self.leaves(&id);
            }
            // Its start, if it comes, has it read before that.
            Ok(details)
                if self.is_shown && is_half_made(&details) && self.half_made.insert(id.clone()) =>
            {
                self.read_again.insert(id, Instant::now() + READ_AGAIN);
            }
            Ok(details) => {
                self.leaving.remove(&id);
                self.read_again.remove(&id);
                self.half_made.remove(&id);
                // Whoever has the name now is what the one that went was.
                let namesakes: Vec<String> = self
                    .leaving
                    .keys()
                    .filter(|gone| {
                        self.known.get(*gone).is_some_and(|known| known.name == details.name)
                    })
                    .cloned()
                    .collect();
                for gone in namesakes {
                    self.forget(&gone);
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

    fn forget(&mut self, id: &str) {
        self.leaving.remove(id);
        self.known.remove(id);
    }

    fn next_timer(&self) -> Option<Instant> {
        self.leaving.values().chain(self.read_again.values()).min().copied()
    }

    fn timers(&mut self, now: Instant) {
        let due = |timers: &BTreeMap<String, Instant>| -> Vec<String> {
            timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect()
        };
        for id in due(&self.leaving) {
            self.forget(&id);
        }
        for id in due(&self.read_again) {
            self.read_again.remove(&id);
            self.to_read.insert(id);
        }
    }

    /// Shows what is known, once it is known whole.
    fn publish(&mut self) {
        if self.is_complete {
            self.is_shown = true;
            let containers: Vec<_> = self.known.values().cloned().collect();
            self.show(|view| view.containers = Some(containers.clone()));
        }
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
