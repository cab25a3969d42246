//! Everything that exists outside drowse: engines and their containers, and what will happen to them.
//!
//! One agenda holds all that is to come. Its driver (`drive.rs`) carries out what is due while all of
//! drowse's tasks rest; nothing here waits, and nothing here is a task. So a crash of drowse takes no
//! more with it than a real one: orders that an engine has taken go on.

mod container;
mod engine;
mod events;
mod orders;
mod reads;
mod store;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub(crate) use self::{
    container::{By, Container, STOP_TIMEOUT},
    engine::Machine,
    events::{Watcher, WatcherId, watch},
    orders::Order,
    store::{Held, Store},
};
use self::{orders::OrderCall, reads::ReadCall};
use crate::{
    Plan,
    checks::{Invariant, Record, Violation},
    dice::Dice,
    trace::Trace,
};

/// What will happen.
#[derive(Debug)]
pub(crate) enum Due {
    /// What the plan says under this number.
    Planned(usize),
    Order(orders::OrderDue),
    Read(reads::ReadDue),
    Container(container::ContainerDue),
    Engine(engine::EngineDue),
    Event(events::EventDue),
    /// Somebody looks at their holds again.
    HoldsChange,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) trace: Trace,
    pub(crate) engines: Vec<Machine>,
    pub(crate) containers: Vec<Container>,
    pub(crate) records: Vec<Record>,
    pub(crate) store: Store,
    pub(crate) violation: Option<Violation>,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    pub(crate) calm_since: Option<Duration>,
    /// All sleep and nothing happens: no engine may be called.
    pub(crate) is_silent: bool,
    /// Nobody wants anything any more: what is awake falls asleep, and nothing is started.
    pub(crate) is_winding_down: bool,
    /// When the machine last woke from a sleep of its own: nobody could be answered before.
    pub(crate) resumed_at: Duration,
    clock: Clock,
    agenda: BTreeMap<(Duration, u64), Due>,
    last_number: u64,
    orders: BTreeMap<u64, OrderCall>,
    reads: BTreeMap<u64, ReadCall>,
    watchers: BTreeMap<WatcherId, Watcher>,
    /// Something was planned before all that was, or something is wrong.
    news: Arc<Notify>,
}

/// The time of the world, which goes on over the lives of drowse.
#[derive(Debug)]
enum Clock {
    /// Nobody lives.
    Stands(Duration),
    /// It was this time at this instant of the present life.
    Runs(Duration, Instant),
}

