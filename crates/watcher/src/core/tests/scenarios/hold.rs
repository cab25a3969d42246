//! What a person may ask for: to hold it asleep, to put it to sleep whoever uses it.

use crate::core::Held;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    fn hold_asleep(&mut self, hours: Option<u64>) {
        let until = hours.map(|hours| self.now + Duration::from_hours(hours));
        let held = Held { reason: "restore of Monday".into(), until };
        self.tell(Input::HoldAsleep(Some(held)));
    }

    fn is_refused_as_held(&mut self) -> Option<Duration> {
        let (_, refusal) = self.refused().expect("an answer at once");
        assert_eq!(refusal.to_string(), "held asleep: restore of Monday");
        let WakeError::HeldAsleep { retry_after, .. } = refusal else { panic!("{refusal}") };
        retry_after
    }

    fn sleep_on_request(&mut self, force: Force) {
        let (id, deadline) = (AskId(self.next_ask), self.now + FAR);
        self.next_ask += 1;
        self.tell(Input::SleepNow { id, deadline, force });
    }

    fn sleep_answer(&mut self) -> Option<Result<(), String>> {
        self.take(|effect| match effect {
            Effect::SleepAnswer(_, answer) => {
                Some(answer.clone().map_err(|error| error.to_string()))
            }
            _ => None,
        })
    }
}

#[test]
fn what_is_held_asleep_is_woken_by_nobody_until_it_is_released() {
    let mut bench = Bench::asleep();
    bench.hold_asleep(None);
    assert_eq!(bench.core.held_asleep(), Some("restore of Monday"));
    for _ in 0..10 {
        bench.ask(FAR);
        assert_eq!(bench.is_refused_as_held(), None);
        bench.pass(FAR);
        assert!(bench.order().is_none());
    }
    bench.tell(Input::HoldAsleep(None));
    assert_eq!(bench.core.held_asleep(), None);
    let ask = bench.ask(FAR);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn a_hold_with_an_end_says_when_and_ends_by_itself() {
    let mut bench = Bench::asleep();
    bench.hold_asleep(Some(2));
    bench.pass(Duration::from_mins(30));
    bench.ask(FAR);
    assert_eq!(bench.is_refused_as_held(), Some(Duration::from_mins(90)));
    bench.pass(Duration::from_mins(90));
    assert_eq!(bench.core.held_asleep(), None);
    let ask = bench.ask(FAR);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn a_hold_refuses_those_who_wait_already_and_their_wake_comes_to_nothing_more() {
    let mut bench = Bench::asleep();
    bench.ask(FAR);
    bench.hold_asleep(None);
    bench.is_refused_as_held();
    // What its engine took is seen through; nothing follows from it.
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.pass(IDLE * 10);
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })));
    assert!(bench.order().is_none() && bench.reading().is_none(), "nor is it stopped");
    assert!(!bench.shared.word.look().is_open());
}

#[test]
fn a_wake_that_nobody_waits_for_any_more_ends_when_it_is_held() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    let ask = bench.ask(FAR);
    bench.tell(Input::Withdraw(vec![ask]));
    bench.hold_asleep(None);
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert!(bench.order().is_none());
}

#[test]
fn what_its_user_starts_while_it_is_held_is_let_nobody_into_and_left_alone() {
    let mut bench = Bench::asleep();
    bench.hold_asleep(None);
    bench.synced(running("restore"));
    bench.read_says(running("restore"));
    bench.pass(IDLE * 4);
    bench.ask(FAR);
    bench.is_refused_as_held();
    assert!(bench.order().is_none());
    // And stops and starts again.
    bench.synced(stopped("restore"));
    bench.read_says(stopped("restore"));
    bench.synced(running("one"));
    bench.read_says(running("one"));
    bench.pass(IDLE * 4);
    assert!(bench.order().is_none());
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })));
    // Released, it serves, and has a whole idle time.
    bench.tell(Input::HoldAsleep(None));
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    bench.pass(IDLE - SECOND);
    assert!(bench.reading().is_none());
    bench.pass(SECOND);
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn what_is_ready_lets_nobody_in_once_it_is_held_and_sleeps_on_request() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    bench.hold_asleep(None);
    assert!(!bench.shared.word.take());
    assert_eq!(bench.core.reason(), "held asleep: restore of Monday");
    bench.sleep_on_request(Force::No);
    let refused = Some(Err("in use: 1 request(s) wait for it".to_owned()));
    assert_eq!(bench.sleep_answer(), refused, "the runtime fills in the holder");
    bench.end_lease();
    bench.sleep_on_request(Force::No);
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.sleep_answer(), Some(Ok(())));
}

