//! From asleep to ready and back.

use super::*;

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
