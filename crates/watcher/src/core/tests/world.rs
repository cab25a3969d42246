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

pub(super) const IDLE: Duration = Duration::from_secs(30);
pub(super) const WAKE_TIMEOUT: Duration = Duration::from_secs(20);
pub(super) const START_GRACE: Duration = Duration::from_mins(2);
/// From a pause to the stop that follows it.
const STOPPED_AFTER: Duration = Duration::from_mins(1);
const MIN_AWAKE: Duration = Duration::from_secs(45);
/// How soon a lost event is made good by a slow re-read.
const REREAD: Duration = Duration::from_mins(1);

/// How often, in a thousand, things go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) order_fails: u32,
    pub(super) read_fails: u32,
    pub(super) event_lost: u32,
    pub(super) crashes: u32,
    pub(super) outside: u32,
    pub(super) outages: u32,
    pub(super) locks: u32,
    /// Its gates say that it is busy.
    pub(super) busy: u32,
    /// Somebody holds it asleep, or puts it to sleep whoever uses it.
    pub(super) by_hand: u32,
    pub(super) restart_always: bool,
    /// It is dialled at addresses of its own, which come late and change.
    pub(super) addresses: bool,
    /// It has gates.
    pub(super) gates: bool,
    /// It is frozen first, and stopped later; and it stays awake for a while after a wake.
    pub(super) deepens: bool,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        order_fails: 0,
        read_fails: 0,
        event_lost: 0,
        crashes: 0,
        outside: 0,
        outages: 0,
        locks: 0,
        busy: 0,
        by_hand: 0,
        restart_always: false,
        addresses: false,
        gates: false,
        deepens: false,
    };
}

/// The generator `SplitMix64`: small, good enough, the same everywhere.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    fn permille(&mut self, chance: u32) -> bool {
        self.roll(1000) < u64::from(chance)
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from + 1))
    }
}

#[derive(Debug)]
enum Happening {
    Told(Input),
    /// The engine carries out an order.
    Applied(Order),
    /// A program that was asked to end by somebody else does so.
    Ended(u64),
    /// The engine is asked: what the answer says is decided now, and told later.
    Sampled(EffectId),
    /// It is asked at this address.
    Probed(EffectId, Option<IpAddr>),
    Crash(u64),
    EngineRestarts(u64),
    Watch,
    LeaseEnds,
    EngineUp,
    /// What was locked at the time of this number is not any more.
    Unlocked(u64),
}

#[derive(Debug)]
struct Scheduled {
    at: Moment,
    sequence: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The container as it really is.
#[derive(Clone, Debug)]
struct Container {
    status: ContainerStatus,
    run: u64,
    exit: Option<i64>,
    serves_from: Moment,
    lock: Option<u64>,
    address: u8,
    address_from: Moment,
}

impl Container {
    fn stopped(run: u64, now: Moment) -> Self {
        Self {
            status: ContainerStatus::Stopped,
            run,
            exit: None,
            serves_from: now,
            lock: None,
            address: 1,
            address_from: now,
        }
    }
}

/// What must hold of sleeps, beside leases.
#[derive(Debug, Default)]
struct Sleeps {
    /// The gates that were asked last, and how many leases had been given by then.
    asked: Option<(EffectId, u64)>,
    /// They agreed, when that many leases had been given.
    may_sleep: Option<u64>,
    /// The last read that was told found it frozen, and the first of these was then.
    frozen_at: Option<Moment>,
    /// It was frozen by an order of the core's, or before the first read.
    is_ours: bool,
    /// The last order was to freeze it.
    freezes: bool,
    /// When it last became ready by a wake, unless it was asleep since, by whomever.
    woken_at: Option<Moment>,
    held: Option<Held>,
}

/// What the core has been told about the run that it may call ready.
#[derive(Debug, Default)]
struct Told {
    /// The run that last answered a probe, with no stop or death of it told since.
    ready: Option<RunId>,
    /// What it was when a sleep was ordered that may yet be refused.
    before_order: Option<RunId>,
    /// Which run answered a probe whose result is still on its way.
    probed: BTreeMap<EffectId, RunId>,
    /// The probe that was not withdrawn for a later one.
    last_probe: Option<EffectId>,
    /// Every run that was ever told of.
    of: HashSet<RunId>,
}

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

