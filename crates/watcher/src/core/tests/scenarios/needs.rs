//! What it needs: held before its start, and until it is observed not to run.

use crate::{
    Condition,
    core::{NeedOf, NeedsNow},
    need::NeedSeen,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DOWN: NeedSeen = NeedSeen::Down { ended_by_others_at: None };

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Hold,
    LetGo,
}

impl Bench {
    /// It needs a database and a cache from now on, as one that runs perhaps: it holds them.
    fn needing(mut self) -> Self {
        self.tell(Input::NeedsChanged(two()));
        self
    }

    fn needs_are(&mut self, db: NeedSeen, cache: NeedSeen) {
        self.tell(Input::NeedsSeen(vec![db, cache]));
    }

    fn said(&mut self) -> Option<Said> {
        self.take(|effect| match effect {
            Effect::HoldNeeds => Some(Said::Hold),
            Effect::LetNeedsGo => Some(Said::LetGo),
            _ => None,
        })
    }

    /// What was asked to wake: its number, and for how long it may take.
    fn wakes(&mut self) -> Option<(EffectId, usize, Duration)> {
        let now = self.now;
        self.take(|effect| match effect {
            Effect::WakeNeed { id, need, deadline } => Some((*id, *need, deadline.since(now))),
            _ => None,
        })
    }

    fn waiting_for(&self) -> Vec<&str> {
        self.core.waiting_for().collect()
    }

    fn need_answers(&mut self, need: usize, result: Result<(), WakeError>) {
        let (id, woken, _) = self.wakes().expect("it was asked to wake");
        assert_eq!(woken, need);
        self.tell(Input::NeedAnswered { id, result });
    }

    fn end_order(&mut self, order: &Order, run: &str) {
        self.order_is_done(order);
        self.read_says(stopped(run));
    }

    /// Awake in run `one`, with a lease, and both that it needs are there.
    fn in_use() -> Self {
        let mut bench = Self::asleep().needing();
        assert_eq!(bench.said(), Some(Said::LetGo));
        let ask = bench.ask(FAR);
        assert_eq!(bench.said(), Some(Said::Hold));
        bench.needs_are(NeedSeen::Met, NeedSeen::Met);
        bench.wake_up("one");
        assert_eq!(bench.granted(), [ask]);
        bench
    }
}

fn two() -> NeedsNow {
    let need = |name: &str| NeedOf { name: name.into(), condition: Condition::Ready };
    NeedsNow::Of(vec![need("db"), need("cache")])
}

fn fails(retry_after: Duration) -> WakeError {
    let reason = "port is taken".to_owned();
    WakeError::Failed { reason, exit: None, retry_after, source: None }
}

#[test]
fn what_it_needs_is_held_while_nothing_is_known_and_let_go_of_when_it_is_seen_asleep() {
    let mut bench = Bench::new().needing();
    assert_eq!(bench.said(), None, "it is held already");
    bench.read_answers(Err(unavailable()));
    assert_eq!(bench.said(), None, "and nobody knows whether it runs");
    bench.pass(SECOND);
    bench.read_says(stopped("old"));
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.pass(FAR);
    assert_eq!(bench.said(), None);
}

#[test]
fn it_is_held_first_then_looked_at_then_woken_and_only_then_it_is_started() {
    let mut bench = Bench::asleep().needing();
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.ask(SECOND * 60);
    assert_eq!(bench.said(), Some(Said::Hold));
    assert_eq!(bench.wakes(), None, "nobody has looked at it yet");
    assert_eq!(bench.core.reason(), "asked for");
    bench.needs_are(DOWN, DOWN);
    assert_eq!(bench.core.phase(), PhaseName::Starting);
    assert_eq!(bench.core.reason(), "waiting for db, cache");
    // Both at once, for as long as somebody waits.
    let (db, cache) = (bench.wakes().unwrap(), bench.wakes().unwrap());
    assert_eq!((db.1, db.2), (0, SECOND * 60));
    assert_eq!((cache.1, cache.2), (1, SECOND * 60));
    bench.needs_are(NeedSeen::Met, DOWN);
    bench.tell(Input::NeedAnswered { id: db.0, result: Ok(()) });
    assert_eq!(bench.waiting_for(), ["cache"]);
    assert!(bench.order().is_none());
    // One that was there and is not any more is waited for again.
    bench.needs_are(NeedSeen::Unmet, NeedSeen::Met);
    assert!(bench.order().is_none());
    assert_eq!(bench.waiting_for(), ["db"]);
    bench.needs_are(NeedSeen::Met, NeedSeen::Met);
    assert!(bench.waiting_for().is_empty());
    bench.wake_up("one");
    assert_eq!(bench.said(), None);
}

