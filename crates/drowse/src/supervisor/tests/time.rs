//! Schedules and holds at work, under a clock of the test's own.

use drowse_watcher::WakeError;

use super::*;
use crate::{
    clock::testing::SetClock,
    schedule::driver,
    store::{HoldKind, KeptHold},
};

/// A supervisor whose schedules go by `clock`.
fn scheduled(clock: &SetClock) -> (Supervised, AbortOnDrop) {
    let all = Supervised::begin("time_zone: Europe/Berlin");
    let driver = driver::follow(all.view.clone(), clock.clock(), all.end.clone());
    let driver = AbortOnDrop(tokio::spawn(driver));
    (all, driver)
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const HOURS: &[(&str, &str)] = &[("drowse.awake", "Mon-Fri 08:00-18:00"), ("drowse.idle", "1m")];

#[tokio::test(start_paused = true)]
async fn a_workload_is_woken_for_its_hours_and_sleeps_after_them() {
    // A Thursday, 07:30 in Berlin.
    let clock = SetClock::at("2026-11-26T06:30:00Z");
    let (mut all, _driver) = scheduled(&clock);
    let office = all.add("office", HOURS);
    let workload = all.workload("office").await;
    comes_to(&workload, PhaseName::Asleep).await;
    assert_eq!(office.calls(Action::Start), 0);

    let news = workload.watch();
    let in_time = |phase| {
        let mut news = news.clone();
        async move {
            let waited = news.wait_for(|now| now.phase == phase);
            assert!(tokio::time::timeout(Duration::from_hours(24), waited).await.is_ok());
        }
    };
    in_time(PhaseName::Ready).await;
    let began: jiff::Timestamp = "2026-11-26T07:00:00Z".parse().unwrap();
    assert!((0..60).contains(&clock.clock().now().duration_since(began).as_secs()));
    let held = workload.held_by();
    assert_eq!(held, [("schedule Mon-Fri 08:00-18:00".to_owned(), 1)]);

    in_time(PhaseName::Asleep).await;
    let ended: jiff::Timestamp = "2026-11-26T17:01:00Z".parse().unwrap();
    assert!((0..120).contains(&clock.clock().now().duration_since(ended).as_secs()));
    assert_eq!((office.calls(Action::Start), office.calls(Action::Stop)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed_within_a_minute() {
    let clock = SetClock::at("2026-11-26T02:00:00Z");
    let (mut all, _driver) = scheduled(&clock);
    all.add("office", HOURS);
    let workload = all.workload("office").await;
    comes_to(&workload, PhaseName::Asleep).await;
    // As after a suspend.
    clock.jumps_to("2026-11-26T09:00:00Z");
    let jumped = Instant::now();
    comes_to(&workload, PhaseName::Ready).await;
    assert!(jumped.elapsed() < Duration::from_secs(70), "{:?}", jumped.elapsed());
    // Set back, before the hours: nothing keeps it awake any more.
    clock.jumps_to("2026-11-26T05:00:00Z");
    let jumped = Instant::now();
    comes_to(&workload, PhaseName::Asleep).await;
    assert!(jumped.elapsed() < Duration::from_secs(130), "{:?}", jumped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_workload_is_woken_at_its_time_and_not_long_after() {
    let clock = SetClock::at("2026-11-26T06:40:00Z");
    let (mut all, _driver) = scheduled(&clock);
    let labels = [("drowse.wake-at", "Mon-Fri 07:45"), ("drowse.idle", "1m")];
    let office = all.add("office", &labels);
    let workload = all.workload("office").await;
    comes_to(&workload, PhaseName::Ready).await;
    let due: jiff::Timestamp = "2026-11-26T06:45:00Z".parse().unwrap();
    assert!((0..60).contains(&clock.clock().now().duration_since(due).as_secs()));
    comes_to(&workload, PhaseName::Asleep).await;

    // Ten minutes late, after a suspend; and then two hours.
    for (now, starts) in [("2026-11-27T06:55:00Z", 2), ("2026-11-30T08:45:00Z", 2)] {
        clock.jumps_to(now);
        tokio::time::sleep(Duration::from_mins(5)).await;
        comes_to(&workload, PhaseName::Asleep).await;
        assert_eq!(office.calls(Action::Start), starts, "{now}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_planned_wake_is_made_up_for_if_drowse_began_a_little_later() {
    let labels = [("drowse.wake-at", "Mon-Fri 07:45"), ("drowse.idle", "1m")];
    for (now, starts) in [("2026-11-26T06:55:00Z", 1), ("2026-11-26T07:05:00Z", 0)] {
        let (mut all, _driver) = scheduled(&SetClock::at(now));
        let office = all.add("office", &labels);
        let workload = all.workload("office").await;
        tokio::time::sleep(Duration::from_mins(5)).await;
        comes_to(&workload, PhaseName::Asleep).await;
        assert_eq!(office.calls(Action::Start), starts, "{now}");
    }
}

fn asleep_until(until: Option<&str>) -> KeptHold {
    let now = "2026-11-26T12:00:00Z".parse().unwrap();
    let until = until.map(|until| until.parse().unwrap());
    KeptHold { kind: HoldKind::Asleep, reason: None, until, since: now, seen: now, is_due: false }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_asleep_is_left_as_it_is_from_the_first_moment_on() {
    let clock = SetClock::at("2026-11-26T12:00:00Z");
    let store = Store::in_memory(clock.clock());
    store.change_holds(|holds| holds.insert("app".to_owned(), asleep_until(None)));
    let mut all = Supervised::begin_with(ScriptedEngine::new("docker"), "", store.clone());
    let app = all.add("app", &[("drowse.idle", "0s")]);
    // Somebody has started it while drowse was away.
    app.start();
    let workload = all.workload("app").await;
    tokio::time::sleep(Duration::from_hours(2)).await;
    let holder = workload.holder("a request");
    let refused = workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await;
    assert!(matches!(refused, Err(WakeError::HeldAsleep { .. })), "{refused:?}");
    assert_eq!((app.calls(Action::Start), app.calls(Action::Stop)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_by_the_wall_clock_and_outlasts_its_container() {
    let clock = SetClock::at("2026-11-26T12:00:00Z");
    let store = Store::in_memory(clock.clock());
    let until = asleep_until(Some("2026-11-26T18:00:00Z"));
    store.change_holds(|holds| holds.insert("app".to_owned(), until));
    let mut all = Supervised::begin_with(ScriptedEngine::new("docker"), "", store.clone());
    let holds = Holds::new(store);
    let _follows = AbortOnDrop(tokio::spawn(holds.follow(all.view.clone(), all.end.clone())));
    let before = all.add("app", &[("drowse.idle", "1m")]);
    let workload = all.workload("app").await;
    comes_to(&workload, PhaseName::Asleep).await;
    // Made anew, as an update does.
    before.remove();
    all.add("app", &[("drowse.idle", "1m")]);
    tokio::time::sleep(Duration::from_mins(5)).await;
    let workload = all.workload("app").await;
    let holder = workload.holder("a request");
    let ask = || workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE));
    let Err(WakeError::HeldAsleep { retry_after: Some(left), .. }) = ask().await else {
        panic!("it is held no more")
    };
    assert!(left > Duration::from_hours(5), "{left:?}");
    // The machine was suspended.
    clock.jumps_to("2026-11-26T18:00:01Z");
    tokio::time::sleep(Duration::from_mins(2)).await;
    drop(ask().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_release_ends_what_acts_even_where_the_hold_is_gone() {
    let clock = SetClock::at("2026-11-26T12:00:00Z");
    let store = Store::in_memory(clock.clock());
    let mut all = Supervised::begin_with(ScriptedEngine::new("docker"), "", store.clone());
    all.add("app", &[("drowse.idle", "1m")]);
    let workload = all.workload("app").await;
    let entry = all.view.borrow().find("app").cloned().unwrap();
    let holds = Holds::new(store.clone());
    holds.hold(&entry, asleep_until(None)).await;
    let is_held = |held: bool| {
        let mut news = workload.watch();
        async move { news.wait_for(|now| now.held_asleep.is_some() == held).await.map(drop) }
    };
    is_held(true).await.unwrap();
    store.change_holds(|holds| holds.remove("app"));
    assert_eq!(holds.unhold("app").await, None);
    tokio::time::timeout(PATIENCE, is_held(false)).await.unwrap().unwrap();
}

#[test]
fn the_hold_of_what_was_never_read_is_not_forgotten() {
    let store = Store::in_memory(WallClock::system());
    store.change_holds(|holds| holds.insert("db".to_owned(), asleep_until(None)));
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    store.change_holds(|holds| holds.get_mut("db").unwrap().seen = long_ago);
    let planned = plan::Waiting {
        name: "db".to_owned(),
        engine: "nas".to_owned(),
        container: "db".to_owned(),
        vmid: None,
    };
    let view = View { waiting: vec![Unread { planned, trouble: None }], ..View::default() };
    let holds = Holds::new(store);
    holds.forget_the_gone(&view);
    assert!(holds.of("db").is_some());
    holds.forget_the_gone(&View::default());
    assert!(holds.of("db").is_some(), "it was seen just now");
}
