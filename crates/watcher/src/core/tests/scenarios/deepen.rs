//! Pause, then stop; and how long it stays awake after a wake.

use super::*;

const AFTER: Duration = Duration::from_hours(6);
const SECOND: Duration = Duration::from_secs(1);

fn pause_then_stop() -> Policy {
    let stop = StopOptions::new();
    Policy::new(IDLE).with_sleep(SleepMethod::PauseThenStop { after: AFTER, stop })
}

fn frozen(run: &str) -> Observation {
    Observation::new(ContainerStatus::Paused, Some(RunId::new(run)))
}

impl Bench {
    pub(super) fn with_policy(mut self, policy: Policy) -> Self {
        self.tell(Input::PolicyChanged(policy));
        self
    }

    /// Frozen by drowse when it was idle.
    fn frozen(run: &str) -> Self {
        let mut bench = Self::ready(run).with_policy(pause_then_stop());
        bench.fall_idle(run);
        bench.order_is_done(&Order::Pause);
        bench.read_says(frozen(run));
        assert_eq!(bench.core.phase(), PhaseName::Asleep);
        bench
    }
}

#[test]
fn what_is_idle_is_frozen_and_stopped_when_nobody_wanted_it_for_longer() {
    let mut bench = Bench::frozen("one");
    assert_eq!(bench.core.reason(), "idle: frozen");
    assert_eq!(bench.core.sleep_plan(), Some((bench.now + AFTER, IDLE)));
    bench.pass(AFTER - SECOND);
    assert!(bench.reading().is_none());
    bench.pass(SECOND);
    bench.read_says(frozen("one"));
    assert_eq!(bench.core.phase(), PhaseName::Stopping);
    assert_eq!(bench.core.reason(), "frozen for 6h, and nobody wanted it");
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(
        (bench.core.phase(), &*bench.core.reason().to_string()),
        (PhaseName::Asleep, "idle: stopped")
    );
    assert_eq!(bench.core.sleep_plan(), None);
    bench.pass(AFTER * 10);
    assert!(bench.order().is_none() && bench.reading().is_none());
    let ask = bench.ask(FAR);
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn whoever_comes_before_that_thaws_it_and_the_longer_time_counts_anew() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER - SECOND);
    let ask = bench.ask(FAR);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
    bench.end_lease();
    bench.fall_idle("one");
    bench.order_is_done(&Order::Pause);
    bench.read_says(frozen("one"));
    bench.pass(AFTER - SECOND);
    assert!(bench.reading().is_none());
    bench.pass(SECOND);
    assert!(bench.reading().is_some());
}

#[test]
fn whoever_comes_during_the_look_before_the_stop_thaws_it_at_once() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER);
    let look = bench.reading().expect("the look before the stop");
    let ask = bench.ask(FAR);
    let (id, order) = bench.order().expect("nobody waits for that look");
    assert_eq!(order, Order::Start);
    // The look's answer is older than the order.
    let result = Ok(Arc::new(Details::new("id", "app", frozen("one"))));
    bench.tell(Input::ReadDone { id: look, result });
    assert!(bench.order().is_none());
    bench.tell(Input::OrderDone { id, result: Ok(()) });
    bench.read_says(running("one"));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn whoever_comes_during_the_stop_is_served_by_the_next_run() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER);
    bench.read_says(frozen("one"));
    let ask = bench.ask(FAR);
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn what_is_held_stays_frozen() {
    let mut bench = Bench::frozen("one");
    bench.shared.word.hold();
    bench.pass(AFTER * 2);
    assert!(bench.reading().is_none() && bench.order().is_none());
    bench.shared.word.drop_passive();
    bench.pass(Duration::from_secs(30));
    // A dependent whose state became unknown, between the look and the order.
    let look = bench.reading().expect("the look before the stop");
    bench.shared.word.hold();
    let result = Ok(Arc::new(Details::new("id", "app", frozen("one"))));
    bench.tell(Input::ReadDone { id: look, result });
    assert!(bench.order().is_none());
    bench.shared.word.drop_passive();
    bench.pass(Duration::from_secs(30));
    bench.read_says(frozen("one"));
    assert!(bench.order().is_some());
}

