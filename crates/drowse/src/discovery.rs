//! Which containers there are, and what they say: followed for as long as drowse runs.

mod concern;

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
use tracing::{debug, error, info, warn};

use self::concern::{Census, Wanted};
use crate::{
    config::Problem,
    engines::{Claim, Configured, Rights},
    entrance::{self, Entrance},
    output::chain,
    plan::{Crowds, EngineView, Inventory, UnreadContainer},
    whereabouts::{Here, NAME_VARIABLE, Whereabouts},
};

/// A container that went is believed gone after this time: updaters remove one and make it again,
/// and requests that come meanwhile shall wait instead of being told that there is no such host. Longer
/// than the watcher's own: a sleeper that was removed for good is told of by whoever knew it.
const QUIET: Duration = Duration::from_secs(12);

/// What one read of one container may take.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// What one list may take. Of a cluster it reads the notes of each container that is ours, too: some
/// 12 s for a thousand, where nothing else goes on.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);
const LIST_TIMEOUT_WITH_NOTES: Duration = Duration::from_mins(3);

/// When a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// The longest wait between reads that fail: a node may be away for days. When it is back its engine
/// says so, and nobody waits for this.
const READ_AGAIN_MAX: Duration = Duration::from_mins(1);

/// When it is asked again for what the credential may not see: somebody has to give the right back
/// first.
const ASK_AGAIN_WHAT_IS_FORBIDDEN: Duration = Duration::from_mins(1);

/// Reads under way at once, per engine.
const READS_AT_ONCE: usize = 8;

/// Of those, how many may be of containers whose last read failed: a node that is away answers late or
/// never, and nobody else shall wait for that.
const FAILING_READS_AT_ONCE: usize = READS_AT_ONCE / 2;

/// When an engine some of whose containers cannot be read is shown at the latest, from its first list
/// on, with the rest of them as not read yet.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);

/// Follows one engine and keeps its part of the inventory true. Ends when the engine is closed.
pub(crate) async fn follow(
    configured: Configured,
    whereabouts: Arc<Whereabouts>,
    inventory: Arc<watch::Sender<Inventory>>,
) {
    let mut entrances = configured.entrances.clone();
    let mut follower = Follower::new(configured, whereabouts, inventory);
    let mut events = follower.engine.events();
    let mut reads = FuturesUnordered::new();
    let mut look_ups = FuturesUnordered::new();
    let mut locating = None;
    loop {
        follower.begin_reads(&mut reads);
        follower.begin_to_locate(&mut locating);
        follower.publish();
        let timer = follower.next_timer();
        tokio::select! {
            item = events.next() => match item {
                Some(item) => {
                    // A socket proxy that was made anew has another address.
                    if matches!(item, Ok(EngineItem::Synced(_))) && look_ups.is_empty() {
                        look_ups.push(entrance::look_up_all(entrances.clone()));
                    }
                    follower.item(item);
                }
                None => return,
            },
            Some(found) = look_ups.next(), if !look_ups.is_empty() => {
                follower.entered_by(&found);
                entrances = found;
            }
            Some((id, outcome)) = reads.next(), if !reads.is_empty() => follower.read(id, outcome),
            Some(outcome) = async { Some(locating.as_mut()?.await) } => {
                locating = None;
                match outcome {
                    Ok(Located::Elsewhere(why)) => return follower.is_of_another_engine(&why),
                    Ok(Located::At(here, sight)) => follower.located(here, sight),
                    Err(error) => follower.cannot_locate(&error),
                }
            }
            () = sleep_until(timer) => follower.timers(Instant::now()),
        }
    }
}

