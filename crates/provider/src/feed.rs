//! Watches for engines that hold the truth themselves: one bounded feed, any number of watches.
//!
//! Not needed to use the contract; here for whoever writes an engine whose state is in memory. The
//! engine keeps a [`Feed`] beside its state, under one lock, tells it of each change, and gets
//! streams that keep the promises of [`Provider::watch`](crate::Provider::watch): the snapshot
//! comes first, nothing older follows it, and a watch that is not read costs nobody anything and
//! gets a fresh `Synced`.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt as _, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    Action, EngineItem, EngineWatch, Error, ErrorKind, Event, Observation, Reference, Summary,
    Watch, WatchItem,
};

/// How many items a watch may lag behind before it gets a fresh `Synced` instead.
const CAPACITY: usize = 256;

/// What an event did to the truth.
#[derive(Clone, Debug)]
pub enum Change {
    /// State and run are as before.
    None,
    /// This is true since.
    Now(Observation),
    /// The container is gone.
    Removed,
}

#[derive(Clone, Debug)]
enum Told {
    Event { event: Box<Event>, change: Change },
    Resync,
    Failed(ErrorKind),
}

/// What all watches of one engine are told, in order.
#[derive(Debug)]
pub struct Feed {
    /// `None` once closed.
    sender: Option<broadcast::Sender<Told>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { sender: Some(broadcast::Sender::new(CAPACITY)) }
    }
}

impl Feed {
    /// Tells of an event, and of what is true since.
    pub fn tell(&self, event: Event, change: Change) {
        self.send(Told::Event { event: Box::new(event), change });
    }

    /// Makes each watch read the truth afresh.
    pub fn resync(&self) {
        self.send(Told::Resync);
    }

    /// Gives each watch an error item.
    pub fn fail(&self, kind: ErrorKind) {
        self.send(Told::Failed(kind));
    }

    /// Ends each watch once it has taken what it was told.
    pub fn close(&mut self) {
        self.sender = None;
    }

    fn send(&self, told: Told) {
        if let Some(sender) = &self.sender {
            // Fails when nobody listens, which is nobody's loss.
            _ = sender.send(told);
        }
    }
}

/// An engine's state, as its watches read it.
pub trait Truth {
    /// The feed that is told of each change to this state.
    fn feed(&self) -> &Feed;

    /// What `reference` names now; `None`: nothing.
    ///
    /// # Errors
    /// What a watch is to tell instead of a state.
    fn observe(&self, reference: &Reference) -> Result<Option<Observation>, ErrorKind>;

    /// All containers.
    ///
    /// # Errors
    /// What a watch is to tell instead of a list.
    fn list(&self) -> Result<Vec<Summary>, ErrorKind>;
}

/// An engine handle. A watch holds it for as long as it lives.
pub trait Source: Send + Sync + 'static {
    /// The state, behind the engine's lock.
    type Truth: Truth;

    /// The engine's name.
    fn engine(&self) -> &str;

    /// Reads the state under the lock under which it is changed and the feed is told.
    fn read<T>(&self, read: impl FnOnce(&Self::Truth) -> T) -> T;
}

/// The watch of what `reference` names: an id, or a name.
pub fn watch<S: Source>(source: Arc<S>, reference: Reference) -> Watch {
    stream(source, OfContainer { reference })
}

/// The watch of all containers.
pub fn watch_all<S: Source>(source: Arc<S>) -> EngineWatch {
    stream(source, OfEngine)
}

/// What kind of watch it is.
trait Kind: Send + 'static {
    type Item: Send + 'static;

    fn snapshot(&self, truth: &impl Truth) -> Result<Self::Item, ErrorKind>;
    fn translate(&self, event: Event, change: Change) -> Vec<Self::Item>;
    fn is_last(&self, item: &Self::Item) -> bool;
    fn error(&self, engine: &str, kind: ErrorKind) -> Error;
}

struct OfContainer {
    reference: Reference,
}

impl Kind for OfContainer {
    type Item = WatchItem;

