//! One core, and what is under way between it and the engine.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use drowse_provider::{
    Action, Actor, ContainerStatus, Details, Error, ErrorKind, Event, EventAction, Observation,
    RunId, Signal, WatchItem,
};
use tokio::time::Instant;

use crate::{
    LeaseKind, NotReady, PhaseName, WakeError,
    core::{AskId, Core, Effect, EffectId, Input, Moment, Order},
    shared::Shared,
};

use super::search::Verdict;

/// How long anything may be on its way: time does not go on without it.
const LATENCY: Duration = Duration::from_secs(5);

/// Something that the engine, the application or the network does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// What is on its way to the core arrives.
    Deliver(usize),
    /// An event, or what the watch read, never does.
    Lose(usize),
    /// The engine, or the application, looks at what it was asked.
    Look(usize),
    CannotLook(usize),
    CarryOut,
    Answer(Outcome),
    /// The connection breaks before the order was taken.
    NeverTaken,
    Crash,
    StopFromOutside,
}

impl Act {
    pub(super) fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::Deliver(_) | Self::Look(_) | Self::CarryOut | Self::Answer(Outcome::Done)
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Done,
    /// It never comes.
    Lost,
    Locked,
}

#[derive(Clone, Debug)]
pub(super) enum Message {
    Ask(AskId, LeaseKind, Moment),
    Withdrawal(AskId),
    Event(EventAction),
    Synced(Observation),
    Read(EffectId, Option<Observation>),
    Probe(EffectId, Option<RunId>),
    Answer(EffectId, Outcome),
    /// A dependent let go, and its look at what it needs.
    LetGo,
    NeedAnswered(EffectId, Result<(), WakeError>),
}

impl Message {
    fn is_of_the_watch(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Synced(_))
    }
}

/// What is on its way to the core. Each may be the next to arrive.
#[derive(Default)]
pub(super) struct Post(Vec<Sent>);

#[derive(Debug)]
struct Sent {
    what: Message,
    by: Moment,
}

/// In which order they were sent makes no other world.
impl fmt::Debug for Post {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sent: Vec<_> = self.0.iter().map(|sent| format!("{sent:?}")).collect();
        sent.sort_unstable();
        formatter.write_str(&sent.join(", "))
    }
}

#[derive(Debug)]
struct Asked {
    by: Moment,
    what: Question,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Read(EffectId),
    Probe(EffectId),
}

/// An order that the engine has.
#[derive(Debug)]
struct Given {
    id: EffectId,
    order: Order,
    by: Moment,
    is_carried_out: bool,
    is_answered: bool,
    /// By a drowse that was killed since.
    is_of_before: bool,
}

#[derive(Debug)]
struct Container {
    status: ContainerStatus,
    run: u64,
}

/// What the core has been told of the run that it may call ready, and of its orders.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) ready: Option<RunId>,
    /// What it was when a sleep was ordered that may yet be refused.
    before_order: Option<RunId>,
    last_probe: Option<EffectId>,
    in_flight: bool,
    unsettled: bool,
    of: Vec<RunId>,
    /// The last read that was told found it stopped, and no start has been ordered since.
    is_stopped: bool,
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) core: Core,
    pub(super) shared: Arc<Shared>,
    pub(super) told: Told,
    container: Container,
    post: Post,
    asked: Vec<Asked>,
    orders: Vec<Given>,
    lost_answers_are_refusals: bool,
}

impl Side {
    pub(super) fn new(core: Core, shared: Arc<Shared>, status: ContainerStatus) -> Self {
        Self {
            core,
            shared,
            told: Told::default(),
            container: Container { status, run: 1 },
            post: Post::default(),
            asked: Vec::new(),
            orders: Vec::new(),
            lost_answers_are_refusals: false,
        }
    }

    /// As if a lost answer said that the order was not taken.
    pub(super) fn with_lost_answers_as_refusals(mut self, are_so: bool) -> Self {
        self.lost_answers_are_refusals = are_so;
        self
    }

    /// drowse is killed, and another begins: of what was under way only what the engine has taken is
    /// left.
    pub(super) fn begin_anew(&mut self, core: Core, shared: Arc<Shared>) {
        self.core = core;
        self.shared = shared;
        self.told = Told::default();
        self.post = Post::default();
        self.asked.clear();
        for given in &mut self.orders {
            given.is_answered = true;
            given.is_of_before = true;
        }
        self.forget_what_is_over();
    }

