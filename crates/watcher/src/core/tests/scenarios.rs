//! One situation after the other, as the design tells them. Rows are those of the list of what must
//! not happen.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use drowse_provider::{
    Action, Actor, ContainerStatus, Details, Error, ErrorKind, Event, EventAction, Observation,
    Owner, RunId, Signal, StopOptions, Unusable, WatchItem,
};
use tokio::time::Instant;

use crate::{
    Force, LeaseKind, NotReady, PhaseName, Policy, SleepError, SleepMethod, WakeError,
    core::{AskId, Core, Effect, EffectId, Input, Moment, Order},
    shared::Shared,
};

mod addresses;
mod circuit;
mod deepen;
mod gates;
mod health;
mod hold;
mod jobs;
mod locks;
mod needs;
mod rights;

const IDLE: Duration = Duration::from_mins(15);
const FAR: Duration = Duration::from_hours(1);

/// The core on a bench: inputs by hand, effects kept until they are looked at.
struct Bench {
    core: Core,
    shared: Arc<Shared>,
    now: Moment,
    effects: Vec<Effect>,
    next_ask: u64,
}

impl Bench {
    fn new() -> Self {
        Self::at_passing_address(true)
    }

    fn at_passing_address(is_so: bool) -> Self {
        let shared = Arc::new(Shared::new(Instant::now()));
        let now = Moment::from_millis(1);
        let core = Core::new(Arc::clone(&shared), Policy::new(IDLE), now).at_passing_address(is_so);
        let mut bench = Self { core, shared, now, effects: Vec::new(), next_ask: 0 };
        bench.tell(Input::Tick);
        bench
    }

    /// A workload whose container was read as this.
    fn seen_as(observation: Observation) -> Self {
        let mut bench = Self::new();
        bench.read_says(observation);
        bench
    }

    fn asleep() -> Self {
        let bench = Self::seen_as(stopped("old"));
        assert_eq!(bench.core.phase(), PhaseName::Asleep);
        bench
    }

    /// Ready in run `run`, by a wake.
    fn ready(run: &str) -> Self {
        let mut bench = Self::asleep();
        let ask = bench.ask(FAR);
        bench.wake_up(run);
        assert_eq!(bench.granted(), [ask]);
        bench.end_lease();
        bench
    }

    fn wake_up(&mut self, run: &str) {
        self.order_is_done(&Order::Start);
        self.read_says(running(run));
        self.probe_succeeds();
        assert_eq!(self.core.phase(), PhaseName::Ready, "{}", self.core.reason());
    }

    fn tell(&mut self, input: Input) {
        self.effects.extend(self.core.step(self.now, input));
    }