    fn own_accord(&mut self) {
        match self.dice.roll(13) {
            0..=2 => self.ask(),
            3 if !self.asks.is_empty() => {
                let nth = self.dice.roll(self.asks.len() as u64);
                if let Some(id) = self.asks.keys().nth(usize::try_from(nth).unwrap()).copied() {
                    self.asks.remove(&id);
                    self.tell(Input::Withdraw(vec![id]));
                }
            }
            4 if self.dice.permille(self.faults.outside * 5) => self.outside(),
            5 if self.dice.permille(self.faults.outages) && self.engine_up => {
                self.log("engine down");
                self.engine_up = false;
                let outage = self.dice.millis(10, 30_000);
                self.plan(outage, Happening::EngineUp);
                if outage > Duration::from_secs(5) {
                    let told = Input::Watched(Err(unavailable()));
                    self.plan(Duration::from_secs(5), Happening::Told(told));
                }
            }
            6 if self.dice.permille(self.faults.crashes) => {
                if let Some(container) = &self.container {
                    let run = container.run;
                    self.crash(run);
                }
            }
            7 if self.leases > 0 && self.grants > 0 && self.dice.roll(20) == 0 => {
                let epoch = self.shared.ready_run().epoch;
                self.tell(Input::UpstreamFailed { epoch });
            }
            8 if self.dice.roll(3) == 0 => self.ask_for_sleep(Force::No),
            9 if self.dice.permille(self.faults.locks) => self.lock(),
            10 if self.dice.permille(self.faults.by_hand * 2) => self.by_hand(),
            11 if self.dice.roll(10) == 0 => {
                // Something that needs it, and whose state is not known.
                self.shared.word.hold();
                self.lease_was_counted();
            }
            9 if self.faults.addresses && self.dice.roll(10) == 0 => {
                self.log("it moves");
                if let Some(container) = &mut self.container {
                    container.address = container.address % 200 + 1;
                }
            }
            _ => {
                // Time passes: sometimes a moment, sometimes longer than anything lasts.
                let pause = match self.dice.roll(4) {
                    0 => self.dice.millis(0, 10),
                    1 => self.dice.millis(10, 1_000),
                    2 => self.dice.millis(1_000, 20_000),
                    _ => Duration::ZERO,
                };
                let next = self.now + pause;
                let planned = self.agenda.peek().map_or(next, |Reverse(first)| first.at);
                let deadline = self.core.next_deadline().unwrap_or(next);
                self.now = self.now.max(next.min(planned).min(deadline));
            }
        }
    }

    pub(super) fn ask(&mut self) {
        if self.shared.word.take() {
            return self.granted();
        }
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let patience = self.dice.millis(1_000, 60_000);
        let deadline = self.now + patience;
        self.asks.insert(id, deadline);
        self.wanted = true;
        self.tell(Input::Ask { id, kind: LeaseKind::Active, deadline });
    }

    /// A backup, a snapshot: for a moment, or for longer than anybody waits.
    fn lock(&mut self) {
        let Some(container) = self.container.as_mut().filter(|one| one.lock.is_none()) else {
            return;
        };
        self.locks += 1;
        let lock = self.locks;
        container.lock = Some(lock);
        self.log("locked");
        self.happened(EventAction::Lock(Some("backup".to_owned())));
        let longest = if self.dice.roll(2) == 0 { 5_000 } else { 300_000 };
        let held = self.dice.millis(1, longest);
        self.plan(held, Happening::Unlocked(lock));
    }

    fn ask_for_sleep(&mut self, force: Force) {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let deadline = self.now + self.dice.millis(1_000, 60_000);
        self.sleepers.insert(id, (deadline, force));
        self.slept_at = None;
        self.tell(Input::SleepNow { id, deadline, force });
    }

    fn is_forced(&self) -> bool {
        self.sleepers.values().any(|(_, force)| *force == Force::EvenInUse)
    }

    fn by_hand(&mut self) {
        match self.dice.roll(4) {
            0 => {
                let hours = (self.dice.roll(2) == 0).then(|| self.dice.millis(1, 60_000));
                let until = hours.map(|time| self.now + time);
                self.sleeps.held = Some(Held { reason: "restore".into(), until });
                self.tell(Input::HoldAsleep(self.sleeps.held.clone()));
            }
            1 => self.release(),
            2 => self.ask_for_sleep(Force::EvenInUse),
            _ => self.tell(Input::CloseCircuit),
        }
    }

