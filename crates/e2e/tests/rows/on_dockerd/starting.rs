//! Starts that fail, that take long, that look done before they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use drowse_e2e::http::Response;
use drowse_e2e::{DEADLINE, Site, TestContainer, Workload, eventually, free_port, http};
use serde_json::json;
use tokio::time::Instant;

use super::NEVER;

/// drowse's own words on a failure that is not the client's.
fn assert_failed_with(answer: &Response, reason: &str) {
    let text = answer.assert_problem(answer.status.as_u16());
    assert!(matches!(answer.status.as_u16(), 502..=504), "{} {text}", answer.status);
    assert!(text.contains(reason), "no word of {reason:?} in {text}");
}

/// A workload whose clients may know what its engine says.
fn open_about(app: &TestContainer) -> Workload {
    let route = format!("host: \"{}\", port: 80, page_details: true", app.host());
    Workload::by_routes(app, &[route]).idle(NEVER)
}

#[tokio::test]
async fn row_04_a_crash_at_each_start_is_told_at_once_and_not_repeated() {
    let site = Site::new().await;
    let app = site.container("crash").env("EXIT_AFTER_MS", 0).env("EXIT_CODE", 7).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    // As an impatient user would, for some seconds: each answer comes long before the wake timeout
    // of two minutes, and says what happened.
    let until = Instant::now() + Duration::from_secs(6);
    let mut answers = 0;
    while Instant::now() < until {
        let answer = drowse.get(&app.host(), "/").deadline(DEADLINE).send().await;
        assert_failed_with(&answer, "exit code 7");
        answers += 1;
    }
    // With a back-off of 1, 2 and 4 seconds there is room for three, and one more at the edge.
    let starts = site.starts(&app).await;
    assert!((1..=4).contains(&starts), "{starts} starts for {answers} requests");
    // Between two attempts, that is: after the back-off it is asleep, until somebody asks again.
    eventually(DEADLINE, "it to be shown as failed", || async {
        drowse.get(&app.host(), "/").deadline(DEADLINE).send().await;
        (drowse.row(app.name()).await["state"] == "failed").then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_04_a_crash_while_it_is_probed_is_told_with_its_code() {
    let site = Site::new().await;
    let app = site.container("migrates").env("START_DELAY_MS", 60_000);
    let app = app.env("EXIT_AFTER_MS", 700).env("EXIT_CODE", 42).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let answers = futures::future::join_all((0..10).map(|_| drowse.get(&app.host(), "/").send()));
    for answer in answers.await {
        assert_failed_with(&answer, "exit code 42");
    }
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_05_a_container_that_does_not_exist_is_not_found_at_once() {
    let site = Site::new().await;
    let drowse = site.start(&[Workload::named("nowhere", &["nowhere.test"])]).await;
    let answer = drowse.get("nowhere.test", "/").send().await;
    answer.assert_problem(404);
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0);
}

#[tokio::test]
async fn row_14_all_who_wait_are_told_that_the_port_is_taken() {
    let site = Site::new().await;
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let owner = site.container("owner").publish_at(80, port).run().await;
    let app = site.container("loser").publish_at(80, port).create().await;
    let drowse = site.start(&[open_about(&app)]).await;
    let answers = futures::future::join_all((0..20).map(|_| drowse.get(&app.host(), "/").send()));
    for answer in answers.await {
        assert_failed_with(&answer, "port is already allocated");
    }
    // The cause is gone: it wakes, after the back-off.
    owner.stop().await;
    let served = || async {
        let answer = drowse.get(&app.host(), "/").send().await;
        (answer.status == 200).then(|| answer.assert_served())
    };
    eventually(DEADLINE, "the container to wake", served).await;
}

#[tokio::test]
async fn row_14_all_who_wait_are_told_that_there_is_no_such_program() {
    let site = Site::new().await;
    let app = site.container("empty").config("Cmd", json!(["/no-such-program"])).create().await;
    let other = site.container("other").config("Cmd", json!(["/no-such-program"])).create().await;
    let drowse = site.start(&[open_about(&app), Workload::of(&other).idle(NEVER)]).await;
    let answers = futures::future::join_all((0..20).map(|_| drowse.get(&app.host(), "/").send()));
    for answer in answers.await {
        assert_failed_with(&answer, "no-such-program");
    }
    assert!(site.relay.count(|request| request.is_order("start")) <= 2);
    // Strangers are told what it came to, and the log the rest.
    let answer = drowse.get(&other.host(), "/").send().await;
    assert_failed_with(&answer, "it does not start");
    assert!(!answer.text().contains("no-such-program"), "{}", answer.text());
    drowse.logs().wait_for(&[other.name(), "no-such-program"], DEADLINE).await;
}

#[tokio::test]
async fn row_17_an_accepted_connection_is_no_readiness() {
    let site = Site::new().await;
    let app = site.container("accepts").env("ACCEPT_THEN_CLOSE_MS", 1500).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let answers = futures::future::join_all((0..20).map(|_| drowse.get(&app.host(), "/").send()));
    answers.await.iter().for_each(Response::assert_served);
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_17_a_published_port_accepts_before_the_application_listens() {
    let site = Site::new().await;
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let app = site.container("proxied").env("START_DELAY_MS", 1500).publish_at(80, port);
    let app = app.create().await;
    let drowse = site.start(&[Workload::at(&app, port).idle(NEVER)]).await;
    let answers = futures::future::join_all((0..20).map(|_| drowse.get(&app.host(), "/").send()));
    answers.await.iter().for_each(Response::assert_served);
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_39_slow_is_not_failed() {
    let site = Site::new().await;
    let app = site.container("slow").env("START_DELAY_MS", 5000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s").set("wake_timeout", "1s")]).await;
    drowse.get(&app.host(), "/").send().await.assert_problem(504);
    let run = app.state().await;
    assert_eq!(run.status, "running", "the container is left alone");

    // Those who come again are answered as well; the idle time passes over and over.
    let served = || async {
        let answer = drowse.get(&app.host(), "/").send().await;
        if answer.status == 200 {
            answer.assert_served();
            return Some(());
        }
        answer.assert_problem(504);
        None
    };
    eventually(DEADLINE, "the container to be ready", served).await;
    assert_eq!(app.state().await.started_at, run.started_at, "it was started again");
    assert_eq!(site.starts(&app).await, 1);
    assert_eq!(site.events.heard(&app, "kill"), 0);
}

#[tokio::test]
async fn row_39_it_is_left_alone_when_nobody_asks_any_more() {
    let site = Site::new().await;
    let app = site.container("patient").env("START_DELAY_MS", 4000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s").set("wake_timeout", "1s")]).await;
    drowse.get(&app.host(), "/").send().await.assert_problem(504);
    drowse.wait_until(app.name(), |state| state == "ready", DEADLINE).await;
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped while it was starting");
    site.wait_until_stopped(&app, 1).await;
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_49_a_crash_is_repaired_by_the_next_request() {
    let (site, app, drowse) = super::awake("crashes", NEVER).await;
    crash(SocketAddr::from((app.ip().await, 80))).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn row_49_a_death_that_nobody_saw_is_repaired_by_the_next_request() {
    let site = Site::new().await;
    // Not at its own address, which another test's container may get meanwhile.
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let app = site.container("unseen").publish_at(80, port).create().await;
    let drowse = site.start(&[Workload::at(&app, port).idle(NEVER)]).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    site.relay.lose_events(true);
    crash(port).await;
    site.wait_until_stopped(&app, 1).await;
    let answers = futures::future::join_all((0..20).map(|_| drowse.get(&app.host(), "/").send()));
    answers.await.iter().for_each(Response::assert_served);
    assert_eq!(site.starts(&app).await, 2);
}

/// The application ends by itself: there is no signal that the engine knows of.
async fn crash(address: SocketAddr) {
    assert!(http::get(address, "/crash?code=3").try_send().await.is_err());
}