    fn pass(&mut self, time: Duration) {
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

    fn ask(&mut self, patience: Duration) -> AskId {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let deadline = self.now + patience;
        self.tell(Input::Ask { id, kind: LeaseKind::Active, deadline });
        id
    }

    fn end_lease(&mut self) {
        self.shared.word.drop_active(self.now.as_millis());
    }

    /// The first effect of a kind, taken out.
    fn take<T>(&mut self, wanted: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        let (index, found) = self
            .effects
            .iter()
            .enumerate()
            .find_map(|(index, effect)| wanted(effect).map(|found| (index, found)))?;
        self.effects.remove(index);
        Some(found)
    }

    fn order(&mut self) -> Option<(EffectId, Order)> {
        self.take(|effect| match effect {
            Effect::Order { id, order, .. } => Some((*id, order.clone())),
            _ => None,
        })
    }

    fn order_answers(&mut self, expected: &Order, result: Result<(), Error>) {
        let (id, order) = self.order().expect("an order");
        assert_eq!(order, *expected);
        self.tell(Input::OrderDone { id, result });
    }

    fn order_is_done(&mut self, expected: &Order) {
        self.order_answers(expected, Ok(()));
    }

    fn reading(&mut self) -> Option<EffectId> {
        self.take(|effect| match effect {
            Effect::Read { id, .. } => Some(*id),
            _ => None,
        })
    }

    fn read_answers(&mut self, result: Result<Details, Error>) {
        let id = self.reading().expect("a read");
        self.tell(Input::ReadDone { id, result: result.map(Arc::new) });
    }

    fn read_says(&mut self, observation: Observation) {
        self.read_answers(Ok(Details::new("id", "app", observation)));
    }

    fn probe_answers(&mut self, result: Result<(), NotReady>) {
        let id = self
            .take(|effect| match effect {
                Effect::Probe { id, .. } => Some(*id),
                _ => None,
            })
            .expect("a probe");
        self.tell(Input::ProbeDone { id, result });
    }

    fn probe_succeeds(&mut self) {
        self.probe_answers(Ok(()));
    }

    fn granted(&mut self) -> Vec<AskId> {
        std::iter::from_fn(|| {
            self.take(|effect| match effect {
                Effect::Grant(id) => Some(*id),
                _ => None,
            })
        })
        .collect()
    }

    fn refused(&mut self) -> Option<(AskId, WakeError)> {
        self.take(|effect| match effect {
            Effect::Refuse(id, error) => Some((*id, error.clone())),
            _ => None,
        })
    }

    fn happens(&mut self, action: EventAction) {
        let actor = Actor::new("id", "app", BTreeMap::new());
        let event = Event::container(actor, action, SystemTime::UNIX_EPOCH);
        self.tell(Input::Watched(Ok(WatchItem::Event(event))));
    }

    fn synced(&mut self, observation: Observation) {
        self.tell(Input::Watched(Ok(WatchItem::Synced(observation))));
    }

    /// Time passes in which each read finds it like this, and each order meets a lock. Counts both.
    fn endure(&mut self, time: Duration, observation: &Observation) -> Endured {
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
    fn fall_idle(&mut self, run: &str) {
        self.pass(IDLE);
        self.read_says(running(run));
    }
}

/// What time brought: see [`Bench::endure`].
#[derive(Debug, Default, PartialEq, Eq)]
struct Endured {
    reads: usize,
    orders: usize,
}

fn running(run: &str) -> Observation {
    Observation::new(ContainerStatus::Running, Some(RunId::new(run)))
}

fn stopped(run: &str) -> Observation {
    Observation::new(ContainerStatus::Stopped, Some(RunId::new(run)))
}

fn crashed(run: &str, code: i64) -> Observation {
    stopped(run).with_exit_code(Some(code))
}

fn stop() -> Order {
    Order::Stop(StopOptions::new())
}

fn error(kind: ErrorKind) -> Error {
    Error::new("docker", Action::Start, kind)
}

fn locked() -> Error {
    error(ErrorKind::Locked { by: "backup".to_owned() })
}

fn unavailable() -> Error {
    error(ErrorKind::Unavailable { reason: "connection refused".to_owned() })
}

#[test]
fn a_request_wakes_and_idleness_puts_to_sleep() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
    let ask = bench.ask(FAR);
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_1_a_request_during_the_stop_waits_and_is_served_by_the_next_run() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    assert_eq!(bench.core.phase(), PhaseName::Stopping);
    let ask = bench.ask(FAR);
    assert!(bench.granted().is_empty());
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_2_a_lease_outlasts_the_idle_time() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    bench.pass(IDLE * 10);
    assert!(bench.order().is_none());
    assert!(bench.reading().is_none());
    let first = |effect: &&Effect| matches!(effect, Effect::StaysAwake { anew: true });
    assert_eq!(bench.effects.iter().filter(first).count(), 1, "one time, looked at often");
    bench.end_lease();
    bench.pass(IDLE - Duration::from_secs(1));
    assert!(bench.reading().is_none(), "a whole idle time after the lease");
    bench.pass(Duration::from_secs(1));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn a_lease_taken_and_dropped_during_the_look_is_not_missed() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    assert!(bench.shared.word.take());
    bench.end_lease();
    bench.read_says(running("one"));
    assert!(bench.order().is_none());
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}

#[test]
fn row_3_a_failed_stop_is_tried_again_until_it_sleeps() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    for _ in 0..4 {
        let busy = ErrorKind::Failed { exit: None, message: "busy".to_owned() };
        bench.order_answers(&stop(), Err(error(busy)));
        bench.read_says(running("one"));
        bench.pass(Duration::from_mins(5));
        bench.read_says(running("one"));
    }
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn a_stop_that_timed_out_is_settled_by_a_read_before_anything_else() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    let timeout = ErrorKind::Timeout { after: Duration::from_secs(40), last: None };
    bench.order_answers(&stop(), Err(error(timeout)));
    let ask = bench.ask(FAR);
    assert!(bench.order().is_none(), "one order at a time");
    bench.read_says(stopped("one"));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

/// Its provider may carry it out for longer than it was waited for: what serves meanwhile would be
/// killed while it is in use.
#[test]
fn a_stop_that_timed_out_may_still_come_and_nothing_is_ready_before_that() {
    for sleep in [SleepMethod::Stop(StopOptions::new()), SleepMethod::Kill] {
        let order = match &sleep {
            SleepMethod::Kill => Order::Kill,
            _ => stop(),
        };
        let mut bench = Bench::ready("one");
        bench.tell(Input::PolicyChanged(Policy::new(IDLE).with_sleep(sleep)));
        bench.fall_idle("one");
        let timeout = ErrorKind::Timeout { after: Duration::from_secs(40), last: None };
        bench.order_answers(&order, Err(error(timeout)));
        let ask = bench.ask(FAR);
        for _ in 0..110 {
            bench.read_says(running("one"));
            assert_eq!(bench.core.phase(), PhaseName::Stopping);
            assert!(!bench.shared.word.look().is_open() && bench.order().is_none());
            bench.pass(Duration::from_secs(1));
        }
        assert!(bench.granted().is_empty() && bench.refused().is_none());
        bench.read_says(stopped("one"));
        bench.wake_up("two");
        assert_eq!(bench.granted(), [ask]);
    }
}

#[test]
fn a_stop_that_timed_out_and_never_comes_is_given_up_at_last() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    let timeout = ErrorKind::Timeout { after: Duration::from_secs(40), last: None };
    bench.order_answers(&stop(), Err(error(timeout)));
    let ask = bench.ask(FAR);
    let endured = bench.endure(Duration::from_mins(2), &running("one"));
    assert!(endured.orders == 0 && endured.reads <= 121, "{endured:?}");
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn a_stop_whose_answer_was_lost_is_not_withdrawn_but_waited_for() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    bench.order_answers(&stop(), Err(unavailable()));
    let ask = bench.ask(FAR);
    // Still running: its engine may be in the middle of it.
    bench.read_says(running("one"));
    assert!(bench.granted().is_empty());
    assert_eq!(bench.core.phase(), PhaseName::Stopping);
    bench.pass(Duration::from_secs(1));
    bench.read_says(stopped("one"));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_4_a_crash_loop_fails_fast_with_the_exit_code_and_opens_the_circuit() {
    let mut bench = Bench::asleep();
    for attempt in 1..=5_u32 {
        let ask = bench.ask(FAR);
        bench.order_is_done(&Order::Start);
        bench.read_says(crashed(&format!("run {attempt}"), 7));
        let (id, refusal) = bench.refused().expect("an answer at once");
        assert_eq!(id, ask);
        let WakeError::Failed { exit, retry_after, .. } = refusal else { panic!("{refusal}") };
        assert_eq!(exit, Some(7));
        assert_eq!(bench.core.phase(), PhaseName::Failed);
        // Whoever comes during the back-off is told at once, and starts nothing.
        bench.ask(FAR);
        assert!(matches!(bench.refused(), Some((_, WakeError::Failed { exit: Some(7), .. }))));
        assert!(bench.order().is_none());
        let expected = if attempt == 5 { 300 } else { 1 << (attempt - 1) };
        assert_eq!(retry_after, Duration::from_secs(expected));
        bench.pass(retry_after);
    }
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn what_high_availability_takes_away_has_not_crashed() {
    let fenced = || {
        let status = ContainerStatus::Error(Unusable::Other("in HA state `fence`".to_owned()));
        Observation::new(status, None)
    };
    let mut bench = Bench::ready("one");
    for run in ["two", "three", "four", "five", "six", "seven"] {
        bench.synced(fenced());
        bench.read_says(fenced());
        assert_eq!(bench.core.reason(), "it is in HA state `fence`");
        bench.synced(stopped("none"));
        bench.read_says(stopped("none"));
        assert_eq!(bench.core.phase(), PhaseName::Asleep, "nothing to back off from");
        assert_eq!(bench.core.last_error(), None);
        let ask = bench.ask(FAR);
        bench.wake_up(run);
        assert_eq!(bench.granted(), [ask]);
        bench.end_lease();
    }
}

#[test]
fn row_5_a_container_that_does_not_exist_is_not_found_at_once() {
    let mut bench = Bench::new();
    bench.read_answers(Err(error(ErrorKind::NotFound)));
    assert_eq!(bench.core.phase(), PhaseName::Gone);
    let ask = bench.ask(FAR);
    assert!(matches!(bench.refused(), Some((id, WakeError::NotFound)) if id == ask));
}

#[test]
fn row_6_what_runs_at_the_start_is_adopted_as_in_use_for_one_idle_time() {
    let mut bench = Bench::seen_as(running("one"));
    assert_eq!(bench.core.phase(), PhaseName::Probing);
    bench.probe_succeeds();
    bench.pass(IDLE - Duration::from_secs(1));
    assert!(bench.reading().is_none());
    bench.pass(Duration::from_secs(2));
    assert!(bench.reading().is_some());
}

#[test]
fn row_7_a_change_that_nobody_told_is_found_by_the_next_read() {
    let mut bench = Bench::ready("one");
    // It was stopped and started while the connection was broken.
    bench.synced(running("two"));
    assert_ne!(bench.core.phase(), PhaseName::Ready);
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert_eq!(bench.core.run(), Some(&RunId::new("two")));
}

#[test]
fn a_stale_word_of_the_watch_costs_a_read_and_nothing_else() {
    let mut bench = Bench::ready("one");
    bench.synced(stopped("old"));
    bench.read_says(running("one"));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.order().is_none());
}

#[test]
fn row_8_a_signal_that_the_program_handles_changes_nothing() {
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Kill(Some(Signal::HUP)));
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.reading().is_none());
}

