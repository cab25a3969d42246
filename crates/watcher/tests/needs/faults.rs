//! What becomes of dependents when what they need fails, and of what is needed when they do.

use std::time::Duration;

use drowse_provider::{Action, Deadline, ErrorKind, Signal, testing::Step};
use drowse_watcher::{Force, LeaseKind, Needs, PhaseName, Policy, SleepError, WakeError};
use tokio::time::sleep;

use crate::town::{IDLE, Town, a_moment};

fn pair() -> Town {
    let mut town = Town::new();
    town.add("db", &[]);
    town.add("app", &["db"]);
    town
}

#[tokio::test(start_paused = true)]
async fn what_dies_under_a_dependent_in_use_is_woken_again() {
    let town = pair();
    let lease = town.lease("app").await.unwrap();
    sleep(Duration::from_mins(1)).await;
    let mut phases = town.workload("app").watch();
    phases.mark_unchanged();
    town.container("db").crash(139);
    a_moment().await;
    town.until("db", PhaseName::Ready).await;
    assert_eq!(town.orders(), ["+db", "+app", "+db"]);
    assert_eq!(town.phase("app"), PhaseName::Ready);
    assert_eq!(lease.run().epoch, 1, "it never left ready");
    drop(lease);
    town.until_all_sleep().await;
}

/// It was used itself, and not long ago.
#[tokio::test(start_paused = true)]
async fn what_is_woken_again_for_its_dependent_keeps_its_idle_time() {
    let town = pair();
    let app = town.lease("app").await.unwrap();
    a_moment().await;
    drop(town.lease("db").await.unwrap());
    sleep(Duration::from_mins(1)).await;
    town.container("db").crash(139);
    a_moment().await;
    town.until("db", PhaseName::Ready).await;
    drop(app);
    town.workload("app").sleep_now(Deadline::after(IDLE), Force::No).await.unwrap();
    sleep(Duration::from_mins(13)).await;
    assert!(town.is_running("db"));
    sleep(Duration::from_mins(2)).await;
    assert!(!town.is_running("db"));
}

#[tokio::test(start_paused = true)]
async fn what_dies_under_an_idle_dependent_is_left_alone() {
    let mut town = Town::new();
    town.add("db", &[]);
    // It may be idle and awake: it lives on.
    let never = Policy::new(IDLE).with_sleep(drowse_watcher::SleepMethod::Never);
    town.add_with("app", never, town.ready(&["db"]));
    drop(town.lease("app").await.unwrap());
    sleep(IDLE * 2).await;
    town.container("db").crash(139);
    sleep(IDLE).await;
    assert_eq!(town.orders(), ["+db", "+app"]);
    // Until somebody comes.
    drop(town.lease("app").await.unwrap());
    town.until("db", PhaseName::Ready).await;
}

/// A monitor's request is no use of it.
#[tokio::test(start_paused = true)]
async fn what_dies_under_a_dependent_that_only_a_monitor_looks_at_is_left_alone() {
    let town = pair();
    drop(town.lease("app").await.unwrap());
    let app = town.workload("app");
    let monitor = app.try_lease(&app.holder("a monitor"), LeaseKind::Passive).unwrap();
    sleep(IDLE * 2).await;
    town.container("db").crash(139);
    sleep(IDLE).await;
    assert_eq!(town.orders(), ["+db", "+app"]);
    drop(monitor);
    town.until_all_sleep().await;
    assert_eq!(town.orders(), ["+db", "+app", "-app"]);
}

#[tokio::test(start_paused = true)]
async fn what_its_user_stops_stays_so_until_its_dependent_is_used() {
    let town = pair();
    // In use for long, before and after.
    let _socket = town.lease("app").await.unwrap();
    sleep(Duration::from_mins(1)).await;
    town.container("db").kill(Signal::TERM);
    town.container("db").kill(Signal::KILL);
    sleep(IDLE).await;
    assert!(!town.is_running("db"));
    assert_eq!(town.phase("app"), PhaseName::Ready);
    drop(town.lease("app").await.unwrap());
    town.until("db", PhaseName::Ready).await;
    assert_eq!(town.orders(), ["+db", "+app", "+db"]);
}

/// Its dependent is used by another only, which is used.
#[tokio::test(start_paused = true)]
async fn what_its_user_stops_stays_so_until_a_dependent_of_its_dependent_is_used() {
    let mut town = pair();
    town.add("front", &["app"]);
    let socket = town.lease("front").await.unwrap();
    sleep(Duration::from_mins(1)).await;
    town.container("db").kill(Signal::TERM);
    town.container("db").kill(Signal::KILL);
    sleep(IDLE).await;
    assert!(!town.is_running("db"));
    drop(town.lease("front").await.unwrap());
    town.until("db", PhaseName::Ready).await;
    assert_eq!(town.orders(), ["+db", "+app", "+front", "+db"]);
    drop(socket);
    town.until_all_sleep().await;
    assert_eq!(town.orders()[4..], ["-front", "-app", "-db"]);
}

