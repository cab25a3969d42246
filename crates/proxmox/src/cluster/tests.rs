//! The cluster as its handles see it, against one in memory whose clock stands still.

mod convergence;
mod events;
mod requests;
mod watching;
mod world;

use std::{sync::Arc, time::Duration};

use drowse_provider::{
    Action, ContainerStatus, Deadline, EngineItem, EngineWatch, Error, Event, EventAction,
    Observation, Reference, Watch, WatchItem,
};
use futures::StreamExt;
use secrecy::SecretString;
use tokio::time::{sleep, timeout};

use self::world::World;
use super::{ClusterOptions, api::Api, shared::Shared};
use crate::{Client, ClientOptions, Credentials, Secret, Trust};

pub(super) const RUNNING: ContainerStatus = ContainerStatus::Running;
pub(super) const STOPPED: ContainerStatus = ContainerStatus::Stopped;

/// Long in virtual time: longer than beats lag and back-offs last.
const LONG: Duration = Duration::from_mins(5);

fn open(world: &World) -> Arc<Shared> {
    let secret = Secret::Given(SecretString::from("none"));
    let id = "drowse@pve!main".parse().unwrap();
    let endpoint = "https://127.0.0.1:1".parse().unwrap();
    let credentials = Credentials::Token { id, secret };
    let client = Client::new(ClientOptions::new(vec![endpoint], credentials, Trust::Anyone));
    let api: Arc<dyn Api> = Arc::new(world.clone());
    Arc::new(Shared::with_api("pve".to_owned(), client.unwrap(), api, ClusterOptions::new()))
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn vmid(vmid: u32) -> Reference {
    Reference::Vmid(vmid)
}

async fn observe(shared: &Shared, reference: &Reference) -> Result<Observation, Error> {
    Ok(shared.live(reference, Action::Status, soon()).await?.observation)
}

/// A watch that is read.
struct Watching(Watch);

impl Watching {
    fn begin(shared: &Arc<Shared>, reference: &Reference) -> Self {
        Self(Arc::clone(shared).watch(reference))
    }

    async fn next(&mut self) -> Result<WatchItem, Error> {
        let next = timeout(LONG, self.0.next()).await.expect("something is told");
        next.expect("the watch goes on")
    }

    async fn synced(&mut self) -> Observation {
        match self.next().await {
            Ok(WatchItem::Synced(observation)) => observation,
            other => panic!("`Synced` is told, not {other:?}"),
        }
    }

    /// The next observation, passing over events.
    async fn synced_after_events(&mut self) -> Observation {
        loop {
            match self.next().await {
                Ok(WatchItem::Synced(observation)) => return observation,
                Ok(WatchItem::Event(_)) => {}
                other => panic!("`Synced` is told, not {other:?}"),
            }
        }
    }

    async fn event(&mut self) -> Event {
        match self.next().await {
            Ok(WatchItem::Event(event)) => event,
            other => panic!("an event is told, not {other:?}"),
        }
    }

    async fn error(&mut self) -> Error {
        match self.next().await {
            Err(error) => error,
            other => panic!("an error is told, not {other:?}"),
        }
    }

    async fn removed(&mut self) {
        assert!(matches!(self.next().await, Ok(WatchItem::Removed)));
    }

    /// Nothing is told for so long.
    async fn is_quiet(&mut self, seconds: u64) {
        let told = timeout(Duration::from_secs(seconds), self.0.next()).await;
        assert!(told.is_err(), "{told:?}");
    }

    /// Everything that is told within so long.
    async fn told(&mut self, seconds: u64) -> Vec<Result<WatchItem, Error>> {
        let mut told = Vec::new();
        let end = sleep(Duration::from_secs(seconds));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return told,
                item = self.0.next() => told.push(item.expect("the watch goes on")),
            }
        }
    }
}

/// An engine's events, read.
struct WatchingAll(EngineWatch);

impl WatchingAll {
    fn begin(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared).watch_all())
    }

    async fn next(&mut self) -> Result<EngineItem, Error> {
        let next = timeout(LONG, self.0.next()).await.expect("something is told");
        next.expect("the events go on")
    }

    async fn list(&mut self) -> Vec<drowse_provider::Summary> {
        match self.next().await {
            Ok(EngineItem::Synced(list)) => list,
            other => panic!("a list is told, not {other:?}"),
        }
    }

    /// The next event, passing over lists.
    async fn event(&mut self) -> Event {
        loop {
            match self.next().await {
                Ok(EngineItem::Event(event)) => return event,
                Ok(_) => {}
                Err(error) => panic!("an event is told, not {error:?}"),
            }
        }
    }

    /// The next error, passing over everything else.
    async fn error(&mut self) -> Error {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    /// The next event with this action, passing over everything else.
    async fn find(&mut self, action: &EventAction) -> Event {
        loop {
            let event = self.event().await;
            if event.action == *action {
                return event;
            }
        }
    }
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn is_die(event: &Event) -> bool {
    event.action == EventAction::Die(None)
}