#[test]
fn row_9_an_engine_that_is_down_at_the_start_is_waited_for() {
    let mut bench = Bench::new();
    let ask = bench.ask(Duration::from_secs(30));
    bench.read_answers(Err(unavailable()));
    bench.pass(Duration::from_millis(500));
    bench.read_answers(Err(unavailable()));
    bench.pass(Duration::from_secs(30));
    let (id, refusal) = bench.refused().expect("an answer by the deadline");
    assert_eq!(id, ask);
    assert!(matches!(refusal, WakeError::EngineUnavailable { .. }), "{refusal}");
    let ask = bench.ask(FAR);
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_13_ten_thousand_requests_are_one_start_and_two_engine_calls() {
    let mut bench = Bench::asleep();
    let asks: Vec<AskId> = (0..10_000).map(|_| bench.ask(FAR)).collect();
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), asks);
    assert_eq!(bench.shared.word.look().leases(), 10_000);
    assert!(bench.order().is_none() && bench.reading().is_none());
}

#[test]
fn row_14_a_refused_start_is_told_to_everybody_with_the_reason() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.ask(FAR);
    let taken = "port is already allocated".to_owned();
    let failed = ErrorKind::Failed { exit: None, message: taken.clone() };
    bench.order_answers(&Order::Start, Err(error(failed)));
    bench.read_says(stopped("old"));
    for _ in 0..2 {
        let (_, refusal) = bench.refused().expect("an answer");
        assert!(refusal.to_string().contains(&taken), "{refusal}");
    }
}