    pub(super) fn status(&self) -> &ContainerStatus {
        &self.container.status
    }

    /// Whether drowse has read that it does not run, and has not ordered a start since.
    pub(super) fn was_seen_stopped(&self) -> bool {
        self.told.is_stopped
    }

    pub(super) fn acts(&self, may_fail: bool) -> Vec<Act> {
        let mut acts = Vec::new();
        for (nth, sent) in self.post.0.iter().enumerate() {
            acts.push(Act::Deliver(nth));
            if sent.what.is_of_the_watch() {
                acts.push(Act::Lose(nth));
            }
        }
        for (nth, asked) in self.asked.iter().enumerate() {
            acts.push(Act::Look(nth));
            if matches!(asked.what, Question::Read(_)) {
                acts.push(Act::CannotLook(nth));
            }
        }
        if self.orders.iter().any(|given| !given.is_carried_out) {
            acts.push(Act::CarryOut);
        }
        if let Some(given) = self.orders.iter().find(|given| !given.is_answered) {
            if given.is_carried_out {
                acts.push(Act::Answer(Outcome::Done));
            } else {
                acts.extend([Act::Answer(Outcome::Locked), Act::NeverTaken]);
            }
            acts.push(Act::Answer(Outcome::Lost));
        }
        if self.container.status == ContainerStatus::Running {
            acts.extend([Act::Crash, Act::StopFromOutside]);
        }
        acts.retain(|act| may_fail || !act.is_fault());
        acts
    }

    /// The next thing that is under way, if nothing goes wrong.
    pub(super) fn next_act(&self) -> Option<Act> {
        let open = |is_over: fn(&Given) -> bool| self.orders.iter().any(|given| !is_over(given));
        if !self.post.0.is_empty() {
            Some(Act::Deliver(0))
        } else if !self.asked.is_empty() {
            Some(Act::Look(0))
        } else if open(|given| given.is_carried_out) {
            Some(Act::CarryOut)
        } else {
            open(|given| given.is_answered).then_some(Act::Answer(Outcome::Done))
        }
    }

    /// By when something is there that is under way.
    pub(super) fn by(&self) -> Option<Moment> {
        let sent = self.post.0.iter().map(|sent| sent.by);
        let asked = self.asked.iter().map(|asked| asked.by);
        sent.chain(asked).chain(self.orders.iter().map(|given| given.by)).min()
    }

    /// Lets it happen; what the core is to be told of it.
    pub(super) fn act(&mut self, now: Moment, act: Act) -> Option<Input> {
        match act {
            Act::Deliver(nth) => {
                let input = self.deliver(nth);
                self.note(&input);
                return Some(input);
            }
            Act::Lose(nth) => drop(self.post.0.remove(nth)),
            Act::Look(nth) => self.look(now, nth),
            Act::CannotLook(nth) => {
                if let Question::Read(id) = self.asked.remove(nth).what {
                    self.send(now, Message::Read(id, None));
                }
            }
            Act::CarryOut => self.carry_out(now),
            Act::Answer(outcome) => self.answer(now, outcome),
            Act::NeverTaken => {
                let taken = self.orders.iter().position(|given| !given.is_answered);
                self.answer(now, Outcome::Lost);
                self.orders.remove(taken.expect("it was one to be answered"));
            }
            Act::Crash => self.end(now, Some(3)),
            Act::StopFromOutside => {
                self.send(now, Message::Event(EventAction::Kill(Some(Signal::TERM))));
                self.end(now, Some(0));
            }
        }
        None
    }

    /// Makes good what was lost of the watch: a read anew.
    pub(super) fn sync(&mut self, now: Moment) {
        self.send(now, Message::Synced(self.observation()));
    }

    pub(super) fn send(&mut self, now: Moment, what: Message) {
        self.post.0.push(Sent { what, by: now + LATENCY });
    }

    /// One that is still on its way is not taken any more.
    pub(super) fn withdraw(&mut self, now: Moment, id: AskId) {
        self.post.0.retain(|sent| !matches!(sent.what, Message::Ask(other, ..) if other == id));
        self.send(now, Message::Withdrawal(id));
    }

