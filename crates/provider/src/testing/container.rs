//! A test's hand on one scripted container.

use std::{fmt, sync::Arc};

use super::{
    Core, Handle, Step,
    world::{Container, World},
};
use crate::{
    Action, Details, EventAction, Health, KillOutcome, Observation, Reference, Signal, Stats,
    Unusable,
};

/// One container of a [`ScriptedEngine`](super::ScriptedEngine), as its test holds it: what others
/// do to it, and what becomes of the calls about it.
///
/// Methods that act panic if the container was removed, and where the contract's table refuses.
#[derive(Clone)]
pub struct ScriptedContainer {
    handle: Arc<Handle>,
    id: String,
}

impl fmt::Debug for ScriptedContainer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScriptedContainer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ScriptedContainer {
    pub(super) fn new(handle: Arc<Handle>, id: String) -> Self {
        Self { handle, id }
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    fn read<T>(&self, read: impl FnOnce(&Container) -> T) -> T {
        match self.core().read().get(&self.id) {
            Some(container) => read(container),
            None => panic!("container `{}` was removed", self.id),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Container) -> T) -> T {
        self.core().change(|world| match world.get_mut(&self.id) {
            Some(container) => change(container),
            None => panic!("container `{}` was removed", self.id),
        })
    }

    fn act<T>(&self, act: impl FnOnce(&mut World, &str) -> Result<T, crate::ErrorKind>) -> T {
        match self.core().change(|world| act(world, &self.id)) {
            Ok(output) => output,
            Err(kind) => panic!("container `{}`: {kind}", self.id),
        }
    }

    // === What it is ===

    /// Its engine's id for it.
    pub fn id(&self) -> Reference {
        Reference::Id(self.id.clone())
    }

    /// Its name.
    pub fn name(&self) -> Reference {
        Reference::Name(self.read(|container| container.details.name.clone()))
    }

    /// Its state at this moment, without a call.
    pub fn observation(&self) -> Observation {
        self.read(|container| container.details.observation.clone())
    }

    /// Changes what `inspect` shows: labels, ports, addresses (shown while it is alive), timeouts…
    /// Nobody is told. Identity and state are not to be changed here.
    pub fn set_details(&self, change: impl FnOnce(&mut Details)) {
        self.change(|container| change(&mut container.details));
    }

    /// Which signals end it, and with which codes; it handles all others but KILL.
    pub fn end_at(&self, signals: impl IntoIterator<Item = (Signal, i64)>) {
        self.change(|container| container.ends_at = signals.into_iter().collect());
    }

    /// Makes each start end by itself at once with this code; `None`: it serves.
    pub fn exit_with(&self, code: Option<i64>) {
        self.change(|container| container.exits_with = code);
    }

    /// What `stats` tells from now on, one after the other; the last one stays. At first: nothing used.
    pub fn use_machine(&self, stats: impl IntoIterator<Item = Stats>) {
        self.change(|container| container.stats = stats.into_iter().collect());
    }

    // === What becomes of calls ===

    /// Decides the next answers to an operation, one per call, after those decided before.
    /// `observe` and `status` are both [`Action::Status`].
    pub fn script(&self, action: Action, steps: impl IntoIterator<Item = Step>) {
        self.change(|container| container.scripts.entry(action).or_default().extend(steps));
    }

    /// Decides what becomes of every call for which no step is queued. At first: [`Step::ok`].
    pub fn always(&self, action: Action, step: Step) {
        self.change(|container| container.scripts.entry(action).or_default().always(step));
    }

    /// How many calls of that operation have come.
    pub fn calls(&self, action: Action) -> usize {
        let name = self.read(|container| container.details.name.clone());
        count(&self.core().read(), &name, action)
    }

    /// Waits until at least `times` calls of that operation have come. Give it a deadline.
    pub async fn called(&self, action: Action, times: usize) {
        let name = self.read(|container| container.details.name.clone());
        self.core().until(|world| count(world, &name, action) >= times).await;
    }

    /// Waits until its state satisfies `wanted`. Give it a deadline.
    pub async fn until(&self, wanted: impl Fn(&Observation) -> bool) {
        let is_so = |container: &Container| wanted(&container.details.observation);
        self.core().until(|world| world.get(&self.id).is_some_and(is_so)).await;
    }

    // === What others do to it ===

    /// Somebody starts it; of a paused one: thaws it.
    pub fn start(&self) {
        self.act(World::start);
    }

    /// Somebody sends it a signal.
    pub fn kill(&self, signal: Signal) -> KillOutcome {
        self.act(|world, id| world.kill(id, signal))
    }

    /// It ends by itself: an end that no signal announced.
    pub fn crash(&self, code: i64) {
        self.core().change(|world| world.end(&self.id, code));
    }

    /// Somebody freezes it.
    pub fn pause(&self) {
        self.act(World::pause);
    }

    /// Somebody thaws it.
    pub fn unpause(&self) {
        self.act(World::unpause);
    }

    /// Somebody gives it another name.
    pub fn rename(&self, name: impl Into<String>) {
        self.core().change(|world| world.rename(&self.id, name.into()));
    }

    /// Somebody removes it, whatever its state.
    pub fn remove(&self) {
        self.core().change(|world| world.remove(&self.id));
    }

    /// It becomes unusable.
    pub fn fail(&self, reason: Unusable) {
        self.core().change(|world| world.set_error(&self.id, reason));
    }

    /// Its own health check comes to a verdict.
    pub fn report_health(&self, health: Health) {
        self.core().change(|world| world.set_health(&self.id, health));
    }

    /// An event is told that changed nothing, or is false: events are hints.
    pub fn tell(&self, action: EventAction) {
        self.core().change(|world| world.tell(&self.id, action));
    }
}

fn count(world: &World, name: &str, action: Action) -> usize {
    let is_meant =
        |call: &&super::Call| call.action == action && call.container.as_deref() == Some(name);
    world.calls.iter().filter(is_meant).count()
}
