//! What is asked before a sleep, beside leases.

use crate::Busy;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn busy(what: &str) -> Result<(), Busy> {
    Err(Busy::new("its processor use", what))
}

impl Bench {
    fn vetoed_by(&self) -> Option<String> {
        self.core.vetoed_by().map(ToString::to_string)
    }

    fn with_gates(mut self) -> Self {
        self.core = self.core.with_gates(true);
        self
    }

    fn gates_are_asked(&mut self) -> Option<EffectId> {
        self.take(|effect| match effect {
            Effect::AskGates { id, within, .. } => {
                assert_eq!(*within, Duration::from_mins(1));
                Some(*id)
            }
            _ => None,
        })
    }

    fn gates_answer(&mut self, result: Result<(), Busy>) {
        let id = self.gates_are_asked().expect("the gates are asked");
        self.tell(Input::GatesAnswered { id, result });
    }

    /// A passive request comes and goes.
    fn monitor_looks(&mut self) {
        assert!(self.shared.word.take_passive());
        self.shared.word.drop_passive();
    }

    fn told_busy(&mut self) -> Option<Busy> {
        self.take(|effect| match effect {
            Effect::StaysAwakeBusy(busy) => Some(busy.clone()),
            _ => None,
        })
    }
}

#[test]
fn gates_are_asked_when_the_idle_time_is_over_and_while_it_still_is_ready() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE - SECOND);
    assert!(bench.gates_are_asked().is_none());
    bench.pass(SECOND);
    assert!(bench.reading().is_none(), "the look comes after their answer");
    assert!(bench.shared.word.look().is_open(), "a request is served at once meanwhile");
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn without_gates_there_is_no_extra_step() {
    let mut bench = Bench::ready("one");
    bench.pass(IDLE);
    assert!(bench.gates_are_asked().is_none());
    assert!(bench.reading().is_some());
}

#[test]
fn a_lease_taken_and_dropped_while_the_gates_are_asked_wins() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    assert!(bench.shared.word.take());
    bench.end_lease();
    bench.gates_answer(Ok(()));
    assert!(bench.reading().is_none(), "it was used a moment ago");
    bench.pass(IDLE - SECOND);
    assert!(bench.gates_are_asked().is_none());
    bench.pass(SECOND);
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn a_passive_lease_taken_and_dropped_while_the_gates_are_asked_changes_nothing() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    bench.monitor_looks();
    bench.gates_answer(Ok(()));
    bench.monitor_looks();
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn it_sleeps_under_a_monitor_that_comes_more_often_than_its_gates_take_to_answer() {
    let mut bench = Bench::ready("one").with_gates();
    let period = 5 * SECOND;
    let end = bench.now + IDLE;
    while bench.now < end {
        assert!(bench.gates_are_asked().is_none());
        bench.pass(period);
        bench.monitor_looks();
    }
    // They measure for ten seconds.
    for _ in 0..2 {
        bench.pass(period);
        bench.monitor_looks();
    }
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep, "within its idle time and one gate's");
}

#[test]
fn what_is_busy_under_a_monitor_says_so_and_is_asked_again_after_a_minute() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    bench.monitor_looks();
    bench.gates_answer(busy("a lot"));
    assert_eq!(bench.vetoed_by().as_deref(), Some("its processor use: a lot"));
    assert!(bench.told_busy().is_some());
    for _ in 0..11 {
        bench.pass(5 * SECOND);
        bench.monitor_looks();
        assert!(bench.gates_are_asked().is_none());
    }
    bench.pass(5 * SECOND);
    assert!(bench.gates_are_asked().is_some());
}

#[test]
fn gates_are_never_asked_all_the_time_however_often_what_has_no_idle_time_is_used() {
    let mut bench = Bench::ready("one").with_gates();
    bench.tell(Input::PolicyChanged(Policy::new(Duration::ZERO)));
    bench.tell(Input::Tick);
    let end = bench.now + 10 * SECOND;
    let mut asked = 0;
    while bench.now < end {
        if let Some(id) = bench.gates_are_asked() {
            asked += 1;
            assert!(bench.shared.word.take());
            bench.end_lease();
            bench.tell(Input::GatesAnswered { id, result: Ok(()) });
        }
        bench.pass(Duration::from_millis(50));
    }
    assert!((10..=41).contains(&asked), "{asked} times in 10 s");
}

