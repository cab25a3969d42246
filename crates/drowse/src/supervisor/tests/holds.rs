//! Holds by hand, as the control socket gives them.

use axum::{body::Body, http::Request};
use drowse_watcher::WakeError;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;

use super::*;
use crate::{
    clock::testing::SetClock,
    control::server::{Control, router},
    schedule::driver,
};

impl Supervised {
    /// What a command answers: the status, and what is said.
    fn command(&self, path: &str) -> impl Future<Output = (u16, serde_json::Value)> + use<> {
        let control = Control {
            view: self.view.clone(),
            front: self.front.clone(),
            holds: self.holds.clone(),
            released: mpsc::channel(1).0,
            store: self.store.clone(),
            followers: Control::places_for_followers(),
            grace: Duration::ZERO,
            end: self.end.clone(),
        };
        let uri = format!("/v1/workloads/{path}");
        let request = Request::post(uri).body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(router(control)).call(request);
        async move {
            let (head, body) = answer.await.unwrap().into_parts();
            let body = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
            (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
        }
    }
}

const ASLEEP: &str = "app/hold?asleep=true&timeout_ms=300000";

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "never {what}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_asleep_is_seen_through_when_its_client_goes_away() {
    let mut all = Supervised::begin("");
    let app = all.add("app", &[("drowse.idle", "1h")]);
    let workload = all.workload("app").await;
    drop(in_use(&workload).await);
    // Slow, and then refused: nobody is there to be told so.
    let refusal = drowse_provider::ErrorKind::Failed { exit: None, message: "no".to_owned() };
    app.always(Action::Stop, Step::refuse(refusal).late_by(Duration::from_secs(20)));
    let client = tokio::spawn(all.command("app/hold?asleep=true&timeout_ms=30000"));
    app.called(Action::Stop, 1).await;
    assert!(all.holds.of("app").is_some());
    let (status, answer) = all.command(ASLEEP).await;
    assert_eq!(status, 409);
    insta::assert_snapshot!(answer["error"].as_str().unwrap(), @"another command is about to hold it asleep");
    client.abort();
    assert!(client.await.is_err());
    until("taken back", || all.holds.of("app").is_none()).await;
    until("let go", || workload.snapshot().held_asleep.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_asleep_counts_more_than_a_schedule_and_not_than_a_request() {
    let clock = SetClock::at("2026-11-26T09:00:00Z");
    let mut all = Supervised::begin("time_zone: Europe/Berlin");
    let driver = driver::follow(all.view.clone(), clock.clock(), all.end.clone());
    let driver = tokio::spawn(driver);
    let app = all.add("app", &[("drowse.awake", "Mon-Fri 08:00-18:00")]);
    let workload = all.workload("app").await;
    comes_to(&workload, PhaseName::Ready).await;
    let request = in_use(&workload).await;
    assert_eq!(all.command(ASLEEP).await.0, 409);
    drop(request);
    let (status, answer) = all.command(ASLEEP).await;
    assert_eq!(status, 200, "{answer}");
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!((app.calls(Action::Start), app.calls(Action::Stop)), (1, 1));
    assert_eq!(all.command("app/unhold").await.0, 200);
    comes_to(&workload, PhaseName::Ready).await;
    assert_eq!(workload.held_by(), [("schedule Mon-Fri 08:00-18:00".to_owned(), 1)]);
    driver.abort();
}

#[tokio::test(start_paused = true)]
async fn a_hold_asleep_counts_more_than_a_schedule_that_wakes_it_and_not_than_who_waits() {
    let clock = SetClock::at("2026-11-26T09:00:00Z");
    let mut all = Supervised::begin("time_zone: Europe/Berlin");
    let app = all.add("app", &[("drowse.awake", "Mon-Fri 08:00-18:00")]);
    app.script(Action::Start, [Step::ok().late_by(Duration::from_mins(1))]);
    let workload = all.workload("app").await;
    let driver = driver::follow(all.view.clone(), clock.clock(), all.end.clone());
    let driver = tokio::spawn(driver);
    app.called(Action::Start, 1).await;
    let waiter = workload.clone();
    let request = tokio::spawn(async move { in_use(&waiter).await });
    let is_waited_for = || {
        let waiting = workload.waited_for_by();
        waiting.iter().any(|(holder, _)| holder == "a request")
    };
    until("waited for", is_waited_for).await;
    let (status, answer) = all.command(ASLEEP).await;
    assert_eq!(status, 409);
    insta::assert_snapshot!(answer["error"].as_str().unwrap(), @"in use: 1 request(s) wait for it");
    request.abort();
    until("left", || !is_waited_for()).await;

    let (status, answer) = all.command(ASLEEP).await;
    assert_eq!(status, 200, "{answer}");
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!((app.calls(Action::Start), app.calls(Action::Stop)), (1, 1));
    assert_eq!(workload.snapshot().phase, PhaseName::Asleep);
    driver.abort();
}

/// Nobody wakes it.
async fn is_held_asleep(workload: &Workload) {
    let holder = workload.holder("a request");
    let refused = workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await;
    assert!(matches!(refused, Err(WakeError::HeldAsleep { .. })), "{refused:?}");
}

const OF_FILE: &str = "workloads: { app: { container: { name: app }, idle: 1h } }";

#[tokio::test(start_paused = true)]
async fn what_was_never_read_is_held_from_when_it_is() {
    let engine = ScriptedEngine::new("docker");
    let app = engine.add("app");
    engine.go_down("switched off");
    let mut all = Supervised::begin_on(engine, OF_FILE);
    let is_away =
        |view: &Arc<View>| view.find_unread("app").is_some_and(|unread| unread.trouble.is_some());
    drop(tokio::time::timeout(PATIENCE, all.view.wait_for(is_away)).await.unwrap().unwrap());
    let (status, answer) = all.command("app/unhold").await;
    assert_eq!((status, answer["error"].as_str()), (404, Some("nobody holds `app`")));

    let (status, answer) = all.command("app/hold?asleep=true&timeout_ms=1000&reason=restore").await;
    assert_eq!((status, answer["state"].as_str()), (200, Some("unread")), "{answer}");
    let not_yet = answer["not_yet"].as_str().unwrap();
    assert!(not_yet.starts_with("its engine `docker` was never read: "), "{not_yet}");
    all.engine.come_back();
    let workload = all.workload("app").await;
    is_held_asleep(&workload).await;
    assert_eq!(app.calls(Action::Start), 0);
    assert_eq!(all.command("app/unhold").await.0, 200);
    drop(in_use(&workload).await);
}

#[tokio::test(start_paused = true)]
async fn what_runs_when_it_is_first_read_and_was_held_asleep_before_is_put_to_sleep_once() {
    let engine = ScriptedEngine::new("docker");
    let app = engine.add("app");
    app.start();
    engine.go_down("switched off");
    let mut all = Supervised::begin_on(engine, OF_FILE);
    let is_away =
        |view: &Arc<View>| view.find_unread("app").is_some_and(|unread| unread.trouble.is_some());
    drop(tokio::time::timeout(PATIENCE, all.view.wait_for(is_away)).await.unwrap().unwrap());
    let (status, answer) = all.command("app/hold?asleep=true&timeout_ms=1000&reason=restore").await;
    assert_eq!(status, 200, "{answer}");
    all.engine.come_back();
    let workload = all.workload("app").await;
    comes_to(&workload, PhaseName::Asleep).await;
    is_held_asleep(&workload).await;
    assert_eq!(app.calls(Action::Stop), 1);
    // Its user starts it, for the restore itself: it is left alone, and so it is by whoever manages it next.
    app.start();
    comes_to(&workload, PhaseName::Probing).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(app.calls(Action::Stop), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_held_asleep_from_when_it_is_there_again() {
    let mut all = Supervised::begin(OF_FILE);
    let workload = all.workload("app").await;
    comes_to(&workload, PhaseName::Gone).await;
    let (status, answer) = all.command(ASLEEP).await;
    assert_eq!((status, answer["state"].as_str()), (200, Some("gone")), "{answer}");
    assert_eq!(answer["not_yet"], "there is no such container");
    // As a restore makes it.
    let app = all.engine.add("app");
    all.engine.resync();
    comes_to(&workload, PhaseName::Asleep).await;
    is_held_asleep(&all.workload("app").await).await;
    assert_eq!(app.calls(Action::Start), 0);
}
