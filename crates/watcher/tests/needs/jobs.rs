//! What runs to its end before others are started.

use std::time::Duration;

use drowse_provider::{Action, testing::Step};
use drowse_watcher::{Condition, Force, Needs, PhaseName, Policy, Role, SleepError, WakeError};
use tokio::time::{sleep, timeout};

use crate::town::{IDLE, PATIENCE, Town};

/// A database, a job that prepares it, and an application.
fn town() -> Town {
    let mut town = Town::new();
    town.add("db", &[]);
    let job = Policy::new(IDLE).with_role(Role::Job);
    town.add_with("migrate", job, town.ready(&["db"]));
    town.container("migrate").exit_with(Some(0));
    let needs = Needs::Of(vec![
        town.need("db", Condition::Ready),
        town.need("migrate", Condition::Completed),
    ]);
    town.add_with("app", Policy::new(IDLE), needs);
    town
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_once_and_before_whoever_needs_it() {
    let town = town();
    town.until_all_sleep().await;
    assert!(!town.workload("migrate").snapshot().is_complete, "it was never started");
    drop(town.lease("app").await.unwrap());
    assert_eq!(town.orders(), ["+db", "+migrate", "+app"]);
    let job = town.workload("migrate").snapshot();
    assert!(job.is_complete);
    assert_eq!((job.phase, &*job.reason), (PhaseName::Asleep, "it has run to its end"));
    town.until_all_sleep().await;
    drop(town.lease("app").await.unwrap());
    assert_eq!(town.orders()[3..], ["-app", "-db", "+db", "+app"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_is_left_to_it_and_waited_for() {
    let town = town();
    town.container("migrate").exit_with(None);
    town.until_all_sleep().await;
    let asked = tokio::spawn({
        let app = town.workload("app").clone();
        async move {
            let holder = app.holder("route test");
            let deadline = drowse_provider::Deadline::after(PATIENCE);
            app.lease(&holder, drowse_watcher::LeaseKind::Active, deadline).await.map(drop)
        }
    });
    let migrate = town.container("migrate");
    timeout(PATIENCE, migrate.called(Action::Start, 1)).await.unwrap();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(town.workload("app").snapshot().waiting_for, ["migrate"]);
    let sleep_now =
        town.workload("migrate").sleep_now(drowse_provider::Deadline::after(PATIENCE), Force::No);
    assert!(matches!(sleep_now.await, Err(SleepError::InUse { .. } | SleepError::Failed { .. })));
    migrate.crash(0);
    asked.await.unwrap().unwrap();
    assert_eq!(town.orders(), ["+db", "+migrate", "+app"]);
}

/// Whoever waited is told so in time; the work goes on.
#[tokio::test(start_paused = true)]
async fn a_job_that_takes_an_hour_is_not_disturbed() {
    let town = town();
    town.container("migrate").exit_with(None);
    let refused = town.lease("app").await.map(drop).unwrap_err();
    assert!(matches!(refused, WakeError::Dependency { .. }), "{refused}");
    sleep(Duration::from_hours(1)).await;
    assert!(town.is_running("migrate") && town.is_running("db"));
    town.container("migrate").crash(0);
    drop(town.lease("app").await.unwrap());
    town.until_all_sleep().await;
    let orders = town.orders();
    assert_eq!(orders.iter().filter(|order| *order == "+migrate").count(), 1);
    assert!(!orders.contains(&"-migrate".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_told_with_its_code_and_tried_again_later() {
    let town = town();
    town.container("migrate").exit_with(Some(3));
    let refused = town.lease("app").await.map(drop).unwrap_err();
    let WakeError::Dependency { name, source } = &refused else { panic!("{refused}") };
    assert_eq!(name, "migrate");
    let WakeError::Failed { exit, reason, .. } = &**source else { panic!("{source}") };
    assert_eq!(*exit, Some(3));
    assert_eq!(reason, "the process ended before its work was done, with exit code 3");
    assert!(!town.orders().contains(&"+app".to_owned()));
    town.container("migrate").exit_with(Some(0));
    sleep(Duration::from_secs(2)).await;
    town.lease("app").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_job_of_a_new_container_is_run_again() {
    let town = town();
    drop(town.lease("app").await.unwrap());
    town.until_all_sleep().await;
    town.container("migrate").remove();
    let migrate = town.engine.add("migrate");
    migrate.exit_with(Some(0));
    sleep(Duration::from_mins(1)).await;
    assert!(!town.workload("migrate").snapshot().is_complete);
    drop(town.lease("app").await.unwrap());
    assert_eq!(migrate.calls(Action::Start), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_had_done_its_work_before_is_not_run() {
    let mut town = Town::new();
    let done = town.engine.add("migrate");
    done.start();
    done.crash(0);
    town.manage("migrate", Policy::new(IDLE).with_role(Role::Job), Needs::default());
    let needs = Needs::Of(vec![town.need("migrate", Condition::Completed)]);
    town.add_with("app", Policy::new(IDLE), needs);
    drop(town.lease("app").await.unwrap());
    assert_eq!(town.orders(), ["+app"]);
    // Whoever asks for it has it: what it was, if anybody looks.
    let lease = town.lease("migrate").await.unwrap();
    assert_eq!(lease.run().run, done.observation().run);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_start_order_is_lost_is_started_again() {
    let town = town();
    let lost = ErrorOnce::lost();
    town.container("migrate").script(Action::Start, [lost]);
    drop(town.lease("app").await.unwrap());
    assert_eq!(town.container("migrate").calls(Action::Start), 2);
}

struct ErrorOnce;

impl ErrorOnce {
    fn lost() -> Step {
        Step::refuse(drowse_provider::ErrorKind::Unavailable { reason: "reset".to_owned() })
    }
}