#[test]
fn a_lease_that_outlasted_the_pause_counts_as_use_when_it_ends() {
    let mut bench = Bench::ready("one").with_policy(pause_then_stop());
    assert!(bench.shared.word.take());
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::EvenInUse });
    bench.read_says(running("one"));
    bench.order_is_done(&Order::Pause);
    bench.read_says(frozen("one"));
    bench.pass(AFTER - SECOND);
    bench.end_lease();
    bench.pass(IDLE - SECOND);
    assert!(bench.reading().is_none() && bench.order().is_none());
    bench.pass(Duration::from_secs(30));
    assert!(bench.reading().is_some());
}

#[test]
fn what_was_found_frozen_is_stopped_too_and_what_others_froze_is_not() {
    let mut found = Bench::seen_as(frozen("one")).with_policy(pause_then_stop());
    assert_eq!(found.core.phase(), PhaseName::Asleep);
    found.pass(AFTER);
    found.read_says(frozen("one"));
    assert!(found.order().is_some());

    let mut theirs = Bench::ready("one").with_policy(pause_then_stop());
    theirs.synced(frozen("one"));
    theirs.read_says(frozen("one"));
    assert_eq!(theirs.core.reason(), "frozen from outside");
    theirs.pass(AFTER * 3);
    assert!(theirs.reading().is_none() && theirs.order().is_none());
    assert_eq!(theirs.core.sleep_plan(), None);
    assert!(theirs.core.is_ended_from_outside());
}

#[test]
fn a_failed_stop_of_what_is_frozen_is_tried_again() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER);
    bench.read_says(frozen("one"));
    for pause in [1, 2, 4, 8] {
        let failed = ErrorKind::Failed { exit: None, message: "no".to_owned() };
        bench.order_answers(&stop(), Err(error(failed)));
        bench.read_says(frozen("one"));
        assert_eq!(bench.core.phase(), PhaseName::Asleep);
        bench.pass(Duration::from_secs(pause) - Duration::from_millis(1));
        assert!(bench.reading().is_none(), "before {pause} s");
        bench.pass(Duration::from_millis(1));
        bench.read_says(frozen("one"));
    }
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.reason(), "idle: stopped");
}

#[test]
fn a_stop_that_its_engine_called_done_and_that_was_not_is_tried_again() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER);
    bench.read_says(frozen("one"));
    bench.order_is_done(&stop());
    bench.read_says(frozen("one"));
    assert_eq!(bench.core.reason(), "frozen: it could not be stopped");
    bench.pass(SECOND);
    bench.read_says(frozen("one"));
    assert!(bench.order().is_some());
}

#[test]
fn a_lost_answer_of_that_stop_is_settled_by_reads() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER);
    bench.read_says(frozen("one"));
    bench.order_answers(&stop(), Err(unavailable()));
    let ask = bench.ask(FAR);
    // Its engine may be in the middle of it.
    bench.read_says(frozen("one"));
    assert_eq!(bench.core.phase(), PhaseName::Stopping);
    assert!(bench.order().is_none());
    bench.pass(SECOND);
    bench.read_says(stopped("one"));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn what_somebody_freezes_while_its_stop_is_lost_is_theirs() {
    let mut bench = Bench::frozen("one");
    bench.pass(AFTER);
    bench.read_says(frozen("one"));
    bench.order_answers(&stop(), Err(unavailable()));
    // Thawed from outside, and frozen again.
    bench.read_says(running("one"));
    bench.endure(Duration::from_mins(3), &frozen("one"));
    assert_eq!(bench.core.reason(), "frozen from outside");
    let endured = bench.endure(AFTER * 3, &frozen("one"));
    assert_eq!(endured, Endured::default());
}

/// Its engine said that it was thawed, and nobody could see it before it was frozen again.
#[test]
fn what_somebody_freezes_right_after_it_was_thawed_is_theirs() {
    let mut bench = Bench::frozen("one");
    let ask = bench.ask(SECOND);
    bench.order_is_done(&Order::Start);
    bench.pass(SECOND);
    assert_eq!(bench.refused().map(|(id, _)| id), Some(ask));
    bench.read_says(frozen("one"));
    bench.pass(AFTER * 10);
    assert!(bench.order().is_none() && bench.reading().is_none());
}

#[test]
fn what_is_locked_or_out_of_reach_stays_frozen_for_now() {
    let mut bench = Bench::frozen("one");
    let backup = || frozen("one").with_lock(Some("backup".to_owned()));
    bench.pass(AFTER);
    bench.read_says(backup());
    let endured = bench.endure(FAR, &backup());
    assert!(endured.orders == 0 && endured.reads <= 121, "{endured:?}");
    bench.tell(Input::Watched(Err(unavailable())));
    for _ in 0..60 {
        if let Some(id) = bench.reading() {
            bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
        }
        bench.pass(SECOND);
        assert!(bench.order().is_none());
    }
    bench.synced(frozen("one"));
    bench.endure(Duration::from_mins(1), &frozen("one"));
}

