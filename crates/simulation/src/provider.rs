//! The simulated engine as drowse holds it: the contract's traits over the world.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_provider::{
    Action, Capabilities, Deadline, Details, Engine, EngineItem, EngineWatch, Error, ErrorKind,
    KillOutcome, Provider, Reach, Reference, Signal, Stats, StopOptions, Summary, Watch,
};
use drowse_watcher::{Attempt, Busy, NotReady, Readiness, StopGate};
use futures::StreamExt as _;
use tokio::time::timeout_at;

use crate::{
    plan::Verdict,
    world::{self, Order, Shared, World},
};

const PROBE: u64 = 7;

/// An engine of the world.
#[derive(Debug)]
pub(crate) struct SimulatedEngine {
    pub(crate) world: Shared,
    pub(crate) index: usize,
    pub(crate) name: String,
}

impl SimulatedEngine {
    pub(crate) fn new(world: &Shared, index: usize) -> Self {
        Self { world: world.clone(), index, name: format!("e{index}") }
    }
}

impl World {
    pub(crate) fn error(&self, container: usize, action: Action, kind: ErrorKind) -> Error {
        let engine = self.plan.workloads[container].engine;
        Error::new(format!("e{engine}"), action, kind).with_container(Self::name(container))
    }
}

#[async_trait]
impl Engine for SimulatedEngine {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn reach(&self) -> Reach {
        Reach::Loopback
    }

    async fn list(&self, _: Deadline) -> Result<Vec<Summary>, Error> {
        let world = self.world.lock();
        let containers =
            world.plan.present().filter(|one| world.plan.workloads[*one].engine == self.index);
        let line = |index: usize| {
            let status = world.containers[index].status.clone()?;
            Some(Summary::new(
                World::name(index),
                World::name(index),
                std::collections::BTreeMap::new(),
                status,
            ))
        };
        Ok(containers.filter_map(line).collect())
    }

    fn provider(&self, reference: &Reference) -> Result<Arc<dyn Provider>, Error> {
        let found = match reference {
            Reference::Name(name) => {
                let world = self.world.lock();
                world.plan.present().find(|index| World::name(*index) == *name)
            }
            _ => None,
        };
        let container = found.ok_or_else(|| {
            let why = "containers of this engine are known by their name".to_owned();
            Error::new(&self.name, Action::Inspect, ErrorKind::Unsupported { why })
        })?;
        Ok(Arc::new(SimulatedContainer {
            world: self.world.clone(),
            engine: self.name.clone(),
            reference: reference.clone(),
            container,
        }))
    }

    fn events(&self) -> EngineWatch {
        futures::stream::empty::<Result<EngineItem, Error>>().boxed()
    }

    async fn close(&self) {}
}

/// A container of the world.
#[derive(Debug)]
struct SimulatedContainer {
    world: Shared,
    engine: String,
    reference: Reference,
    container: usize,
}

impl SimulatedContainer {
    async fn order(&self, action: Action, order: Order, deadline: Deadline) -> Result<(), Error> {
        let answered = self.world.lock().order(self.container, order, deadline.remaining());
        let result = match timeout_at(deadline.at(), answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => {
                Err(ErrorKind::Timeout { after: deadline.duration(), last: None })
            }
        };
        let mut world = self.world.lock();
        world.order_answered(self.container, order, &result);
        result.map_err(|kind| world.error(self.container, action, kind))
    }
}

#[async_trait]
impl Provider for SimulatedContainer {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn reference(&self) -> &Reference {
        &self.reference
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn start(&self, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Start, Order::Start, deadline).await
    }

    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Stop, Order::Stop(options.timeout), deadline).await
    }

    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error> {
        if signal == Signal::KILL {
            self.order(Action::Kill, Order::Kill, deadline).await?;
            return Ok(KillOutcome::Exited(None));
        }
        let why = "only KILL is simulated".to_owned();
        let unsupported = ErrorKind::Unsupported { why };
        Err(self.world.lock().error(self.container, Action::Kill, unsupported))
    }

    async fn pause(&self, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Pause, Order::Pause, deadline).await
    }

    async fn unpause(&self, deadline: Deadline) -> Result<(), Error> {
        self.order(Action::Unpause, Order::Start, deadline).await
    }

    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error> {
        let (began, answered) = {
            let mut world = self.world.lock();
            (world.now(), world.read(self.container))
        };
        let result = match timeout_at(deadline.at(), answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => {
                Err(ErrorKind::Timeout { after: deadline.duration(), last: None })
            }
        };
        let mut world = self.world.lock();
        world.read_answered(self.container, began, &result);
        result.map_err(|kind| world.error(self.container, Action::Inspect, kind))
    }

    async fn stats(&self, _: Deadline) -> Result<Stats, Error> {
        let why = "no figures are simulated".to_owned();
        Err(self.world.lock().error(self.container, Action::Stats, ErrorKind::Unsupported { why }))
    }

    fn watch(&self) -> Watch {
        world::watch(self.world.clone(), self.container)
    }
}

/// Ready is what serves when it is asked.
pub(crate) struct Serves {
    pub(crate) world: Shared,
    pub(crate) container: usize,
}

impl fmt::Debug for Serves {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Serves({})", self.container)
    }
}

#[async_trait]
impl Readiness for Serves {
    async fn probe(&self, details: &Details, _: Attempt) -> Result<(), NotReady> {
        let (before, after) = {
            let mut world = self.world.lock();
            world.containers[self.container].probes += 1;
            let number = world.containers[self.container].probes;
            let mut dice = world.dice(&[PROBE, self.container as u64, number]);
            let busy = dice.percent(3) && !world.is_calm;
            // What does not answer keeps whoever asks waiting for a moment.
            let before = if world.serves(self.container) { (0, 5) } else { (30, 150) };
            let after = if busy { dice.millis(100, 9_000) } else { dice.millis(0, 5) };
            (dice.millis(before.0, before.1), after)
        };
        tokio::time::sleep(before).await;
        let run = details.observation.run.as_ref();
        if !self.world.lock().serves(self.container) {
            self.world.lock().not_probed(self.container, run);
            return Err(NotReady::new("connection refused"));
        }
        tokio::time::sleep(after).await;
        self.world.lock().probed(self.container, run);
        Ok(())
    }
}

/// Says what the plan lets it say.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) world: Shared,
    pub(crate) container: usize,
}

#[async_trait]
impl StopGate for Gate {
    async fn may_sleep(&self, _: &Details) -> Result<(), Busy> {
        let (verdict, asked) = {
            let mut world = self.world.lock();
            (world.gate_asked(self.container), world.now())
        };
        // Nobody knows how long it thinks.
        tokio::time::sleep(Duration::from_millis(5)).await;
        match verdict {
            Verdict::Idle => {
                self.world.lock().gate_allowed(self.container, asked);
                Ok(())
            }
            Verdict::Busy => Err(Busy::new("a user", "is at work")),
            Verdict::Hangs => std::future::pending().await,
        }
    }
}
