//! Applications that are slow to serve, or fail their requests.

use super::*;

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
