//! What `run` and `demo` have in common: everything between the listening gateway and the engines.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::{Config, Problem, Problems, show_duration},
    discovery,
    engines::Engines,
    front::{Bound, Front, Listeners},
    holds::Holds,
    plan::Inventory,
    ports::Ports,
    schedule,
    store::{Store, keeper},
    supervisor::Supervisor,
    view::View,
    whereabouts::Whereabouts,
};

/// What engines get to let go of their connections at the very end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long engines may take to be read before those are served who wait at a socket that was handed over.
const READ_BEFORE_SERVING: Duration = Duration::from_secs(3);

/// The running parts.
pub(crate) struct Daemon {
    listeners: Listeners,
    engines: Arc<Engines>,
    reconfigure: Reconfigure,
    view: watch::Receiver<Arc<View>>,
    holds: Holds,
    ports: Ports,
    /// Kept: where no engine is discovered nobody else would, and the supervisor follows it.
    inventory: Arc<watch::Sender<Inventory>>,
    supervisor: JoinHandle<()>,
    followers: JoinSet<()>,
    end: CancellationToken,
}

/// Puts another configuration in the place of the one in force.
#[derive(Clone, Debug)]
pub(crate) struct Reconfigure {
    config: watch::Sender<Arc<Config>>,
    engines: Arc<Engines>,
    front: Front,
}

impl Reconfigure {
    /// Puts this configuration in force: workloads and routes that stay as they are keep their connections
    /// and their state.
    ///
    /// # Errors
    /// What cannot be changed while drowse runs, or not be at all. Then nothing has changed.
    pub(crate) fn take(&self, mut config: Config) -> Result<(), Problems> {
        let before = self.config.borrow().clone();
        let lasting = config.lasting.differing(&before.lasting);
        if !lasting.is_empty() {
            let why = format!("needs a restart to change: `{}`", lasting.join("`, `"));
            return Err(Problems::from(Problem::error(why)));
        }
        self.engines.follow(&config)?;
        config.listen.clone_from(&before.listen);
        self.front.reconfigure(&config);
        self.config.send_replace(Arc::new(config));
        Ok(())
    }
}

/// How a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything in flight was let end.
    Whole,
    /// The grace period passed, or a second signal came, while something was in flight.
    Cut,
}

impl Daemon {
    /// Begins to manage, and then to serve: from the first request on the hosts that the
    /// configuration names are known.
    pub(crate) async fn start(
        mut config: Config,
        engines: Engines,
        front: Front,
        bound: Bound,
        store: Store,
    ) -> Self {
        // What is listened on in truth: no container may want the same.
        config.listen = bound.listens();
        let config = watch::Sender::new(Arc::new(config));
        let whereabouts = Arc::new(Whereabouts::of_this_process());
        let engines = Arc::new(engines);
        let end = CancellationToken::new();
        let unread = engines
            .discovered()
            .map(|configured| (configured.engine.name().to_owned(), configured.unread()));
        let inventory = Arc::new(watch::Sender::new(unread.collect::<Inventory>()));
        let clock = store.clock().clone();
        let (supervisor, mut view) =
            Supervisor::new(config.subscribe(), engines.clone(), front.clone(), store.clone());
        let (holds, ports) = (supervisor.holds(), supervisor.ports());
        let supervisor = tokio::spawn(supervisor.run(inventory.subscribe(), end.clone()));
        let mut followers = JoinSet::new();
        for configured in engines.discovered() {
            followers.spawn(discovery::follow(
                configured.clone(),
                whereabouts.clone(),
                inventory.clone(),
            ));
        }
        followers.spawn(holds.clone().follow(view.clone(), end.clone()));
        followers.spawn(schedule::driver::follow(view.clone(), clock, end.clone()));
        followers.spawn(keeper::keep(store, holds.clone(), view.clone(), end.clone()));
        // The first plan is made without any engine's answer: nothing here waits for the network. If
        // the supervisor panicked, its task says so at the end.
        _ = view.changed().await;
        if bound.is_handed() {
            // Those who wait at a socket that outlasts us are better off when it is known what is there.
            let is_read = |view: &Arc<View>| view.unread_engines.is_empty();
            _ = tokio::time::timeout(READ_BEFORE_SERVING, view.wait_for(is_read)).await;
        }
        let listeners = bound.serve();
        let reconfigure = Reconfigure { config, engines: engines.clone(), front };
        Self {
            listeners,
            engines,
            reconfigure,
            view,
            holds,
            ports,
            inventory,
            supervisor,
            followers,
            end,
        }
    }

    /// By what another configuration is put in force.
    pub(crate) fn reconfigure(&self) -> Reconfigure {
        self.reconfigure.clone()
    }

    /// What is managed.
    pub(crate) fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// What people want of it until they say otherwise.
    pub(crate) fn holds(&self) -> Holds {
        self.holds.clone()
    }

    /// Ends: accepts nothing new, lets what is in flight go on for the grace period or until `hurry`, then
    /// lets go of the containers and leaves them as they are.
    pub(crate) async fn end(mut self, hurry: impl Future<Output = ()>) -> Ended {
        let drained = async {
            let (listeners, ports) = tokio::join!(self.listeners.drain(), self.ports.drain());
            listeners && ports
        };
        let ended = tokio::select! {
            is_whole = drained => if is_whole { Ended::Whole } else { Ended::Cut },
            () = hurry => Ended::Cut,
        };
        if ended == Ended::Cut {
            warn!("what was still in flight is cut off");
        }
        self.end.cancel();
        let letting_go = async {
            if let Err(error) = self.supervisor.await {
                warn!(error = &error as &(dyn std::error::Error + 'static), "supervisor");
            }
            // The followers end with their engines, and the others with us.
            self.engines.close().await;
            while self.followers.join_next().await.is_some() {}
            drop(self.inventory);
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, letting_go).await.is_err() {
            warn!("an engine did not let go in time");
        }
        ended
    }
}

/// The signals that end drowse.
pub(crate) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// From here on these signals no longer end the process by themselves.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Says in the log that the end has begun.
pub(crate) fn announce_end(asked_by: &str, grace: Duration) {
    info!(
        asked_by,
        grace = show_duration(grace),
        "ending: no new connections, what is in flight goes on; a second signal ends at once"
    );
}