    /// Tells the core, and sees to what concerns the engine. The rest is to be seen to.
    pub(super) fn tell(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        let mut rest = Vec::new();
        for effect in self.core.step(now, input) {
            match effect {
                Effect::Read { id, .. } => self.ask(now, Question::Read(id)),
                Effect::Probe { id, .. } => {
                    self.told.last_probe = Some(id);
                    self.ask(now, Question::Probe(id));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// The engine takes an order: invariant 3.
    pub(super) fn take_order(
        &mut self,
        now: Moment,
        id: EffectId,
        order: Order,
        within: Duration,
    ) -> Verdict {
        if self.told.in_flight || self.told.unsettled {
            return Err(format!("{order:?} is ordered while another is not settled"));
        }
        if order.is_start() {
            self.told.is_stopped = false;
        } else {
            self.told.before_order = self.told.ready.take();
        }
        self.told.in_flight = true;
        // What a core waits out is carried out before it has.
        let by = now + within.saturating_sub(Duration::from_millis(1));
        self.orders.push(Given {
            id,
            order,
            by,
            is_carried_out: false,
            is_answered: false,
            is_of_before: false,
        });
        Ok(())
    }

    /// Invariant 2: nobody is told "ready" unless this run was.
    pub(super) fn check_grant(&self) -> Verdict {
        let to_end =
            |given: &Given| !given.order.is_start() && !given.is_carried_out && !given.is_of_before;
        if self.orders.iter().any(to_end) {
            return Err("a lease on what is about to end".to_owned());
        }
        let run = self.shared.ready_run().run.clone();
        let observed = &self.told.ready;
        let unheard_of = observed.as_ref().is_some_and(|run| !self.told.of.contains(run));
        if observed.is_none() || (*observed != run && !unheard_of) {
            return Err(format!("a lease on {run:?}, while {observed:?} was observed ready"));
        }
        Ok(())
    }

    /// The word, the core and those who hold leases agree.
    pub(super) fn check(&self, held: usize) -> Verdict {
        let word = self.shared.word.look();
        if word.is_open() != (self.core.phase() == PhaseName::Ready) {
            return Err(format!("open is {} in {}", word.is_open(), self.core.phase()));
        }
        if word.leases() as usize != held {
            return Err(format!("{} leases are counted, and {held} are held", word.leases()));
        }
        Ok(())
    }

    pub(super) fn must_be_asleep(&self, when: &str) -> Verdict {
        let (status, phase) = (&self.container.status, self.core.phase());
        if *status != ContainerStatus::Stopped || phase != PhaseName::Asleep {
            return Err(format!("{status:?} and {phase} {when}: {:?}", self.core.reason()));
        }
        Ok(())
    }

    fn ask(&mut self, now: Moment, what: Question) {
        self.asked.push(Asked { by: now + LATENCY, what });
    }

    fn deliver(&mut self, nth: usize) -> Input {
        match self.post.0.remove(nth).what {
            Message::Ask(id, kind, deadline) => Input::Ask { id, kind, deadline },
            Message::Withdrawal(id) => Input::Withdraw(vec![id]),
            Message::Event(action) => {
                let actor = Actor::new("id", "app", BTreeMap::new());
                let event = Event::container(actor, action, SystemTime::UNIX_EPOCH);
                Input::Watched(Ok(WatchItem::Event(event)))
            }
            Message::Synced(observation) => Input::Watched(Ok(WatchItem::Synced(observation))),
            Message::Read(id, observation) => {
                let result = observation
                    .map(|observation| Arc::new(Details::new("id", "app", observation)))
                    .ok_or_else(unavailable);
                Input::ReadDone { id, result }
            }
            Message::Probe(id, run) => {
                let result = match &run {
                    Some(_) => Ok(()),
                    None => Err(NotReady::new("connection refused")),
                };
                if self.told.last_probe == Some(id) && !self.told.in_flight {
                    self.told.ready = run;
                }
                Input::ProbeDone { id, result }
            }
            Message::Answer(id, outcome) => {
                let result = match outcome {
                    Outcome::Done => Ok(()),
                    Outcome::Lost => Err(unavailable()),
                    Outcome::Locked => Err(locked()),
                };
                Input::OrderDone { id, result }
            }
            Message::LetGo => Input::LetGo,
            Message::NeedAnswered(id, result) => Input::NeedAnswered { id, result },
        }
    }

    fn look(&mut self, now: Moment, nth: usize) {
        match self.asked.remove(nth).what {
            Question::Read(id) => self.send(now, Message::Read(id, Some(self.observation()))),
            Question::Probe(id) => {
                let runs = self.container.status == ContainerStatus::Running;
                self.send(now, Message::Probe(id, runs.then(|| run_id(self.container.run))));
            }
        }
    }

    /// One order after the other.
    fn carry_out(&mut self, now: Moment) {
        let Some(given) = self.orders.iter_mut().find(|given| !given.is_carried_out) else {
            return;
        };
        given.is_carried_out = true;
        let starts = given.order.is_start();
        self.forget_what_is_over();
        match (starts, &self.container.status) {
            (true, ContainerStatus::Stopped) => {
                let run = self.container.run + 1;
                self.container = Container { status: ContainerStatus::Running, run };
                self.send(now, Message::Event(EventAction::Start));
                self.sync(now);
            }
            (false, ContainerStatus::Running) => self.end(now, Some(0)),
            _ => {}
        }
    }

    fn answer(&mut self, now: Moment, outcome: Outcome) {
        let Some(given) = self.orders.iter_mut().find(|given| !given.is_answered) else { return };
        given.is_answered = true;
        given.is_carried_out |= matches!(outcome, Outcome::Locked);
        let id = given.id;
        self.forget_what_is_over();
        let as_told = match outcome {
            Outcome::Lost if self.lost_answers_are_refusals => Outcome::Locked,
            other => other,
        };
        self.send(now, Message::Answer(id, as_told));
    }

    fn forget_what_is_over(&mut self) {
        self.orders.retain(|given| !(given.is_carried_out && given.is_answered));
    }

    fn end(&mut self, now: Moment, exit: Option<i64>) {
        self.container.status = ContainerStatus::Stopped;
        self.send(now, Message::Event(EventAction::Die(exit)));
        self.sync(now);
    }

    fn observation(&self) -> Observation {
        let Container { status, run } = &self.container;
        Observation::new(status.clone(), Some(run_id(*run)))
    }

    /// What the core has been told decides what it may call ready, and when it may order.
    fn note(&mut self, input: &Input) {
        let ended = |observation: &Observation, ready: &Option<RunId>| {
            observation.status != ContainerStatus::Running || observation.run != *ready
        };
        match input {
            Input::Watched(Ok(WatchItem::Synced(observation))) => {
                self.hear_of(observation);
                if ended(observation, &self.told.before_order) {
                    self.told.before_order = None;
                }
                if ended(observation, &self.told.ready) {
                    self.told.ready = None;
                }
            }
            Input::Watched(Ok(WatchItem::Event(event)))
                if matches!(event.action, EventAction::Die(_) | EventAction::Kill(_)) =>
            {
                self.told.before_order = None;
                if !self.told.in_flight {
                    self.told.ready = None;
                }
                if matches!(event.action, EventAction::Kill(_)) {
                    // Nor does an answer from before that prove anything.
                    self.told.last_probe = None;
                }
            }
            Input::ReadDone { result: Ok(details), .. } => {
                self.told.unsettled = false;
                self.hear_of(&details.observation);
                if !self.told.in_flight {
                    self.told.is_stopped = details.observation.status == ContainerStatus::Stopped;
                }
                if ended(&details.observation, &self.told.ready) {
                    self.told.ready = None;
                }
                if ended(&details.observation, &self.told.before_order) {
                    self.told.before_order = None;
                }
            }
            Input::OrderDone { result, .. } => {
                self.told.in_flight = false;
                match result {
                    Err(error) if error.is_outcome_unknown() => self.told.unsettled = true,
                    Err(_) => self.told.ready = self.told.before_order.take(),
                    Ok(()) => {}
                }
            }
            _ => {}
        }
    }

    fn hear_of(&mut self, observation: &Observation) {
        self.told.of.extend(observation.run.clone());
        self.told.of.sort_by_key(|run| format!("{run:?}"));
        self.told.of.dedup();
    }
}

/// The same in all histories: it is shown.
pub(super) fn anchor() -> Instant {
    static ANCHOR: OnceLock<Instant> = OnceLock::new();
    *ANCHOR.get_or_init(Instant::now)
}

fn run_id(run: u64) -> RunId {
    RunId::new(format!("run {run}"))
}

fn unavailable() -> Error {
    let reason = "connection refused".to_owned();
    Error::new("sim", Action::Inspect, ErrorKind::Unavailable { reason })
}

fn locked() -> Error {
    Error::new("sim", Action::Stop, ErrorKind::Locked { by: "backup".to_owned() })
}
