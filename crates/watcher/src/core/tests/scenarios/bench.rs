//! The core on a bench.

use super::*;

pub(super) const IDLE: Duration = Duration::from_mins(15);

pub(super) const FAR: Duration = Duration::from_hours(1);

/// The core on a bench: inputs by hand, effects kept until they are looked at.
pub(super) struct Bench {
    pub(super) core: Core,
    pub(super) shared: Arc<Shared>,
    pub(super) now: Moment,
    pub(super) effects: Vec<Effect>,
    pub(super) next_ask: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::at_passing_address(true)
    }

    pub(super) fn at_passing_address(is_so: bool) -> Self {
        Self::of(|core| core.at_passing_address(is_so))
    }

    pub(super) fn of(change: impl FnOnce(Core) -> Core) -> Self {
        let shared = Arc::new(Shared::new(Instant::now()));
        let now = Moment::from_millis(1);
        let core = change(Core::new(Arc::clone(&shared), Policy::new(IDLE), now));
        let mut bench = Self { core, shared, now, effects: Vec::new(), next_ask: 0 };
        bench.tell(Input::Tick);
        bench
    }

    /// A workload whose container was read as this.
    pub(super) fn seen_as(observation: Observation) -> Self {
        let mut bench = Self::new();
        bench.read_says(observation);
        bench
    }

    pub(super) fn asleep() -> Self {
        let bench = Self::seen_as(stopped("old"));
        assert_eq!(bench.core.phase(), PhaseName::Asleep);
        bench
    }

    /// Ready in run `run`, by a wake.
    pub(super) fn ready(run: &str) -> Self {
        let mut bench = Self::asleep();
        let ask = bench.ask(FAR);
        bench.wake_up(run);
        assert_eq!(bench.granted(), [ask]);
        bench.end_lease();
        bench
    }

    pub(super) fn wake_up(&mut self, run: &str) {
        self.order_is_done(&Order::Start);
        self.read_says(running(run));
        self.probe_succeeds();
        assert_eq!(self.core.phase(), PhaseName::Ready, "{}", self.core.reason());
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.effects.extend(self.core.step(self.now, input));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= until) {
            self.now = at;
            self.tell(Input::Tick);
            // Nobody answers the probes of these stories unless they say so.
            if let Some(id) = self.take(|effect| match effect {
                Effect::Probe { id, .. } => Some(*id),
                _ => None,
            }) {
                self.tell(Input::ProbeDone { id, result: Err(NotReady::new("refused")) });
            }
        }
        self.now = until;
    }

    pub(super) fn ask(&mut self, patience: Duration) -> AskId {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let deadline = self.now + patience;
        self.tell(Input::Ask { id, kind: LeaseKind::Active, deadline });
        id
    }

    pub(super) fn end_lease(&mut self) {
        self.shared.word.drop_active(self.now.as_millis());
    }

    /// The first effect of a kind, taken out.
    pub(super) fn take<T>(&mut self, wanted: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        let (index, found) = self
            .effects
            .iter()
            .enumerate()
            .find_map(|(index, effect)| wanted(effect).map(|found| (index, found)))?;
        self.effects.remove(index);
        Some(found)
    }

    pub(super) fn order(&mut self) -> Option<(EffectId, Order)> {
        self.take(|effect| match effect {
            Effect::Order { id, order, .. } => Some((*id, order.clone())),
            _ => None,
        })
    }

    pub(super) fn order_answers(&mut self, expected: &Order, result: Result<(), Error>) {
        let (id, order) = self.order().expect("an order");
        assert_eq!(order, *expected);
        self.tell(Input::OrderDone { id, result });
    }

    pub(super) fn order_is_done(&mut self, expected: &Order) {
        self.order_answers(expected, Ok(()));
    }

    pub(super) fn reading(&mut self) -> Option<EffectId> {
        self.take(|effect| match effect {
            Effect::Read { id, .. } => Some(*id),
            _ => None,
        })
    }

    pub(super) fn reading_is_due(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Read { .. }))
    }

    pub(super) fn probe_is_due(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. }))
    }

    pub(super) fn read_answers(&mut self, result: Result<Details, Error>) {
        let id = self.reading().expect("a read");
        self.tell(Input::ReadDone { id, result: result.map(Arc::new) });
    }

    pub(super) fn read_says(&mut self, observation: Observation) {
        self.read_answers(Ok(Details::new("id", "app", observation)));
    }

    pub(super) fn probe_answers(&mut self, result: Result<(), NotReady>) {
        let id = self
            .take(|effect| match effect {
                Effect::Probe { id, .. } => Some(*id),
                _ => None,
            })
            .expect("a probe");
        self.tell(Input::ProbeDone { id, result });
    }

    pub(super) fn probe_succeeds(&mut self) {
        self.probe_answers(Ok(()));
    }

    /// Somebody reports that its upstream failed.
    pub(super) fn upstream_fails(&mut self) {
        let epoch = self.shared.ready_run().epoch;
        let number = self.shared.reports.make(epoch);
        self.tell(Input::UpstreamFailed { epoch, number });
    }

    pub(super) fn granted(&mut self) -> Vec<AskId> {
        std::iter::from_fn(|| {
            self.take(|effect| match effect {
                Effect::Grant(id) => Some(*id),
                _ => None,
            })
        })
        .collect()
    }

    pub(super) fn refused(&mut self) -> Option<(AskId, WakeError)> {
        self.take(|effect| match effect {
            Effect::Refuse(id, error) => Some((*id, error.clone())),
            _ => None,
        })
    }

    pub(super) fn happens(&mut self, action: EventAction) {
        let actor = Actor::new("id", "app", BTreeMap::new());
        let event = Event::container(actor, action, SystemTime::UNIX_EPOCH);
        self.tell(Input::Watched(Ok(WatchItem::Event(event))));
    }

    pub(super) fn synced(&mut self, observation: Observation) {
        self.tell(Input::Watched(Ok(WatchItem::Synced(observation))));
    }

    /// Time passes in which each read finds it like this, and each order meets a lock. Counts both.
    pub(super) fn endure(&mut self, time: Duration, observation: &Observation) -> Endured {
        let until = self.now + time;
        let mut endured = Endured::default();
        loop {
            if let Some(id) = self.reading() {
                endured.reads += 1;
                let details = Arc::new(Details::new("id", "app", observation.clone()));
                self.tell(Input::ReadDone { id, result: Ok(details) });
            } else if let Some((id, _)) = self.order() {
                endured.orders += 1;
                self.tell(Input::OrderDone { id, result: Err(locked()) });
            } else if let Some(at) = self.core.next_deadline().filter(|at| *at <= until) {
                self.now = at;
                self.tell(Input::Tick);
            } else {
                self.now = until;
                return endured;
            }
        }
    }

    /// The idle time passes; the look before the sleep finds it running.
    pub(super) fn fall_idle(&mut self, run: &str) {
        self.pass(IDLE);
        self.read_says(running(run));
    }
}

/// What time brought: see [`Bench::endure`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Endured {
    pub(super) reads: usize,
    pub(super) orders: usize,
}

pub(super) fn running(run: &str) -> Observation {
    Observation::new(ContainerStatus::Running, Some(RunId::new(run)))
}

pub(super) fn stopped(run: &str) -> Observation {
    Observation::new(ContainerStatus::Stopped, Some(RunId::new(run)))
}

pub(super) fn crashed(run: &str, code: i64) -> Observation {
    stopped(run).with_exit_code(Some(code))
}

pub(super) fn stop() -> Order {
    Order::Stop(StopOptions::new())
}

pub(super) fn error(kind: ErrorKind) -> Error {
    Error::new("docker", Action::Start, kind)
}

pub(super) fn locked() -> Error {
    error(ErrorKind::Locked { by: "backup".to_owned() })
}

pub(super) fn unavailable() -> Error {
    error(ErrorKind::Unavailable { reason: "connection refused".to_owned() })
}
