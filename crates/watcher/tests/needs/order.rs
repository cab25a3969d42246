//! Who is woken and put to sleep after whom.

use std::time::Duration;

use drowse_provider::{Action, Deadline, Signal, testing::Step};
use drowse_watcher::{Condition, Force, Needs, PhaseName, Policy, SleepError, Workload};
use tokio::time::{sleep, timeout};

use crate::town::{IDLE, PATIENCE, Town, a_moment};

const ALMOST_IDLE: Duration = Duration::from_mins(13);

/// An application, its database, and what that needs in turn.
fn chain() -> Town {
    let mut town = Town::new();
    town.add("disk", &[]);
    town.add("db", &["disk"]);
    town.add("app", &["db"]);
    town
}

#[tokio::test(start_paused = true)]
async fn a_chain_wakes_from_its_end_and_sleeps_from_its_beginning() {
    let town = chain();
    town.until_all_sleep().await;
    let lease = town.lease("app").await.unwrap();
    assert_eq!(town.orders(), ["+disk", "+db", "+app"]);
    assert_eq!(town.workload("db").held_by(), [("dependent app".to_owned(), 1)]);
    drop(lease);
    town.until_all_sleep().await;
    assert_eq!(town.orders(), ["+disk", "+db", "+app", "-app", "-db", "-disk"]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_sleeps_at_once_after_the_last_dependent() {
    let town = chain();
    drop(town.lease("app").await.unwrap());
    town.until("app", PhaseName::Asleep).await;
    a_moment().await;
    assert_eq!(town.orders()[3..], ["-app", "-db", "-disk"]);
}

/// That its management has only begun is no use of it.
#[tokio::test(start_paused = true)]
async fn what_was_never_used_sleeps_at_once_after_the_last_dependent() {
    let mut town = Town::new();
    town.add("db", &[]);
    let needs = town.ready(&["db"]);
    town.add_with("app", Policy::new(Duration::from_mins(1)), needs);
    sleep(Duration::from_secs(1)).await;
    drop(town.lease("app").await.unwrap());
    town.until("app", PhaseName::Asleep).await;
    a_moment().await;
    assert_eq!(town.orders(), ["+db", "+app", "-app", "-db"]);
}

#[tokio::test(start_paused = true)]
async fn what_lingers_sleeps_after_its_own_idle_time() {
    let mut town = Town::new();
    town.add_with("db", Policy::new(IDLE).with_lingering(true), Needs::default());
    town.add("app", &["db"]);
    drop(town.lease("app").await.unwrap());
    town.until("app", PhaseName::Asleep).await;
    sleep(ALMOST_IDLE).await;
    assert!(town.is_running("db"));
    sleep(Duration::from_mins(3)).await;
    assert!(!town.is_running("db"));
}

#[tokio::test(start_paused = true)]
async fn what_others_have_used_sleeps_after_its_own_idle_time() {
    let town = chain();
    let app = town.lease("app").await.unwrap();
    sleep(IDLE).await;
    drop(app);
    sleep(ALMOST_IDLE).await;
    drop(town.lease("db").await.unwrap());
    town.until("app", PhaseName::Asleep).await;
    sleep(ALMOST_IDLE).await;
    assert!(town.is_running("db"));
    town.until_all_sleep().await;
    assert_eq!(town.orders()[3..], ["-app", "-db", "-disk"]);
}

#[tokio::test(start_paused = true)]
async fn a_dependent_is_not_started_before_what_it_needs_is_ready() {
    let town = chain();
    town.container("db").script(Action::Start, [Step::ok().late_by(Duration::from_secs(30))]);
    town.until_all_sleep().await;
    let asked = tokio::spawn({
        let app = town.workload("app").clone();
        async move {
            let holder = app.holder("route test");
            let deadline = drowse_provider::Deadline::after(PATIENCE);
            app.lease(&holder, drowse_watcher::LeaseKind::Active, deadline).await.map(drop)
        }
    });
    sleep(Duration::from_secs(20)).await;
    let app = town.workload("app").snapshot();
    assert_eq!(app.phase, PhaseName::Starting);
    assert_eq!(app.reason, "waiting for db");
    assert_eq!(app.waiting_for, ["db"]);
    let [db] = &town.workload("app").needs()[..] else { panic!("one need") };
    assert_eq!((db.name.as_str(), db.condition, db.is_met), ("db", Condition::Ready, false));
    assert_eq!(db.why_not.as_deref(), Some("starting: asked for by dependent app"));
    assert_eq!(town.orders(), ["+disk", "+db"]);
    asked.await.unwrap().unwrap();
    let app = town.workload("app");
    assert!(app.snapshot().waiting_for.is_empty());
    assert!(app.needs()[0].is_met);
}

/// The wake timeout of what waits for another counts from its own start.
#[tokio::test(start_paused = true)]
async fn the_clock_of_those_who_wait_stands_while_others_are_waited_for() {
    let town = chain();
    let slow = || Step::ok().late_by(Duration::from_secs(100));
    for name in ["disk", "db", "app"] {
        town.container(name).script(Action::Start, [slow()]);
    }
    town.lease("app").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_does_not_need_each_other_wakes_at_once() {
    let mut town = Town::new();
    town.add("disk", &[]);
    town.add("db", &["disk"]);
    town.add("cache", &["disk"]);
    town.add("app", &["db", "cache"]);
    for name in ["db", "cache"] {
        town.container(name).script(Action::Start, [Step::ok().late_by(Duration::from_mins(1))]);
    }
    town.until_all_sleep().await;
    let began = tokio::time::Instant::now();
    drop(town.lease("app").await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(70), "{:?}", began.elapsed());
    let orders = town.orders();
    assert_eq!((&*orders[0], &*orders[3], orders.len()), ("+disk", "+app", 4));
    town.until_all_sleep().await;
    let orders = town.orders();
    assert_eq!((&*orders[4], &*orders[7]), ("-app", "-disk"));
}

/// Row 11.
#[tokio::test(start_paused = true)]
async fn row_11_what_two_need_is_kept_while_either_is_awake() {
    let mut town = Town::new();
    town.add("db", &[]);
    town.add("wiki", &["db"]);
    town.add("blog", &["db"]);
    drop(town.lease("wiki").await.unwrap());
    let blog = town.lease("blog").await.unwrap();
    town.until("wiki", PhaseName::Asleep).await;
    sleep(IDLE * 4).await;
    assert!(town.is_running("db"));
    assert_eq!(town.workload("db").held_by(), [("dependent blog".to_owned(), 1)]);
    drop(blog);
    town.until_all_sleep().await;
    assert_eq!(town.orders(), ["+db", "+wiki", "+blog", "-wiki", "-blog", "-db"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_puts_to_sleep_what_is_needed() {
    let town = chain();
    let _lease = town.lease("app").await.unwrap();
    let asked =
        town.workload("db").sleep_now(drowse_provider::Deadline::after(PATIENCE), Force::No).await;
    let Err(SleepError::InUse { holders, .. }) = asked else { panic!("{asked:?}") };
    assert_eq!(holders, ["dependent app"]);
}

/// drowse begins anew while everything runs.
#[tokio::test(start_paused = true)]
async fn what_is_adopted_is_never_stopped_before_its_dependent() {
    let mut town = Town::new();
    for name in ["db", "app"] {
        town.engine.add(name).start();
    }
    let policy = Policy::new(Duration::ZERO);
    // What needs it is not known yet.
    let (db, held) = Workload::spawn_held(town.spec("db", policy), "engine home was not read yet");
    town.insert("db", db);
    sleep(IDLE).await;
    assert!(town.is_running("db"));
    town.manage("app", Policy::new(IDLE), town.ready(&["db"]));
    drop(held);
    let app = town.container("app");
    app.script(Action::Stop, [Step::ok().late_by(Duration::from_secs(20))]);
    timeout(PATIENCE, app.called(Action::Stop, 1)).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(town.container("db").calls(Action::Stop), 0);
    town.until_all_sleep().await;
    assert_eq!(town.orders(), ["-app", "-db"]);
}

#[tokio::test(start_paused = true)]
async fn what_sleeps_needs_nothing_and_what_is_started_by_hand_needs_all() {
    let town = chain();
    town.until_all_sleep().await;
    town.container("app").start();
    town.until("app", PhaseName::Ready).await;
    town.until("db", PhaseName::Ready).await;
    assert_eq!(town.orders(), ["+disk", "+db"]);
    town.container("app").kill(Signal::KILL);
    town.until_all_sleep().await;
    assert_eq!(town.orders(), ["+disk", "+db", "-db", "-disk"]);
}

#[tokio::test(start_paused = true)]
async fn needs_change_while_it_is_awake() {
    let town = chain();
    let lease = town.lease("app").await.unwrap();
    // Another database from now on.
    let app = town.workload("app");
    app.set_needs(town.ready(&["disk"])).await;
    town.until("db", PhaseName::Asleep).await;
    sleep(IDLE * 2).await;
    assert!(town.is_running("disk"));
    // And back: in use, it misses what it needs.
    app.set_needs(town.ready(&["db"])).await;
    town.until("db", PhaseName::Ready).await;
    assert_eq!(town.phase("app"), PhaseName::Ready);
    drop(lease);
    app.set_needs(Needs::default()).await;
    town.until("db", PhaseName::Asleep).await;
    assert_eq!(town.phase("app"), PhaseName::Ready);
    town.until_all_sleep().await;
}

/// It begins to need something that is known to sleep, in use: at first one, and then one more.
#[tokio::test(start_paused = true)]
async fn what_it_comes_to_need_while_it_is_in_use_is_woken() {
    let mut town = Town::new();
    for name in ["db", "cache", "app"] {
        town.add(name, &[]);
    }
    let lease = town.lease("app").await.unwrap();
    town.until("db", PhaseName::Asleep).await;
    town.until("cache", PhaseName::Asleep).await;
    let app = town.workload("app");
    app.set_needs(town.ready(&["db"])).await;
    town.until("db", PhaseName::Ready).await;
    app.set_needs(town.ready(&["db", "cache"])).await;
    town.until("cache", PhaseName::Ready).await;
    assert_eq!(town.orders(), ["+app", "+db", "+cache"]);
    drop(lease);
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn needs_that_change_while_it_sleeps_hold_nothing() {
    let mut town = chain();
    town.add("cache", &[]);
    town.until_all_sleep().await;
    town.workload("app").set_needs(town.ready(&["db", "cache"])).await;
    a_moment().await;
    town.until_all_sleep().await;
    assert!(town.orders().is_empty());
    drop(town.lease("app").await.unwrap());
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_manages_a_dependent_anew_keeps_what_it_needs() {
    let mut town = Town::new();
    town.add_with("db", Policy::new(Duration::ZERO), Needs::default());
    town.add("app", &["db"]);
    drop(town.lease("app").await.unwrap());
    let kept = town.ready(&["db"]).hold("app");
    town.workload("app").close().await;
    sleep(IDLE * 2).await;
    assert_eq!(town.workload("db").held_by(), [("dependent app".to_owned(), 1)]);
    town.manage("app", Policy::new(IDLE), town.ready(&["db"]));
    drop(kept);
    a_moment().await;
    assert!(town.is_running("db"));
    // Closed for good, its container left as it is: what it needs is as if nobody needed it, after a
    // while. The management of all may be ending.
    town.workload("app").close().await;
    sleep(Duration::from_secs(50)).await;
    assert!(town.is_running("db"));
    town.until("db", PhaseName::Asleep).await;
    assert!(town.is_running("app"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_managed_yet_is_waited_for() {
    let mut town = Town::new();
    town.add("app", &["db"]);
    town.engine.add("db");
    let refused = town.lease_within("app", Duration::from_mins(1)).await.unwrap_err();
    assert_eq!(refused.to_string(), "not ready after 60s (starting): waiting for db");
    town.manage("db", Policy::new(IDLE), Needs::default());
    let set = town.workload("app").set_needs(town.ready(&["db"]));
    let (lease, ()) = tokio::join!(town.lease("app"), set);
    lease.unwrap();
    assert_eq!(town.orders(), ["+db", "+app"]);
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn to_have_been_started_is_enough_if_no_more_is_asked_for() {
    let mut town = Town::new();
    town.add("db", &[]);
    let needs = Needs::Of(vec![town.need("db", Condition::Started)]);
    town.add_with("app", Policy::new(IDLE), needs);
    drop(town.lease("app").await.unwrap());
    assert_eq!(town.orders(), ["+db", "+app"]);
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_management_held_is_kept_for_a_minute_and_was_not_used_by_that() {
    let mut town = Town::new();
    town.add_with("db", Policy::new(Duration::from_hours(2)), Needs::default());
    town.add("app", &["db"]);
    let app = town.lease("app").await.unwrap();
    sleep(Duration::from_mins(1)).await;
    drop(app);
    town.workload("app").close().await;
    let needs = town.ready(&["db"]);
    town.manage("app", Policy::new(IDLE), needs);
    town.until("app", PhaseName::Ready).await;
    town.workload("app").sleep_now(Deadline::after(IDLE), Force::No).await.unwrap();
    sleep(Duration::from_mins(2)).await;
    assert!(!town.is_running("db"), "nobody but its dependent ever used it");
}
