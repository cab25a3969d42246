//! An engine that is away, tells late, or has rounds of its own.

use super::*;

#[test]
fn what_high_availability_takes_away_has_not_crashed() {
    let fenced = || {
        let status = ContainerStatus::Error(Unusable::Other("in HA state `fence`".to_owned()));
        Observation::new(status, None)
    };
    let mut bench = Bench::ready("one");
    for run in ["two", "three", "four", "five", "six", "seven"] {
        bench.synced(fenced());
        bench.read_says(fenced());
        assert_eq!(bench.core.reason(), "it is in HA state `fence`");
        bench.synced(stopped("none"));
        bench.read_says(stopped("none"));
        assert_eq!(bench.core.phase(), PhaseName::Asleep, "nothing to back off from");
        assert_eq!(bench.core.last_error(), None);
        let ask = bench.ask(FAR);
        bench.wake_up(run);
        assert_eq!(bench.granted(), [ask]);
        bench.end_lease();
    }
}

#[test]
fn row_7_a_change_that_nobody_told_is_found_by_the_next_read() {
    let mut bench = Bench::ready("one");
    // It was stopped and started while the connection was broken.
    bench.synced(running("two"));
    assert_ne!(bench.core.phase(), PhaseName::Ready);
    bench.read_says(running("two"));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert_eq!(bench.core.run(), Some(&RunId::new("two")));
}

#[test]
fn a_stale_word_of_the_watch_costs_a_read_and_nothing_else() {
    let mut bench = Bench::ready("one");
    bench.synced(stopped("old"));
    bench.read_says(running("one"));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.order().is_none());
}

#[test]
fn row_9_an_engine_that_is_down_at_the_start_is_waited_for() {
    let mut bench = Bench::new();
    let ask = bench.ask(Duration::from_secs(30));
    bench.read_answers(Err(unavailable()));
    bench.pass(Duration::from_millis(500));
    bench.read_answers(Err(unavailable()));
    bench.pass(Duration::from_secs(30));
    let (id, refusal) = bench.refused().expect("an answer by the deadline");
    assert_eq!(id, ask);
    assert!(matches!(refusal, WakeError::EngineUnavailable { .. }), "{refusal}");
    let ask = bench.ask(FAR);
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn row_51_an_engine_that_is_away_stops_nothing_and_what_is_ready_is_served_on() {
    let mut bench = Bench::ready("one");
    bench.tell(Input::Watched(Err(unavailable())));
    bench.read_answers(Err(unavailable()));
    for _ in 0..200 {
        bench.pass(Duration::from_secs(10));
        if let Some(id) = bench.reading() {
            bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
        }
    }
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.shared.word.look().is_open());
    assert!(bench.order().is_none());
    bench.synced(running("one"));
    bench.pass(Duration::from_secs(10));
    bench.read_says(running("one"));
    bench.pass(Duration::from_secs(10));
    bench.read_says(running("one"));
    assert!(bench.order().is_some(), "it is back, and the idle time is long over");
}

#[test]
fn a_sleeper_behind_a_lost_engine_is_answered_by_the_deadline() {
    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(unavailable())));
    bench.read_answers(Err(unavailable()));
    bench.ask(Duration::from_secs(20));
    bench.pass(Duration::from_secs(20));
    assert!(bench.order().is_none());
    assert!(matches!(bench.refused(), Some((_, WakeError::EngineUnavailable { .. }))));
}

#[test]
fn an_engine_that_is_away_is_told_of_once_and_read_soon_for_whoever_asks() {
    let mut bench = Bench::asleep();
    bench.happens(EventAction::Update);
    let mut reads = 0;
    let until = bench.now + FAR;
    while bench.now < until {
        if let Some(id) = bench.reading() {
            reads += 1;
            bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
        }
        bench.pass(Duration::from_secs(1));
    }
    assert!(reads < 70, "{reads} reads in an hour that nobody waits");
    let told = |effect: &&Effect| matches!(effect, Effect::Trouble { .. });
    assert_eq!(bench.effects.iter().filter(told).count(), 1);
    while let Some(id) = bench.reading() {
        bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
    }
    let ask = bench.ask(FAR);
    bench.pass(Duration::from_millis(500));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn what_high_availability_carries_out_is_given_its_rounds() {
    let within = |owner: Option<Owner>| {
        let read = |observation: Observation| {
            let mut details = Details::new("id", "app", observation);
            details.stop_timeout = Some(Duration::from_mins(1));
            details.owner = owner.clone();
            Ok(details)
        };
        let given = |bench: &mut Bench| {
            bench.take(|effect| match effect {
                Effect::Order { within, .. } => Some(within.as_secs()),
                _ => None,
            })
        };
        let mut sleeper = Bench::new();
        sleeper.read_answers(read(stopped("old")));
        sleeper.ask(FAR);
        let mut idle = Bench::ready("one");
        idle.pass(IDLE);
        idle.read_answers(read(running("one")));
        (given(&mut sleeper), given(&mut idle))
    };
    assert_eq!(within(None), (Some(120), Some(90)));
    let managed = Owner::HighAvailability("started".to_owned());
    assert_eq!(within(Some(managed)), (Some(300), Some(270)));
}

#[test]
fn whoever_leaves_while_its_engine_is_away_has_nothing_started_when_it_is_back() {
    for was_read in [true, false] {
        let mut bench = if was_read { Bench::asleep() } else { Bench::new() };
        if was_read {
            bench.tell(Input::Watched(Err(unavailable())));
        }
        let (first, second) = (bench.ask(FAR), bench.ask(FAR));
        bench.read_answers(Err(unavailable()));
        bench.tell(Input::Withdraw(vec![first]));
        bench.tell(Input::Withdraw(vec![second]));
        bench.synced(stopped("old"));
        bench.read_says(stopped("old"));
        bench.pass(Duration::from_mins(1));
        assert!(bench.order().is_none());
        // One who is still there has it started.
        let ask = bench.ask(FAR);
        bench.wake_up("one");
        assert_eq!(bench.granted(), [ask]);
    }
}

#[test]
fn a_result_of_a_withdrawn_effect_is_dropped() {
    let mut bench = Bench::ready("one");
    let unknown = EffectId(9_999);
    bench.tell(Input::OrderDone { id: unknown, result: Ok(()) });
    bench.tell(Input::ProbeDone { id: unknown, result: Ok(()) });
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.order().is_none() && bench.reading().is_none());
}

#[test]
fn an_engine_that_says_that_it_is_back_is_read_at_once() {
    let mut bench = Bench::asleep();
    bench.tell(Input::Watched(Err(unavailable())));
    let away = bench.now + Duration::from_mins(5);
    while bench.now < away {
        bench.read_answers(Err(unavailable()));
        bench.pass(Duration::from_mins(1));
    }
    bench.read_answers(Err(unavailable()));
    let ask = bench.ask(FAR);
    bench.synced(stopped("old"));
    bench.read_says(stopped("old"));
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn a_withdrawn_read_that_contradicts_the_belief_is_looked_into() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    let look = bench.reading().expect("the look");
    assert!(bench.shared.word.take());
    bench.happens(EventAction::Update);
    bench.read_says(running("one"));
    // It is the later of the two, and nobody tells of the death.
    let result = Ok(Details::new("id", "app", crashed("one", 137)));
    bench.tell(Input::ReadDone { id: look, result: result.map(Arc::new) });
    bench.read_says(crashed("one", 137));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}