/// Reads an engine's part of the inventory once: what `check` looks at. Of a cluster, a container that
/// cannot be read (its node is away, a right lacks) is left unread. Of a cluster that is another engine
/// already, nothing is read.
///
/// # Errors
/// What the engine said.
pub(crate) async fn read_once(
    configured: &Configured,
    whereabouts: &Whereabouts,
) -> Result<EngineView, Error> {
    let Configured { engine, dialect, .. } = configured;
    if let Some(claim) = &configured.claim
        && let Some(why) = claim.make(Deadline::after(READ_TIMEOUT)).await?
    {
        return Ok(EngineView { is_refused: true, trouble: Some(why), ..configured.unread() });
    }
    let wanted = Wanted {
        references: configured.wanted.clone(),
        needed: configured.needed.clone(),
        dialect: dialect.clone(),
    };
    let list_timeout = if wanted.has_notes() { LIST_TIMEOUT_WITH_NOTES } else { LIST_TIMEOUT };
    let list = engine.list(Deadline::after(list_timeout)).await?;
    let census = Census::of(&wanted, &list);
    let crowds = crowds(&list, &census, whereabouts);
    let here = whereabouts.seen_by(engine.as_ref(), Deadline::after(READ_TIMEOUT)).await?;
    let relevant = list.into_iter().filter(|one| census.concerns_us(&one.id));
    let reads = relevant.map(|one| async move {
        let read = async {
            let provider = engine.provider(&Reference::Id(one.id.clone()))?;
            // Of its own: the last of thousands has waited for all others.
            provider.inspect(Deadline::after(READ_TIMEOUT)).await
        };
        let read = read.await;
        (one, read)
    });
    let reads: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).collect().await;
    let (mut containers, mut unread) = (Vec::new(), BTreeMap::new());
    for (Summary { id, name, .. }, read) in reads {
        match read {
            Ok(details) => containers.push(Arc::new(details)),
            // Gone since it was listed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {}
            Err(error) if wanted.has_notes() => {
                let subject = format!("container `{name}` on engine `{}`", engine.name());
                let why = format!("it cannot be read: {}", chain(&error));
                let problem = Problem::error(why).about(subject);
                unread.insert(id, UnreadContainer { name, problem });
            }
            Err(error) => return Err(error),
        }
    }
    let crowds = Arc::new(crowds);
    let machine = engine.machine();
    let containers = Some(containers);
    Ok(EngineView { here, crowds, machine, containers, unread, ..configured.unread() })
}

