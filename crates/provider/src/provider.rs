//! The two traits.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{
    Capabilities, ContainerStatus, Deadline, Details, EngineItem, Error, KillOutcome, Observation,
    Reach, Signal, Stats, StopOptions, Summary, WatchItem,
};

/// One container's watch: see [`Provider::watch`].
pub type Watch = BoxStream<'static, Result<WatchItem, Error>>;

/// A whole engine's watch: see [`Engine::events`].
pub type EngineWatch = BoxStream<'static, Result<EngineItem, Error>>;

/// How a container is named to its engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reference {
    /// By the engine's own id. Dies with that container.
    Id(String),
    /// By name. Goes on with the next container of that name.
    Name(String),
    /// A compose service, by project and service. Goes on with the next container of that service:
    /// see [`compose`](crate::compose) for which one is meant while one replaces another. A service
    /// with several containers is refused with `Unsupported`.
    Service {
        /// The compose project.
        project: String,
        /// The service in it.
        service: String,
    },
    /// By the number that a Proxmox cluster gives it.
    Vmid(u32),
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => formatter.write_str(id),
            Self::Name(name) => formatter.write_str(name),
            Self::Service { project, service } => write!(formatter, "{project}/{service}"),
            Self::Vmid(vmid) => write!(formatter, "{vmid}"),
        }
    }
}

/// The lifecycle API of one container.
///
/// Every operation is idempotent: asking for the state that already holds succeeds. This table is
/// the specification; the feature `contract` tests it.
///
/// | | running | stopped | paused | error¹ | absent |
/// | --- | --- | --- | --- | --- | --- |
/// | `start` | ok | ok, running | ok, running | `Conflict` | `NotFound` |
/// | `stop` | ok, stopped | ok | ok, stopped | `Conflict` | `NotFound` |
/// | `kill(KILL)` | `Exited` | `Exited` | `Exited` | `Conflict` | `NotFound` |
/// | `kill(other)` | `StillRunning` or `Exited` | `Conflict` | `Conflict` | `Conflict` | `NotFound` |
/// | `pause` | ok, paused | `Conflict` | ok | `Conflict` | `NotFound` |
/// | `unpause` | ok | `Conflict` | ok, running | `Conflict` | `NotFound` |
/// | `status`, `inspect` | `Running` | `Stopped` | `Paused` | `Error` | `NotFound` |
///
/// ¹ Removing, dead, or whatever else cannot be used. `Restarting` differs: `start` waits until the
/// engine has restarted it, `stop` and `kill(KILL)` end it.
///
/// **Deadlines.** When one passes, the operation ends with `Timeout { after, last }`. An engine
/// completes an order that it has taken, whether or not anybody still waits: after a timeout, or
/// after the future was dropped, only a read tells the state. Dropping a future stops the waiting
/// and corrupts nothing.
///
/// **Locks.** `Locked` is returned at the first refusal; retrying is up to the caller.
///
/// Providers are cheap to clone behind their `Arc`; the last handle of an engine closes it.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// The name of the engine, as configured: it is in every log line and error.
    fn engine(&self) -> &str;

    /// How the container is named to the engine.
    fn reference(&self) -> &Reference;

    /// What the engine can do. Needs no I/O.
    fn capabilities(&self) -> Capabilities;

    /// Starts it, and returns when its process runs. Of a paused one: thaws it.
    ///
    /// # Errors
    /// As the table says; `Failed` when the engine could not start it; `Unavailable`, `Timeout`,
    /// `Locked`, `Unauthorized`, `Forbidden`, `Protocol`, `Closed` as their classes say. After
    /// `Unavailable` or `Timeout` the engine may have taken the order.
    async fn start(&self, deadline: Deadline) -> Result<(), Error>;

    /// Asks it to end, kills it after the timeout, and returns when it has ended. Of a paused one:
    /// also. The deadline should leave room beyond the stop's own timeout.
    ///
    /// # Errors
    /// As for [`start`](Self::start); `Unsupported` for a signal that this engine cannot send here.
    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error>;

    /// Sends it a signal. KILL waits for its end; other signals return at once.
    ///
    /// # Errors
    /// As for [`start`](Self::start); `Unsupported` where the engine cannot send that signal.
    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error>;

    /// Freezes it, and returns when it is frozen.
    ///
    /// # Errors
    /// As for [`start`](Self::start); `Unsupported` where the engine cannot.
    async fn pause(&self, deadline: Deadline) -> Result<(), Error>;

    /// Thaws it, and returns when it runs again.
    ///
    /// # Errors
    /// As for [`pause`](Self::pause).
    async fn unpause(&self, deadline: Deadline) -> Result<(), Error>;

    /// Reads its state. A read: it changes nothing and may be repeated.
    ///
    /// # Errors
    /// `NotFound`, and what any read may meet.
    async fn observe(&self, deadline: Deadline) -> Result<Observation, Error> {
        Ok(self.inspect(deadline).await?.observation)
    }

    /// Reads what it is doing.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe).
    async fn status(&self, deadline: Deadline) -> Result<ContainerStatus, Error> {
        Ok(self.observe(deadline).await?.status)
    }

    /// Reads everything that is known of it.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe).
    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error>;

    /// Reads what it uses.
    ///
    /// # Errors
    /// `Unsupported` where the engine has no figures; `Conflict` when it does not run.
    async fn stats(&self, deadline: Deadline) -> Result<Stats, Error>;

    /// What happens to it, from now on and for ever.
    ///
    /// The first item is `Synced` (or `Removed`, if there is no such container; or an error, if the
    /// engine cannot be reached: `Synced` follows when it can). An error item says that the engine
    /// has been out of reach for longer than 5 s, or refuses; the watch goes on by itself and says
    /// `Synced` when it is back. It ends when the engine is closed, and after `Removed` if the
    /// reference is an id.
    ///
    /// A watch that is not read loses events, never the truth: it gets a fresh `Synced`. Any number
    /// of watches share the engine's one connection for events. Dropping it ends it.
    fn watch(&self) -> Watch;
}

/// One runtime's endpoint.
///
/// Cheap to clone behind its `Arc`. No task outlives [`close`](Self::close); the last drop of all
/// handles (engine, providers, watches) closes as well.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Its name, as configured.
    fn name(&self) -> &str;

    /// What it can do, as far as is known: an engine that was never reached says what its newest
    /// release can. Needs no I/O.
    fn capabilities(&self) -> Capabilities;

    /// From where its containers can be dialled. Needs no I/O; as far as is known.
    fn reach(&self) -> Reach;

    /// What its machine calls itself, as far as is known. Needs no I/O.
    fn machine(&self) -> Option<String> {
        None
    }

    /// Every container there is, in one call.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthorized`, `Forbidden`, `Timeout`, `Protocol`, `Closed`.
    async fn list(&self, deadline: Deadline) -> Result<Vec<Summary>, Error>;

    /// The provider of one container, which need not exist. No I/O.
    ///
    /// # Errors
    /// `Unsupported` for a kind of reference that this engine does not know, `Closed` after close.
    fn provider(&self, reference: &Reference) -> Result<Arc<dyn Provider>, Error>;

    /// What happens to all of its containers, from now on and for ever: the rules of
    /// [`Provider::watch`], with a list as the snapshot.
    fn events(&self) -> EngineWatch;

    /// Ends every watch and every operation in flight (those with `Closed`), and returns when no
    /// task and no connection of the engine is left. Orders already taken by the runtime are
    /// carried out. Idempotent. Containers are left as they are, except where they cannot outlive
    /// the engine (processes: ended with it).
    async fn close(&self);
}
