//! Backups, snapshots, migrations: something else holds the container, for a moment or for good.

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn held(observation: Observation) -> Observation {
    observation.with_lock(Some("backup".to_owned()))
}

#[test]
fn row_45_an_hour_long_backup_of_what_is_idle_never_shuts_the_gate() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    for _ in 0..60 {
        let endured = bench.endure(Duration::from_mins(1), &held(running("one")));
        assert!(endured.reads <= 2 && endured.orders == 0, "{endured:?} in a minute");
        assert!(bench.shared.word.look().is_open(), "a request would wait");
        assert_eq!(bench.core.phase(), PhaseName::Ready);
    }
    let told =
        |effect: &&Effect| matches!(effect, Effect::StaysAwakeLocked { by } if by == "backup");
    assert_eq!(bench.effects.iter().filter(told).count(), 1);
    // Its watch tells that it is over.
    bench.happens(EventAction::Lock(None));
    bench.read_says(running("one"));
    bench.pass(Duration::from_secs(1));
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn row_45_requests_during_the_backup_are_served_at_once_and_count_as_use() {
    let mut bench = Bench::ready("one");
    for _ in 0..20 {
        bench.endure(Duration::from_mins(3), &held(running("one")));
        assert!(bench.shared.word.take(), "a request would wait");
        bench.end_lease();
    }
    bench.synced(running("one"));
    bench.endure(IDLE - Duration::from_secs(1), &running("one"));
    assert_eq!(bench.core.phase(), PhaseName::Ready, "a whole idle time after the last request");
    bench.pass(Duration::from_secs(1));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn row_45_a_lock_withdraws_the_stop_and_requests_are_served_at_once() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    // It appeared between the look and the order; a request comes while the engine waits for it.
    let ask = bench.ask(FAR);
    bench.order_answers(&stop(), Err(locked()));
    assert_eq!(bench.granted(), [ask]);
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    bench.end_lease();
    let endured = bench.endure(HOUR, &held(running("one")));
    assert_eq!(endured.orders, 0, "it is looked at before, and seen to be locked");
}

#[test]
fn row_45_the_end_of_a_lock_that_nobody_told_is_found_in_a_minute() {
    let mut bench = Bench::ready("one");
    bench.endure(HOUR, &held(running("one")));
    bench.pass(Duration::from_mins(1));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn sleep_on_request_behind_a_lock_is_told_so_by_its_deadline() {
    let mut bench = Bench::ready("one");
    let deadline = bench.now + Duration::from_mins(5);
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
    let endured = bench.endure(Duration::from_mins(5), &held(running("one")));
    assert!(endured.reads <= 6 && endured.orders == 0, "{endured:?}");
    let answer = bench.take(|effect| match effect {
        Effect::SleepAnswer(AskId(90), Err(error)) => Some(error.to_string()),
        _ => None,
    });
    assert_eq!(answer.as_deref(), Some("not asleep after 300s: locked by backup"));
    // Once more, and the lock goes.
    let deadline = bench.now + Duration::from_mins(5);
    bench.tell(Input::SleepNow { id: AskId(91), deadline, force: Force::No });
    bench.read_says(held(running("one")));
    bench.happens(EventAction::Lock(None));
    bench.read_says(running("one"));
    bench.pass(Duration::from_secs(1));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn row_24_a_lock_at_a_wake_is_told_after_15_s_and_the_wake_goes_on() {
    let mut bench = Bench::asleep();
    let first = bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(locked()));
    bench.endure(Duration::from_secs(14), &held(stopped("old")));
    assert!(bench.refused().is_none());
    let mut endured = bench.endure(Duration::from_secs(1), &held(stopped("old")));
    let (id, refusal) = bench.refused().expect("an answer after 15 s");
    assert_eq!((id, refusal.to_string().as_str()), (first, "locked: backup"));
    assert!(matches!(refusal, WakeError::Locked { retry_after, .. } if !retry_after.is_zero()));
    assert_eq!(bench.core.phase(), PhaseName::Asleep, "no crash, and nothing is being started");

    // Requests come all the time, for an hour: each is told after 15 s, none orders anything.
    for _ in 0..120 {
        let ask = bench.ask(FAR);
        let more = bench.endure(Duration::from_secs(14), &held(stopped("old")));
        assert!(bench.refused().is_none());
        let rest = bench.endure(Duration::from_secs(16), &held(stopped("old")));
        assert!(matches!(bench.refused(), Some((id, WakeError::Locked { .. })) if id == ask));
        endured.reads += more.reads + rest.reads;
        endured.orders += more.orders + rest.orders;
    }
    assert!(endured.reads < 120 * 12 && endured.orders == 0, "{endured:?} in an hour");

    // Nobody waits any more; the watch tells that it is over.
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
}

/// A node waits 10 s for a container's lock before its task fails.
#[test]
fn row_24_the_15_s_count_from_the_start_order() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.pass(Duration::from_secs(10));
    bench.order_answers(&Order::Start, Err(locked()));
    bench.endure(Duration::from_millis(4_900), &held(stopped("old")));
    assert!(bench.refused().is_none());
    bench.endure(Duration::from_millis(100), &held(stopped("old")));
    assert!(matches!(bench.refused(), Some((id, WakeError::Locked { .. })) if id == ask));
}

