//! When starts that fail are tried again, and what ends that.

use crate::{Circuit, core::PastFailures};

use super::*;

fn circuit() -> Circuit {
    Circuit { opens_at: 3, first_pause: Duration::from_secs(10), rest: Duration::from_hours(1) }
}

impl Bench {
    fn with_circuit(mut self) -> Self {
        self.tell(Input::PolicyChanged(Policy::new(IDLE).with_circuit(circuit())));
        self
    }

    /// Somebody asks, and it ends while it starts.
    fn fails_to_start(&mut self, run: &str) -> Duration {
        self.ask(FAR);
        self.order_is_done(&Order::Start);
        self.read_says(crashed(run, 7));
        let (_, refusal) = self.refused().expect("an answer at once");
        refusal.retry_after().expect("it is known when it is tried again")
    }

    /// Its circuit is open.
    fn given_up() -> Self {
        let mut bench = Self::asleep().with_circuit();
        for run in ["one", "two", "three"] {
            let pause = bench.fails_to_start(run);
            if run != "three" {
                bench.pass(pause);
            }
        }
        bench.ask(FAR);
        assert!(bench.refused().is_some() && bench.order().is_none());
        bench
    }
}

#[test]
fn pauses_and_the_circuit_are_the_policys() {
    let mut bench = Bench::asleep().with_circuit();
    for (run, expected) in [("one", 10), ("two", 20), ("three", 3_600), ("four", 3_600)] {
        let pause = bench.fails_to_start(run);
        assert_eq!(pause, Duration::from_secs(expected), "after run {run}");
        assert_eq!(bench.core.blocked_until(), Some(bench.now + pause));
        bench.pass(pause);
        assert_eq!(bench.core.blocked_until(), None);
    }
}

#[test]
fn those_who_wait_and_those_who_come_are_told_at_once_and_why() {
    let mut bench = Bench::given_up();
    bench.ask(FAR);
    let (_, refusal) = bench.refused().expect("an answer at once");
    assert_eq!(
        refusal.to_string(),
        "it does not start: the process ended while it was starting, with exit code 7; 3 failures \
         in a row"
    );
    assert_eq!(bench.core.phase(), PhaseName::Failed);
}

#[test]
fn a_wake_by_hand_closes_it() {
    let mut bench = Bench::given_up();
    bench.tell(Input::CloseCircuit);
    assert_eq!((bench.core.phase(), bench.core.blocked_until()), (PhaseName::Asleep, None));
    let ask = bench.ask(FAR);
    bench.wake_up("four");
    assert_eq!(bench.granted(), [ask]);
    // And the pauses begin anew.
    bench.end_lease();
    bench.synced(crashed("four", 7));
    bench.read_says(crashed("four", 7));
    assert_eq!(bench.fails_to_start("five"), Duration::from_secs(20));
}

#[test]
fn another_container_closes_it() {
    let read = |bench: &mut Bench, id: &str| {
        bench.read_answers(Ok(Details::new(id, "app", stopped("new"))));
    };
    // Made anew between two reads.
    let mut bench = Bench::given_up();
    bench.happens(EventAction::Create);
    read(&mut bench, "another id");
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
    bench.ask(FAR);
    assert!(bench.refused().is_none() && bench.order().is_some());
    // Removed, and there again.
    let mut bench = Bench::given_up();
    bench.tell(Input::Watched(Ok(WatchItem::Removed)));
    bench.read_answers(Err(error(ErrorKind::NotFound)));
    bench.pass(Duration::from_secs(11));
    bench.synced(stopped("new"));
    read(&mut bench, "another id");
    bench.ask(FAR);
    assert!(bench.refused().is_none() && bench.order().is_some());
    // The same one, of which something else was told.
    let mut bench = Bench::given_up();
    bench.happens(EventAction::Update);
    read(&mut bench, "id");
    assert_eq!(bench.core.phase(), PhaseName::Failed);
}

#[test]
fn its_time_closes_it_and_one_more_failure_opens_it_again() {
    let mut bench = Bench::given_up();
    bench.pass(circuit().rest);
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
    assert_eq!(bench.fails_to_start("four"), circuit().rest);
}

#[test]
fn a_start_from_outside_closes_it() {
    let mut bench = Bench::given_up();
    bench.synced(running("four"));
    bench.read_says(running("four"));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert_eq!(bench.core.failures(), None);
}

fn remembered(container: Option<&str>) -> Bench {
    let shared = Arc::new(Shared::new(Instant::now()));
    let now = Moment::from_millis(1);
    let past = PastFailures {
        in_a_row: 3,
        until: now + circuit().rest,
        reason: "the process ended while it was starting; 3 failures in a row".into(),
        container: container.map(Into::into),
    };
    let policy = Policy::new(IDLE).with_circuit(circuit());
    let core = Core::new(Arc::clone(&shared), policy, now).with_failures(Some(past));
    let mut bench = Bench { core, shared, now, effects: Vec::new(), next_ask: 0 };
    bench.tell(Input::Tick);
    bench.read_says(stopped("three"));
    bench
}

#[test]
fn what_is_remembered_counts_for_the_same_container_alone() {
    for container in [Some("id"), None] {
        let mut bench = remembered(container);
        assert_eq!(bench.core.phase(), PhaseName::Failed);
        bench.ask(FAR);
        let (_, refusal) = bench.refused().expect("an answer at once");
        assert!(refusal.to_string().contains("3 failures in a row"), "{refusal}");
        assert_eq!(bench.core.failures().map(|past| past.in_a_row), Some(3));
    }
    let mut bench = remembered(Some("the one before"));
    assert_eq!((bench.core.phase(), bench.core.failures()), (PhaseName::Asleep, None));
    bench.ask(FAR);
    assert!(bench.order().is_some());
}
