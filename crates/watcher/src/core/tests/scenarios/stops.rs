//! Sleeps that fail, are lost or are asked for.

use super::*;

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

/// Ready once, then it hangs; who asked was told so, and nobody waits any more.
fn hung_and_given_up() -> Bench {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_mins(1));
    bench.upstream_fails();
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