#[test]
fn row_24_the_15_s_pass_also_while_somebody_is_at_work_on_it() {
    // A backup in stop mode, which ended it: nothing is started for 10 s.
    let mut bench = Bench::ready("one");
    bench.synced(held(stopped("one")));
    bench.read_says(held(stopped("one")));
    let ask = bench.ask(FAR);
    let endured = bench.endure(Duration::from_millis(14_900), &held(stopped("one")));
    assert!(endured.orders == 0 && endured.reads <= 9, "{endured:?}");
    assert!(bench.refused().is_none());
    bench.endure(Duration::from_millis(100), &held(stopped("one")));
    assert!(matches!(bench.refused(), Some((id, WakeError::Locked { .. })) if id == ask));
    // The lock goes in the quiet time of another: still left alone.
    let mut bench = Bench::ready("one");
    bench.synced(held(stopped("one")));
    bench.read_says(held(stopped("one")));
    bench.ask(FAR);
    bench.endure(Duration::from_secs(3), &held(stopped("one")));
    bench.synced(stopped("one"));
    bench.read_says(stopped("one"));
    bench.pass(Duration::from_millis(6_900));
    assert!(bench.order().is_none() && bench.refused().is_none());
    bench.pass(Duration::from_millis(100));
    bench.wake_up("two");
}

#[test]
fn row_24_that_a_wake_waits_for_a_lock_is_told_once() {
    let mut bench = Bench::asleep();
    let told = |bench: &Bench| {
        let of_wake =
            |effect: &&Effect| matches!(effect, Effect::WakeWaitsForLock { by } if by == "backup");
        bench.effects.iter().filter(of_wake).count()
    };
    bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(locked()));
    assert_eq!(told(&bench), 1);
    for _ in 0..10 {
        bench.endure(Duration::from_mins(1), &held(stopped("old")));
        bench.ask(FAR);
    }
    assert_eq!(told(&bench), 1);
}

#[test]
fn a_lock_that_keeps_it_awake_is_told_of_though_leases_did_before() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    bench.pass(IDLE * 2);
    bench.end_lease();
    bench.endure(IDLE * 2, &held(running("one")));
    let told = |effect: &&Effect| matches!(effect, Effect::StaysAwakeLocked { .. });
    assert_eq!(bench.effects.iter().filter(told).count(), 1);
}

#[test]
fn row_24_the_end_of_a_lock_that_nobody_told_is_found_in_seconds() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(locked()));
    bench.endure(Duration::from_secs(7), &held(stopped("old")));
    bench.pass(Duration::from_secs(2));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_24_what_was_read_as_locked_is_read_again_and_not_ordered() {
    // A backup was running when drowse came.
    let mut bench = Bench::seen_as(held(stopped("old")));
    let ask = bench.ask(FAR);
    assert!(bench.order().is_none());
    bench.read_says(held(stopped("old")));
    bench.endure(Duration::from_secs(15), &held(stopped("old")));
    assert!(matches!(bench.refused(), Some((id, WakeError::Locked { .. })) if id == ask));
    // Its end was not told: whoever asks next does not wait for that.
    let mut bench = Bench::seen_as(held(stopped("old")));
    let ask = bench.ask(FAR);
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_24_a_lock_that_no_read_shows_is_tried_at_a_bounded_rate() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    let endured = bench.endure(Duration::from_secs(15), &stopped("old"));
    assert!(endured.orders <= 5, "{endured:?} while somebody waits");
    assert!(matches!(bench.refused(), Some((_, WakeError::Locked { .. }))));
    let endured = bench.endure(HOUR, &stopped("old"));
    assert!((100..=121).contains(&endured.orders), "{endured:?} in an hour that nobody waits");
    let ask = bench.ask(FAR);
    bench.pass(Duration::from_secs(1));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_24_a_lock_that_was_forgotten_outlasts_the_wake() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(locked()));
    bench.endure(Duration::from_hours(25), &held(stopped("old")));
    let endured = bench.endure(Duration::from_hours(24), &held(stopped("old")));
    assert_eq!(endured, Endured::default(), "nobody has asked for a day");
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    assert!(bench.order().is_none());
}