/// Row 33.
#[test]
fn what_its_engine_deletes_when_it_stops_is_frozen_and_never_stopped() {
    let read = |bench: &mut Bench, observation: Observation| {
        let mut details = Details::new("id", "app", observation);
        details.removed_when_stopped = true;
        bench.read_answers(Ok(details));
    };
    let mut bench = Bench::new().with_policy(pause_then_stop());
    read(&mut bench, running("one"));
    bench.probe_succeeds();
    bench.pass(IDLE);
    read(&mut bench, running("one"));
    bench.order_is_done(&Order::Pause);
    read(&mut bench, frozen("one"));
    bench.pass(AFTER * 3);
    assert!(bench.order().is_none() && bench.reading().is_none());
    assert_eq!(bench.core.sleep_plan(), None);
}

#[test]
fn a_change_of_policy_counts_for_what_is_frozen_already() {
    let mut bench = Bench::ready("one");
    bench.tell(Input::PolicyChanged(Policy::new(IDLE).with_sleep(SleepMethod::Pause)));
    bench.fall_idle("one");
    bench.order_is_done(&Order::Pause);
    bench.read_says(frozen("one"));
    bench.pass(AFTER * 2);
    assert!(bench.reading().is_none());
    bench.tell(Input::PolicyChanged(pause_then_stop()));
    bench.read_says(frozen("one"));
    assert!(bench.order().is_some());
}

#[test]
fn after_a_wake_it_stays_awake_for_its_minimum_whoever_wanted_that() {
    let awake = Duration::from_hours(1);
    let mut bench = Bench::asleep().with_policy(Policy::new(IDLE).with_min_awake(awake));
    bench.ask(FAR);
    bench.wake_up("one");
    bench.end_lease();
    assert_eq!(bench.core.sleep_plan(), Some((bench.now + awake, IDLE)));
    bench.pass(awake - SECOND);
    assert!(bench.reading().is_none());
    bench.pass(SECOND);
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn the_minimum_is_of_a_wake_and_no_request_for_sleep_waits_for_it() {
    let policy = || Policy::new(IDLE).with_min_awake(Duration::from_hours(1));
    let mut adopted = Bench::seen_as(running("one")).with_policy(policy());
    adopted.probe_succeeds();
    adopted.pass(IDLE);
    assert!(adopted.reading().is_some(), "nobody woke it");

    let mut bench = Bench::asleep().with_policy(policy());
    bench.ask(FAR);
    bench.wake_up("one");
    bench.end_lease();
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn what_is_never_put_to_sleep_is_not_even_looked_at() {
    let mut bench =
        Bench::ready("one").with_policy(Policy::new(IDLE).with_sleep(SleepMethod::Never));
    bench.pass(IDLE * 100);
    assert!(bench.reading().is_none() && bench.order().is_none());
    assert_eq!(bench.core.sleep_plan(), None);
    for force in [Force::No, Force::EvenInUse] {
        let deadline = bench.now + FAR;
        bench.tell(Input::SleepNow { id: AskId(90), deadline, force });
        let answer = bench.take(|effect| match effect {
            Effect::SleepAnswer(_, Err(error)) => Some(error.to_string()),
            _ => None,
        });
        assert_eq!(answer.as_deref(), Some("it is never put to sleep"));
    }
}

#[test]
fn what_was_started_and_frozen_unseen_was_started_by_somebody() {
    let mut bench = Bench::asleep();
    bench.pass(IDLE * 10);
    bench.synced(frozen("two"));
    bench.read_says(frozen("two"));
    bench.pass(IDLE / 2);
    // Something that needs it has it thawed, and leaves at once.
    let (id, deadline) = (AskId(1_000), bench.now + FAR);
    bench.tell(Input::Ask { id, kind: LeaseKind::Dependent, deadline });
    bench.wake_up("two");
    assert_eq!(bench.granted(), [id]);
    bench.shared.word.drop_passive();
    bench.tell(Input::LetGo);
    assert!(bench.reading().is_none(), "its idle time since that start is not over");
    bench.pass(IDLE);
    assert!(bench.reading().is_some());
}
