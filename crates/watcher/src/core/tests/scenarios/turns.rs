//! An engine is given a few orders at a time: a start waits for its turn.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    /// The start that was ordered is not given.
    fn is_queued(&mut self) {
        let (id, order) = self.order().expect("an order");
        assert_eq!(order, Order::Start);
        self.tell(Input::OrderQueued { id });
    }
}

#[test]
fn the_wake_timeout_begins_with_its_turn() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.is_queued();
    assert_eq!(bench.core.phase(), PhaseName::Starting);
    assert_eq!(
        bench.core.reason(),
        "waiting for its turn: its engine is given a few orders at a time"
    );
    bench.pass(SECOND * 600);
    assert!(bench.refused().is_none(), "its wake timeout is two minutes");
    bench.tell(Input::TurnHasCome);
    assert_eq!(bench.core.reason(), "asked for");
    bench.pass(SECOND * 3);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
    assert_eq!(bench.core.last_wake_took(), Some(SECOND * 3), "without the queue");
}

#[test]
fn whoever_waits_is_told_of_the_queue_at_their_own_deadline_and_the_wake_goes_on() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(SECOND * 30);
    bench.is_queued();
    bench.pass(SECOND * 30);
    let (id, refusal) = bench.refused().unwrap();
    assert_eq!(id, ask);
    insta::assert_snapshot!(refusal, @"not ready after 30s (starting): waiting for its turn: its engine is given a few orders at a time");
    // As it does once the start is given.
    assert_eq!(bench.core.phase(), PhaseName::Starting);
    bench.tell(Input::TurnHasCome);
    bench.wake_up("one");
}

#[test]
fn a_start_is_decided_anew_when_its_turn_has_come() {
    // It is held asleep meanwhile.
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.is_queued();
    let held = crate::core::Held { reason: "restore".into(), until: None };
    bench.tell(Input::HoldAsleep(Some(held)));
    assert!(bench.refused().is_some());
    bench.tell(Input::TurnHasCome);
    assert!(bench.order().is_none());
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
    // It is started by somebody else.
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.is_queued();
    bench.happens(EventAction::Start);
    bench.synced(running("theirs"));
    bench.read_says(running("theirs"));
    bench.tell(Input::TurnHasCome);
    assert!(bench.order().is_none());
    bench.probe_succeeds();
    assert_eq!(bench.granted().len(), 1);
}

#[test]
fn what_its_engine_lost_sight_of_in_the_queue_is_started_for_nobody() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.is_queued();
    bench.tell(Input::Watched(Err(unavailable())));
    bench.tell(Input::Withdraw(vec![ask]));
    bench.tell(Input::TurnHasCome);
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    assert!(bench.order().is_none());
}