#[test]
fn row_24_a_lock_counts_towards_no_circuit() {
    let mut bench = Bench::asleep();
    for _ in 0..20 {
        bench.ask(FAR);
        bench.endure(Duration::from_mins(1), &stopped("old"));
        assert_ne!(bench.core.phase(), PhaseName::Failed);
        assert!(matches!(bench.refused(), Some((_, WakeError::Locked { .. }))));
    }
}

#[test]
fn what_a_backup_ends_has_not_crashed_and_is_started_after_it() {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_secs(3));
    // In stop mode: it ends the container, copies it, and starts it if it ran.
    bench.synced(held(stopped("one")));
    bench.read_says(held(stopped("one")));
    let ask = bench.ask(FAR);
    bench.endure(Duration::from_secs(12), &held(stopped("one")));
    assert_ne!(bench.core.phase(), PhaseName::Failed);
    assert!(bench.refused().is_none());
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

/// The lock was there before, and is gone by the time that its end is read.
#[test]
fn what_ends_under_a_lock_that_is_gone_by_then_has_not_crashed() {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_secs(3));
    bench.happens(EventAction::Lock(Some("backup".to_owned())));
    bench.read_says(held(running("one")));
    bench.synced(stopped("one"));
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.reason(), "stopped from outside");
    assert_eq!(bench.core.last_error(), None, "no crash is told");
    // And where it was started again by whoever ended it, that counts as use.
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Lock(Some("backup".to_owned())));
    bench.read_says(held(running("one")));
    bench.pass(IDLE - Duration::from_secs(1));
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.core.last_error(), None);
    bench.pass(IDLE - Duration::from_secs(1));
    assert!(bench.reading().is_none(), "a whole idle time");
}

#[test]
fn a_lock_that_appears_while_it_starts_is_nothing_to_its_waiters() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.happens(EventAction::Lock(Some("backup".to_owned())));
    bench.read_says(held(running("one")));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn a_lock_that_is_gone_is_blamed_for_nothing() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(locked()));
    bench.read_says(stopped("old"));
    // Whoever held it started it.
    bench.synced(running("one"));
    bench.read_says(running("one"));
    bench.probe_succeeds();
    assert_eq!(bench.granted().len(), 1);
    bench.pass(Duration::from_mins(1));
    bench.upstream_fails();
    bench.ask(FAR);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("timed out")));
    bench.pass(Duration::from_mins(1));
    assert!(bench.refused().is_none());
    bench.pass(Duration::from_mins(1));
    assert!(matches!(bench.refused(), Some((_, WakeError::Timeout { .. }))));
}

#[test]
fn a_refused_stop_of_what_ended_meanwhile_opens_nothing() {
    for told in ["die", "synced"] {
        let mut bench = Bench::ready("one");
        bench.fall_idle("one");
        let ask = bench.ask(FAR);
        // A backup that stops what it copies holds the lock, and is not us.
        match told {
            "die" => bench.happens(EventAction::Die(Some(0))),
            _ => bench.synced(stopped("one")),
        }
        bench.order_answers(&stop(), Err(locked()));
        assert!(bench.granted().is_empty(), "told of its end by {told}, and called ready");
        bench.read_says(stopped("one"));
        bench.pass(Duration::from_secs(11));
        bench.wake_up("two");
        assert_eq!(bench.granted(), [ask]);
    }
}

/// The lock is met when its 15 s are over already: there is no later moment for those who wait.
#[test]
fn row_24_a_lock_that_is_met_late_is_told_at_once() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.pass(Duration::from_secs(20));
    bench.synced(held(stopped("one")));
    bench.read_says(held(stopped("one")));
    assert!(matches!(bench.refused(), Some((id, WakeError::Locked { .. })) if id == ask));
}
