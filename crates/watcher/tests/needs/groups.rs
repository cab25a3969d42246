//! Workloads that wake together and sleep together.

use std::time::Duration;

use drowse_provider::{Action, Deadline, ErrorKind, StopOptions, testing::Step};
use drowse_watcher::{
    Condition, Force, Group, LeaseKind, Need, Needs, PhaseName, Policy, SleepMethod, Workload,
};
use tokio::time::sleep;

use crate::town::{IDLE, PATIENCE, Town, a_moment};

const NAMES: [&str; 3] = ["api", "web", "worker"];

fn three() -> (Town, Group) {
    let mut town = Town::new();
    let group = Group::new("shop");
    for name in NAMES {
        town.engine.add(name);
        join(&mut town, &group, name);
    }
    (town, group)
}

fn join(town: &mut Town, group: &Group, name: &'static str) {
    let spec = town.spec(name, Policy::new(IDLE)).with_group(group.clone());
    town.insert(name, Workload::spawn(spec));
}

#[tokio::test(start_paused = true)]
async fn a_lease_on_one_wakes_all_of_them() {
    let (town, _group) = three();
    town.until_all_sleep().await;
    let lease = town.lease("web").await.unwrap();
    for name in NAMES {
        town.until(name, PhaseName::Ready).await;
    }
    assert_eq!(town.orders().len(), 3);
    let why = |name| town.workload(name).history().iter().rev().nth(2).unwrap().reason.clone();
    assert_eq!(why("web"), "asked for by route test");
    assert_eq!(why("api"), "it wakes with its group");
    // While one is in use none of them sleeps.
    sleep(IDLE * 4).await;
    let api = town.workload("api").snapshot();
    assert_eq!(api.vetoed_by.as_deref(), Some("group shop: `web` is in use"));
    assert_eq!(town.orders().len(), 3);
    drop(lease);
    town.until_all_sleep().await;
    assert_eq!(town.orders().len(), 6);
    // And nothing wakes again by itself.
    sleep(IDLE * 4).await;
    assert_eq!(town.orders().len(), 6);
}

/// Though they have no idle time to speak of, and the others are there much sooner.
#[tokio::test(start_paused = true)]
async fn none_sleeps_while_another_is_waited_for() {
    let mut town = Town::new();
    let group = Group::new("shop");
    for name in NAMES {
        town.engine.add(name);
        let policy = Policy::new(Duration::from_secs(1));
        let spec = town.spec(name, policy).with_group(group.clone());
        town.insert(name, Workload::spawn(spec));
    }
    town.until_all_sleep().await;
    let late = Step::ok().late_by(Duration::from_secs(20));
    town.container("web").script(Action::Start, [late]);
    let lease = town.lease("web").await.unwrap();
    assert_eq!(NAMES.map(|name| town.phase(name)), [PhaseName::Ready; 3]);
    assert_eq!(town.orders().len(), 3);
    drop(lease);
    town.until_all_sleep().await;
    assert_eq!(town.orders().len(), 6);
}