#[test]
fn row_15_the_wake_goes_on_when_the_first_client_leaves() {
    let mut bench = Bench::asleep();
    let first = bench.ask(FAR);
    let second = bench.ask(FAR);
    bench.tell(Input::Withdraw(vec![first]));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [second]);
}

#[test]
fn a_wake_that_nobody_waits_for_any_more_still_ends_ready() {
    let mut bench = Bench::asleep();
    let only = bench.ask(FAR);
    bench.tell(Input::Withdraw(vec![only]));
    bench.wake_up("one");
    assert!(bench.granted().is_empty());
    bench.pass(IDLE - Duration::from_secs(1));
    assert!(bench.reading().is_none(), "the wake itself counts as use");
}

#[test]
fn row_17_an_application_that_refuses_at_first_is_probed_until_it_answers() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("connection refused")));
    bench.pass(Duration::from_secs(5));
    bench.tell(Input::Tick);
    while bench.granted().is_empty() {
        if bench.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })) {
            bench.probe_succeeds();
            break;
        }
        bench.now = bench.core.next_deadline().expect("the next probe");
        bench.tell(Input::Tick);
    }
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.refused().is_none());
    assert!(bench.granted().contains(&ask) || bench.shared.word.look().leases() == 1);
}

#[test]
fn row_19_each_unusable_state_has_a_meaning() {
    // Restarting: its engine is about to start it; whoever asks waits for that.
    let restarting = ContainerStatus::Error(Unusable::Restarting);
    let mut bench = Bench::seen_as(Observation::new(restarting, Some(RunId::new("one"))));
    assert_eq!(bench.core.phase(), PhaseName::Starting);
    let ask = bench.ask(FAR);
    assert!(bench.order().is_none() && bench.refused().is_none());
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    // Removing: held until it is gone, then for a quiet time, in which it may be made anew.
    let removing = ContainerStatus::Error(Unusable::Removing);
    let mut bench = Bench::seen_as(Observation::new(removing, None));
    bench.ask(FAR);
    assert!(bench.order().is_none() && bench.refused().is_none());
    bench.tell(Input::Watched(Ok(WatchItem::Removed)));
    bench.read_answers(Err(error(ErrorKind::NotFound)));
    assert!(bench.refused().is_none());
    bench.pass(Duration::from_secs(11));
    assert!(matches!(bench.refused(), Some((_, WakeError::NotFound))));
    // Dead: said at once.
    let dead = ContainerStatus::Error(Unusable::Dead);
    let mut bench = Bench::seen_as(Observation::new(dead, None));
    assert_eq!(bench.core.phase(), PhaseName::Failed);
    bench.ask(FAR);
    let (_, refusal) = bench.refused().expect("an answer at once");
    assert!(refusal.to_string().contains("dead"), "{refusal}");
}

#[test]
fn row_39_a_slow_start_is_left_alone_and_only_its_waiters_are_answered() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("connection refused")));
    bench.pass(Duration::from_mins(20));
    let (_, refusal) = bench.refused().expect("an answer at the wake timeout");
    assert!(matches!(refusal, WakeError::Timeout { .. }), "{refusal}");
    assert!(refusal.to_string().contains("refused"), "{refusal}");
    assert!(bench.order().is_none(), "longer than the idle time, and it is not stopped");
    // It answers at last.
    bench.happens(EventAction::Health(drowse_provider::Health::Healthy));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}

