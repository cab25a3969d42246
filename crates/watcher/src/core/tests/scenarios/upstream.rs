//! Applications that are slow to serve, or fail their requests.

use futures::FutureExt;

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
    bench.upstream_fails();
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
    bench.upstream_fails();
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
    bench.tell(Input::UpstreamFailed { epoch: 0, number: 1 });
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
                bench.upstream_fails();
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
    bench.pass(Duration::from_secs(1));
    bench.upstream_fails();
    bench.read_says(running("one"));
    bench.probe_succeeds();
    for _ in 0..20 {
        bench.pass(Duration::from_secs(1));
        bench.upstream_fails();
        if bench.reading_is_due() {
            bench.read_says(running("one"));
        }
        bench.probe_succeeds();
    }
}

/// Ready, and a report that its upstream failed was refuted a moment ago.
fn refuted() -> Bench {
    let mut bench = Bench::ready("one");
    bench.pass(Duration::from_mins(1));
    bench.upstream_fails();
    assert_eq!(bench.core.phase(), PhaseName::Probing, "nobody else is sent there meanwhile");
    bench.read_says(running("one"));
    bench.probe_succeeds();
    bench
}

fn is_refuted(bench: &Bench, number: u64) -> bool {
    bench.shared.reports.settled(number).now_or_never().is_some()
}

#[test]
fn what_was_refuted_is_looked_into_with_the_gate_open() {
    let mut bench = refuted();
    let epoch = bench.shared.ready_run().epoch;
    for number in 2..100 {
        bench.upstream_fails();
        assert!(bench.shared.word.look().is_open());
        assert!(!is_refuted(&bench, number), "not before it was looked into");
        while !bench.probe_is_due() {
            if bench.reading_is_due() {
                bench.read_says(running("one"));
            } else {
                bench.now = bench.core.next_deadline().expect("the next probe");
                bench.tell(Input::Tick);
            }
        }
        bench.probe_succeeds();
        assert!(is_refuted(&bench, number));
    }
    assert_eq!(bench.shared.ready_run().epoch, epoch);
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}

#[test]
fn a_probe_that_fails_after_a_refuted_report_shuts_the_gate() {
    let mut bench = refuted();
    bench.pass(Duration::from_secs(5));
    bench.upstream_fails();
    bench.probe_answers(Err(NotReady::new("connection refused")));
    assert_eq!(bench.core.phase(), PhaseName::Probing);
    assert!(!bench.shared.word.look().is_open() && !is_refuted(&bench, 2));
    let ask = bench.ask(FAR);
    // It is read before it is probed again, as after any report.
    bench.read_says(running("one"));
    bench.pass(Duration::from_millis(100));
    bench.happens(EventAction::Health(drowse_provider::Health::Healthy));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    // The report was right: the next shuts the gate.
    bench.upstream_fails();
    assert!(!bench.shared.word.look().is_open());
}

#[test]
fn row_49_what_dies_after_a_refuted_report_is_started_again() {
    let mut bench = refuted();
    bench.upstream_fails();
    bench.pass(Duration::from_millis(10));
    assert!(!bench.shared.word.look().is_open(), "the probe has found out");
    let ask = bench.ask(FAR);
    bench.read_says(crashed("one", 137));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
    bench.upstream_fails();
    assert!(!bench.shared.word.look().is_open(), "of this run nothing was refuted");
}

#[test]
fn a_report_long_after_another_was_refuted_shuts_the_gate() {
    let mut bench = refuted();
    bench.pass(Duration::from_mins(1));
    bench.upstream_fails();
    assert!(!bench.shared.word.look().is_open());
}

#[test]
fn a_report_that_no_probe_refutes_in_time_shuts_the_gate() {
    let mut bench = refuted();
    bench.pass(Duration::from_secs(1));
    bench.upstream_fails();
    assert!(bench.probe_is_due());
    // That hangs.
    bench.now = bench.now + Duration::from_mins(1);
    bench.upstream_fails();
    assert!(!bench.shared.word.look().is_open());
}

#[test]
fn a_probe_tells_nothing_of_reports_that_were_made_after_it_had_begun() {
    let mut bench = refuted();
    bench.pass(Duration::from_secs(1));
    bench.upstream_fails();
    assert!(bench.probe_is_due());
    bench.upstream_fails();
    bench.probe_succeeds();
    assert!(is_refuted(&bench, 2) && !is_refuted(&bench, 3));
    bench.pass(Duration::from_millis(10));
    assert!(!bench.shared.word.look().is_open(), "the next probe fails");
}

#[test]
fn what_is_refuted_while_its_engine_is_out_of_reach_serves_on() {
    let mut bench = refuted();
    bench.tell(Input::Watched(Err(unavailable())));
    bench.read_answers(Err(unavailable()));
    bench.pass(Duration::from_secs(1));
    bench.upstream_fails();
    bench.probe_succeeds();
    assert!(bench.shared.word.look().is_open() && is_refuted(&bench, 2));
    bench.pass(Duration::from_secs(2));
    bench.upstream_fails();
    bench.probe_answers(Err(NotReady::new("connection refused")));
    assert!(!bench.shared.word.look().is_open());
    bench.pass(Duration::from_millis(100));
    bench.ask(FAR);
    bench.now = bench.now + Duration::from_secs(1);
    bench.tell(Input::Tick);
    bench.probe_succeeds();
    assert!(bench.shared.word.look().is_open(), "it answers for itself");
}

#[test]
fn a_read_that_takes_its_time_is_not_begun_anew_for_each_report() {
    let mut bench = refuted();
    bench.tell(Input::Watched(Err(unavailable())));
    for _ in 0..20 {
        bench.pass(Duration::from_secs(1));
        bench.upstream_fails();
        bench.probe_succeeds();
    }
    bench.read_says(running("one"));
    assert!(bench.core.lost_since().is_none() && !bench.reading_is_due());
}

#[test]
fn a_report_beside_a_sleep_that_is_not_taken_is_looked_into() {
    let mut bench = refuted();
    bench.fall_idle("one");
    let epoch = bench.shared.ready_run().epoch;
    // Of a request that was given back a moment ago.
    bench.upstream_fails();
    bench.order_answers(&stop(), Err(locked()));
    assert_eq!(bench.shared.ready_run().epoch, epoch);
    assert!(bench.shared.word.look().is_open());
    bench.probe_succeeds();
    assert!(is_refuted(&bench, 2));
}

#[test]
fn a_report_is_read_into_now_and_then_alone() {
    let mut bench = refuted();
    let mut reads = 0;
    for _ in 0..60 {
        bench.pass(Duration::from_secs(1));
        bench.upstream_fails();
        if bench.reading_is_due() {
            reads += 1;
            bench.read_says(running("one"));
        }
        bench.probe_succeeds();
    }
    assert_eq!(reads, 6, "in a minute");
}