    fn snapshot(&self, truth: &impl Truth) -> Result<WatchItem, ErrorKind> {
        Ok(match truth.observe(&self.reference)? {
            Some(observation) => WatchItem::Synced(observation),
            None => WatchItem::Removed,
        })
    }

    fn translate(&self, event: Event, change: Change) -> Vec<WatchItem> {
        let is_about_it = match &self.reference {
            Reference::Id(id) => event.actor.id == *id,
            Reference::Name(name) => event.actor.name == *name,
            Reference::Service { .. } | Reference::Vmid(_) => false,
        };
        if !is_about_it {
            return Vec::new();
        }
        let mut items = vec![WatchItem::Event(event)];
        match change {
            Change::None => {}
            Change::Now(observation) => items.push(WatchItem::Synced(observation)),
            Change::Removed => items.push(WatchItem::Removed),
        }
        items
    }

    /// An id is never given again.
    fn is_last(&self, item: &WatchItem) -> bool {
        matches!((item, &self.reference), (WatchItem::Removed, Reference::Id(_)))
    }

    fn error(&self, engine: &str, kind: ErrorKind) -> Error {
        Error::new(engine, Action::Watch, kind).with_container(self.reference.to_string())
    }
}

struct OfEngine;

impl Kind for OfEngine {
    type Item = EngineItem;

    fn snapshot(&self, truth: &impl Truth) -> Result<EngineItem, ErrorKind> {
        truth.list().map(EngineItem::Synced)
    }

    fn translate(&self, event: Event, _: Change) -> Vec<EngineItem> {
        vec![EngineItem::Event(event)]
    }

    fn is_last(&self, _: &EngineItem) -> bool {
        false
    }

    fn error(&self, engine: &str, kind: ErrorKind) -> Error {
        Error::new(engine, Action::Watch, kind)
    }
}

/// One watch.
struct Listener<S, K: Kind> {
    source: Arc<S>,
    kind: K,
    /// What is told from the last snapshot on; `None`: the watch is over.
    told: Option<broadcast::Receiver<Told>>,
    /// What was told and not yet taken.
    pending: VecDeque<Result<K::Item, Error>>,
}

impl<S: Source, K: Kind> Listener<S, K> {
    /// Snapshot and place in the feed belong to one moment: nothing older than the snapshot follows
    /// it, and nothing is lost between the two.
    fn synchronise(&mut self) {
        let kind = &self.kind;
        let (told, snapshot) = self.source.read(|truth| {
            let told = truth.feed().sender.as_ref().map(broadcast::Sender::subscribe);
            (told, kind.snapshot(truth))
        });
        self.told = told;
        // A closed engine has nothing to say.
        if self.told.is_some() {
            let item = snapshot.map_err(|error| kind.error(self.source.engine(), error));
            self.pending.push_back(item);
        }
    }

    async fn next(&mut self) -> Option<Result<K::Item, Error>> {
        loop {
            if let Some(item) = self.pending.pop_front() {
                if item.as_ref().is_ok_and(|item| self.kind.is_last(item)) {
                    self.told = None;
                }
                return Some(item);
            }
            match self.told.as_mut()?.recv().await {
                Ok(Told::Event { event, change }) => {
                    let items = self.kind.translate(*event, change);
                    self.pending.extend(items.into_iter().map(Ok));
                }
                Ok(Told::Failed(kind)) => {
                    let error = self.kind.error(self.source.engine(), kind);
                    self.pending.push_back(Err(error));
                }
                Ok(Told::Resync) | Err(RecvError::Lagged(_)) => self.synchronise(),
                Err(RecvError::Closed) => self.told = None,
            }
        }
    }
}

fn stream<S: Source, K: Kind>(
    source: Arc<S>,
    kind: K,
) -> stream::BoxStream<'static, Result<K::Item, Error>> {
    let mut listener = Listener { source, kind, told: None, pending: VecDeque::new() };
    listener.synchronise();
    stream::unfold(listener, async |mut listener| {
        let item = listener.next().await?;
        Some((item, listener))
    })
    .boxed()
}
