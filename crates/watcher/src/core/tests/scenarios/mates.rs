//! A group: what could not wake with the others looks at them again.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    /// Asleep, as a member of a group, and it has looked at the others once.
    fn in_a_group() -> Self {
        let mut bench = Self::of(|core| core.with_mates(true));
        bench.read_says(stopped("old"));
        assert!(bench.looks_at_mates(), "it was to wake with them, perhaps, when drowse ended");
        bench
    }

    fn looks_at_mates(&mut self) -> bool {
        self.take(|effect| matches!(effect, Effect::LookAtMates).then_some(())).is_some()
    }

    /// How long it leaves the others alone after this.
    fn looks_after(&mut self) -> Duration {
        let begin = self.now;
        assert!(!self.looks_at_mates());
        while !self.looks_at_mates() {
            self.pass(SECOND);
            assert!(self.now.since(begin) < FAR, "it never looks");
        }
        self.now.since(begin)
    }
}

fn port_is_taken() -> Error {
    error(ErrorKind::Failed { exit: None, message: "port is taken".to_owned() })
}

#[test]
fn what_was_read_asleep_looks_once_and_wakes_with_those_in_use() {
    let mut bench = Bench::in_a_group();
    bench.pass(FAR);
    assert!(!bench.looks_at_mates());
    bench.tell(Input::MateWakes);
    bench.wake_up("one");
}

#[test]
fn what_is_in_no_group_looks_at_nobody() {
    let mut bench = Bench::asleep();
    assert!(!bench.looks_at_mates());
    bench.tell(Input::LetGo);
    assert!(!bench.looks_at_mates());
}

#[test]
fn a_refused_start_is_looked_into_again_at_the_end_of_each_back_off() {
    let mut bench = Bench::in_a_group();
    for back_off in [1, 2, 4, 8, 300, 300] {
        bench.tell(Input::MateWakes);
        bench.order_answers(&Order::Start, Err(port_is_taken()));
        bench.read_says(stopped("old"));
        assert_eq!(bench.core.phase(), PhaseName::Failed);
        assert_eq!(bench.looks_after(), SECOND * back_off);
    }
    // None of them is in use any more.
    bench.pass(FAR);
    assert!(!bench.looks_at_mates());
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn a_right_that_lacks_is_tried_ever_less_often_and_told_once() {
    let mut bench = Bench::in_a_group();
    let forbidden = error(ErrorKind::Forbidden { privilege: None, path: None });
    let mut told = 0;
    for pause in [5, 10, 20, 40, 60, 60] {
        bench.tell(Input::MateWakes);
        bench.order_answers(&Order::Start, Err(forbidden.clone()));
        bench.read_says(stopped("old"));
        assert_eq!(bench.looks_after(), SECOND * pause);
        while bench.take(|effect| matches!(effect, Effect::Trouble { .. }).then_some(())).is_some()
        {
            told += 1;
        }
    }
    assert_eq!(told, 1);
}

#[test]
fn what_dies_is_looked_into_and_what_others_end_is_left_to_them() {
    let mut bench = Bench::in_a_group();
    bench.tell(Input::MateWakes);
    bench.wake_up("one");
    bench.pass(SECOND * 20);
    bench.happens(EventAction::Die(Some(1)));
    bench.read_says(crashed("one", 1));
    assert!(bench.looks_at_mates());
    bench.tell(Input::MateWakes);
    bench.wake_up("two");
    bench.happens(EventAction::Kill(Some(Signal::TERM)));
    bench.read_says(running("two"));
    bench.happens(EventAction::Die(Some(0)));
    bench.read_says(stopped("two"));
    assert_eq!(bench.core.reason(), "stopped from outside");
    bench.pass(FAR);
    bench.tell(Input::LetGo);
    assert!(!bench.looks_at_mates());
    // Until one of them wakes, whatever comes of that at first.
    bench.tell(Input::MateWakes);
    bench.order_answers(&Order::Start, Err(port_is_taken()));
    bench.read_says(stopped("two"));
    assert_eq!(bench.looks_after(), SECOND * 2);
    bench.tell(Input::MateWakes);
    bench.wake_up("three");
}

#[test]
fn what_was_put_to_sleep_on_request_stays_asleep() {
    let mut bench = Bench::in_a_group();
    bench.tell(Input::MateWakes);
    bench.wake_up("one");
    let deadline = bench.now + FAR;
    bench.tell(Input::SleepNow { id: AskId(77), deadline, force: Force::EvenInUse });
    bench.read_says(running("one"));
    bench.order_is_done(&stop());
    bench.read_says(stopped("one"));
    bench.tell(Input::LetGo);
    assert!(!bench.looks_at_mates());
}

#[test]
fn those_that_sleep_are_told_when_it_is_ready() {
    let mut bench = Bench::in_a_group();
    bench.tell(Input::MateWakes);
    bench.wake_up("one");
    let told = bench.take(|effect| matches!(effect, Effect::ReadyForMates).then_some(()));
    assert!(told.is_some());
}

/// Those who wake with it have been told by the one that began; or are in use, and would be used by each
/// attempt of one that fails.
#[test]
fn a_wake_that_only_mates_want_is_none_of_theirs() {
    let wakes_others = |bench: &mut Bench| {
        bench.take(|effect| matches!(effect, Effect::WakeBegins).then_some(())).is_some()
    };
    let mut bench = Bench::in_a_group();
    bench.tell(Input::MateWakes);
    assert!(!wakes_others(&mut bench));
    let mut bench = Bench::in_a_group();
    bench.ask(FAR);
    assert!(wakes_others(&mut bench));
}
