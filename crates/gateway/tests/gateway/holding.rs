//! Requests for a workload that is not ready.

use std::{sync::atomic::Ordering, time::Duration};

use drowse_provider::{Action, Deadline, ErrorKind, testing::Step};
use drowse_watcher::PhaseName;
use futures::future::join_all;
use tokio::task::JoinSet;

use crate::{
    client::{self, Raw, connect, request, send, soon},
    site::{Plan, Site},
};

#[tokio::test]
async fn a_request_wakes_its_workload_and_is_served() {
    let site = Site::asleep().await;
    let answer = site.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "hello"));
    assert_eq!(site.starts(), 1);
    site.has_leases(0).await;
}

/// Row 13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_requests_at_once_cost_one_start() {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        let address = site.address;
        requests.spawn(async move { client::get(address, "/").await.status });
    }
    site.has_waiting(500).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    let answers = soon(requests.join_all()).await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 500);
    assert_eq!(site.starts(), 1);
    assert_eq!(site.application.requests(), 500);
    site.has_leases(0).await;
}

/// Row 14.
#[tokio::test]
async fn when_the_start_fails_each_waiting_request_is_told_so_and_why_where_that_is_shown() {
    for shows in [false, true] {
        told_of_a_failed_start(shows).await;
    }
}

async fn told_of_a_failed_start(shows: bool) {
    let site = Site::with_route(move |route| route.page_details = shows).await;
    let refusal = ErrorKind::Failed { exit: Some(127), message: "no such program".into() };
    let late = Step::refuse(refusal).late_by(Duration::from_millis(300));
    site.container.always(Action::Start, late);
    let answers = join_all((0..5).map(|_| site.get("/"))).await;
    for answer in answers {
        answer.is_problem(502, "start-failed");
        assert!(shows || answer.body.contains("ended with exit code 127"), "{answer:?}");
        assert_eq!(answer.body.contains("no such program"), shows, "{answer:?}");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn a_container_that_is_not_there_is_404_at_once() {
    let site = Site::gone().await;
    site.get("/").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_request_is_held_no_longer_than_its_route_says() {
    let site = Site::with_route(|route| route.hold = Duration::from_millis(200)).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let answer = site.get("/").await;
    answer.is_problem(504, "timeout");
    assert!(!answer.header("retry-after").is_empty());
    // The wake goes on.
    site.application.state.is_up.store(true, Ordering::SeqCst);
    site.is(PhaseName::Ready).await;
    assert_eq!(site.starts(), 1);
}

/// Row 15.
#[tokio::test]
async fn the_first_clients_leaving_does_not_end_the_wake() {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut first = Raw::connect(site.address).await;
    first.write("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    site.has_waiting(1).await;
    let second = tokio::spawn({
        let address = site.address;
        async move { client::get(address, "/").await }
    });
    site.has_waiting(2).await;
    first.leave().await;
    site.has_waiting(1).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    assert_eq!(soon(second).await.unwrap().status, 200);
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn a_wake_goes_on_when_everybody_has_left() {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut only = Raw::connect(site.address).await;
    only.write("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    site.has_waiting(1).await;
    only.leave().await;
    site.has_waiting(0).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    site.is(PhaseName::Ready).await;
    assert_eq!(site.starts(), 1);
}

/// Row 17: whatever accepts and does not answer, or answers with an error, is not ready.
#[tokio::test]
async fn requests_are_held_until_the_application_answers() {
    let site = Site::asleep().await;
    site.application.state.closes.store(true, Ordering::SeqCst);
    let held = tokio::spawn({
        let address = site.address;
        async move { client::get(address, "/").await }
    });
    let connections = || site.application.connections();
    client::eventually("probes that were cut off", || connections() >= 3).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    site.application.state.closes.store(false, Ordering::SeqCst);
    let before = connections();
    client::eventually("probes that got 503", || connections() >= before + 3).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    assert_eq!(soon(held).await.unwrap().status, 200);
    assert_eq!(site.application.requests(), 1, "only what succeeds is sent");
}

#[tokio::test]
async fn an_engine_out_of_reach_is_503_with_retry_after() {
    let site = Site::with_route(|route| route.hold = Duration::from_millis(500)).await;
    site.engine.go_down("connection refused");
    soon(site.workload.watch().wait_for(|now| now.engine_lost_since.is_some())).await.unwrap();
    let answer = site.get("/").await;
    answer.is_problem(503, "engine-unavailable");
    assert!(!answer.header("retry-after").is_empty());
}

/// Rows 29 and 46: a stranger learns that its user has something to mend, and nothing to use.
#[tokio::test]
async fn which_right_lacks_is_told_to_no_stranger() {
    let forbidden = || ErrorKind::Forbidden {
        privilege: Some("VM.PowerMgmt".to_owned()),
        path: Some("/vms/201".to_owned()),
    };
    let site = Site::asleep().await;
    site.container.always(Action::Start, Step::refuse(forbidden()));
    let told = "drowse lacks a right on its engine; its log says which";
    for kind in ["cors", "navigate"] {
        let answer = site.get_with("/", &[("sec-fetch-mode", kind), ("accept", "text/html")]).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains(told), "{answer:?}");
        let state = site.get("/.well-known/drowse/ready").await;
        assert!(state.body.contains(told), "{state:?}");
        for secret in ["VM.PowerMgmt", "/vms/201"] {
            assert!(!answer.body.contains(secret) && !state.body.contains(secret), "{answer:?}");
        }
    }
    site.get("/").await.is_problem(503, "not-permitted");
    let snapshot = site.workload.snapshot();
    assert!(snapshot.last_error.is_some_and(|error| error.contains("`VM.PowerMgmt` is needed")));
}

#[tokio::test]
async fn nor_is_the_right_that_a_sleep_lacks() {
    let site = Site::ready().await;
    let forbidden = ErrorKind::Forbidden { privilege: Some("VM.PowerMgmt".to_owned()), path: None };
    site.container.always(Action::Stop, Step::refuse(forbidden));
    site.workload
        .sleep_now(Deadline::after(Duration::from_millis(10)), drowse_watcher::Force::No)
        .await
        .unwrap_err();
    soon(site.workload.watch().wait_for(|now| now.reason.contains("VM.PowerMgmt"))).await.unwrap();
    let state = site.get("/.well-known/drowse/ready").await;
    assert!(state.body.contains("\"ready\":true"), "{state:?}");
    assert!(!state.body.contains("VM.PowerMgmt"), "{state:?}");
}

#[tokio::test]
async fn a_request_body_waits_with_its_request() {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut client = Raw::connect(site.address).await;
    client
        .write(
            "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n",
        )
        .await;
    site.has_waiting(1).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    let interim = client.read_until("\r\n\r\n").await;
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    client.write("12345").await;
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n5"), "{answer}");
}

#[tokio::test]
async fn a_workload_that_fell_asleep_is_woken_by_the_next_request_of_the_same_connection() {
    let plan =
        Plan { policy: drowse_watcher::Policy::new(Duration::from_millis(20)), ..Plan::default() };
    let site = Site::new(plan).await;
    let mut connection = connect(site.address).await;
    for round in 1..=3 {
        let answer = soon(send(&mut connection, request("/", &[]))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(site.starts(), round);
        site.is(PhaseName::Asleep).await;
    }
}
