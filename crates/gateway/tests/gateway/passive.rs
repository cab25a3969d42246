//! Requests that are nobody's use, and what they get while the workload sleeps.

use std::{sync::atomic::Ordering, time::Duration};

use drowse_gateway::{GatewayOptions, PassiveRule, RouteSpec};
use drowse_provider::{Action, ErrorKind, testing::Step};
use drowse_watcher::PhaseName;
use http::{Method, Request, StatusCode};

use crate::{
    client::{self, Answer, Raw, soon},
    site::{Plan, Site},
};

/// Row 44.
#[tokio::test]
async fn passive_requests_neither_wake_nor_keep_awake() {
    let site = Site::with_route(|route| {
        let mut passive = PassiveRule::none();
        passive.user_agents = vec!["kuma".into()];
        passive.paths = vec!["/metrics".parse().unwrap()];
        route.passive = passive;
    })
    .await;
    let monitor = [("user-agent", "Uptime-Kuma/1.23")];
    site.get_with("/", &monitor).await.is_problem(503, "asleep");
    site.get("/metrics").await.is_problem(503, "asleep");
    assert_eq!(site.starts(), 0);
    assert_eq!(site.workload.snapshot().phase, PhaseName::Asleep);

    site.wake().await;
    assert_eq!(site.get_with("/", &monitor).await.status, 200);
}

async fn send(site: &Site, method: Method) -> Answer {
    let request = Request::builder().method(method).uri("/").header("host", "app.test");
    let mut connection = client::connect(site.address).await;
    soon(client::send(&mut connection, request.body(()).unwrap())).await
}

fn answering(status: StatusCode) -> impl Fn(&mut RouteSpec) {
    move |route| {
        route.passive.methods = vec![Method::HEAD, Method::OPTIONS];
        route.passive.answer = Some(status);
        route.hold = Duration::from_millis(200);
    }
}

#[tokio::test]
async fn methods_and_networks_make_a_request_passive() {
    let site = Site::with_route(|route| {
        route.passive.methods = vec![Method::HEAD];
        route.passive.networks = vec!["198.51.100.0/24".parse().unwrap()];
    })
    .await;
    assert_eq!(send(&site, Method::HEAD).await.status, 503);
    // Nobody may say for himself where he comes from.
    let said = [("x-forwarded-for", "198.51.100.7")];
    assert_eq!(site.get_with("/", &said).await.status, 200);
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_s_own_network_counts() {
    let mut options = GatewayOptions::new();
    options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let monitors = |route: &mut RouteSpec| {
        route.passive.networks = vec!["198.51.100.0/24".parse().unwrap()];
    };
    let site = Site::new(Plan { options, route: Box::new(monitors), ..Plan::default() }).await;
    let said = |client| [("x-forwarded-for", client)];
    site.get_with("/", &said("198.51.100.7")).await.is_problem(503, "asleep");
    // What stands further to the left is hearsay.
    assert_eq!(site.get_with("/", &said("198.51.100.7, 203.0.113.1")).await.status, 200);
}

#[tokio::test]
async fn for_a_monitor_asleep_is_not_down() {
    let site = Site::with_route(answering(StatusCode::OK)).await;
    let told = send(&site, Method::OPTIONS).await;
    assert_eq!((told.status, &*told.body), (StatusCode::OK, ""));
    assert_eq!(told.header("drowse-state"), "asleep");
    assert_eq!(told.header("cache-control"), "no-store");
    assert_eq!(site.starts(), 0);

    // Neither while it wakes. Nobody is held for it.
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut somebody = Raw::connect(site.address).await;
    somebody.write("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    site.has_waiting(1).await;
    let told = send(&site, Method::HEAD).await;
    assert_eq!((told.status, told.header("drowse-state")), (StatusCode::OK, "asleep"));

    site.application.state.is_up.store(true, Ordering::SeqCst);
    site.is(PhaseName::Ready).await;
    let answered = send(&site, Method::OPTIONS).await;
    assert_eq!((answered.status, &*answered.body), (StatusCode::OK, "hello"));
    assert_eq!(answered.header("drowse-state"), "");
}

#[tokio::test]
async fn what_cannot_be_woken_is_down_for_a_monitor_too() {
    let site = Site::with_route(answering(StatusCode::NO_CONTENT)).await;
    let mut kept = client::connect(site.address).await;
    let head = || Request::head("/").header("host", "app.test").body(()).unwrap();
    assert_eq!(soon(client::send(&mut kept, head())).await.status, StatusCode::NO_CONTENT);
    assert_eq!(soon(client::send(&mut kept, head())).await.status, StatusCode::NO_CONTENT);

    site.container.always(
        Action::Start,
        Step::refuse(ErrorKind::Failed { exit: Some(1), message: "no".into() }),
    );
    site.get("/").await.is_problem(502, "start-failed");
    let told = send(&site, Method::OPTIONS).await;
    told.is_problem(503, "asleep");
    assert_eq!(told.header("drowse-state"), "");
}

#[tokio::test]
async fn what_has_been_waking_for_too_long_is_down() {
    let site = Site::with_route(answering(StatusCode::OK)).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    // It is held for as long as its route says, and no longer.
    site.get("/").await.is_problem(504, "timeout");
    let is_down = async { while send(&site, Method::OPTIONS).await.status == StatusCode::OK {} };
    soon(is_down).await;
}