#[test]
fn it_is_kept_through_a_sleep_that_is_not_over() {
    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.fall_idle("one");
    let lost = Err(unavailable());
    bench.order_answers(&stop(), lost);
    bench.read_says(running("one"));
    bench.pass(SECOND);
    assert_eq!(bench.said(), None, "it may still be under way, and it runs");
    bench.read_says(stopped("one"));
    assert_eq!(bench.said(), Some(Said::LetGo));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
}

#[test]
fn it_is_kept_while_the_engine_is_out_of_reach() {
    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.tell(Input::Watched(Err(unavailable())));
    bench.pass(FAR * 5);
    assert_eq!(bench.said(), None);
}

#[test]
fn it_is_kept_while_its_end_is_a_rumour() {
    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.happens(EventAction::Die(Some(1)));
    assert_eq!(bench.said(), None);
    bench.read_says(crashed("one", 1));
    assert_eq!(bench.said(), Some(Said::LetGo));
}

#[test]
fn whoever_starts_it_starts_what_it_needs() {
    let mut bench = Bench::asleep().needing();
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.happens(EventAction::Start);
    bench.synced(running("one"));
    bench.read_says(running("one"));
    assert_eq!(bench.said(), Some(Said::Hold));
    assert_eq!(bench.wakes(), None);
    bench.needs_are(NeedSeen::Met, DOWN);
    assert_eq!(bench.wakes().map(|(_, need, _)| need), Some(1));
    assert_eq!(bench.core.phase(), PhaseName::Probing, "that is its own affair");
}

#[test]
fn a_refusal_is_told_to_all_who_wait_and_nothing_stays_held() {
    let mut bench = Bench::asleep().needing();
    assert_eq!(bench.said(), Some(Said::LetGo));
    let asks = [bench.ask(FAR), bench.ask(FAR)];
    assert_eq!(bench.said(), Some(Said::Hold));
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.need_answers(0, Err(fails(SECOND * 7)));
    for ask in asks {
        let (id, refusal) = bench.refused().unwrap();
        assert_eq!(id, ask);
        assert_eq!(refusal.to_string(), "it needs `db`, which is not ready");
        assert_eq!(refusal.retry_after(), Some(SECOND * 7));
    }
    assert_eq!(bench.said(), Some(Said::LetGo));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);
    assert_eq!(bench.core.reason(), "it needs `db`: it does not start: port is taken");
    bench.pass(FAR);
    assert!(bench.order().is_none() && bench.wakes().is_none());
    // Whoever comes next finds out anew.
    bench.ask(FAR);
    assert_eq!(bench.said(), Some(Said::Hold));
    bench.needs_are(DOWN, NeedSeen::Met);
    assert!(bench.wakes().is_some());
}

#[test]
fn those_who_wait_are_answered_by_their_own_deadlines_and_by_no_clock_of_its_own() {
    let mut bench = Bench::asleep().needing();
    let patient = bench.ask(FAR);
    let hasty = bench.ask(SECOND * 10);
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.pass(SECOND * 10);
    let (id, refusal) = bench.refused().unwrap();
    assert_eq!(id, hasty);
    assert_eq!(refusal.to_string(), "not ready after 10s (starting): waiting for db");
    bench.pass(SECOND * 60 * 59);
    assert!(bench.refused().is_none(), "its wake timeout is two minutes, and has not begun");
    bench.needs_are(NeedSeen::Met, NeedSeen::Met);
    assert!(bench.order().is_some());
    bench.pass(SECOND * 30);
    assert!(bench.refused().is_none());
    bench.pass(SECOND * 31);
    assert_eq!(bench.refused().unwrap().0, patient);
}

#[test]
fn who_comes_later_and_waits_longer_prolongs_the_wait() {
    let mut bench = Bench::asleep().needing();
    bench.ask(SECOND * 10);
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.pass(SECOND * 5);
    bench.ask(SECOND * 60);
    let (id, _, within) = bench.wakes().unwrap();
    assert_eq!(within, SECOND * 5, "asked for by the first");
    assert_eq!(bench.wakes(), None);
    bench.pass(SECOND * 5);
    let after = SECOND * 10;
    let late =
        WakeError::Timeout { after, phase: PhaseName::Starting, reason: "asked for".to_owned() };
    bench.tell(Input::NeedAnswered { id, result: Err(late) });
    assert_eq!(bench.wakes().map(|(_, need, within)| (need, within)), Some((0, SECOND * 55)));
}