/// By a client that has been there for long, and by others that come and stay.
#[tokio::test(start_paused = true)]
async fn what_its_user_stops_is_woken_when_a_use_begins_and_not_when_it_ends() {
    let mut town = pair();
    town.add("front", &["app"]);
    let mut sockets = vec![town.lease("front").await.unwrap()];
    for name in ["app", "front"] {
        sleep(Duration::from_mins(1)).await;
        town.container("db").kill(Signal::TERM);
        town.container("db").kill(Signal::KILL);
        sleep(IDLE).await;
        let workload = town.workload(name);
        let (monitor, patience) = (workload.holder("monitor"), Deadline::after(IDLE));
        let passive = workload.lease(&monitor, LeaseKind::Passive, patience).await.unwrap();
        a_moment().await;
        sleep(IDLE).await;
        assert!(!town.is_running("db"));
        drop(passive);
        sockets.push(town.lease(name).await.unwrap());
        town.until("db", PhaseName::Ready).await;
    }
    drop(sockets);
    town.until_all_sleep().await;
}

/// Who asks for it does not wait for its end: it is no sleep of drowse's own for that.
#[tokio::test(start_paused = true)]
async fn what_is_put_to_sleep_by_force_stays_so_though_nobody_waits_for_its_end() {
    let town = pair();
    let _socket = town.lease("app").await.unwrap();
    sleep(Duration::from_mins(1)).await;
    town.container("db").script(Action::Stop, [Step::ok().late_by(Duration::from_secs(30))]);
    let db = town.workload("db");
    let patience = Deadline::after(Duration::from_secs(5));
    let refused = db.sleep_now(patience, Force::EvenInUse).await.unwrap_err();
    assert!(matches!(refused, SleepError::Timeout { .. }), "{refused}");
    town.until("db", PhaseName::Asleep).await;
    assert_eq!(db.snapshot().reason, "put to sleep on request");
    sleep(IDLE).await;
    assert_eq!(town.orders(), ["+db", "+app", "-db"]);
    drop(town.lease("app").await.unwrap());
    town.until("db", PhaseName::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_start_is_told_to_all_who_wait_for_its_dependents() {
    let mut town = pair();
    town.add("front", &["app"]);
    let failed = ErrorKind::Failed { exit: None, message: "port is taken".to_owned() };
    town.container("db").always(Action::Start, Step::refuse(failed));
    town.until_all_sleep().await;
    let refused = town.lease("front").await.map(drop).unwrap_err();
    let text = town.workload("front").snapshot().reason;
    assert_eq!(text, "it needs `app`, which needs `db`: it does not start: failed: port is taken");
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    // Nothing is started in the end, and nothing is held.
    assert_eq!(town.orders(), ["+db"]);
    assert_eq!(town.workload("db").leases(), 0);
    for _ in 0..10 {
        sleep(Duration::from_mins(1)).await;
        assert!(matches!(town.lease("app").await, Err(WakeError::Dependency { .. })));
    }
    // Its circuit is open: all are told at once, and it is left alone.
    assert!(town.orders().len() <= 8, "{:?}", town.orders());
    town.container("db").always(Action::Start, Step::ok());
    sleep(Duration::from_mins(5)).await;
    town.lease("front").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_of_what_is_needed_is_away_dependents_are_told_so_in_time() {
    let mut town = Town::new();
    let away = Town::new();
    away.engine.add("db");
    let spec = away.spec("db", Policy::new(IDLE));
    town.insert("db", drowse_watcher::Workload::spawn(spec));
    town.add("app", &["db"]);
    town.until_all_sleep().await;
    away.engine.go_down("no route to host");
    sleep(Duration::from_secs(30)).await;
    let refused = town.lease("app").await.map(drop).unwrap_err();
    let WakeError::Dependency { name, source } = &refused else { panic!("{refused}") };
    assert!(matches!(**source, WakeError::EngineUnavailable { .. }), "{source}");
    assert_eq!(name, "db");
    assert!(town.orders().is_empty());
    away.engine.come_back();
    town.lease("app").await.unwrap();
    // And while both run: the one sleeps all the same, and the other when it can.
    away.engine.go_down("no route to host");
    sleep(IDLE * 2).await;
    assert_eq!(town.phase("app"), PhaseName::Asleep);
    away.engine.come_back();
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn a_dependent_whose_engine_is_away_keeps_what_it_needs() {
    let mut town = Town::new();
    town.add("db", &[]);
    let mut away = Town::new();
    away.insert("db", town.workload("db").clone());
    away.add("app", &["db"]);
    drop(away.lease("app").await.unwrap());
    away.engine.go_down("no route to host");
    sleep(IDLE * 10).await;
    assert!(town.is_running("db"));
    away.engine.come_back();
    town.until_all_sleep().await;
    assert!(!away.is_running("app"));
}

/// It took longer to start than anybody waited. Whoever comes back finds it there.
#[tokio::test(start_paused = true)]
async fn what_is_slow_to_start_is_still_there_when_they_come_back() {
    let town = pair();
    town.container("db").script(Action::Start, [Step::ok().late_by(Duration::from_secs(110))]);
    town.container("app").script(Action::Start, [Step::ok().late_by(Duration::from_secs(5))]);
    let refused = town.lease_within("app", Duration::from_secs(30)).await.map(drop).unwrap_err();
    assert!(matches!(refused, WakeError::Timeout { .. }), "{refused}");
    town.until("db", PhaseName::Ready).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(town.orders(), ["+db"], "nobody wanted it any more");
    let began = tokio::time::Instant::now();
    drop(town.lease("app").await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(10));
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_error_is_not_started_and_serves_on() {
    let town = pair();
    let app = town.workload("app");
    let in_error = || Needs::InError("a cycle: app → db → app".to_owned());
    app.set_needs(in_error()).await;
    let refused = town.lease("app").await.map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "its configuration is in error: a cycle: app → db → app");
    app.set_needs(town.ready(&["db"])).await;
    drop(town.lease("app").await.unwrap());
    app.set_needs(in_error()).await;
    sleep(IDLE * 4).await;
    assert_eq!(town.orders(), ["+db", "+app"]);
    drop(town.lease("app").await.unwrap());
    // It has what it needed for as long as it runs.
    assert_eq!(town.workload("db").held_by(), [("dependent app".to_owned(), 1)]);
    app.set_needs(town.ready(&["db"])).await;
    town.until_all_sleep().await;
}

/// It is refused when the configuration is read. If one slips through, everybody is answered, and all
/// of it comes to rest.
#[tokio::test(start_paused = true)]
async fn a_cycle_ends_in_answers_and_in_rest() {
    let mut town = Town::new();
    for name in ["one", "two", "three"] {
        town.add(name, &[]);
    }
    for (name, needs) in [("one", "two"), ("two", "three"), ("three", "one")] {
        town.workload(name).set_needs(town.ready(&[needs])).await;
    }
    town.until_all_sleep().await;
    let patience = Duration::from_mins(5);
    let (one, two) =
        tokio::join!(town.lease_within("one", patience), town.lease_within("two", patience * 2),);
    for refused in [one.unwrap_err(), two.unwrap_err()] {
        let refused = &refused;
        assert!(
            matches!(refused, WakeError::Timeout { .. } | WakeError::Dependency { .. }),
            "{refused}"
        );
    }
    a_moment().await;
    town.until_all_sleep().await;
    assert!(town.orders().is_empty());
    // Its own need, too.
    town.workload("one").set_needs(town.ready(&["one"])).await;
    town.lease_within("one", patience).await.map(drop).unwrap_err();
    a_moment().await;
    town.until_all_sleep().await;
}

/// What is tried over and over again is what refused, and nothing beside it.
#[tokio::test(start_paused = true)]
async fn beside_what_is_gone_nothing_else_is_woken_over_and_over_again() {
    let mut town = Town::new();
    town.add("db", &[]);
    town.add("cache", &[]);
    town.add("app", &["db", "cache"]);
    town.add("front", &["app"]);
    let lease = town.lease("front").await.unwrap();
    town.container("db").remove();
    town.container("app").crash(1);
    sleep(Duration::from_mins(1)).await;
    let soon = town.orders();
    sleep(Duration::from_hours(4)).await;
    assert_eq!(town.orders(), soon);
    assert!(!town.is_running("cache"));
    // It is there again: all of it is.
    town.engine.add("db");
    town.until("app", PhaseName::Ready).await;
    assert!(town.is_running("db") && town.is_running("cache"));
    assert_eq!(lease.run().epoch, 1, "it served on");
    drop(lease);
    town.until_all_sleep().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_be_in_error_during_the_last_look_is_not_put_to_sleep() {
    let mut town = Town::new();
    let app = town.add("app", &[]);
    drop(town.lease("app").await.unwrap());
    app.always(Action::Inspect, Step::ok().late_by(Duration::from_secs(5)));
    sleep(IDLE + Duration::from_secs(2)).await;
    town.workload("app").set_needs(Needs::InError("app -> db -> app".into())).await;
    sleep(IDLE * 4).await;
    assert_eq!(town.orders(), ["+app"]);
}