    fn release(&mut self) {
        self.sleeps.held = None;
        self.tell(Input::HoldAsleep(None));
    }

    fn is_held_asleep(&self) -> bool {
        let goes_on = |held: &Held| held.until.is_none_or(|until| self.now < until);
        self.sleeps.held.as_ref().is_some_and(goes_on)
    }

    /// Invariant 2: nobody is told "ready" unless this run was.
    fn granted(&mut self) {
        assert!(!self.is_about_to_end(), "a lease on what is about to end");
        let run = self.shared.ready_run().run.clone();
        let observed = &self.told.ready;
        // What answered may be a run of which nobody has told yet: it serves all the same.
        let unheard_of = observed.as_ref().is_some_and(|run| !self.told.of.contains(run));
        assert!(
            observed.is_some() && (*observed == run || unheard_of),
            "a lease on {run:?}, while {observed:?} is what was observed ready",
        );
        let ready = self.shared.ready_run();
        if let Some(network) = ready.details.networks.first() {
            let dialled = network.addresses.first();
            assert!(
                dialled.is_some_and(|address| self.answered_at.contains(address)),
                "a lease on what is at {dialled:?}, where nobody answered",
            );
        }
        assert!(!self.is_held_asleep(), "a lease on what is held asleep");
        self.grants += 1;
        self.lease_was_counted();
    }

    fn lease_was_counted(&mut self) {
        self.leases += 1;
        let held = self.dice.millis(1, 40_000);
        self.plan(held, Happening::LeaseEnds);
    }

    fn is_about_to_end(&self) -> bool {
        let is_there = |run| self.container.as_ref().is_some_and(|container| container.run == run);
        self.to_sleep.is_some_and(|(run, thaws)| {
            is_there(run) && thaws.is_none_or(|thaws| thaws == self.thaws)
        })
    }

    fn drop_lease(&mut self) {
        self.leases -= 1;
        self.last_drop = Some(self.now);
        self.shared.word.drop_active(self.now.as_millis());
        self.log("lease ends");
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

    /// What the core has been told decides what it may call ready.
    fn note_told(&mut self, input: &Input) {
        let ended = |observation: &Observation, ready: &Option<RunId>| {
            observation.status != ContainerStatus::Running || observation.run != *ready
        };
        match input {
            // What was ready before a sleep was ordered is not, once its end was told.
            Input::Watched(Ok(WatchItem::Synced(observation)))
                if ended(observation, &self.told.before_order) =>
            {
                self.told.before_order = None;
            }
            Input::Watched(Ok(WatchItem::Removed)) => self.told.before_order = None,
            Input::Watched(Ok(WatchItem::Event(event))) if ends(&event.action) => {
                self.told.before_order = None;
                if !matches!(event.action, EventAction::Die(_) | EventAction::Pause) {
                    // Nor does an answer from before that prove anything.
                    self.told.probed.clear();
                }
            }
            _ => {}
        }
        match input {
            Input::ProbeDone { id, result: Ok(()) }
                if self.order_in_flight.is_none() && self.told.last_probe == Some(*id) =>
            {
                self.told.ready = self.told.probed.remove(id);
            }
            Input::Watched(Ok(WatchItem::Synced(observation))) => {
                self.told.of.extend(observation.run.clone());
                if ended(observation, &self.told.ready) {
                    self.told.ready = None;
                }
            }
            Input::GatesAnswered { id, result } => {
                let of_last = self.sleeps.asked.filter(|(asked, _)| asked == id);
                self.sleeps.may_sleep = of_last.filter(|_| result.is_ok()).map(|(_, uses)| uses);
            }
            Input::ReadDone { result: Ok(details), .. } => {
                let is_frozen = details.observation.status == ContainerStatus::Paused;
                let since = self.sleeps.frozen_at.unwrap_or(self.now);
                self.sleeps.frozen_at = is_frozen.then_some(since);
                self.unsettled = false;
                self.read_locked = details.observation.lock.is_some();
                self.met_lock |= self.read_locked;
                self.told.of.extend(details.observation.run.clone());
                if ended(&details.observation, &self.told.ready) {
                    self.told.ready = None;
                }
            }
            Input::ReadDone { result: Err(error), .. }
                if matches!(error.kind(), ErrorKind::NotFound) =>
            {
                self.unsettled = false;
                self.told.ready = None;
            }
            Input::Watched(Ok(WatchItem::Removed)) => self.told.ready = None,
            Input::Watched(Ok(WatchItem::Event(event)))
                if self.order_in_flight.is_none() && ends(&event.action) =>
            {
                self.told.ready = None;
            }
            Input::OrderDone { result, .. } => {
                self.order_in_flight = None;
                self.met_lock = matches!(result, Err(error)
                    if matches!(error.kind(), ErrorKind::Locked { .. }));
                match result {
                    Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => {
                        self.unsettled = false;
                        self.told.ready = self.told.before_order.take();
                    }
                    Err(error) if error.is_outcome_unknown() => self.unsettled = true,
                    _ => {}
                }
            }
            _ => {}
        }
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
            | Effect::Trouble { .. } => {}
        }
    }