#[test]
fn what_nobody_waits_for_any_more_is_given_up() {
    // All were told that it took too long.
    let mut bench = Bench::asleep().needing();
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.ask(SECOND * 10);
    assert_eq!(bench.said(), Some(Said::Hold));
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.pass(SECOND * 10);
    assert!(bench.refused().is_some());
    assert_eq!(bench.said(), Some(Said::LetGo));
    assert_eq!(bench.core.phase(), PhaseName::Asleep);

    // All have left: the wake goes on, but not for ever.
    let ask = bench.ask(SECOND * 10);
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.tell(Input::Withdraw(vec![ask]));
    assert_eq!(bench.said(), Some(Said::Hold));
    bench.pass(SECOND * 9);
    assert_eq!(bench.said(), None);
    bench.pass(SECOND);
    assert_eq!(bench.said(), Some(Said::LetGo));
    assert!(bench.order().is_none());
}

#[test]
fn what_is_granted_and_not_there_is_asked_for_once_a_second() {
    let mut bench = Bench::asleep().needing();
    bench.ask(SECOND * 10);
    bench.needs_are(DOWN, NeedSeen::Met);
    for _ in 0..10 {
        bench.need_answers(0, Ok(()));
        assert_eq!(bench.wakes(), None);
        bench.pass(SECOND);
    }
}