#[test]
fn what_never_answers_sleeps_when_its_start_grace_is_over() {
    let mut bench = Bench::asleep();
    bench.ask(Duration::from_secs(1));
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("connection refused")));
    bench.pass(Duration::from_mins(29));
    assert!(bench.reading().is_none());
    bench.pass(Duration::from_mins(2));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn row_49_a_dead_application_is_started_again_for_the_next_request() {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_mins(1));
    assert!(bench.shared.word.take());
    let epoch = bench.shared.ready_run().epoch;
    bench.tell(Input::UpstreamFailed { epoch });
    bench.end_lease();
    assert!(!bench.shared.word.look().is_open(), "nobody is told ready any more");
    let ask = bench.ask(FAR);
    bench.read_says(crashed("one", 137));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_49_a_late_word_that_the_dead_one_runs_changes_nothing() {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_mins(1));
    let epoch = bench.shared.ready_run().epoch;
    bench.tell(Input::UpstreamFailed { epoch });
    let ask = bench.ask(FAR);
    bench.read_says(stopped("one"));
    bench.order_is_done(&Order::Start);
    // What one poll for all containers says lags by seconds.
    bench.synced(running("one"));
    bench.read_says(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    bench.synced(stopped("one"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.order().is_none());
}

#[test]
fn a_failed_upstream_of_an_earlier_run_is_ignored() {
    let mut bench = Bench::ready("one");
    bench.tell(Input::UpstreamFailed { epoch: 0 });
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}

#[test]
fn row_51_an_engine_that_is_away_stops_nothing_and_what_is_ready_is_served_on() {
    let mut bench = Bench::ready("one");
    bench.tell(Input::Watched(Err(unavailable())));
    bench.read_answers(Err(unavailable()));
    for _ in 0..200 {
        bench.pass(Duration::from_secs(10));
        if let Some(id) = bench.reading() {
            bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
        }
    }
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.shared.word.look().is_open());
    assert!(bench.order().is_none());
    bench.synced(running("one"));
    bench.pass(Duration::from_secs(10));
    bench.read_says(running("one"));
    bench.pass(Duration::from_secs(10));
    bench.read_says(running("one"));
    assert!(bench.order().is_some(), "it is back, and the idle time is long over");
}

#[test]
fn a_sleeper_behind_a_lost_engine_is_answered_by_the_deadline() {
    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(unavailable())));
    bench.read_answers(Err(unavailable()));
    bench.ask(Duration::from_secs(20));
    bench.pass(Duration::from_secs(20));
    assert!(bench.order().is_none());
    assert!(matches!(bench.refused(), Some((_, WakeError::EngineUnavailable { .. }))));
}

