//! Rights that are taken away and given back, credentials that are refused, nodes that are away.

use super::*;

fn forbidden(privilege: &str) -> Error {
    error(ErrorKind::Forbidden {
        privilege: Some(privilege.to_owned()),
        path: Some("/vms/201".to_owned()),
    })
}

/// For an hour everything that is read meets this.
fn endure(bench: &mut Bench, time: Duration, refusal: &Error) -> usize {
    let until = bench.now + time;
    let mut reads = 0;
    loop {
        if let Some(id) = bench.reading() {
            reads += 1;
            bench.tell(Input::ReadDone { id, result: Err(refusal.clone()) });
        } else if let Some(at) = bench.core.next_deadline().filter(|at| *at <= until) {
            bench.now = at;
            bench.tell(Input::Tick);
        } else {
            bench.now = until;
            return reads;
        }
    }
}

#[test]
fn row_46_what_is_ready_serves_on_without_the_rights_and_is_not_stopped() {
    for refusal in [forbidden("VM.Audit"), error(ErrorKind::Unauthorized)] {
        let mut bench = Bench::ready("one");
        bench.tell(Input::Watched(Err(refusal.clone())));
        let reads = endure(&mut bench, FAR, &refusal);
        assert!(reads < 400, "{reads} reads in an hour");
        assert!(bench.shared.word.take(), "served");
        bench.end_lease();
        assert_eq!(bench.core.phase(), PhaseName::Ready);
        assert!(bench.order().is_none());
        // They are given back.
        bench.synced(running("one"));
        bench.read_says(running("one"));
        bench.fall_idle("one");
        assert!(bench.order().is_some());
    }
}

#[test]
fn row_46_the_look_before_a_sleep_that_is_forbidden_stops_nothing() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    endure(&mut bench, FAR, &forbidden("VM.Audit"));
    assert!(bench.shared.word.look().is_open());
    assert!(bench.order().is_none());
    bench.pass(Duration::from_secs(10));
    bench.read_says(running("one"));
    bench.read_says(running("one"));
    assert!(bench.order().is_some(), "the rights are there again, and the idle time is long over");
}

#[test]
fn row_46_whoever_would_wake_a_sleeper_is_told_which_right_lacks() {
    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(forbidden("VM.Audit"))));
    endure(&mut bench, FAR, &forbidden("VM.Audit"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep, "it is not thought deleted");
    let told = |effect: &&Effect| matches!(effect, Effect::Trouble { .. });
    assert_eq!(bench.effects.iter().filter(told).count(), 1, "the log says so, once");
    assert!(bench.core.lacks_right());
    let ask = bench.ask(FAR);
    let (id, refusal) = bench.refused().expect("an answer at once");
    assert_eq!(id, ask);
    assert!(matches!(refusal, WakeError::NotPermitted { .. }));
    insta::assert_snapshot!(refusal, @"not permitted: `VM.Audit` is needed on `/vms/201`");
    assert!(bench.order().is_none());
    // Given back; whoever was told so has to ask again.
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    assert!(bench.order().is_none());
    let ask = bench.ask(FAR);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_46_a_credential_that_was_never_accepted_is_told_at_once() {
    let mut bench = Bench::new();
    let ask = bench.ask(FAR);
    bench.read_answers(Err(error(ErrorKind::Unauthorized)));
    let (id, refusal) = bench.refused().expect("an answer at once");
    assert_eq!(id, ask);
    insta::assert_snapshot!(refusal, @"the credential is not accepted");
    assert_eq!(bench.core.phase(), PhaseName::Unread);
}

#[test]
fn row_29_a_start_without_the_right_names_it_and_opens_no_circuit() {
    let mut bench = Bench::asleep();
    for _ in 0..20 {
        let ask = bench.ask(FAR);
        bench.order_answers(&Order::Start, Err(forbidden("VM.PowerMgmt")));
        bench.read_says(stopped("old"));
        let (id, refusal) = bench.refused().expect("an answer at once");
        assert_eq!(id, ask);
        assert!(refusal.to_string().contains("`VM.PowerMgmt` is needed on `/vms/201`"));
        let WakeError::NotPermitted { retry_after, .. } = refusal else { panic!("{refusal}") };
        assert_eq!(retry_after, Duration::from_secs(5));
        assert!(bench.core.lacks_right());
        bench.pass(retry_after);
    }
    let told = |effect: &&Effect| matches!(effect, Effect::Trouble { .. });
    assert_eq!(bench.effects.iter().filter(told).count(), 1, "the log says so, once");
    bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(forbidden("VM.Audit")));
    bench.read_says(stopped("old"));
    assert!(bench.refused().is_some());
    assert_eq!(bench.effects.iter().filter(told).count(), 2, "another one is news");
    bench.pass(Duration::from_secs(5));
    let ask = bench.ask(FAR);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_46_a_stop_without_the_right_leaves_it_ready() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    bench.order_answers(&stop(), Err(forbidden("VM.PowerMgmt")));
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.shared.word.take(), "served");
}

#[test]
fn a_node_that_is_away_keeps_what_is_ready_ready_and_what_sleeps_waiting() {
    let away = || error(ErrorKind::Unavailable { reason: "node pve2 is offline".to_owned() });
    let mut bench = Bench::ready("one");
    bench.tell(Input::Watched(Err(away())));
    endure(&mut bench, FAR, &away());
    assert!(bench.shared.word.look().is_open());
    assert!(bench.order().is_none());

    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(away())));
    bench.read_answers(Err(away()));
    let ask = bench.ask(FAR);
    endure(&mut bench, Duration::from_mins(1), &away());
    assert!(bench.refused().is_none(), "it may be back in time");
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_51_what_refused_a_connection_while_its_engine_is_away_is_asked_itself() {
    for refusal in [unavailable(), forbidden("VM.Audit")] {
        let away = || {
            let mut bench = Bench::ready("one");
            bench.pass(Duration::from_mins(1));
            bench.tell(Input::Watched(Err(refusal.clone())));
            bench.read_answers(Err(refusal.clone()));
            bench.upstream_fails();
            let ask = bench.ask(FAR);
            (bench, ask)
        };
        // It was busy for a moment.
        let (mut bench, ask) = away();
        bench.probe_answers(Err(NotReady::new("connection refused")));
        assert!(bench.refused().is_none());
        bench.now = bench.core.next_deadline().expect("the next probe");
        bench.tell(Input::Tick);
        bench.probe_succeeds();
        assert_eq!(bench.granted(), [ask]);
        assert_eq!(bench.core.phase(), PhaseName::Ready);

        // Its end was told: who answers there now is somebody else.
        let (mut bench, _) = away();
        bench.happens(EventAction::Die(Some(0)));
        if let Some(id) = bench.reading() {
            bench.tell(Input::ReadDone { id, result: Err(refusal.clone()) });
        }
        bench.probe_succeeds();
        bench.pass(Duration::from_secs(5));
        assert!(bench.granted().is_empty());
    }
}

#[test]
fn a_right_that_lacked_before_is_told_to_nobody_who_waits_for_the_start_after() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.order_answers(&Order::Start, Err(forbidden("VM.PowerMgmt")));
    bench.read_says(stopped("old"));
    assert!(bench.refused().is_some());
    bench.pass(Duration::from_secs(5));
    bench.ask(Duration::from_secs(30));
    assert!(bench.order().is_some(), "its answer does not come");
    bench.pass(Duration::from_secs(30));
    let (_, refusal) = bench.refused().expect("an answer by the deadline");
    insta::assert_snapshot!(refusal, @"not ready after 30s (starting): asked for");
}