#[test]
fn the_look_before_a_sleep_is_not_taken_all_the_time_either() {
    let mut bench = Bench::ready("one");
    bench.tell(Input::PolicyChanged(Policy::new(Duration::ZERO)));
    let end = bench.now + 10 * SECOND;
    let mut looks = 0;
    while bench.now < end {
        if let Some(id) = bench.reading() {
            looks += 1;
            assert!(bench.shared.word.take());
            bench.end_lease();
            let details = Details::new("id", "app", running("one"));
            bench.tell(Input::ReadDone { id, result: Ok(Arc::new(details)) });
        }
        bench.pass(Duration::from_millis(50));
    }
    assert!((10..=41).contains(&looks), "{looks} looks in 10 s");
    assert!(bench.order().is_none());
}

#[test]
fn a_lease_taken_between_their_answer_and_the_swap_wins() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    bench.gates_answer(Ok(()));
    assert!(bench.shared.word.take());
    bench.read_says(running("one"));
    assert!(bench.order().is_none());
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}

#[test]
fn what_is_busy_stays_awake_and_is_asked_again_ever_later() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    for (minutes, percent) in [1, 2, 4, 8, 15, 15].into_iter().zip(10..) {
        bench.gates_answer(busy(&format!("{percent} % of a core")));
        let said = format!("its processor use: {percent} % of a core");
        assert_eq!(bench.vetoed_by(), Some(said));
        assert_eq!(bench.core.sleep_plan(), None, "it will not sleep while it is busy");
        assert!(bench.reading().is_none() && bench.shared.word.look().is_open());
        bench.pass(Duration::from_mins(minutes) - SECOND);
        assert!(bench.gates_are_asked().is_none(), "within {minutes} min");
        bench.pass(SECOND);
    }
    assert_eq!(bench.told_busy().map(|busy| busy.holder).as_deref(), Some("its processor use"));
    assert!(bench.told_busy().is_none(), "once for each who says so");
    bench.gates_answer(Err(Busy::new("the veto of /busy", "a job runs")));
    assert_eq!(bench.told_busy().map(|busy| busy.holder).as_deref(), Some("the veto of /busy"));
    bench.pass(Duration::from_mins(1));
    bench.gates_answer(Ok(()));
    assert_eq!(bench.vetoed_by(), None);
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn what_is_busy_is_asked_again_within_its_idle_time() {
    let mut bench = Bench::ready("one").with_gates();
    bench.tell(Input::PolicyChanged(Policy::new(Duration::from_mins(3))));
    bench.pass(Duration::from_mins(3));
    for minutes in [1, 2, 3, 3] {
        bench.gates_answer(busy("a lot"));
        bench.pass(Duration::from_mins(minutes) - SECOND);
        assert!(bench.gates_are_asked().is_none(), "within {minutes} min");
        bench.pass(SECOND);
    }
    assert!(bench.gates_are_asked().is_some());
}

#[test]
fn what_sleeps_soon_is_asked_again_soon_and_not_all_the_time() {
    for (idle, pause) in [(10 * SECOND, 10 * SECOND), (Duration::ZERO, SECOND)] {
        let mut bench = Bench::ready("one").with_gates();
        bench.tell(Input::PolicyChanged(Policy::new(idle)));
        bench.pass(idle);
        bench.gates_answer(busy("a lot"));
        bench.pass(pause - Duration::from_millis(1));
        assert!(bench.gates_are_asked().is_none(), "before {pause:?} with {idle:?}");
        bench.pass(Duration::from_millis(1));
        assert!(bench.gates_are_asked().is_some(), "after {pause:?} with {idle:?}");
    }
}