/// The world, as all that is in it holds it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, if nobody else holds it any more.
    pub(crate) fn into_inner(self) -> Option<World> {
        Arc::into_inner(self.0)
            .map(|world| world.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl World {
    pub(crate) fn new(plan: Arc<Plan>, is_traced: bool) -> Self {
        let mut world = Self {
            trace: Trace::new(is_traced),
            engines: plan.engines.iter().map(|_| Machine::default()).collect(),
            containers: plan.workloads.iter().map(Container::new).collect(),
            records: plan.workloads.iter().map(Record::new).collect(),
            store: Store::default(),
            violation: None,
            is_calm: false,
            calm_since: None,
            is_silent: false,
            is_winding_down: false,
            resumed_at: Duration::ZERO,
            clock: Clock::Stands(Duration::ZERO),
            agenda: BTreeMap::new(),
            last_number: 0,
            orders: BTreeMap::new(),
            reads: BTreeMap::new(),
            watchers: BTreeMap::new(),
            news: Arc::new(Notify::new()),
            plan,
        };
        for (index, planned) in world.plan.clone().happenings.iter().enumerate() {
            world.plan_at(planned.at, Due::Planned(index));
        }
        for engine in 0..world.engines.len() {
            world.begin_rereads(engine);
        }
        for container in world.plan.present() {
            if world.plan.workloads[container].runs_at_first {
                world.begin_run(container, By::Somebody);
            }
        }
        world
    }

    /// The time since the world began.
    pub(crate) fn now(&self) -> Duration {
        match self.clock {
            Clock::Stands(at) => at,
            Clock::Runs(from, anchor) => from + anchor.elapsed(),
        }
    }

    /// Whether a drowse lives that could do anything.
    pub(crate) fn is_lived_in(&self) -> bool {
        matches!(self.clock, Clock::Runs(..))
    }

    /// Time goes on in the life that begins now.
    pub(crate) fn begin_life(&mut self) {
        self.clock = Clock::Runs(self.now(), Instant::now());
    }

    /// Time stands until the next life begins; what waits in this one will not be answered.
    pub(crate) fn end_life(&mut self) {
        self.clock = Clock::Stands(self.now());
        self.watchers.clear();
    }

    /// Whether drowse lives. What is dropped with its runtime tells nothing: its end has been told, and
    /// the order of that is nobody's.
    pub(crate) fn is_living(&self) -> bool {
        matches!(self.clock, Clock::Runs(..))
    }

    /// The instant of this time in the present life.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        match self.clock {
            Clock::Runs(from, anchor) => anchor + at.saturating_sub(from),
            Clock::Stands(_) => Instant::now(),
        }
    }

    pub(crate) fn step(&mut self, what: fmt::Arguments<'_>) {
        let now = self.now();
        self.trace.step(now, what);
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn dice(&self, about: &[u64]) -> Dice {
        Dice::about(self.plan.seed, about)
    }

    pub(crate) fn plan_in(&mut self, pause: Duration, what: Due) {
        self.plan_at(self.now() + pause, what);
    }

    pub(crate) fn plan_at(&mut self, at: Duration, what: Due) {
        let number = self.number();
        if self.agenda.first_key_value().is_none_or(|((first, _), _)| at < *first) {
            self.news.notify_one();
        }
        self.agenda.insert((at, number), what);
    }

    /// When the next thing is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing that is due by now.
    pub(crate) fn take_due(&mut self) -> Option<Due> {
        let first = self.agenda.first_entry()?;
        let is_due = first.key().0
            <= match self.clock {
                Clock::Stands(at) => at,
                Clock::Runs(from, anchor) => from + anchor.elapsed(),
            };
        is_due.then(|| first.remove())
    }

    /// The next thing that is due until then, while nobody lives: it is that time then.
    pub(crate) fn take_due_until(&mut self, end: Duration) -> Option<Due> {
        let at = self.next_due().filter(|at| *at <= end)?;
        self.stand_until(at);
        self.take_due()
    }

    /// Nobody lives, and it is this time.
    pub(crate) fn stand_until(&mut self, at: Duration) {
        self.clock = Clock::Stands(self.now().max(at));
    }

    /// Nothing of the plan happens any more, and what goes wrong at this moment is mended.
    pub(crate) fn calm_down(&mut self) {
        self.store.holds.clear();
        self.store.misconfigured.clear();
        self.calm_since = Some(self.now());
        self.is_calm = true;
        self.step(format_args!("from here on nothing goes wrong"));
        self.agenda.retain(|_, due| !matches!(due, Due::Planned(_)));
        for engine in 0..self.engines.len() {
            self.mend_engine(engine);
        }
        for container in 0..self.containers.len() {
            self.mend_container(container);
        }
    }

    pub(crate) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// An invariant does not hold. The first one is kept.
    pub(crate) fn violated(&mut self, invariant: Invariant, what: impl fmt::Display) {
        self.step(format_args!("VIOLATED {invariant}: {what}"));
        let at = self.now();
        self.violation.get_or_insert_with(|| Violation { invariant, what: what.to_string(), at });
        self.news.notify_one();
    }

    /// Carries out what is due, except what the plan says.
    pub(crate) fn carry_out(&mut self, due: Due) {
        match due {
            Due::Planned(_) | Due::HoldsChange => {}
            Due::Order(due) => self.order_due(due),
            Due::Read(due) => self.read_due(due),
            Due::Container(due) => self.container_due(&due),
            Due::Engine(due) => self.engine_due(&due),
            Due::Event(due) => self.event_due(due),
        }
    }
}
