//! The engine: its handles, and its thread.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use drowse_provider::{
    Action, Capabilities, Deadline, Engine, EngineWatch, Error, ErrorKind, Provider, Reach,
    Reference, Summary, Support, feed,
};
use rustix::process::Pid;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    guard::{Token, Watchman},
    orders,
    provider::ProcessProvider,
    run::Run,
    spec::ProcessSpec,
    supervise,
    world::World,
};

/// The local machine's processes as an engine.
///
/// Clones are handles of the same engine. [`close`](Engine::close) ends all its processes: asked to
/// first, killed after their own stop timeout or 10 s, whichever is shorter. The last drop of all
/// handles (engines, providers, watches) sets the same going and does not wait for it; when the
/// program itself ends first, they are killed.
#[derive(Clone)]
pub struct ProcessEngine {
    handle: Arc<Handle>,
}

/// What engines, providers and watches hold: its drop is the last drop of all of them.
pub(crate) struct Handle {
    pub(crate) core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.begin_close();
    }
}

impl feed::Source for Handle {
    type Truth = World;

    fn engine(&self) -> &str {
        self.core.name()
    }

    fn read<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(&self.core.world())
    }
}

pub(crate) struct Core {
    name: String,
    /// The runtime of the engine's thread.
    runtime: runtime::Handle,
    world: Mutex<World>,
    guard: Mutex<Watchman>,
    closed: watch::Sender<bool>,
    /// Whether the thread has ended, and all processes with it.
    is_over: watch::Sender<bool>,
}

impl Core {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Used on the engine's thread only; the lock never waits.
    pub(crate) fn guard(&self) -> MutexGuard<'_, Watchman> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups that are alive, as a new guard has to know them.
    pub(crate) fn groups(&self) -> Vec<(Token, Pid)> {
        let alive = self.world().alive();
        alive.into_iter().map(|(_, run)| (run.token, run.leader)).collect()
    }

    /// The same, without one that is over.
    pub(crate) fn groups_but(&self, over: &Run) -> Vec<(Token, Pid)> {
        let mut groups = self.groups();
        groups.retain(|(token, _)| *token != over.token);
        groups
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    fn begin_close(&self) {
        self.closed.send_replace(true);
        self.world().hush();
    }

    async fn closing(&self) {
        // It fails only without a sender, which lives in `self`.
        _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    async fn over(&self) {
        _ = self.is_over.subscribe().wait_for(|over| *over).await;
    }

    /// Whether an order goes out at all.
    pub(crate) fn admit(&self, deadline: Deadline) -> Result<(), ErrorKind> {
        if self.is_closed() {
            Err(ErrorKind::Closed)
        } else if deadline.has_passed() {
            Err(ErrorKind::Timeout { after: deadline.duration(), last: None })
        } else {
            Ok(())
        }
    }

    /// Hands an order to the engine's thread and waits for its outcome. The thread carries it out
    /// whether or not anybody still waits.
    pub(crate) async fn carry_out<T: Send + 'static>(
        &self,
        order: impl Future<Output = Result<T, ErrorKind>> + Send + 'static,
        deadline: Deadline,
    ) -> Result<T, ErrorKind> {
        let task = self.runtime.spawn(order);
        tokio::select! {
            biased;
            () = self.closing() => Err(ErrorKind::Closed),
            outcome = task => match outcome {
                Ok(outcome) => outcome,
                Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                Err(_) => Err(ErrorKind::Closed),
            },
            () = tokio::time::sleep_until(deadline.at()) => {
                Err(ErrorKind::Timeout { after: deadline.duration(), last: None })
            }
        }
    }

    pub(crate) fn error(&self, action: Action, kind: ErrorKind) -> Error {
        Error::new(&self.name, action, kind)
    }
}

impl ProcessEngine {
    /// An engine without containers. Starts its thread; processes start when they are asked to.
    ///
    /// # Errors
    /// `Unavailable` if the thread or what it needs cannot be had, or `/proc` is not mounted.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let handle = open(&name).map_err(|error| {
            let reason = format!("the engine's thread cannot be started: {error}");
            Error::new(&name, Action::Connect, ErrorKind::Unavailable { reason }).with_source(error)
        })?;
        Ok(Self { handle: Arc::new(handle) })
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Adds a container, stopped. A name that is known gets this definition from its next start on;
    /// a run under way goes on as it is.
    ///
    /// # Errors
    /// `Closed`.
    pub fn define(&self, spec: ProcessSpec) -> Result<(), Error> {
        if self.core().is_closed() {
            return Err(self.core().error(Action::Connect, ErrorKind::Closed));
        }
        self.core().world().define(spec);
        Ok(())
    }

    /// Takes a container away. If it is alive it is killed first.
    ///
    /// # Errors
    /// `NotFound`, `Timeout`, `Closed`.
    pub async fn remove(&self, reference: &Reference, deadline: Deadline) -> Result<(), Error> {
        let core = self.core();
        let fail = |kind| core.error(Action::Kill, kind).with_container(reference.to_string());
        core.admit(deadline).map_err(fail)?;
        let id = core.world().find(reference).map(ToOwned::to_owned);
        let id = id.ok_or(ErrorKind::NotFound).map_err(fail)?;
        core.carry_out(orders::remove(Arc::clone(core), id), deadline).await.map_err(fail)
    }
}