/// Who waits for another of them is asked ever less often.
#[tokio::test(start_paused = true)]
async fn the_others_follow_at_once_however_long_one_was_in_use() {
    let (town, _group) = three();
    town.until_all_sleep().await;
    let lease = town.lease("web").await.unwrap();
    sleep(IDLE * 10 + IDLE / 3).await;
    drop(lease);
    town.until("web", PhaseName::Asleep).await;
    a_moment().await;
    assert_eq!(NAMES.map(|name| town.phase(name)), [PhaseName::Asleep; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_one_of_them_fails_at_is_its_own() {
    let (town, _group) = three();
    let failed = ErrorKind::Failed { exit: None, message: "port is taken".to_owned() };
    town.container("worker").always(Action::Start, Step::refuse(failed));
    town.until_all_sleep().await;
    drop(town.lease("web").await.unwrap());
    a_moment().await;
    assert_eq!(town.phase("api"), PhaseName::Ready);
    assert_eq!(town.phase("worker"), PhaseName::Failed);
    assert_eq!(town.container("worker").calls(Action::Start), 1);
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_wake_with_the_others_follows_them_at_the_end_of_its_back_off() {
    let (town, _group) = three();
    let failed = ErrorKind::Failed { exit: None, message: "port is taken".to_owned() };
    town.container("worker").script(Action::Start, [Step::refuse(failed)]);
    town.until_all_sleep().await;
    let lease = town.lease("web").await.unwrap();
    a_moment().await;
    assert_eq!(town.phase("worker"), PhaseName::Failed);
    town.until("worker", PhaseName::Ready).await;
    drop(lease);
    town.until_all_sleep().await;
    sleep(IDLE * 4).await;
    assert_eq!(town.orders().len(), 7, "three starts, one that was refused, three stops");
}

/// drowse was killed between the start of one and that of the other.
#[tokio::test(start_paused = true)]
async fn what_sleeps_when_its_management_begins_follows_those_that_are_adopted() {
    // Whichever is read first.
    for slow in NAMES {
        let mut town = Town::new();
        let group = Group::new("shop");
        for name in NAMES {
            town.engine.add(name);
        }
        town.container("web").start();
        let late = Step::ok().late_by(Duration::from_secs(1));
        town.container(slow).script(Action::Inspect, [late]);
        for name in NAMES {
            join(&mut town, &group, name);
        }
        for name in NAMES {
            town.until(name, PhaseName::Ready).await;
        }
        town.until_all_sleep().await;
        sleep(IDLE * 4).await;
        assert_eq!(town.orders().len(), 5, "two starts, three stops");
    }
}

/// drowse began anew: nothing wakes what sleeps since nothing is in use.
#[tokio::test(start_paused = true)]
async fn what_sleeps_altogether_stays_asleep_when_its_management_begins() {
    let (town, _group) = three();
    sleep(IDLE * 2).await;
    assert!(town.orders().is_empty());
}

/// It had been agreed that it may sleep, and it was on its way.
#[tokio::test(start_paused = true)]
async fn one_that_falls_asleep_while_another_is_used_wakes_again() {
    let (town, _group) = three();
    town.until_all_sleep().await;
    drop(town.lease("web").await.unwrap());
    let web = town.container("web");
    web.script(Action::Stop, [Step::ok().late_by(Duration::from_secs(20))]);
    town.until("web", PhaseName::Stopping).await;
    let workload = town.workload("api");
    // It is asleep or on its way itself, unless it is caught in time.
    let holder = workload.holder("route test");
    let lease =
        workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await.unwrap();
    town.until("web", PhaseName::Ready).await;
    drop(lease);
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_put_to_sleep_by_hand_stays_asleep() {
    let (town, _group) = three();
    town.until_all_sleep().await;
    let _lease = town.lease("api").await.unwrap();
    town.until("web", PhaseName::Ready).await;
    let far = Deadline::after(PATIENCE);
    town.workload("web").sleep_now(far, Force::EvenInUse).await.unwrap();
    sleep(IDLE).await;
    assert_eq!(town.phase("web"), PhaseName::Asleep);
}

#[tokio::test(start_paused = true)]
async fn who_is_managed_no_more_has_left() {
    let (mut town, group) = three();
    town.until_all_sleep().await;
    town.workload("worker").close().await;
    drop(town.lease("web").await.unwrap());
    town.until("api", PhaseName::Ready).await;
    assert_eq!(town.container("worker").calls(Action::Start), 0);
    town.manage("worker", Policy::new(IDLE), Needs::default());
    town.until_all_sleep().await;
    drop(town.lease("web").await.unwrap());
    a_moment().await;
    assert_eq!(town.container("worker").calls(Action::Start), 0);
    join(&mut town, &group, "worker");
    town.until_all_sleep().await;
    drop(town.lease("web").await.unwrap());
    town.until("worker", PhaseName::Ready).await;
}

/// They wake and sleep together, and in order.
#[tokio::test(start_paused = true)]
async fn members_may_need_each_other() {
    let mut town = Town::new();
    let group = Group::new("shop");
    for (name, needs) in [("db", &[][..]), ("app", &["db"])] {
        town.engine.add(name);
        let spec = town.spec(name, Policy::new(IDLE)).with_group(group.clone());
        let spec = spec.with_needs(town.ready(needs));
        town.insert(name, Workload::spawn(spec));
    }
    town.until_all_sleep().await;
    drop(town.lease("app").await.unwrap());
    assert_eq!(town.orders(), ["+db", "+app"]);
    town.until_all_sleep().await;
    assert_eq!(town.orders()[2..], ["-app", "-db"]);
    sleep(IDLE * 4).await;
    assert_eq!(town.orders().len(), 4);
}

/// What lingers after those who need it is kept awake by that, and not used: nobody follows it.
#[tokio::test(start_paused = true)]
async fn what_lingers_after_one_of_them_wakes_nobody_again() {
    let mut town = Town::new();
    let group = Group::new("shop");
    for name in ["db", "app", "web"] {
        town.engine.add(name);
    }
    let lingering = Policy::new(IDLE).with_lingering(true);
    let db = Workload::spawn(town.spec("db", lingering).with_group(group.clone()));
    town.insert("db", db.clone());
    let needs = Needs::Of(vec![Need::new("db", Some(db), Condition::Ready)]);
    let app = town.spec("app", Policy::new(IDLE)).with_group(group.clone()).with_needs(needs);
    town.insert("app", Workload::spawn(app));
    join(&mut town, &group, "web");
    town.until_all_sleep().await;
    // While `web` is on its way, `app` lets go of `db`.
    town.container("web").always(Action::Stop, Step::ok().late_by(Duration::from_secs(2)));
    drop(town.lease("web").await.unwrap());
    town.until_all_sleep().await;
    sleep(IDLE * 4).await;
    let starts = town.orders().into_iter().filter(|order| order.starts_with('+')).count();
    assert_eq!(starts, 3);
}

/// It has slept since it was frozen: whoever of its group was used since then left it so.
#[tokio::test(start_paused = true)]
async fn what_was_frozen_is_stopped_for_good() {
    let mut town = Town::new();
    let group = Group::new("shop");
    for name in ["db", "web"] {
        town.engine.add(name);
    }
    let frozen = SleepMethod::PauseThenStop { after: IDLE * 3, stop: StopOptions::new() };
    let db = town.spec("db", Policy::new(IDLE).with_sleep(frozen)).with_group(group.clone());
    town.insert("db", Workload::spawn(db));
    let always_on = Policy::new(IDLE).with_sleep(SleepMethod::Never);
    town.insert("web", Workload::spawn(town.spec("web", always_on).with_group(group)));
    drop(town.lease("db").await.unwrap());
    town.until("web", PhaseName::Ready).await;
    town.until("db", PhaseName::Asleep).await;
    drop(town.lease("web").await.unwrap());
    sleep(IDLE * 6).await;
    let of_db = town.orders().into_iter().filter(|order| order.ends_with("db"));
    assert_eq!(of_db.collect::<Vec<_>>(), ["+db", "-db", "-db"]);
}

/// As a monitor's that is answered for long.
#[tokio::test(start_paused = true)]
async fn a_passive_use_of_one_keeps_none_of_the_others_awake() {
    let (town, _group) = three();
    town.until_all_sleep().await;
    drop(town.lease("web").await.unwrap());
    a_moment().await;
    let web = town.workload("web");
    let monitor = web.try_lease(&web.holder("a monitor"), LeaseKind::Passive).unwrap();
    sleep(IDLE * 4).await;
    let phases = [PhaseName::Asleep, PhaseName::Ready, PhaseName::Asleep];
    assert_eq!(NAMES.map(|name| town.phase(name)), phases);
    assert_eq!(town.orders().len(), 5, "three starts, two stops");
    drop(monitor);
    town.until_all_sleep().await;
    assert_eq!(town.orders().len(), 6);
}

/// It comes while the others fall asleep.
#[tokio::test(start_paused = true)]
async fn a_passive_use_of_one_wakes_none_of_the_others_again() {
    let (town, _group) = three();
    town.until_all_sleep().await;
    for name in ["api", "worker"] {
        let late = Step::ok().late_by(Duration::from_secs(20));
        town.container(name).always(Action::Stop, late);
    }
    drop(town.lease("web").await.unwrap());
    a_moment().await;
    let web = town.workload("web");
    let monitor = web.try_lease(&web.holder("a monitor"), LeaseKind::Passive).unwrap();
    for name in ["api", "worker"] {
        town.until(name, PhaseName::Asleep).await;
    }
    sleep(IDLE).await;
    drop(monitor);
    town.until_all_sleep().await;
    assert_eq!(town.orders().len(), 6, "three starts, three stops");
}

/// Each takes longer to start than it stays awake.
#[tokio::test(start_paused = true)]
async fn those_that_start_slowly_do_not_wake_each_other_in_turn() {
    let mut town = Town::new();
    let group = Group::new("shop");
    for (name, takes) in [("api", 20), ("web", 40), ("worker", 60)] {
        let takes = Step::ok().late_by(Duration::from_secs(takes));
        town.engine.add(name).always(Action::Start, takes);
        let spec = town.spec(name, Policy::new(Duration::from_secs(5))).with_group(group.clone());
        town.insert(name, Workload::spawn(spec));
    }
    drop(town.lease("api").await.unwrap());
    sleep(IDLE * 40).await;
    assert_eq!(NAMES.map(|name| town.phase(name)), [PhaseName::Asleep; 3]);
    let starts = town.orders().into_iter().filter(|order| order.starts_with('+')).count();
    assert_eq!(starts, 3);
}

/// It is known to the millisecond when something was used.
#[tokio::test(start_paused = true)]
async fn a_use_that_ends_as_another_falls_asleep_wakes_nobody_again() {
    let mut town = Town::new();
    let group = Group::new("shop");
    for name in NAMES {
        let container = town.engine.add(name);
        container.always(Action::Stop, Step::ok().late_by(Duration::from_millis(10)));
        let spec = town.spec(name, Policy::new(Duration::ZERO)).with_group(group.clone());
        town.insert(name, Workload::spawn(spec));
    }
    town.until_all_sleep().await;
    // The others ask each second whether they may sleep.
    for (round, late) in (990..=1010).enumerate() {
        let lease = town.lease("web").await.unwrap();
        for name in NAMES {
            town.until(name, PhaseName::Ready).await;
        }
        sleep(Duration::from_millis(late)).await;
        drop(lease);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(town.orders().len(), (round + 1) * 6, "given back after {late} ms");
    }
}