    /// Invariants 1 and 3.
    fn check_order(&self, order: &Order) {
        assert!(
            self.order_in_flight.is_none() && !self.unsettled,
            "{order:?} is ordered while {:?} is not settled",
            self.order_in_flight
        );
        assert!(!self.read_locked, "{order:?} is ordered of what was read as locked");
        let by_hand = !self.sleepers.is_empty();
        assert!(by_hand || !self.is_held_asleep(), "{order:?} is ordered of what is held asleep");
        if order.is_start() {
            assert!(self.wanted || self.met_lock, "{order:?} is ordered and nobody asked for it");
            return;
        }
        self.check_sleep(order);
        if !self.is_forced() {
            assert_eq!(self.leases, 0, "{order:?} is ordered while leases are held");
            assert_eq!(self.shared.word.look().leases(), 0);
            assert!(self.asks.is_empty(), "{order:?} is ordered while somebody waits");
        }
        if let Some(slept_at) = self.slept_at {
            let pause = self.now.since(slept_at);
            assert!(pause >= Duration::from_secs(1), "{order:?} is ordered again after {pause:?}");
        }
        if let Some(last_drop) = self.last_drop.filter(|_| self.sleepers.is_empty()) {
            let idle = self.now.since(last_drop);
            // The word counts in whole milliseconds.
            assert!(
                idle + Duration::from_millis(1) >= IDLE,
                "{order:?} is ordered {idle:?} after the last lease ended"
            );
        }
    }

    /// What speaks against a sleep beside leases.
    fn check_sleep(&self, order: &Order) {
        if let Some(frozen_at) = self.sleeps.frozen_at {
            assert!(self.faults.deepens && self.sleeps.is_ours, "{order:?} of what others froze");
            let frozen_for = self.now.since(frozen_at);
            assert!(
                frozen_for >= STOPPED_AFTER,
                "{order:?} after it was frozen for {frozen_for:?}"
            );
            return;
        }
        if self.faults.gates && !self.is_forced() {
            assert_eq!(
                self.sleeps.may_sleep,
                Some(self.grants),
                "{order:?} is ordered and its gates did not agree since the last lease",
            );
        }
        if let Some(woken_at) = self.sleeps.woken_at
            && self.faults.deepens
            && self.sleepers.is_empty()
        {
            let awake = self.now.since(woken_at);
            assert!(awake >= MIN_AWAKE, "{order:?} is ordered {awake:?} after its wake");
        }
    }

    /// Invariant 4.
    fn check_deadlines(&self) {
        for (id, deadline) in &self.asks {
            assert!(*deadline >= self.now, "{id:?} was to be answered by {deadline:?}");
        }
        for (id, (deadline, _)) in &self.sleepers {
            assert!(*deadline >= self.now, "{id:?} was to be asleep by {deadline:?}");
        }
    }