/// Starts the engine's thread.
fn open(name: &str) -> std::io::Result<Handle> {
    // Whether `/proc` is there: without it no run could be told from another.
    crate::group::Stat::read(rustix::process::getpid())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let children = {
        let _entered = runtime.enter();
        signal(SignalKind::child())?
    };
    let core = Arc::new(Core {
        name: name.to_owned(),
        runtime: runtime.handle().clone(),
        world: Mutex::default(),
        guard: Mutex::new(Watchman::of(name)),
        closed: watch::Sender::new(false),
        is_over: watch::Sender::new(false),
    });
    let on_thread = Arc::clone(&core);
    std::thread::Builder::new().name("drowse-process".to_owned()).spawn(move || {
        let core = on_thread;
        runtime.block_on(async {
            tokio::spawn(supervise::turns(Arc::clone(&core), children));
            core.closing().await;
            orders::end_all(&core).await;
        });
        if core.world().alive().is_empty() {
            core.guard().dismiss();
        }
        // Ends what tasks there are, and with them the last descriptors.
        drop(runtime);
        core.is_over.send_replace(true);
    })?;
    Ok(Handle { core })
}

impl fmt::Debug for ProcessEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.core().name();
        formatter.debug_struct("ProcessEngine").field("name", &name).finish_non_exhaustive()
    }
}

/// What a process cannot do, said where it is asked for.
pub(crate) fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::all();
    capabilities.stats = Support::No(
        "a process shares its host's network, where its traffic cannot be told apart".into(),
    );
    capabilities.health =
        Support::No("a process has no health check of its own: probe its port".into());
    capabilities
}

#[async_trait]
impl Engine for ProcessEngine {
    fn name(&self) -> &str {
        self.core().name()
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn reach(&self) -> Reach {
        Reach::Loopback
    }

    async fn list(&self, deadline: Deadline) -> Result<Vec<Summary>, Error> {
        let core = self.core();
        let fail = |kind| core.error(Action::List, kind);
        core.admit(deadline).map_err(fail)?;
        core.carry_out(orders::list(Arc::clone(core)), deadline).await.map_err(fail)
    }

    fn provider(&self, reference: &Reference) -> Result<Arc<dyn Provider>, Error> {
        let core = self.core();
        if core.is_closed() {
            return Err(core.error(Action::Connect, ErrorKind::Closed));
        }
        match reference {
            Reference::Id(_) | Reference::Name(_) => {
                Ok(Arc::new(ProcessProvider::new(Arc::clone(&self.handle), reference.clone())))
            }
            _ => {
                let why = "processes are named by their name or id".to_owned();
                Err(core.error(Action::Connect, ErrorKind::Unsupported { why }))
            }
        }
    }

    fn events(&self) -> EngineWatch {
        feed::watch_all(Arc::clone(&self.handle))
    }

    async fn close(&self) {
        self.core().begin_close();
        self.core().over().await;
    }
}