#[test]
fn that_it_was_busy_is_forgotten_when_it_is_used_again() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    bench.gates_answer(busy("a lot"));
    assert!(bench.told_busy().is_some());
    assert!(bench.shared.word.take());
    bench.end_lease();
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.vetoed_by(), None);
    assert!(bench.core.sleep_plan().is_some());
    bench.pass(IDLE);
    bench.gates_answer(busy("a lot"));
    assert!(bench.told_busy().is_some(), "a new time of being awake");
    bench.pass(Duration::from_mins(1));
    assert!(bench.gates_are_asked().is_some(), "and it is asked soon again");
}

#[test]
fn busy_counts_for_nothing_if_it_was_used_meanwhile() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    assert!(bench.shared.word.take());
    bench.gates_answer(busy("serving that request"));
    assert_eq!(bench.vetoed_by(), None);
    assert!(bench.told_busy().is_none());
}

#[test]
fn sleep_on_request_asks_the_gates_and_names_what_is_busy() {
    let mut bench = Bench::ready("one").with_gates();
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
    bench.gates_answer(busy("63 % of a core"));
    let answer = bench.take(|effect| match effect {
        Effect::SleepAnswer(AskId(90), Err(error)) => Some(error.to_string()),
        _ => None,
    });
    assert_eq!(answer.as_deref(), Some("in use: its processor use: 63 % of a core"));
    bench.tell(Input::SleepNow { id: AskId(91), deadline, force: Force::No });
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn a_forced_sleep_waits_for_no_gate() {
    let mut bench = Bench::ready("one").with_gates();
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(90), deadline, force: Force::No });
    let asked = bench.gates_are_asked().expect("the gates are asked");
    bench.tell(Input::SleepNow { id: AskId(91), deadline, force: Force::EvenInUse });
    bench.read_says(running("one"));
    bench.tell(Input::GatesAnswered { id: asked, result: busy("too late") });
    assert_eq!(bench.vetoed_by(), None);
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn an_answer_of_an_earlier_run_counts_for_nothing() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    let asked = bench.gates_are_asked().expect("the gates are asked");
    bench.synced(running("two"));
    bench.read_says(running("two"));
    bench.probe_succeeds();
    bench.tell(Input::GatesAnswered { id: asked, result: busy("of run one") });
    assert_eq!(bench.vetoed_by(), None);
    bench.pass(IDLE);
    assert!(bench.gates_are_asked().is_some());
}

#[test]
fn leave_to_sleep_that_could_not_be_used_is_asked_for_again() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    let asked = bench.gates_are_asked().expect("the gates are asked");
    bench.tell(Input::Watched(Err(unavailable())));
    bench.tell(Input::GatesAnswered { id: asked, result: Ok(()) });
    bench.read_answers(Err(unavailable()));
    for _ in 0..30 {
        bench.pass(Duration::from_secs(10));
        if let Some(id) = bench.reading() {
            bench.tell(Input::ReadDone { id, result: Err(unavailable()) });
        }
    }
    bench.synced(running("one"));
    bench.pass(Duration::from_secs(10));
    bench.read_says(running("one"));
    bench.pass(Duration::from_secs(10));
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn leave_to_sleep_is_asked_for_again_if_the_look_took_too_long() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    bench.gates_answer(Ok(()));
    bench.pass(Duration::from_secs(11));
    bench.read_says(running("one"));
    assert!(bench.order().is_none(), "nobody knows whether they still agree");
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn what_never_answers_its_probe_may_be_at_work_all_the_same() {
    let mut bench = Bench::asleep().with_gates();
    bench.ask(SECOND);
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("migrating")));
    bench.pass(Duration::from_mins(31));
    bench.gates_answer(busy("migrating"));
    bench.pass(Duration::from_mins(1));
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn a_failed_stop_asks_the_gates_before_it_is_tried_again() {
    let mut bench = Bench::ready("one").with_gates();
    bench.pass(IDLE);
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    let failed = ErrorKind::Failed { exit: None, message: "no".to_owned() };
    bench.order_answers(&stop(), Err(error(failed)));
    bench.read_says(running("one"));
    bench.probe_succeeds();
    bench.pass(SECOND);
    assert!(bench.order().is_none() && bench.reading().is_none());
    bench.gates_answer(Ok(()));
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}
