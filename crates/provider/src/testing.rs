//! A scripted engine, for tests of code that uses the contract.
//!
//! A [`ScriptedEngine`] keeps its containers in memory. Left alone it is a well-behaved engine: it
//! passes the contract suite. A test then says what goes wrong:
//!
//! - the outcome of each operation, one [`Step`] per call: refused, late, never answered, carried
//!   out with the answer lost ([`ScriptedContainer::script`]);
//! - what others do: [`ScriptedContainer::start`], [`kill`](ScriptedContainer::kill),
//!   [`crash`](ScriptedContainer::crash)…;
//! - what is told of it: events lost, told twice, told late; the engine out of reach
//!   ([`ScriptedEngine::break_events`], [`go_down`](ScriptedEngine::go_down)).
//!
//! All waiting is on tokio's clock, so a paused clock (`start_paused`) makes hours pass at once.
//! The calls are recorded in order: [`ScriptedEngine::calls`].
//!
//! ```
//! use std::time::Duration;
//! use drowse_provider::{
//!     Action, ContainerStatus, Deadline, Engine as _, ErrorKind, Provider as _, Reference,
//!     testing::{ScriptedEngine, Step},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), drowse_provider::Error> {
//! let engine = ScriptedEngine::new("home");
//! let web = engine.add("web");
//! // The first start is refused, the next is carried out a second late.
//! web.script(Action::Start, [
//!     Step::refuse(ErrorKind::Locked { by: "backup".into() }),
//!     Step::ok().late_by(Duration::from_secs(1)),
//! ]);
//!
//! let provider = engine.provider(&Reference::Name("web".into()))?;
//! let deadline = Deadline::after(Duration::from_secs(10));
//! let refused = provider.start(deadline).await.unwrap_err();
//! assert!(matches!(refused.kind(), ErrorKind::Locked { .. }));
//! provider.start(deadline).await?;
//!
//! web.crash(1);
//! assert_eq!(provider.status(deadline).await?, ContainerStatus::Stopped);
//! assert_eq!(web.calls(Action::Start), 2);
//! # Ok(())
//! # }
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    Action, Capabilities, Deadline, Engine, EngineWatch, Error, ErrorKind, Provider, Reach,
    Reference, Summary, feed,
};

mod container;
mod provider;
mod script;
mod world;

pub use container::ScriptedContainer;
pub use provider::ScriptedProvider;
pub use script::{Call, Step};

use world::World;

/// An engine in memory, whose answers a test decides. See the [module](self).
///
/// Clones are handles of the same engine; the last one closes it, as the contract says.
#[derive(Clone)]
pub struct ScriptedEngine {
    handle: Arc<Handle>,
}

/// What each handle (engine, provider, watch, container) keeps alive. Its drop is the last drop of
/// all of them; the tasks hold only the core.
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl feed::Source for Handle {
    type Truth = World;

    fn engine(&self) -> &str {
        &self.core.name
    }

    fn read<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(&self.core.read())
    }
}

struct Core {
    name: String,
    capabilities: Capabilities,
    reach: Reach,
    world: Mutex<World>,
    /// Counts the changes to the world and the calls: wakes whoever waits for a level.
    changes: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    /// The orders that were taken and are being carried out, whether or not anybody waits.
    orders: Mutex<JoinSet<()>>,
}

impl Core {
    /// The world, to read it.
    fn read(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world, then wakes whoever waits for a change.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let output = change(&mut self.read());
        self.changes.send_modify(|count| *count += 1);
        output
    }

