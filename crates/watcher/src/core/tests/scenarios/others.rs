//! What others do with a container, and what becomes of it without anybody's doing.

use super::*;

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
fn row_8_a_signal_that_the_program_handles_changes_nothing() {
    let mut bench = Bench::ready("one");
    bench.happens(EventAction::Kill(Some(Signal::HUP)));
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.reading().is_none());
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
fn a_start_that_is_told_is_looked_into_before_another_is_ordered() {
    let mut bench = Bench::asleep();
    bench.happens(EventAction::Start);
    let ask = bench.ask(FAR);
    assert!(bench.order().is_none(), "it would be taken for the one that did it");
    bench.read_says(running("two"));
    assert_eq!(bench.core.reason(), "started from outside");
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    assert!(bench.order().is_none());
}

/// Only others need it, and it would sleep after them.
#[test]
fn what_somebody_may_have_started_while_an_answer_was_lost_is_in_use_for_one_idle_time() {
    let sleeps_at_once = |answer: Result<(), Error>| {
        let mut bench = Bench::asleep();
        bench.pass(Duration::from_secs(1));
        let ask = AskId(0);
        bench.tell(Input::Ask { id: ask, kind: LeaseKind::Dependent, deadline: bench.now + FAR });
        bench.order_answers(&Order::Start, answer);
        bench.read_says(running("one"));
        bench.probe_succeeds();
        assert_eq!(bench.granted(), [ask]);
        bench.effects.clear();
        bench.shared.word.drop_passive();
        bench.tell(Input::LetGo);
        bench.reading().is_some()
    };
    assert!(sleeps_at_once(Ok(())));
    assert!(!sleeps_at_once(Err(unavailable())));
}

#[test]
fn a_container_that_took_the_place_of_one_that_its_engine_restarts_was_started_by_somebody() {
    let restarting = ContainerStatus::Error(Unusable::Restarting);
    let mut bench = Bench::seen_as(Observation::new(restarting, Some(RunId::new("one"))));
    bench.synced(running("two"));
    bench.read_answers(Ok(Details::new("another", "app", running("two"))));
    assert_eq!(bench.core.reason(), "started from outside");
}

#[test]
fn row_39_what_was_restarted_unseen_has_its_start_grace_anew() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    bench.pass(FAR * 24);
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_answers(Err(NotReady::new("connection refused")));
    bench.end_lease();
    bench.pass(IDLE * 2 - Duration::from_secs(1));
    assert!(bench.reading().is_none(), "it may be migrating its data");
    bench.pass(Duration::from_secs(2));
    assert!(bench.reading().is_some());
}

/// What its upstream refused is no proof of life, once a read has spoken against its run.
#[test]
fn row_41_a_run_that_was_said_to_have_ended_does_not_answer_for_itself() {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_mins(1));
    let epoch = bench.shared.ready_run().epoch;
    bench.tell(Input::UpstreamFailed { epoch, number: 1 });
    bench.synced(running("one"));
    let restarting = ContainerStatus::Error(Unusable::Restarting);
    bench.read_says(Observation::new(restarting, Some(RunId::new("one"))));
    bench.effects.retain(|effect| !matches!(effect, Effect::Probe { .. }));
    bench.tell(Input::Watched(Err(unavailable())));
    bench.ask(FAR);
    bench.pass(Duration::from_mins(1));
    let asks = |effect: &&Effect| matches!(effect, Effect::Probe { .. });
    assert_eq!(bench.effects.iter().filter(asks).count(), 0);
    assert!(bench.granted().is_empty());
}