#[test]
fn a_hold_that_comes_during_a_stop_which_is_refused_keeps_the_gate_shut() {
    let mut bench = Bench::ready("one");
    bench.fall_idle("one");
    bench.hold_asleep(None);
    bench.order_answers(&stop(), Err(locked()));
    assert!(!bench.shared.word.look().is_open());
    bench.read_says(running("one"));
    bench.pass(IDLE * 4);
    assert!(bench.order().is_none() && !bench.shared.word.look().is_open());
}

#[test]
fn a_hold_outlasts_a_change_of_policy() {
    let mut bench = Bench::asleep();
    bench.hold_asleep(None);
    bench.tell(Input::PolicyChanged(Policy::new(IDLE * 2)));
    bench.ask(FAR);
    bench.is_refused_as_held();
}

#[test]
fn what_is_frozen_and_held_is_not_stopped() {
    let stop = StopOptions::new();
    let sleep = SleepMethod::PauseThenStop { after: IDLE, stop };
    let mut bench = Bench::ready("one");
    bench.tell(Input::PolicyChanged(Policy::new(IDLE).with_sleep(sleep)));
    bench.fall_idle("one");
    bench.order_is_done(&Order::Pause);
    let frozen = || Observation::new(ContainerStatus::Paused, Some(RunId::new("one")));
    bench.read_says(frozen());
    bench.hold_asleep(None);
    bench.pass(IDLE * 10);
    assert!(bench.reading().is_none() && bench.core.sleep_plan().is_none());
    bench.tell(Input::HoldAsleep(None));
    bench.read_says(frozen());
    assert!(bench.order().is_some());
}

#[test]
fn a_forced_sleep_cuts_off_whoever_uses_it_and_says_so() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    assert!(bench.shared.word.take());
    bench.sleep_on_request(Force::No);
    assert!(matches!(bench.sleep_answer(), Some(Err(_))));
    bench.sleep_on_request(Force::EvenInUse);
    bench.read_says(running("one"));
    let told = bench.take(|effect| match effect {
        Effect::CutShort { uses } => Some(*uses),
        _ => None,
    });
    assert_eq!(told, Some(2));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.sleep_answer(), Some(Ok(())));
    // They lose their connections now; the next one wakes it.
    bench.end_lease();
    bench.end_lease();
    let ask = bench.ask(FAR);
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
    assert_eq!(bench.shared.word.look().leases(), 1);
}

#[test]
fn a_forced_sleep_that_a_lock_refuses_serves_on_those_who_were_to_be_cut_off() {
    let mut bench = Bench::ready("one");
    assert!(bench.shared.word.take());
    bench.sleep_on_request(Force::EvenInUse);
    bench.read_says(running("one"));
    bench.order_answers(&stop(), Err(locked()));
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert_eq!(bench.shared.word.look().leases(), 1);
}

#[test]
fn who_waits_while_it_is_put_to_sleep_by_force_is_served_by_the_next_run() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.probe_answers(Err(NotReady::new("refused")));
    bench.sleep_on_request(Force::EvenInUse);
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    assert_eq!(bench.sleep_answer(), Some(Ok(())));
    bench.wake_up("two");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn force_does_not_delete_what_its_engine_deletes_when_it_stops() {
    let mut bench = Bench::new();
    let mut details = Details::new("id", "app", running("one"));
    details.removed_when_stopped = true;
    bench.read_answers(Ok(details));
    bench.sleep_on_request(Force::EvenInUse);
    assert!(matches!(bench.sleep_answer(), Some(Err(_))));
    assert!(bench.order().is_none() && bench.reading().is_none());
}

#[test]
fn what_was_started_stays_awake_for_its_minimum_also_if_a_hold_sent_away_who_wanted_it() {
    let awake = Duration::from_hours(1);
    let mut bench = Bench::asleep().with_policy(Policy::new(IDLE).with_min_awake(awake));
    bench.ask(FAR);
    bench.hold_asleep(None);
    bench.is_refused_as_held();
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.tell(Input::HoldAsleep(None));
    bench.ask(FAR);
    bench.probe_succeeds();
    bench.end_lease();
    assert_eq!(bench.core.sleep_plan(), Some((bench.now + awake, IDLE)));
}
