//! What is told of containers: late, twice, out of order or not at all.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use drowse_provider::{Action, Actor, Error, ErrorKind, Event, EventAction, Watch, WatchItem};
use futures::{Stream, StreamExt as _};

use super::{Due, Shared, World};

const TELLING: u64 = 4;

/// Names a watch: of a container, and the how many-th.
pub(crate) type WatcherId = (usize, u64);

/// What one watch has still to read.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    items: VecDeque<Result<WatchItem, ErrorKind>>,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) enum EventDue {
    /// An item reaches a watch.
    Told { watcher: WatcherId, item: Result<WatchItem, ErrorKind> },
    /// The engine reads the container for its watches.
    Sampled { container: usize },
}

impl World {
    /// Something happened to it: its watches are told, and then what is true since.
    pub(super) fn tell(&mut self, container: usize, action: EventAction) {
        let engine = self.engine_of(container);
        if self.is_deaf(engine) {
            return;
        }
        let one = &self.containers[container];
        let run = one.run_id.clone().filter(|_| self.plan.engines[engine].tells_runs);
        let actor = Actor::new(
            format!("w{container}#{}", one.generation),
            Self::name(container),
            BTreeMap::new(),
        );
        let event = Event::container(actor, action, SystemTime::UNIX_EPOCH).of_run(run);
        for _ in 0..if self.echoes(engine) { 2 } else { 1 } {
            self.send(container, &Ok(WatchItem::Event(event.clone())));
        }
        let latency = self.latency(container) + Duration::from_millis(20);
        self.plan_in(latency, Due::Event(EventDue::Sampled { container }));
    }

    /// Its watches are told what is true now.
    pub(super) fn tell_synced(&mut self, container: usize) {
        let item = match self.containers[container].observation() {
            Some(observation) => WatchItem::Synced(observation),
            None => WatchItem::Removed,
        };
        self.send(container, &Ok(item));
    }

    pub(super) fn tell_error(&mut self, container: usize, kind: &ErrorKind) {
        self.send(container, &Err(kind.clone()));
    }

    fn send(&mut self, container: usize, item: &Result<WatchItem, ErrorKind>) {
        let watchers: Vec<WatcherId> = self
            .watchers
            .range((container, 0)..=(container, u64::MAX))
            .map(|(id, _)| *id)
            .collect();
        for watcher in watchers {
            let latency = self.latency(container);
            self.plan_in(latency, Due::Event(EventDue::Told { watcher, item: item.clone() }));
        }
    }

    fn latency(&mut self, container: usize) -> Duration {
        let number = self.number();
        let lags = self.lags(self.engine_of(container));
        let mut dice = self.dice(&[TELLING, container as u64, number]);
        if lags { dice.spread(10, 20_000) } else { dice.millis(0, 20) }
    }

    pub(super) fn event_due(&mut self, due: EventDue) {
        match due {
            EventDue::Told { watcher, item } => {
                if let Some(reader) = self.watchers.get_mut(&watcher) {
                    reader.items.push_back(item);
                    if let Some(waker) = reader.waker.take() {
                        waker.wake();
                    }
                }
            }
            EventDue::Sampled { container } => {
                if !self.is_deaf(self.engine_of(container)) {
                    self.tell_synced(container);
                }
            }
        }
    }

    fn open_watch(&mut self, container: usize) -> WatcherId {
        let watcher = (container, self.number());
        self.watchers.insert(watcher, Watcher::default());
        // An engine that is out of reach says so after a while, or that it is back.
        if !self.is_deaf(self.engine_of(container)) {
            self.tell_synced(container);
        }
        watcher
    }
}

/// The watch of a container.
pub(crate) fn watch(world: Shared, container: usize) -> Watch {
    let id = world.lock().open_watch(container);
    Reader { world, id }.boxed()
}

#[derive(Debug)]
struct Reader {
    world: Shared,
    id: WatcherId,
}

impl Stream for Reader {
    type Item = Result<WatchItem, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut world = self.world.lock();
        let Some(watcher) = world.watchers.get_mut(&self.id) else { return Poll::Ready(None) };
        let Some(item) = watcher.items.pop_front() else {
            watcher.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let container = self.id.0;
        world.told(container, &item);
        Poll::Ready(Some(item.map_err(|kind| world.error(container, Action::Watch, kind))))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.world.lock().watchers.remove(&self.id);
    }
}