#[test]
fn what_nobody_manages_is_waited_for_and_not_asked() {
    let mut bench = Bench::asleep().needing();
    let ask = bench.ask(SECOND * 10);
    bench.needs_are(NeedSeen::Unmanaged, NeedSeen::Met);
    bench.pass(SECOND * 5);
    assert_eq!(bench.wakes(), None);
    // It is managed anew.
    bench.tell(Input::NeedsChanged(two()));
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.need_answers(0, Err(WakeError::Closed));
    assert!(bench.refused().is_none(), "its management ends, and another may begin");
    bench.tell(Input::NeedsChanged(two()));
    bench.needs_are(NeedSeen::Met, NeedSeen::Met);
    bench.wake_up("one");
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn what_dies_is_woken_while_it_is_in_use_and_its_refusals_are_waited_out() {
    let mut bench = Bench::in_use();
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.need_answers(0, Err(fails(SECOND * 60)));
    bench.pass(SECOND * 59);
    assert_eq!(bench.wakes(), None);
    bench.pass(SECOND);
    bench.need_answers(0, Err(fails(SECOND)));
    bench.pass(SECOND * 4);
    assert_eq!(bench.wakes(), None, "at least five seconds");
    bench.pass(SECOND);
    assert!(bench.wakes().is_some());
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    assert!(bench.refused().is_none());
    // In use for one idle time after the last lease.
    bench.needs_are(NeedSeen::Met, NeedSeen::Met);
    bench.end_lease();
    bench.needs_are(NeedSeen::Met, DOWN);
    assert!(bench.wakes().is_some());
}

#[test]
fn what_dies_and_a_right_lacks_for_is_asked_for_ever_less_often() {
    let mut bench = Bench::in_use();
    bench.needs_are(DOWN, NeedSeen::Met);
    let source = error(ErrorKind::Forbidden { privilege: None, path: None });
    let refusal = WakeError::NotPermitted { retry_after: SECOND * 5, source };
    for pause in [5, 10, 20, 40, 60, 60] {
        bench.need_answers(0, Err(refusal.clone()));
        bench.pass(SECOND * (pause - 1));
        assert_eq!(bench.wakes(), None);
        bench.pass(SECOND);
    }
    // From the beginning, once it was granted.
    bench.need_answers(0, Ok(()));
    bench.pass(SECOND);
    bench.need_answers(0, Err(refusal));
    bench.pass(SECOND * 5);
    assert!(bench.wakes().is_some());
}

#[test]
fn what_dies_under_one_that_is_idle_is_looked_at_each_second() {
    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.pass(IDLE);
    bench.needs_are(DOWN, NeedSeen::Met);
    assert_eq!(bench.wakes(), None);
    // Its engine takes its time for the look before the sleep, and somebody comes.
    assert!(bench.shared.word.take());
    bench.pass(SECOND);
    assert!(bench.wakes().is_some());
}

#[test]
fn what_others_have_ended_stays_so_until_it_is_used_after_that() {
    let mut bench = Bench::in_use();
    bench.pass(SECOND);
    let at = bench.shared.instant(bench.now.since_anchor());
    bench.needs_are(NeedSeen::Down { ended_by_others_at: Some(at) }, NeedSeen::Met);
    bench.pass(FAR);
    assert_eq!(bench.wakes(), None, "the lease is older than that");
    bench.end_lease();
    bench.pass(SECOND);
    assert_eq!(bench.wakes().map(|(_, need, _)| need), Some(0));
}

#[test]
fn what_is_in_error_is_refused_and_left_as_it_is() {
    let in_error = || Input::NeedsChanged(NeedsNow::InError("a cycle: a → b → a".into()));
    let mut bench = Bench::asleep();
    bench.tell(in_error());
    bench.ask(FAR);
    let (_, refusal) = bench.refused().unwrap();
    assert!(matches!(refusal, WakeError::Misconfigured { .. }), "{refusal}");
    assert!(bench.order().is_none());

    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.tell(in_error());
    bench.pass(IDLE * 2);
    assert!(bench.reading().is_none() && bench.order().is_none());
    assert!(bench.shared.word.look().is_open(), "it serves on");
    assert_eq!(bench.said(), None, "with what it needed before");
    bench.tell(Input::NeedsChanged(two()));
    bench.read_says(running("one"));
    bench.end_order(&stop(), "one");
    assert_eq!(bench.said(), Some(Said::LetGo));
}

#[test]
fn a_wake_that_only_dependents_wanted_is_no_use() {
    let mut bench = Bench::asleep();
    bench.pass(IDLE);
    let id = AskId(7);
    let deadline = bench.now + FAR;
    bench.tell(Input::Ask { id, kind: LeaseKind::Dependent, deadline });
    bench.wake_up("one");
    bench.shared.word.drop_passive();
    bench.tell(Input::LetGo);
    bench.read_says(running("one"));
    assert!(bench.order().is_some(), "it sleeps at once");
    assert_eq!(bench.core.reason(), "nothing needs it any more");
}

#[test]
fn what_is_made_anew_while_it_wakes_for_dependents_is_up_by_its_makers_will() {
    let mut bench = Bench::asleep();
    bench.pass(IDLE);
    let deadline = bench.now + FAR;
    bench.tell(Input::Ask { id: AskId(7), kind: LeaseKind::Dependent, deadline });
    bench.order_is_done(&Order::Start);
    bench.read_answers(Ok(Details::new("another", "app", running("two"))));
    assert_eq!(bench.core.reason(), "started from outside");
    bench.probe_succeeds();
    bench.shared.word.drop_passive();
    bench.tell(Input::LetGo);
    bench.pass(IDLE - SECOND);
    assert!(bench.reading().is_none(), "it is in use for one idle time");
    bench.pass(SECOND);
    bench.read_answers(Ok(Details::new("another", "app", running("two"))));
    assert!(bench.order().is_some());
    assert_eq!(bench.core.reason(), "idle for 15m");
}

#[test]
fn a_wake_whose_dependents_have_left_waits_for_them_for_an_idle_time() {
    let mut bench = Bench::asleep();
    let id = AskId(7);
    let deadline = bench.now + SECOND * 10;
    bench.tell(Input::Ask { id, kind: LeaseKind::Dependent, deadline });
    bench.order_is_done(&Order::Start);
    bench.read_says(running("one"));
    bench.pass(SECOND * 60);
    assert!(bench.refused().is_some());
    bench.pass(SECOND);
    bench.effects.clear();
    bench.happens(EventAction::Health(drowse_provider::Health::Healthy));
    bench.probe_succeeds();
    bench.pass(SECOND * 60 * 14);
    assert!(bench.reading().is_none());
    bench.pass(SECOND * 60);
    bench.read_says(running("one"));
    assert!(bench.order().is_some());
}

#[test]
fn what_is_frozen_needs_nothing() {
    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.happens(EventAction::Pause);
    assert_eq!(bench.said(), None);
    bench.read_says(Observation::new(ContainerStatus::Paused, Some(RunId::new("one"))));
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.ask(FAR);
    assert_eq!(bench.said(), Some(Said::Hold));
    bench.needs_are(NeedSeen::Met, NeedSeen::Met);
    assert_eq!(bench.order().map(|(_, order)| order), Some(Order::Start));
}

#[test]
fn behind_a_lock_nothing_is_woken_that_it_needs() {
    let mut bench = Bench::asleep().needing();
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.synced(stopped("old").with_lock(Some("backup".to_owned())));
    bench.read_says(stopped("old").with_lock(Some("backup".to_owned())));
    bench.ask(FAR);
    bench.endure(SECOND * 60, &stopped("old").with_lock(Some("backup".to_owned())));
    assert_eq!(bench.said(), None);
    assert_eq!(bench.wakes(), None);
}

#[test]
fn a_refusal_that_comes_at_once_is_told_for_a_second_without_another_wake() {
    let mut bench = Bench::asleep().needing();
    bench.ask(FAR);
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.need_answers(0, Err(fails(SECOND * 7)));
    bench.effects.clear();
    for _ in 0..10 {
        let ask = bench.ask(FAR);
        let (id, refusal) = bench.refused().unwrap();
        assert_eq!((id, refusal.retry_after()), (ask, Some(SECOND * 7)));
        assert!(bench.effects.is_empty(), "{:?}", bench.effects);
    }
    bench.pass(SECOND);
    bench.ask(FAR);
    assert_eq!(bench.said(), Some(Said::Hold));
}

#[test]
fn what_refused_is_asked_alone_until_it_refuses_no_more() {
    let mut bench = Bench::asleep().needing();
    bench.ask(FAR);
    bench.needs_are(DOWN, DOWN);
    bench.need_answers(0, Err(WakeError::NotFound));
    assert_eq!(bench.wakes().map(|(_, need, _)| need), Some(1), "both were asked at first");
    for _ in 0..3 {
        bench.pass(SECOND * 5);
        bench.ask(FAR);
        bench.needs_are(DOWN, DOWN);
        bench.need_answers(0, Err(WakeError::NotFound));
        assert_eq!(bench.wakes(), None, "it would be woken for nothing");
    }
    bench.pass(SECOND * 5);
    bench.ask(FAR);
    bench.needs_are(DOWN, DOWN);
    bench.need_answers(0, Ok(()));
    bench.needs_are(NeedSeen::Met, DOWN);
    bench.need_answers(1, Ok(()));
    bench.needs_are(NeedSeen::Met, NeedSeen::Met);
    assert!(bench.order().is_some());
}

#[test]
fn what_came_up_by_itself_after_a_refusal_keeps_none_of_the_others_waiting() {
    let mut bench = Bench::asleep().needing();
    bench.ask(FAR);
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.need_answers(0, Err(WakeError::NotFound));
    bench.pass(SECOND * 5);
    bench.ask(FAR);
    bench.needs_are(NeedSeen::Met, DOWN);
    assert_eq!(bench.wakes().map(|(_, need, _)| need), Some(1));
}

#[test]
fn a_lock_that_it_meets_while_it_waits_is_told_in_time() {
    let locked = || stopped("old").with_lock(Some("backup".to_owned()));
    let mut bench = Bench::asleep().needing();
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.ask(FAR);
    assert_eq!(bench.said(), Some(Said::Hold));
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.synced(locked());
    bench.read_says(locked());
    // Read once more, in case that it is gone.
    bench.read_says(locked());
    assert_eq!(bench.said(), Some(Said::LetGo));
    bench.endure(SECOND * 16, &locked());
    let (_, refusal) = bench.refused().unwrap();
    assert!(matches!(refusal, WakeError::Locked { .. }), "{refusal}");
}

#[test]
fn an_engine_that_goes_away_while_it_waits_is_told_in_time() {
    let mut bench = Bench::asleep().needing();
    bench.ask(FAR);
    bench.needs_are(DOWN, NeedSeen::Met);
    bench.tell(Input::Watched(Err(unavailable())));
    bench.pass(SECOND * 121);
    let (_, refusal) = bench.refused().unwrap();
    assert!(matches!(refusal, WakeError::EngineUnavailable { .. }), "{refusal}");
}

#[test]
fn what_is_not_needed_any_more_is_not_missed_any_more() {
    let mut bench = Bench::in_use();
    bench.end_lease();
    bench.now = bench.now + SECOND;
    let ended_by_others_at = Some(bench.shared.instant(bench.now.since(Moment::from_millis(0))));
    bench.needs_are(NeedSeen::Met, NeedSeen::Down { ended_by_others_at });
    assert_eq!(bench.shared.awaits_use_since(), ended_by_others_at);
    bench.tell(Input::NeedsChanged(NeedsNow::Of(Vec::new())));
    assert_eq!(bench.shared.awaits_use_since(), None);
}

#[test]
fn what_is_told_to_run_holds_what_it_needs_before_a_read_says_so() {
    let told: [fn(&mut Bench); 2] =
        [|bench| bench.synced(running("two")), |bench| bench.happens(EventAction::Start)];
    for told in told {
        let mut bench = Bench::asleep().needing();
        assert_eq!(bench.said(), Some(Said::LetGo));
        told(&mut bench);
        assert_eq!(bench.said(), Some(Said::Hold));
        bench.pass(FAR);
        assert_eq!(bench.said(), None, "the read hangs");
        bench.read_says(stopped("old"));
        assert_eq!(bench.said(), Some(Said::LetGo));
    }
}