    fn give(&mut self, id: EffectId, order: Order, within: Duration) {
        let failed = |kind| Err(Error::new("sim", Action::Start, kind));
        let mut applied = self.dice.millis(1, 3_000);
        let answered = applied + self.dice.millis(0, 20);
        if !self.engine_up {
            self.plan(
                Duration::from_millis(5),
                Happening::Told(Input::OrderDone { id, result: Err(unavailable()) }),
            );
            return;
        }
        let fails = self.dice.permille(self.faults.order_fails);
        let (is_applied, answer_after, result) = match self.dice.roll(6) {
            // The engine refuses: at once, or after it has looked for a while.
            0 if fails => {
                let looked = if self.dice.roll(2) == 0 { 3 } else { self.dice.roll(4_000) };
                let locked = failed(ErrorKind::Locked { by: "backup".to_owned() });
                (false, Duration::from_millis(looked), locked)
            }
            1 if fails => {
                (false, applied, failed(ErrorKind::Failed { exit: None, message: "no".to_owned() }))
            }
            // It takes it, and its answer is lost; before or after it was carried out.
            2 if fails => (true, self.dice.millis(0, 4_000), Err(unavailable())),
            // It neither does it nor answers.
            3 if fails => (false, within, failed(ErrorKind::Timeout { after: within, last: None })),
            // It takes it, and carries it out when nobody waits any more.
            4 if fails && !order.is_start() => {
                applied = within + self.dice.millis(0, 110_000);
                (true, within, failed(ErrorKind::Timeout { after: within, last: None }))
            }
            // The connection breaks before it was taken.
            5 if fails => (false, Duration::from_millis(1), Err(unavailable())),
            _ if self.container.as_ref().is_some_and(|container| container.lock.is_some()) => {
                let looked = self.dice.millis(0, 2_000);
                (false, looked, failed(ErrorKind::Locked { by: "backup".to_owned() }))
            }
            _ => (true, answered, Ok(())),
        };
        if is_applied {
            if !order.is_start() {
                let thaws = (order == Order::Pause).then_some(self.thaws);
                self.to_sleep = self.container.as_ref().map(|container| (container.run, thaws));
            }
            self.plan(applied, Happening::Applied(order));
        }
        self.plan(answer_after, Happening::Told(Input::OrderDone { id, result }));
    }

    fn apply(&mut self, order: &Order) {
        let Some(container) = &mut self.container else { return };
        match (order, &container.status) {
            (Order::Start, ContainerStatus::Stopped) => {
                self.begin_run();
                if self.dice.permille(self.faults.crashes)
                    && let Some(container) = &self.container
                {
                    let run = container.run;
                    let soon = self.dice.millis(0, 2_000);
                    self.plan(soon, Happening::Crash(run));
                }
            }
            (Order::Start, ContainerStatus::Paused) => {
                self.thaws += 1;
                container.status = ContainerStatus::Running;
                self.slept_at = None;
                self.happened(EventAction::Unpause);
            }
            (
                Order::Stop(_) | Order::Kill,
                ContainerStatus::Running
                | ContainerStatus::Paused
                | ContainerStatus::Error(Unusable::Restarting),
            ) => {
                container.status = ContainerStatus::Stopped;
                container.exit = Some(0);
                self.happened(EventAction::Kill(Some(Signal::TERM)));
                self.happened(EventAction::Die(Some(0)));
                self.happened(EventAction::Stop);
            }
            (Order::Pause, ContainerStatus::Running) => {
                container.status = ContainerStatus::Paused;
                self.happened(EventAction::Pause);
            }
            _ => {}
        }
    }

    fn begin_run(&mut self) {
        let delay = match self.dice.roll(20) {
            0 => self.dice.millis(10_000, 100_000),
            _ => self.dice.millis(0, 2_000),
        };
        let serves_from = self.now + delay;
        let address_from = match self.dice.roll(4) {
            0 => serves_from + self.dice.millis(0, 10_000),
            _ => self.now,
        };
        self.slept_at = None;
        if let Some(container) = &mut self.container {
            container.status = ContainerStatus::Running;
            container.run += 1;
            container.exit = None;
            container.serves_from = serves_from;
            container.address_from = address_from;
        }
        self.happened(EventAction::Start);
    }

    fn crash(&mut self, run: u64) {
        let Some(container) = &mut self.container else { return };
        if container.run != run || !container.status.is_alive() {
            return;
        }
        container.exit = Some(3);
        if self.faults.restart_always {
            container.status = ContainerStatus::Error(Unusable::Restarting);
            let pause = self.dice.millis(100, 3_000);
            self.plan(pause, Happening::EngineRestarts(run));
        } else {
            container.status = ContainerStatus::Stopped;
        }
        self.happened(EventAction::Die(Some(3)));
    }

