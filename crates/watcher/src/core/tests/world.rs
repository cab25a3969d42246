//! A simulated engine, application and clients around the real core and the real warm word, in
//! virtual time. Everything that it does follows from a seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use drowse_provider::{
    Action, Actor, ContainerStatus, Details, Error, ErrorKind, Event, EventAction, Network,
    Observation, RunId, Signal, StopOptions, Unusable, WatchItem,
};
use tokio::time::Instant;

use crate::{
    Busy, Force, LeaseKind, NotReady, PhaseName, Policy, SleepMethod,
    core::{AskId, Core, Effect, EffectId, Held, Input, Moment, Order},
    shared::Shared,
};

mod agenda;
mod checks;
mod dice;
mod engine;
mod people;

use agenda::*;
use checks::*;
use engine::*;

pub(super) use dice::{Dice, Faults};

pub(super) const IDLE: Duration = Duration::from_secs(30);

pub(super) const WAKE_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) const START_GRACE: Duration = Duration::from_mins(2);

/// From a pause to the stop that follows it.
const STOPPED_AFTER: Duration = Duration::from_mins(1);

const MIN_AWAKE: Duration = Duration::from_secs(45);

/// How soon a lost event is made good by a slow re-read.
const REREAD: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct World {
    pub(super) core: Core,
    pub(super) shared: Arc<Shared>,
    pub(super) now: Moment,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) trace: Vec<String>,
    agenda: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    container: Option<Container>,
    engine_up: bool,
    asks: BTreeMap<AskId, Moment>,
    /// Requests for sleep, and their deadlines.
    sleepers: BTreeMap<AskId, (Moment, Force)>,
    sleeps: Sleeps,
    next_ask: u64,
    /// Somebody asked for a lease since it was last put to sleep, or since all were told no.
    wanted: bool,
    /// A lock was told of since the last order that was taken: a wake goes on behind it.
    met_lock: bool,
    /// The last read that was told found it locked.
    read_locked: bool,
    locks: u64,
    /// Where an application answered a probe.
    answered_at: HashSet<IpAddr>,
    /// When a sleep was last ordered, with no request for another and no start since.
    slept_at: Option<Moment>,
    pub(super) leases: u32,
    last_drop: Option<Moment>,
    order_in_flight: Option<(EffectId, Order)>,
    /// The run whose end, or freezing, the engine was ordered and has not carried out yet; a freezing
    /// comes to nothing if somebody else froze and thawed it meanwhile.
    to_sleep: Option<(u64, Option<u64>)>,
    thaws: u64,
    unsettled: bool,
    told: Told,
    pub(super) grants: u64,
    pub(super) orders: u64,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let shared = Arc::new(Shared::new(Instant::now()));
        let now = Moment::from_millis(0);
        let mut policy =
            Policy::new(IDLE).with_wake_timeout(WAKE_TIMEOUT).with_start_grace(START_GRACE);
        if faults.deepens {
            let stop = StopOptions::new();
            let sleep = SleepMethod::PauseThenStop { after: STOPPED_AFTER, stop };
            policy = policy.with_sleep(sleep).with_min_awake(MIN_AWAKE);
        }
        let mut world = Self {
            core: Core::new(Arc::clone(&shared), policy, now)
                .at_passing_address(faults.addresses)
                .with_gates(faults.gates),
            shared,
            now,
            dice: Dice(seed),
            faults,
            trace: Vec::new(),
            agenda: BinaryHeap::new(),
            sequence: 0,
            container: None,
            engine_up: true,
            asks: BTreeMap::new(),
            sleepers: BTreeMap::new(),
            sleeps: Sleeps::default(),
            next_ask: 0,
            wanted: false,
            met_lock: false,
            read_locked: false,
            locks: 0,
            answered_at: HashSet::new(),
            slept_at: None,
            leases: 0,
            last_drop: None,
            order_in_flight: None,
            to_sleep: None,
            thaws: 0,
            unsettled: false,
            told: Told::default(),
            grants: 0,
            orders: 0,
        };
        let mut container = Container::stopped(1, now);
        match world.dice.roll(4) {
            0 | 1 => container.status = ContainerStatus::Running,
            2 if faults.deepens => container.status = ContainerStatus::Paused,
            _ => {}
        }
        world.container = Some(container);
        world.tell(Input::Tick);
        world
    }

    /// Lets the next thing happen: something planned, a deadline of the core, or something of the
    /// world's own accord.
    pub(super) fn turn(&mut self) {
        if self.dice.roll(4) == 0 {
            self.own_accord();
        }
        let planned = self.agenda.peek().map(|Reverse(next)| next.at);
        let deadline = self.core.next_deadline();
        match (planned, deadline) {
            (Some(planned), Some(deadline)) if deadline < planned => self.tick_at(deadline),
            (None, Some(deadline)) => self.tick_at(deadline),
            (Some(_), _) => self.next_planned(),
            (None, None) => self.now = self.now + Duration::from_secs(1),
        }
        self.check_deadlines();
    }

    fn tick_at(&mut self, deadline: Moment) {
        self.now = deadline;
        self.tell(Input::Tick);
    }

    fn next_planned(&mut self) {
        let Some(Reverse(next)) = self.agenda.pop() else { return };
        self.now = self.now.max(next.at);
        match next.what {
            Happening::Told(input) => self.tell(input),
            Happening::Applied(order) if order.is_start() => self.apply(&order),
            Happening::Applied(order) => {
                if self.is_about_to_end() {
                    self.apply(&order);
                }
                self.to_sleep = None;
            }
            Happening::Ended(run) => {
                if self.container.as_ref().is_some_and(|container| container.run == run) {
                    self.apply(&Order::Kill);
                }
            }
            Happening::Sampled(id) => {
                let result = self.read().map(Arc::new);
                let latency = self.dice.millis(0, 30);
                self.plan(latency, Happening::Told(Input::ReadDone { id, result }));
            }
            Happening::Probed(id, address) => {
                let result = self.probe(id, address);
                // A busy application answers late.
                let longest = if self.dice.roll(10) == 0 { 9_000 } else { 10 };
                let latency = self.dice.millis(0, longest);
                self.plan(latency, Happening::Told(Input::ProbeDone { id, result }));
            }
            Happening::Crash(run) => self.crash(run),
            Happening::EngineRestarts(run) => {
                if let Some(container) = &self.container
                    && container.run == run
                    && container.status == ContainerStatus::Error(Unusable::Restarting)
                {
                    self.begin_run();
                }
            }
            Happening::Watch => {
                if self.engine_up {
                    let item = match &self.container {
                        Some(container) => WatchItem::Synced(observation(container)),
                        None => WatchItem::Removed,
                    };
                    let latency = self.dice.millis(0, 20);
                    self.plan(latency, Happening::Told(Input::Watched(Ok(item))));
                }
            }
            Happening::LeaseEnds => self.drop_lease(),
            Happening::EngineUp => {
                self.log("engine up");
                self.engine_up = true;
                self.plan(Duration::ZERO, Happening::Watch);
            }
            Happening::Unlocked(lock) => {
                if let Some(container) =
                    self.container.as_mut().filter(|one| one.lock == Some(lock))
                {
                    container.lock = None;
                    self.happened(EventAction::Lock(None));
                }
            }
        }
    }

    fn tell(&mut self, input: Input) {
        self.note_told(&input);
        self.log(&format!("-> {input:?}"));
        let was_unread = self.core.phase() == PhaseName::Unread;
        let effects = self.core.step(self.now, input);
        // Also what was frozen when it was first looked at. A freeze of ours may still come while its
        // sleep is unsettled.
        self.sleeps.is_ours |= was_unread;
        let is_freezing = self.sleeps.freezes && self.core.phase() == PhaseName::Stopping;
        self.sleeps.is_ours &= self.sleeps.frozen_at.is_some() || is_freezing;
        for effect in effects {
            self.log(&format!("   <- {effect:?}"));
            self.perform(effect);
        }
        assert_eq!(
            self.shared.word.look().is_open(),
            self.core.phase() == PhaseName::Ready,
            "the gate is open in {}",
            self.core.phase()
        );
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Order { id, order, within } => {
                self.check_order(&order);
                self.orders += 1;
                if !order.is_start() {
                    self.told.before_order = self.told.ready.take();
                    self.wanted = !self.asks.is_empty();
                    self.slept_at = Some(self.now);
                    self.sleeps.woken_at = None;
                    self.sleeps.may_sleep = None;
                    self.sleeps.freezes = order == Order::Pause;
                    self.sleeps.is_ours |= self.sleeps.freezes;
                }
                self.order_in_flight = Some((id, order.clone()));
                self.give(id, order, within);
            }
            Effect::Read { id, .. } => {
                let latency = self.dice.millis(0, 30);
                self.plan(latency, Happening::Sampled(id));
            }
            Effect::Probe { id, details, .. } => {
                self.told.last_probe = Some(id);
                let latency = self.dice.millis(0, 10);
                let address = details.networks.first().and_then(|one| one.addresses.first());
                self.plan(latency, Happening::Probed(id, address.copied()));
            }
            Effect::AskGates { id, .. } => {
                assert!(self.faults.gates);
                assert!(self.core.phase() != PhaseName::Stopping, "while it still is ready");
                self.sleeps.asked = Some((id, self.grants));
                let busy = self.dice.permille(self.faults.busy);
                let result = if busy { Err(Busy::new("a gate", "busy")) } else { Ok(()) };
                let longest = if self.dice.roll(5) == 0 { 60_000 } else { 500 };
                let latency = self.dice.millis(0, longest);
                self.plan(latency, Happening::Told(Input::GatesAnswered { id, result }));
            }
            Effect::Grant(id) => {
                if self.asks.remove(&id).is_some() {
                    self.granted();
                } else {
                    self.shared.word.drop_passive();
                }
            }
            Effect::Refuse(id, _) => {
                self.asks.remove(&id);
                self.wanted &= !self.asks.is_empty() || self.order_in_flight.is_some();
            }
            Effect::SleepAnswer(id, _) => {
                self.sleepers.remove(&id);
            }
            // It needs nothing.
            Effect::HoldNeeds
            | Effect::LetNeedsGo
            | Effect::UseThrough { .. }
            | Effect::WakeNeed { .. } => unreachable!(),
            Effect::Changed(change) => {
                if change.is_wake {
                    self.sleeps.woken_at = Some(self.now);
                }
            }
            Effect::WakeBegins
            | Effect::FellAsleep
            | Effect::LostAsleep
            | Effect::StaysAwake { .. }
            | Effect::StaysAwakeLocked { .. }
            | Effect::StaysAwakeBusy(_)
            | Effect::CutShort { .. }
            | Effect::HeldAsleep(_)
            | Effect::WakeWaitsForLock { .. }
            | Effect::ReadyForMates
            | Effect::LookAtMates
            | Effect::Trouble { .. } => {}
        }
    }

    fn plan(&mut self, after: Duration, what: Happening) {
        self.sequence += 1;
        let at = self.now + after;
        self.agenda.push(Reverse(Scheduled { at, sequence: self.sequence, what }));
    }

    fn log(&mut self, line: &str) {
        if self.trace.len() > 400 {
            self.trace.drain(..200);
        }
        self.trace.push(format!("{:>10} ms {line}", self.now.as_millis()));
    }

    /// No more faults, no more requests: lets time pass until `moment`.
    pub(super) fn quieten_until(&mut self, moment: Moment) {
        let Faults { restart_always, addresses, gates, deepens, .. } = self.faults;
        self.faults = Faults { restart_always, addresses, gates, deepens, ..Faults::NONE };
        self.release();
        loop {
            let planned = self.agenda.peek().map(|Reverse(next)| next.at);
            let next = self.core.next_deadline().into_iter().chain(planned).min();
            match next {
                Some(at) if at <= moment => {
                    if planned == Some(at) {
                        self.next_planned();
                    } else {
                        self.tick_at(at);
                    }
                }
                _ => break,
            }
            self.check_deadlines();
        }
        self.now = moment;
    }

    /// Whether it is to be stopped in the end, not only frozen.
    pub(super) fn is_ours_to_stop(&self) -> bool {
        self.faults.deepens && self.sleeps.is_ours
    }
}
