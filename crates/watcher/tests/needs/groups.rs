//! Workloads that wake together and sleep together.

use std::time::Duration;

use drowse_provider::{Action, Deadline, ErrorKind, testing::Step};
use drowse_watcher::{Force, Group, LeaseKind, Needs, PhaseName, Policy, Workload};
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