    /// Waits until the world satisfies `wanted`.
    async fn until(&self, wanted: impl Fn(&World) -> bool) {
        let mut changes = self.changes.subscribe();
        loop {
            if wanted(&self.read()) {
                return;
            }
            // The sender lives in `self`, so this cannot fail.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits for [`Engine::close`].
    async fn closing(&self) {
        // It fails only without a sender, which lives in `self`.
        _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn orders(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.closed.send_replace(true);
        self.read().feed.close();
        self.orders().abort_all();
    }

    fn error(&self, action: Action, kind: ErrorKind) -> Error {
        Error::new(&self.name, action, kind)
    }
}

impl ScriptedEngine {
    /// An engine without containers that can do everything.
    pub fn new(name: impl Into<String>) -> Self {
        Self::with(name, Capabilities::all(), Reach::Loopback)
    }

    /// An engine without containers, of these capabilities and this reach.
    pub fn with(name: impl Into<String>, capabilities: Capabilities, reach: Reach) -> Self {
        let core = Core {
            name: name.into(),
            capabilities,
            reach,
            world: Mutex::new(World::new(Instant::now())),
            changes: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            orders: Mutex::new(JoinSet::new()),
        };
        Self { handle: Arc::new(Handle { core: Arc::new(core) }) }
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Makes a stopped container, which ends with code 0 at TERM. Watches of that name hear of it.
    ///
    /// # Panics
    /// If there is a container of that name.
    pub fn add(&self, name: impl Into<String>) -> ScriptedContainer {
        let id = self.core().change(|world| world.create(name.into()));
        ScriptedContainer::new(Arc::clone(&self.handle), id)
    }

    /// The container of that name, if there is one.
    pub fn container(&self, name: &str) -> Option<ScriptedContainer> {
        let id = self.core().read().find(&Reference::Name(name.to_owned()))?;
        Some(ScriptedContainer::new(Arc::clone(&self.handle), id))
    }

    /// Cuts the events: watches are told nothing of what happens from here on.
    pub fn break_events(&self) {
        self.core().change(World::break_events);
    }

    /// Ends [`break_events`](Self::break_events): each watch gets a fresh `Synced`.
    pub fn mend_events(&self) {
        self.core().change(World::mend_events);
    }

    /// Loses the next `count` events, and the reads that would follow them, inside an unbroken
    /// stream. [`resync`](Self::resync) is the re-read that repairs it.
    pub fn lose_events(&self, count: usize) {
        self.core().change(|world| world.telling.lose = count);
    }

    /// Tells the next `count` events twice.
    pub fn repeat_events(&self, count: usize) {
        self.core().change(|world| world.telling.repeat = count);
    }

    /// Gives each watch a fresh `Synced`, as an engine's slow re-read does.
    pub fn resync(&self) {
        self.core().change(|world| world.feed.resync());
    }

    /// Puts the engine out of reach: each operation fails with `Unavailable`, each watch gets that
    /// error as an item and then nothing more. The containers live on.
    pub fn go_down(&self, reason: impl Into<String>) {
        self.core().change(|world| world.go_down(reason.into()));
    }

    /// Ends [`go_down`](Self::go_down): each watch gets a fresh `Synced`.
    pub fn come_back(&self) {
        self.core().change(World::come_back);
    }

    /// Decides the next answers to `list`, one per call. Without a step it succeeds.
    pub fn script_list(&self, steps: impl IntoIterator<Item = Step>) {
        self.core().change(|world| world.list_script.extend(steps));
    }

    /// Every call so far, in order; `list` without a container. Calls that were refused by their
    /// deadline, their capability or a closed handle never reached the engine and are not in it.
    pub fn calls(&self) -> Vec<Call> {
        self.core().read().calls.clone()
    }
}

impl std::fmt::Debug for ScriptedEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ScriptedEngine").field("name", &self.core().name).finish()
    }
}

#[async_trait]
impl Engine for ScriptedEngine {
    fn name(&self) -> &str {
        &self.core().name
    }

    fn capabilities(&self) -> Capabilities {
        self.core().capabilities.clone()
    }

    fn reach(&self) -> Reach {
        self.core().reach.clone()
    }

    async fn list(&self, deadline: Deadline) -> Result<Vec<Summary>, Error> {
        let core = self.core();
        let fail = |kind| core.error(Action::List, kind);
        provider::admit(core, deadline).map_err(fail)?;
        let step = core.change(World::admit_list).map_err(fail)?;
        let order = |core: Arc<Core>| async move { Ok(core.read().summaries()) };
        provider::carry_out(core, step, deadline, order).await.map_err(fail)
    }

    fn provider(&self, reference: &Reference) -> Result<Arc<dyn Provider>, Error> {
        let core = self.core();
        if core.is_closed() {
            return Err(core.error(Action::Connect, ErrorKind::Closed));
        }
        match reference {
            Reference::Id(_) | Reference::Name(_) => {
                Ok(Arc::new(ScriptedProvider::new(Arc::clone(&self.handle), reference.clone())))
            }
            Reference::Service { .. } | Reference::Vmid(_) => {
                let why = "a scripted engine knows ids and names".to_owned();
                Err(core.error(Action::Connect, ErrorKind::Unsupported { why }))
            }
        }
    }

    fn events(&self) -> EngineWatch {
        feed::watch_all(Arc::clone(&self.handle))
    }

    async fn close(&self) {
        let core = self.core();
        core.end();
        let mut orders = std::mem::take(&mut *core.orders());
        orders.shutdown().await;
    }
}
