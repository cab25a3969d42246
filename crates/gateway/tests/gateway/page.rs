//! The waiting page: who gets it, what it says.

use std::sync::atomic::Ordering;

use drowse_provider::{Action, ErrorKind, testing::Step};
use drowse_watcher::PhaseName;

use crate::{
    client::{self, Answer, eventually, soon},
    site::Site,
};

const NAVIGATION: [(&str, &str); 2] =
    [("sec-fetch-mode", "navigate"), ("accept", "text/html,*/*;q=0.8")];

async fn starting() -> Site {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    site
}

fn is_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 2, "{answer:?}");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    let refresh = format!(
        "<noscript><meta http-equiv=\"refresh\" content=\"{}\"></noscript>",
        answer.header("retry-after")
    );
    assert!(answer.body.contains(&refresh), "it goes on without scripts: {answer:?}");
    for outside in ["src=", "href=", "http://", "https://", "@import", "url("] {
        assert!(!answer.body.contains(outside), "{outside} loads something: {answer:?}");
    }
}

#[tokio::test]
async fn a_navigation_wakes_and_gets_the_page_and_then_the_application() {
    let site = starting().await;
    let page = site.get_with("/wiki?q=1", &NAVIGATION).await;
    is_page(&page, 503);
    assert!(page.body.contains("<h1>app</h1>"), "{page:?}");
    site.has_met("answers 503").await;
    let page = site.get_with("/wiki?q=1", &NAVIGATION).await;
    is_page(&page, 503);
    assert!(page.body.contains("answers 503"), "it says what is happening: {page:?}");
    assert_eq!(site.starts(), 1);

    site.application.state.is_up.store(true, Ordering::SeqCst);
    site.is(PhaseName::Ready).await;
    let answer = site.get_with("/wiki?q=1", &NAVIGATION).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "hello"));
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn who_wakes_fast_sees_no_page() {
    let site = Site::asleep().await;
    let mut plan = crate::site::Plan::default();
    plan.options.page_grace = client::PATIENCE;
    drop(site);
    let site = Site::new(plan).await;
    assert_eq!(site.get_with("/", &NAVIGATION).await.body, "hello");
}

/// Row 16.
#[tokio::test]
async fn everybody_else_is_held_and_nobody_gets_a_200_before_it_is_ready() {
    let html = ("accept", "text/html");
    for headers in [
        &[][..],
        &[("accept", "*/*")],
        &[("accept", "application/json")],
        &[html, ("hx-request", "true")],
        &[html, ("sec-fetch-mode", "cors")],
        &[html, ("connection", "upgrade"), ("upgrade", "websocket")],
    ] {
        let site = starting().await;
        let held = tokio::spawn({
            let address = site.address;
            let headers = headers.to_vec();
            async move { client::get_with(address, "/", &headers).await }
        });
        site.has_waiting(1).await;
        let probes = site.application.connections();
        eventually("further probes", || site.application.connections() > probes + 2).await;
        assert!(!held.is_finished(), "{headers:?}");
        site.application.state.is_up.store(true, Ordering::SeqCst);
        assert_eq!(soon(held).await.unwrap().body, "hello");
    }
}

#[tokio::test]
async fn a_head_of_a_navigation_is_held() {
    let site = starting().await;
    let held = tokio::spawn({
        let address = site.address;
        async move {
            let mut connection = client::connect(address).await;
            let mut request = client::request("/", &NAVIGATION);
            *request.method_mut() = http::Method::HEAD;
            client::send(&mut connection, request).await
        }
    });
    site.has_waiting(1).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    let answer = soon(held).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, "5"));
}

#[tokio::test]
async fn the_page_of_a_workload_that_does_not_start_says_why_and_waits() {
    let site = Site::asleep().await;
    let message = "exec: <script>alert('x')</script>".to_owned();
    let refusal = Step::refuse(ErrorKind::Failed { exit: Some(127), message });
    site.container.always(Action::Start, refusal);
    let page = site.get_with("/", &NAVIGATION).await;
    is_page(&page, 502);
    assert!(page.body.contains("exec: &lt;script&gt;alert(&#39;x&#39;)"), "{page:?}");
    assert!(page.body.contains("data-retry-after="), "{page:?}");
}

#[tokio::test]
async fn the_page_of_a_container_that_is_not_there_is_404() {
    let site = Site::gone().await;
    is_page(&site.get_with("/", &NAVIGATION).await, 404);
}

#[tokio::test]
async fn the_page_learns_when_it_may_go_on() {
    let site = starting().await;
    is_page(&site.get_with("/", &NAVIGATION).await, 503);
    site.is(PhaseName::Probing).await;
    let ask = |seen: &str| {
        let address = site.address;
        let path = format!("/.well-known/drowse/ready?seen={seen}");
        let headers = [("drowse-path", "/wiki"), ("sec-fetch-mode", "cors")];
        tokio::spawn(async move { client::get_with(address, &path, &headers).await })
    };
    // What it has not seen yet it is told at once.
    let state = soon(ask("starting")).await.unwrap();
    assert_eq!((state.status.as_u16(), state.header("cache-control")), (200, "no-store"));
    assert!(state.body.contains("\"phase\":\"probing\""), "{state:?}");
    assert!(state.body.contains("\"ready\":false"), "{state:?}");
    // The rest when it happens.
    let news = ask("probing");
    site.application.state.is_up.store(true, Ordering::SeqCst);
    let state = soon(news).await.unwrap();
    assert!(state.body.contains("\"ready\":true"), "{state:?}");
}

#[tokio::test]
async fn asking_how_far_it_is_wakes_nothing() {
    let site = Site::asleep().await;
    let state = site.get("/.well-known/drowse/ready").await;
    assert!(state.body.contains("\"phase\":\"asleep\""), "{state:?}");
    assert_eq!(site.starts(), 0);
}