#[test]
fn an_engine_that_is_away_is_told_of_once_and_read_soon_for_whoever_asks() {
    let mut bench = Bench::asleep();
    bench.happens(EventAction::Update);
    let mut reads = 0;
    let until = bench.now + FAR;
    while bench.now < until {
        if let Some(id) = bench.reading() {
            reads += 1;
            bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
        }
        bench.pass(Duration::from_secs(1));
    }
    assert!(reads < 70, "{reads} reads in an hour that nobody waits");
    let told = |effect: &&Effect| matches!(effect, Effect::Trouble { .. });
    assert_eq!(bench.effects.iter().filter(told).count(), 1);
    while let Some(id) = bench.reading() {
        bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
    }
    let ask = bench.ask(FAR);
    bench.pass(Duration::from_millis(500));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn what_high_availability_carries_out_is_given_its_rounds() {
    let within = |owner: Option<Owner>| {
        let read = |observation: Observation| {
            let mut details = Details::new("id", "app", observation);
            details.stop_timeout = Some(Duration::from_mins(1));
            details.owner = owner.clone();
            Ok(details)
        };
        let given = |bench: &mut Bench| {
            bench.take(|effect| match effect {
                Effect::Order { within, .. } => Some(within.as_secs()),
                _ => None,
            })
        };
        let mut sleeper = Bench::new();
        sleeper.read_answers(read(stopped("old")));
        sleeper.ask(FAR);
        let mut idle = Bench::ready("one");
        idle.pass(IDLE);
        idle.read_answers(read(running("one")));
        (given(&mut sleeper), given(&mut idle))
    };
    assert_eq!(within(None), (Some(120), Some(90)));
    let managed = Owner::HighAvailability("started".to_owned());
    assert_eq!(within(Some(managed)), (Some(300), Some(270)));
}

#[test]
fn an_outside_stop_holds_requests_for_a_quiet_time_and_starts_nothing_in_it() {
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    assert_ne!(bench.core.phase(), PhaseName::Ready, "it was asked to end");
    bench.read_says(running("one"));
    bench.happens(EventAction::Die(Some(0)));
    bench.synced(stopped("one"));
    bench.read_says(stopped("one"));
    let ask = bench.ask(FAR);
    bench.pass(Duration::from_secs(9));
    assert!(bench.order().is_none());
    bench.pass(Duration::from_secs(2));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn whoever_leaves_in_the_quiet_time_has_nothing_started_after_it() {
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    let ask = bench.ask(FAR);
    bench.read_says(stopped("one"));
    bench.tell(Input::Withdraw(vec![ask]));
    bench.pass(Duration::from_mins(1));
    assert!(bench.order().is_none());
}

#[test]
fn whoever_leaves_while_its_engine_is_away_has_nothing_started_when_it_is_back() {
    for was_read in [true, false] {
        let mut bench = if was_read { Bench::asleep() } else { Bench::new() };
        if was_read {
            bench.tell(Input::Watched(Err(unavailable())));
        }
        let (first, second) = (bench.ask(FAR), bench.ask(FAR));
        bench.read_answers(Err(unavailable()));
        bench.tell(Input::Withdraw(vec![first]));
        bench.tell(Input::Withdraw(vec![second]));
        bench.synced(stopped("old"));
        bench.read_says(stopped("old"));
        bench.pass(Duration::from_mins(1));
        assert!(bench.order().is_none());
        // One who is still there has it started.
        let ask = bench.ask(FAR);
        bench.wake_up("one");
        assert_eq!(bench.granted(), [ask]);
    }
}

#[test]
fn an_outside_start_ends_the_quiet_time_and_counts_as_use() {
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    bench.read_says(stopped("one"));
    let ask = bench.ask(FAR);
    bench.happens(EventAction::Start);
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    bench.end_lease();
    bench.pass(IDLE - Duration::from_secs(1));
    assert!(bench.order().is_none());
}

#[test]
fn the_word_that_somebody_stopped_it_may_come_after_the_deed() {
    let mut bench = Bench::ready("one");
    bench.synced(stopped("one"));
    bench.read_says(stopped("one"));
    bench.happens(EventAction::Stop);
    bench.ask(FAR);
    assert!(bench.order().is_none(), "it is quiet, not a crash");
    bench.pass(Duration::from_secs(11));
    assert!(bench.order().is_some());
}

#[test]
fn our_own_stop_is_nobodys_will() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    bench.happens(EventAction::Die(Some(0)));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    bench.happens(EventAction::Stop);
    bench.ask(FAR);
    assert!(bench.order().is_some(), "no quiet time");
}

#[test]
fn sleep_on_request_does_not_wait_for_the_idle_time() {
    let mut bench = Bench::ready("one");
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    let answer = bench.take(|effect| match effect {
        Effect::SleepAnswer(AskId(90), answer) => Some(answer.is_ok()),
        _ => None,
    });
    assert_eq!(answer, Some(true));
}

#[test]
fn sleep_on_request_is_refused_while_in_use() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
    let answer = bench.take(|effect| match effect {
        Effect::SleepAnswer(AskId(90), Err(error)) => Some(error.clone()),
        _ => None,
    });
    assert!(matches!(answer, Some(SleepError::InUse { leases: 1, .. })), "{answer:?}");
}

#[test]
fn row_33_a_container_that_its_engine_would_delete_is_never_stopped() {
    let mut bench = Bench::new();
    let mut details = Details::new("id", "app", running("one"));
    details.removed_when_stopped = true;
    bench.read_answers(Ok(details));
    bench.probe_succeeds();
    bench.pass(IDLE * 10);
    assert!(bench.order().is_none());
}

#[test]
fn row_36_what_the_engine_started_is_adopted_and_sleeps_again() {
    let mut bench = Bench::asleep();
    bench.happens(EventAction::Start);
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    bench.fall_idle("two");
    assert!(bench.order().is_some());
}

#[test]
fn a_result_of_a_withdrawn_effect_is_dropped() {
    let mut bench = Bench::ready("one");
    let unknown = EffectId(9_999);
    bench.tell(Input::OrderDone { id: unknown, result: Ok(()) });
    bench.tell(Input::ProbeDone { id: unknown, result: Ok(()) });
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.order().is_none() && bench.reading().is_none());
}

#[test]
fn a_run_that_the_look_before_the_sleep_discovers_gets_its_own_idle_time() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    // Somebody restarted it, and the events were lost.
    bench.read_says(running("two"));
    assert!(bench.order().is_none());
    bench.probe_succeeds();
    bench.pass(IDLE - Duration::from_secs(1));
    assert!(bench.order().is_none());
}