    /// Somebody else does something.
    fn outside(&mut self) {
        let deed = self.dice.roll(8);
        self.sleeps.woken_at = None;
        self.log(&format!("outside: {deed}"));
        match deed {
            0 => self.apply(&Order::Start),
            1 => self.apply(&Order::Kill),
            2 => self.apply(&Order::Pause),
            3 => self.happened(EventAction::Kill(Some(Signal::HUP))),
            4 => {
                if self.container.take().is_some() {
                    self.happened(EventAction::Destroy);
                }
            }
            5 => self.apply(&Order::Stop(drowse_provider::StopOptions::new())),
            6 => {
                // A stop of a program that takes its time.
                if let Some(container) = &self.container
                    && container.status == ContainerStatus::Running
                {
                    let run = container.run;
                    self.happened(EventAction::Kill(Some(Signal::TERM)));
                    let its_time = self.dice.millis(0, 9_000);
                    self.plan(its_time, Happening::Ended(run));
                }
            }
            _ => {
                if self.container.is_none() {
                    let run = 1_000_000 + self.dice.roll(1_000_000);
                    self.container = Some(Container::stopped(run, self.now));
                    self.happened(EventAction::Create);
                }
            }
        }
    }

    /// Tells the watch: the event, late, twice or never; then a read of the truth, which a lost
    /// event only makes late.
    fn happened(&mut self, action: EventAction) {
        let lost = self.dice.permille(self.faults.event_lost) || !self.engine_up;
        if !lost {
            let actor = Actor::new("id", "app", BTreeMap::new());
            let event = Event::container(actor, action, SystemTime::UNIX_EPOCH);
            let copies = if self.dice.permille(self.faults.event_lost) { 2 } else { 1 };
            for _ in 0..copies {
                let latency = self.dice.millis(0, 50);
                let told = Input::Watched(Ok(WatchItem::Event(event.clone())));
                self.plan(latency, Happening::Told(told));
            }
        }
        let latency = if lost { REREAD } else { self.dice.millis(50, 80) };
        self.plan(latency, Happening::Watch);
    }

    fn read(&mut self) -> Result<Details, Error> {
        if !self.engine_up || self.dice.permille(self.faults.read_fails) {
            return Err(unavailable());
        }
        match &self.container {
            Some(container) => {
                let mut details = Details::new("id", "app", observation(container));
                if self.faults.addresses {
                    let is_there = container.status == ContainerStatus::Running
                        && container.address_from <= self.now;
                    let addresses = is_there.then(|| address(container)).into_iter().collect();
                    details.networks = vec![Network::new("net0", None, addresses)];
                }
                Ok(details)
            }
            None => Err(Error::new("sim", Action::Inspect, ErrorKind::NotFound)),
        }
    }

    fn probe(&mut self, id: EffectId, dialled: Option<IpAddr>) -> Result<(), NotReady> {
        if self.faults.addresses {
            let Some(dialled) = dialled else {
                return Err(NotReady::new("no address yet").without_address());
            };
            if self.container.as_ref().is_none_or(|container| address(container) != dialled) {
                return Err(NotReady::new("no route to host").at_passing_address());
            }
            self.answered_at.insert(dialled);
        }
        match &self.container {
            Some(container)
                if container.status == ContainerStatus::Running
                    && container.serves_from <= self.now =>
            {
                self.told.probed.insert(id, run_id(container.run));
                Ok(())
            }
            _ => Err(NotReady::new("connection refused")),
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

    pub(super) fn real_status(&self) -> Option<&ContainerStatus> {
        self.container.as_ref().map(|container| &container.status)
    }

    /// Whether it is to be stopped in the end, not only frozen.
    pub(super) fn is_ours_to_stop(&self) -> bool {
        self.faults.deepens && self.sleeps.is_ours
    }

    pub(super) fn remake_container(&mut self) {
        if self.container.is_none() {
            self.container = Some(Container::stopped(5_000_000, self.now));
            self.happened(EventAction::Create);
        }
    }
}

/// Whether it tells that a program ends, was asked to, or was frozen.
fn ends(action: &EventAction) -> bool {
    matches!(
        action,
        EventAction::Die(_)
            | EventAction::Stop
            | EventAction::Pause
            | EventAction::Kill(Some(Signal::TERM))
    )
}

fn observation(container: &Container) -> Observation {
    let exit = container.exit.filter(|_| !container.status.is_alive());
    Observation::new(container.status.clone(), Some(run_id(container.run)))
        .with_exit_code(exit)
        .with_lock(container.lock.map(|_| "backup".to_owned()))
}

fn address(container: &Container) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, container.address).into()
}

fn run_id(run: u64) -> RunId {
    RunId::new(format!("run {run}"))
}

fn unavailable() -> Error {
    let reason = "connection refused".to_owned();
    Error::new("sim", Action::Inspect, ErrorKind::Unavailable { reason })
}
