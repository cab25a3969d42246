//! What happens to containers, as it is told. Events are hints; reads are the truth.

use std::{collections::BTreeMap, time::SystemTime};

use crate::{ContainerStatus, Health, Observation, RunId, Signal, Summary};

/// One thing that happened, as the engine told it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What kind of thing it happened to.
    pub event_type: EventType,
    /// To which one.
    pub actor: Actor,
    /// What happened.
    pub action: EventAction,
    /// When, on the engine's clock.
    pub time: SystemTime,
    /// The run it happened to, where that is certain. `None` means "some run": the
    /// [`WatchItem::Synced`] that follows tells what is true now.
    pub run: Option<RunId>,
    /// What it was doing before and since, where the event was made of two reads that differ.
    pub change: Option<(ContainerStatus, ContainerStatus)>,
}

impl Event {
    /// An event about a container, of an unknown run.
    pub fn container(actor: Actor, action: EventAction, time: SystemTime) -> Self {
        Self { event_type: EventType::Container, actor, action, time, run: None, change: None }
    }

    /// The same, known to concern `run`.
    #[must_use]
    pub fn of_run(mut self, run: Option<RunId>) -> Self {
        self.run = run;
        self
    }

    /// The same, made of two reads: what it was doing before, and what it does since.
    #[must_use]
    pub fn from_to(mut self, before: ContainerStatus, after: ContainerStatus) -> Self {
        self.change = Some((before, after));
        self
    }
}

/// What kind of thing an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventType {
    /// A container.
    Container,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Actor {
    /// The engine's own id, whole.
    pub id: String,
    /// Its name at that time, without decoration.
    pub name: String,
    /// Whatever else the engine said: labels, exit code, signal…
    pub attributes: BTreeMap<String, String>,
}

impl Actor {
    /// An actor.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        Self { id: id.into(), name: name.into(), attributes }
    }
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventAction {
    /// It was made.
    Create,
    /// A run began.
    Start,
    /// A signal was sent to it. This never means that it ended: also a `docker kill -s HUP` says
    /// so, and each stop begins with it.
    Kill(Option<Signal>),
    /// Its run ended, with this exit code if the engine says.
    Die(Option<i64>),
    /// A stop of it was carried out; a `Die` came before.
    Stop,
    /// A restart was carried out: an end and a start came before.
    Restart,
    /// It was frozen.
    Pause,
    /// It was thawed.
    Unpause,
    /// The kernel killed a process of it for want of memory.
    OutOfMemory,
    /// Its own health check came to a verdict.
    Health(Health),
    /// It has a new name; the old one.
    Rename(String),
    /// Its definition was changed.
    Update,
    /// It was attached to a network, or taken off one: also at each start and each end.
    Network,
    /// It is on another machine of its engine now; the one it was on.
    Migrate(String),
    /// Something else began to work on it and keeps orders from it, in the engine's word; `None`:
    /// that is over.
    Lock(Option<String>),
    /// It is gone, and its id with it.
    Destroy,
    /// Anything else, in the engine's word.
    Other(String),
}

/// An item of one container's watch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchItem {
    /// A read of the truth. It supersedes everything before it. A watch begins with one, and one
    /// follows each event that may change state or run, each reconnection, and each time that this
    /// consumer was too slow to be told every event.
    Synced(Observation),
    /// Something happened. A hint: it may come late, twice or not at all.
    Event(Event),
    /// There is no such container. Ends a watch that is bound to an id; one bound to a name goes
    /// on, and says `Synced` when a container of that name is there (again).
    Removed,
}

/// An item of an engine's watch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineItem {
    /// Every container there is, as read just now. A watch begins with one; one follows each
    /// reconnection, each slow re-read (60 s on Docker), and each time that the consumer was too
    /// slow to be told every event.
    Synced(Vec<Summary>),
    /// Something happened.
    Event(Event),
}