#[test]
fn row_48_a_sleeper_that_is_removed_for_good_is_told_of_once() {
    let gone = |bench: &mut Bench| {
        bench.tell(Input::Watched(Ok(WatchItem::Removed)));
        bench.read_answers(Err(error(ErrorKind::NotFound)));
    };
    let tells = |bench: &mut Bench, time: Duration| {
        bench.pass(time);
        let effects = std::mem::take(&mut bench.effects);
        effects.iter().filter(|effect| matches!(effect, Effect::LostAsleep)).count()
    };
    let mut bench = Bench::asleep();
    gone(&mut bench);
    assert_eq!(tells(&mut bench, Duration::from_secs(9)), 0, "it may be an update");
    assert_eq!(tells(&mut bench, FAR), 1);
    assert_eq!(bench.core.phase(), PhaseName::Gone);

    // An update: it is there again.
    let mut bench = Bench::asleep();
    gone(&mut bench);
    bench.synced(stopped("new"));
    bench.read_says(stopped("new"));
    assert_eq!(tells(&mut bench, FAR), 0);

    // Its user stops it and removes it: that is no accident.
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    bench.read_says(running("one"));
    bench.happens(EventAction::Die(Some(0)));
    bench.synced(stopped("one"));
    bench.read_says(stopped("one"));
    gone(&mut bench);
    assert_eq!(tells(&mut bench, FAR), 0);
    assert_eq!(bench.core.phase(), PhaseName::Gone);
}

/// As compose does it: from the end of the one on, the service means the other.
#[test]
fn row_38_what_is_replaced_while_it_serves_has_not_crashed() {
    let successor = |observation| Ok(Details::new("successor", "app", observation));
    let never_started = Observation::new(ContainerStatus::Stopped, None);
    let mut bench = Bench::ready("one");
    bench.synced(never_started.clone());
    bench.read_answers(successor(never_started));
    let ask = bench.ask(FAR);
    assert!(bench.order().is_none(), "whoever replaced it starts it");
    bench.synced(running("two"));
    bench.read_answers(successor(running("two")));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_38_what_is_removed_during_our_stop_or_start_is_waited_for() {
    let removed_in = |order: &Order| {
        let mut bench = match order {
            Order::Start => Bench::asleep(),
            _ => Bench::ready("one"),
        };
        if !order.is_start() {
            bench.fall_idle("one");
        }
        let ask = bench.ask(FAR);
        bench.order_is_done(order);
        bench.read_answers(Err(error(ErrorKind::NotFound)));
        assert!(bench.refused().is_none(), "it is about to be made anew");
        bench.pass(Duration::from_secs(1));
        bench.happens(EventAction::Create);
        bench.read_says(Observation::new(ContainerStatus::Stopped, None));
        bench.happens(EventAction::Start);
        bench.synced(running("two"));
        bench.read_says(running("two"));
        bench.probe_succeeds();
        assert_eq!(bench.granted(), [ask]);
    };
    removed_in(&stop());
    removed_in(&Order::Start);
}

#[test]
fn a_probe_from_before_an_outside_stop_proves_nothing() {
    for read_comes_first in [true, false] {
        let mut bench = Bench::seen_as(running("one"));
        let ask = bench.ask(FAR);
        bench.happens(EventAction::Kill(Some(Signal::TERM)));
        if read_comes_first {
            bench.read_says(running("one"));
            bench.probe_succeeds();
        } else {
            bench.probe_succeeds();
            bench.read_says(running("one"));
        }
        assert!(bench.granted().is_empty(), "somebody is ending it");
        let probes =
            bench.effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).count();
        assert_eq!(probes, 0, "it is given the time to end");
        bench.happens(EventAction::Die(Some(0)));
        bench.synced(stopped("one"));
        bench.read_says(stopped("one"));
        bench.pass(Duration::from_secs(9));
        assert!(bench.order().is_none(), "a quiet time");
        bench.pass(Duration::from_secs(2));
        bench.wake_up("two");
        assert_eq!(bench.granted(), [ask]);
    }
}

#[test]
fn an_engine_that_says_that_it_is_back_is_read_at_once() {
    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(unavailable())));
    let away = bench.now + Duration::from_mins(5);
    while bench.now < away {
        bench.read_answers(Err(unavailable()));
        bench.pass(Duration::from_mins(1));
    }
    bench.read_answers(Err(unavailable()));
    let ask = bench.ask(FAR);
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn sleep_on_request_that_is_refused_is_tried_again_with_a_back_off() {
    let locked = ErrorKind::Locked { by: "backup".to_owned() };
    let busy = ErrorKind::Failed { exit: None, message: "busy".to_owned() };
    for refusal in [locked, busy] {
        let mut bench = Bench::ready("one");
        let deadline = bench.now + Duration::from_mins(1);
        bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
        let mut orders = 0;
        for _ in 0..100 {
            if let Some((id, _)) = bench.order() {
                orders += 1;
                bench.tell(Input::OrderDone { id, result: Err(error(refusal.clone())) });
            } else if let Some(id) = bench.reading() {
                let details = Details::new("id", "app", running("one"));
                bench.tell(Input::ReadDone { id, result: Ok(Arc::new(details)) });
            }
        }
        assert_eq!(orders, 1, "no time has passed");
        // Asked once more, by a person: at once.
        bench.tell(Input::SleepNow { id: AskId(91), deadline, force: Force::No });
        bench.read_says(running("one"));
        bench.order_is_done(&stop());
        bench.read_says(stopped("one"));
        assert_eq!(bench.core.phase(), PhaseName::Asleep);
    }
}