/// Who of a list is on which network, without those that concern us and without ourselves.
fn crowds(list: &[Summary], census: &Census, whereabouts: &Whereabouts) -> Crowds {
    Crowds::of(list.iter().filter(|one| {
        one.status.is_alive()
            && !whereabouts.may_be(&one.id, &one.name)
            && !census.concerns_us(&one.id)
    }))
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

/// What an engine says of drowse itself.
enum Located {
    /// There.
    At(Here, Sight),
    /// Nothing of it may be managed, and why: another engine is the same one.
    Elsewhere(String),
}

/// What the credential can see of an engine that has no container in its list.
#[derive(Clone)]
enum Sight {
    /// That was not asked: there was no list, or it was not empty.
    NotAsked,
    /// Whatever there is, as far as anybody knows.
    Clear,
    /// Nothing, and why.
    Blind(String),
}

type Locating = BoxFuture<'static, Result<Located, Error>>;

type Read = BoxFuture<'static, (String, Result<Details, Error>)>;

/// How it goes with the reads of a container that cannot be read.
struct Failing {
    /// How many have failed, one after the other.
    reads: u32,
    /// Why the last one did.
    why: String,
}

/// What is known of a container that was never read.
struct Listed {
    name: String,
    /// Whether the file names it: then it is managed all the same.
    is_in_file: bool,
}

struct Follower {
    engine: Arc<dyn Engine>,
    wanted: Wanted,
    census: Census,
    whereabouts: Arc<Whereabouts>,
    inventory: Arc<watch::Sender<Inventory>>,
    /// What is to be claimed before anything is shown.
    claim: Option<Claim>,
    /// What drowse may do on it, if it gives rights container by container.
    rights: Option<Rights>,
    /// Whether its last list had no container at all, of whatever kind.
    is_empty: bool,
    /// Whether that is so for want of rights.
    sight: Sight,
    /// drowse itself, as this engine has it; `None` before it was asked.
    here: Option<Here>,
    /// When the engine is to be asked for that (again).
    locate_at: Option<Instant>,
    crowds: Arc<Crowds>,
    /// By id.
    known: BTreeMap<String, Arc<Details>>,
    /// Of those, the ones that went, and until when they are still shown.
    leaving: BTreeMap<String, Instant>,
    /// The ways to engines that may lead through one of them.
    entrances: Vec<Entrance>,
    /// Those that went by being given this name, while they did not run.
    put_aside: BTreeMap<String, String>,
    to_read: BTreeSet<String>,
    /// Reads under way, and whether something has happened since they began: what they find may be
    /// older than that.
    reading: BTreeMap<String, bool>,
    read_again: BTreeMap<String, Instant>,
    /// Those that concern us and were never read, by id.
    unread: BTreeMap<String, Listed>,
    /// Those whose last reads failed.
    failing: BTreeMap<String, Failing>,
    /// Those that looked half made when they were read: what the next read shows is believed.
    half_made: BTreeSet<String>,
    /// When the first whole list was taken in.
    listed_at: Option<Instant>,
    /// Whether each container of the first list was read, or could not be.
    is_tried: bool,
    /// Whether anything was shown: only from then on is "there is no such container" true.
    is_shown: bool,
}

impl Follower {
    fn new(
        configured: Configured,
        whereabouts: Arc<Whereabouts>,
        inventory: Arc<watch::Sender<Inventory>>,
    ) -> Self {
        let Configured { engine, wanted, needed, dialect, entrances, claim, rights, .. } =
            configured;
        // In no container there is nothing to ask.
        let must_ask = whereabouts.matters_to(engine.as_ref());
        Self {
            engine,
            wanted: Wanted { references: wanted, needed, dialect },
            census: Census::default(),
            whereabouts,
            inventory,
            claim,
            rights,
            is_empty: false,
            sight: Sight::NotAsked,
            here: (!must_ask).then(Here::default),
            locate_at: must_ask.then(Instant::now),
            crowds: Arc::default(),
            known: BTreeMap::new(),
            leaving: BTreeMap::new(),
            entrances,
            put_aside: BTreeMap::new(),
            to_read: BTreeSet::new(),
            reading: BTreeMap::new(),
            read_again: BTreeMap::new(),
            unread: BTreeMap::new(),
            failing: BTreeMap::new(),
            half_made: BTreeSet::new(),
            listed_at: None,
            is_tried: false,
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
            if self.wanted.has_notes() && !self.leaving.contains_key(&id) {
                // What the credential may no longer see is absent, too: the read tells which it is.
                self.to_read.insert(id);
            } else {
                self.leaves(&id);
            }
        }
        self.is_empty = list.is_empty();
        self.census = Census::of(&self.wanted, &list);
        self.unread = self.never_read();
        let is_gone =
            |id: &&String| !self.known.contains_key(*id) && !self.unread.contains_key(*id);
        for id in self.failing.keys().filter(is_gone).cloned().collect::<Vec<_>>() {
            self.leaves(&id);
        }
        self.crowds = Arc::new(crowds(&list, &self.census, &self.whereabouts));
        if self.engine.reach() == Reach::Routed
            || list.iter().any(|one| self.is_ours_and_elsewhere(one))
        {
            self.locate_at = Some(Instant::now());
        }
        let was_out_of_reach = self
            .inventory
            .borrow()
            .get(self.engine.name())
            .is_some_and(|view| view.trouble.is_some());
        for one in list {
            // A list tells nothing new of it: a node that is away has its containers listed, too.
            let is_tried_later = self.failing.contains_key(&one.id)
                && self.read_again.contains_key(&one.id)
                && !self.known.contains_key(&one.id);
            if is_tried_later && !was_out_of_reach {
                continue;
            }
            // One that is known may have lost what made it ours.
            if !self.census.concerns_us(&one.id) && !self.known.contains_key(&one.id) {
                continue;
            }
            let is_as_known = self.known.get(&one.id).is_some_and(|known| {
                known.name == one.name
                    && known.node == one.node
                    && self.wanted.are_same(&known.labels, &one.labels)
                    && is_where(known, &one)
                    // Who owns it decides whether it may sleep.
                    && (!self.wanted.has_notes() || known.owner.is_some() == one.owner.is_some())
            });
            if !is_as_known && !self.is_put_aside(&one.id, &one.name)
                || self.leaving.contains_key(&one.id) && !self.put_aside.contains_key(&one.id)
            {
                self.to_read.insert(one.id);
            }
        }
        if was_out_of_reach {
            info!(engine = self.engine.name(), "the engine is in reach");
        }
        self.listed_at.get_or_insert_with(Instant::now);
        self.show(|view| view.trouble = None);
    }

    fn event(&mut self, event: &Event) {
        let actor = &event.actor;
        let is_known = self.known.contains_key(&actor.id);
        let is_ours = is_known || self.unread.contains_key(&actor.id);
        if self.own_id() == Some(&actor.id)
            && matches!(event.action, EventAction::Network | EventAction::Rename(_))
        {
            self.locate_at = Some(Instant::now());
        }
        match event.action {
            EventAction::Destroy => self.census.forget(&actor.id),
            // An engine that tells no labels in its events is caught up with by its next list.
            EventAction::Create
            | EventAction::Start
            | EventAction::Rename(_)
            | EventAction::Update
                if !is_known =>
            {
                let Actor { id, name, attributes, .. } = actor;
                self.census.heard_of(&self.wanted, id, name, attributes);
                self.read_whom_it_concerns();
            }
            _ => {}
        }
        let makes_older = match event.action {
            EventAction::Destroy
            | EventAction::Rename(_)
            | EventAction::Update
            | EventAction::Migrate(_)
            | EventAction::Lock(_) => true,
            EventAction::Other(_) => self.wanted.has_notes(),
            _ => false,
        };
        if makes_older && let Some(is_superseded) = self.reading.get_mut(&actor.id) {
            *is_superseded = true;
        }
        match event.action {
            EventAction::Destroy => {
                self.put_aside.remove(&actor.id);
                self.leaves(&actor.id);
            }
            EventAction::Rename(_)
            | EventAction::Update
            | EventAction::Migrate(_)
            | EventAction::Lock(_)
                if is_ours =>
            {
                self.to_read.insert(actor.id.clone());
            }
            // Its node tells of it again, or high availability has come or gone. A number is given again, by
            // a restore for one; and only what runs shows the addresses that it was given from elsewhere.
            EventAction::Other(_) | EventAction::Create | EventAction::Start
                if is_ours && self.wanted.has_notes() =>
            {
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
            // Whatever it was before.
            EventAction::Create
            | EventAction::Start
            | EventAction::Rename(_)
            | EventAction::Update
                if self.unread.contains_key(&actor.id) =>
            {
                self.to_read.insert(actor.id.clone());
            }
            _ => {}
        }
    }

    /// What concerns us and was never read.
    fn never_read(&self) -> BTreeMap<String, Listed> {
        let concerned = self.census.concerned();
        concerned
            .filter(|(id, ..)| !self.known.contains_key(*id))
            .map(|(id, name, is_in_file)| {
                (id.clone(), Listed { name: name.to_owned(), is_in_file })
            })
            .collect()
    }

    /// Reads those that concern us only now, for the sake of one that came or changed.
    fn read_whom_it_concerns(&mut self) {
        for (id, listed) in self.never_read() {
            // Of one that gave its name to a successor it is seen later what becomes of it.
            if !self.unread.contains_key(&id) && !self.put_aside.contains_key(&id) {
                self.unread.insert(id.clone(), listed);
                self.to_read.insert(id);
            }
        }
    }

    /// Shows where engines are entered, once it is known anew who has the addresses that were found
    /// there: what sleeps has none, and is known by the ones that it had.
    fn entered_by(&mut self, entrances: &[Entrance]) {
        if self.entrances == entrances {
            return;
        }
        let is_concerned = |known: &Details| entrances.iter().any(|it| it.has_address_of(known));
        let concerned = self.known.iter().filter(|(_, known)| is_concerned(known));
        self.to_read.extend(concerned.map(|(id, _)| id.clone()));
        self.entrances = entrances.to_vec();
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
        let claim = self.claim.clone();
        // What cannot be seen is not in a list: an empty one may have a reason.
        let rights = self.rights.clone().filter(|_| self.is_empty);
        let before = self.sight.clone();
        *locating = Some(Box::pin(async move {
            let deadline = Deadline::after(READ_TIMEOUT);
            if let Some(claim) = claim
                && let Some(why) = claim.make(deadline).await?
            {
                return Ok(Located::Elsewhere(why));
            }
            let here = whereabouts.seen_by(engine.as_ref(), deadline).await?;
            let sight = match rights {
                Some(rights) => match (rights.blindness(deadline).await, before) {
                    (Ok(Some(why)), _) | (Err(_), Sight::Blind(why)) => Sight::Blind(why),
                    (Ok(None) | Err(_), _) => Sight::Clear,
                },
                None => Sight::NotAsked,
            };
            Ok(Located::At(here, sight))
        }));
    }

    fn located(&mut self, here: Here, sight: Sight) {
        match (&self.sight, &sight) {
            (Sight::Blind(_), Sight::Blind(_)) => {}
            (_, Sight::Blind(why)) => error!(engine = self.engine.name(), "{why}"),
            (Sight::Blind(_), _) => {
                info!(engine = self.engine.name(), "its containers can be seen now");
            }
            _ => {}
        }
        self.sight = sight;
        if self.here.as_ref() != Some(&here) {
            self.tell_where(&here);
        }
        self.here = Some(here);
        self.claim = None;
    }

    fn cannot_locate(&mut self, error: &Error) {
        let error: &(dyn std::error::Error + 'static) = error;
        debug!(engine = self.engine.name(), error, "cannot find drowse's own container");
        self.locate_at = Some(Instant::now() + READ_AGAIN);
    }

    /// Nothing of it was shown, and nothing will be.
    fn is_of_another_engine(&self, why: &str) {
        error!(engine = self.engine.name(), "not managed: {why}");
        self.show(|view| {
            view.is_refused = true;
            view.trouble = Some(why.to_owned());
        });
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
        self.unread.remove(id);
        self.failing.remove(id);
        if self.known.contains_key(id) {
            self.leaving.entry(id.to_owned()).or_insert_with(|| Instant::now() + QUIET);
        }
    }

    fn begin_reads(&mut self, reads: &mut FuturesUnordered<Read>) {
        while reads.len() < READS_AT_ONCE
            && let Some(id) = self.next_to_read()
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

    /// Those first whose last read did not fail.
    fn next_to_read(&self) -> Option<String> {
        let is_failing = |id: &&String| self.failing.contains_key(*id);
        let is_idle = |id: &&String| !self.reading.contains_key(*id);
        let mut idle = self.to_read.iter().filter(is_idle);
        let failing_now = self.reading.keys().filter(is_failing).count();
        idle.clone()
            .find(|id| !is_failing(id))
            .or_else(|| idle.next().filter(|_| failing_now < FAILING_READS_AT_ONCE))
            .cloned()
    }

    /// Whether whatever is still to be read could not be read before.
    fn is_each_tried(&self) -> bool {
        self.to_read.iter().chain(self.reading.keys()).all(|id| self.failing.contains_key(id))
    }

    fn read(&mut self, id: String, outcome: Result<Details, Error>) {
        let is_superseded = self.reading.remove(&id).unwrap_or(false);
        if outcome.is_ok() && self.failing.remove(&id).is_some() {
            info!(
                engine = self.engine.name(),
                container = self.name_of(&id),
                "it can be read again"
            );
        }
        match outcome {
            // Only a read that begins now tells what is true now.
            _ if is_superseded => {
                self.to_read.insert(id);
            }
            // Its start, if it comes, has it read before that.
            Ok(details)
                if self.is_shown
                    && !self.wanted.has_notes()
                    && is_half_made(&details)
                    && self.half_made.insert(id.clone()) =>
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
                self.unread.remove(&id);
                self.census.learn(&self.wanted, &details);
                self.known.insert(id, Arc::new(details));
                self.read_whom_it_concerns();
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {
                self.census.forget(&id);
                self.leaves(&id);
            }
            Err(error) => self.cannot_read(id, &error),
        }
    }

    /// Tries again later, and says so the first time.
    fn cannot_read(&mut self, id: String, error: &Error) {
        let shown: &(dyn std::error::Error + 'static) = error;
        let (engine, container) = (self.engine.name(), self.name_of(&id));
        let reads = self.failing.get(&id).map_or(0, |failing| failing.reads);
        if reads == 0 {
            warn!(engine, container, error = shown, "cannot read a container; trying again");
        } else {
            debug!(engine, container, error = shown, "cannot read a container");
        }
        let again = match error.kind() {
            ErrorKind::Forbidden { .. } => ASK_AGAIN_WHAT_IS_FORBIDDEN,
            _ => READ_AGAIN.saturating_mul(1 << reads.min(8)).min(READ_AGAIN_MAX),
        };
        let why = error.kind().to_string();
        self.failing.insert(id.clone(), Failing { reads: reads.saturating_add(1), why });
        self.read_again.insert(id, Instant::now() + again);
    }

    /// What it is called, as far as that is known.
    fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        let known = self.known.get(id).map(|known| &known.name);
        let listed = || self.unread.get(id).map(|listed| &listed.name);
        known.or_else(listed).map_or(id, String::as_str)
    }

    /// Those that were never read: nobody knows what they say.
    fn unreadable(&self) -> BTreeMap<String, UnreadContainer> {
        let told = |id: &String, problem: Problem| {
            let name = self.name_of(id).to_owned();
            let subject = format!("container `{name}` on engine `{}`", self.engine.name());
            (id.clone(), UnreadContainer { name, problem: problem.about(subject) })
        };
        let is_untried = |id: &&String| !self.is_tried && !self.failing.contains_key(*id);
        let untried = self.unread.keys().filter(is_untried).map(|id| {
            let why = "it is not read yet: others of its engine cannot be read, which takes long";
            told(id, Problem::error(why))
        });
        let never_read = self.failing.iter().filter(|(id, _)| !self.known.contains_key(*id));
        let failing = never_read.map(|(id, Failing { why, .. })| {
            let until = "until then requests for hosts that nobody has are told to come again";
            let problem = if self.unread.get(id).is_some_and(|listed| listed.is_in_file) {
                Problem::warning(format!(
                    "it cannot be read, and is managed by what the file says alone until it can be: \
                     {why} ({until})"
                ))
            } else {
                Problem::error(format!(
                    "it cannot be read, and is not managed until it can be: {why} ({until})"
                ))
            };
            told(id, problem)
        });
        untried.chain(failing).collect()
    }

    /// Why none can be seen, if that is so.
    fn blindness(&self) -> Option<Problem> {
        let Sight::Blind(why) = &self.sight else { return None };
        Some(Problem::error(&**why).about(format!("engine `{}`", self.engine.name())))
    }

    /// Whether a container that does not run has another name than it was known by. Of a compose service
    /// and of what has a number the name means nothing.
    fn goes_by_another_name(&self, id: &str, now: &Details) -> bool {
        self.known.get(id).is_some_and(|known| known.name != now.name)
            && !self.wanted.has_notes()
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

    /// Shows what is known, once it is known whole, or at least how much of it is.
    fn publish(&mut self) {
        let (Some(listed_at), Some(here)) = (self.listed_at, self.here.clone()) else { return };
        let is_each_tried = self.is_each_tried();
        self.is_tried |= is_each_tried;
        // Reads end, and so this is looked at often enough. Where none fails it only takes long.
        let is_late = !self.failing.is_empty() && listed_at.elapsed() >= SHOWN_WITHIN;
        // An empty list of a cluster may have a reason, which makes nobody's host unknown.
        let may_be_blind =
            self.is_empty && self.rights.is_some() && matches!(self.sight, Sight::NotAsked);
        if !self.is_shown && (may_be_blind || !self.is_tried && !is_late) {
            return;
        }
        let containers: Vec<_> = self.known.values().cloned().collect();
        let (unreadable, blindness) = (self.unreadable(), self.blindness());
        self.show(|view| {
            if is_each_tried {
                view.entrances.clone_from(&self.entrances);
            }
            view.here = here.clone();
            view.crowds = self.crowds.clone();
            view.containers = Some(containers.clone());
            view.unread.clone_from(&unreadable);
            view.blindness.clone_from(&blindness);
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
            view.dialect = self.wanted.dialect.clone();
            // These are learnt when the engine answers.
            view.capabilities = self.engine.capabilities();
            view.reach = self.engine.reach();
            view.machine = self.engine.machine();
            change(view);
            *view != before
        });
    }
}

#[cfg(test)]
mod tests;