#[test]
fn the_look_before_a_sleep_does_not_hold_up_the_news() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    // Its turn among the engine's orders may be long in coming.
    let look = bench.reading().expect("the look");
    bench.synced(stopped("one"));
    let ask = bench.ask(FAR);
    bench.read_says(stopped("one"));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
    let result = Ok(Details::new("id", "app", running("two")));
    bench.tell(Input::ReadDone { id: look, result: result.map(Arc::new) });
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}

#[test]
fn a_withdrawn_read_that_contradicts_the_belief_is_looked_into() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    let look = bench.reading().expect("the look");
    assert!(bench.shared.word.take());
    bench.happens(EventAction::Update);
    bench.read_says(running("one"));
    // It is the later of the two, and nobody tells of the death.
    let result = Ok(Details::new("id", "app", crashed("one", 137)));
    bench.tell(Input::ReadDone { id: look, result: result.map(Arc::new) });
    bench.read_says(crashed("one", 137));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

/// Ready once, then it hangs; who asked was told so, and nobody waits any more.
fn hung_and_given_up() -> Bench {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_mins(1));
    let epoch = bench.shared.ready_run().epoch;
    bench.tell(Input::UpstreamFailed { epoch });
    bench.ask(Duration::from_secs(5));
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("timed out")));
    bench.pass(Duration::from_secs(6));
    assert!(bench.refused().is_some());
    bench
}

#[test]
fn a_request_that_was_given_up_starts_nothing_later() {
    let mut bench = hung_and_given_up();
    bench.fall_idle("one");
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert!(bench.order().is_none(), "it had fallen idle");

    let mut bench = hung_and_given_up();
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    bench.read_says(stopped("one"));
    bench.pass(Duration::from_mins(1));
    assert!(bench.order().is_none(), "somebody stopped it, and nobody asks for it");

    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(unavailable())));
    bench.read_answers(Err(unavailable()));
    bench.ask(Duration::from_millis(100));
    bench.pass(Duration::from_secs(1));
    assert!(bench.refused().is_some());
    bench.read_says(stopped("old"));
    assert!(bench.order().is_none(), "its engine came back, and nobody asks for it");
}

#[test]
fn a_wake_behind_a_stop_has_a_clock_of_its_own() {
    let mut bench = Bench::asleep();
    bench.ask(Duration::from_secs(1));
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("connection refused")));
    bench.pass(Duration::from_mins(31));
    bench.read_says(running("one"));
    // It never answered, and is being stopped.
    while bench.refused().is_some() {}
    bench.ask(FAR);
    bench.pass(Duration::from_mins(1));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    bench.order_is_done(&Order::Start);
    bench.read_says(running("two"));
    bench.probe_answers(Err(NotReady::new("connection refused")));
    bench.pass(Duration::from_secs(90));
    assert!(bench.refused().is_none(), "a wake timeout from its own start order");
    bench.pass(Duration::from_secs(31));
    assert!(bench.refused().is_some());
}

#[test]
fn a_shorter_idle_time_also_counts_for_what_was_adopted() {
    let mut bench = Bench::seen_as(running("one"));
    bench.probe_succeeds();
    bench.pass(Duration::from_mins(1));
    bench.tell(Input::PolicyChanged(Policy::new(Duration::from_secs(90))));
    bench.pass(Duration::from_secs(31));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn what_passes_each_probe_and_fails_each_request_is_not_asked_without_end() {
    let mut bench = Bench::ready("one");
    let (mut reads, mut probes) = (0, 0);
    let end = bench.now + Duration::from_secs(10);
    while bench.now < end {
        if let Some(id) = bench.reading() {
            reads += 1;
            let details = Details::new("id", "app", running("one"));
            bench.tell(Input::ReadDone { id, result: Ok(Arc::new(details)) });
        } else if let Some(id) = bench.take(|effect| match effect {
            Effect::Probe { id, .. } => Some(*id),
            _ => None,
        }) {
            probes += 1;
            bench.tell(Input::ProbeDone { id, result: Ok(()) });
        } else {
            for _ in 0..100 {
                let epoch = bench.shared.ready_run().epoch;
                bench.tell(Input::UpstreamFailed { epoch });
            }
            bench.ask(FAR);
            bench.pass(Duration::from_millis(1));
            for _ in bench.granted() {
                bench.end_lease();
            }
        }
    }
    assert!(reads < 50 && probes < 50, "{reads} reads and {probes} probes in 10 s");
}

#[test]
fn a_failure_of_what_served_for_a_while_is_looked_into_at_once() {
    let mut bench = Bench::ready("one");
    for _ in 0..20 {
        bench.pass(Duration::from_secs(1));
        let epoch = bench.shared.ready_run().epoch;
        bench.tell(Input::UpstreamFailed { epoch });
        bench.read_says(running("one"));
        bench.probe_succeeds();
    }
}
