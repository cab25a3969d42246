//! The waiting page: who gets it, what it says.

use std::sync::atomic::Ordering;

use drowse_gateway::Language;
use drowse_provider::{Action, ErrorKind, testing::Step};
use drowse_watcher::PhaseName;

use crate::{
    client::{self, Answer, eventually, soon},
    site::{Plan, Site},
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
    for outside in ["src=", "href=\"/", "href=\"h", "http://", "https://", "@import", "url("] {
        assert!(!answer.body.contains(outside), "{outside} loads something: {answer:?}");
    }
    let size = answer.body.len();
    assert!(size < 15 * 1024, "{size} bytes");
}

/// Whether it asks again without scripts.
fn refreshes(answer: &Answer) -> bool {
    let refresh = format!(
        "<noscript><meta http-equiv=\"refresh\" content=\"{}\"></noscript>",
        answer.header("retry-after")
    );
    answer.body.contains(&refresh)
}

#[tokio::test]
async fn a_navigation_wakes_and_gets_the_page_and_then_the_application() {
    let site = starting().await;
    let page = site.get_with("/wiki?q=1", &NAVIGATION).await;
    is_page(&page, 503);
    assert!(page.body.contains("<h1>app</h1>"), "{page:?}");
    assert!(refreshes(&page), "{page:?}");
    site.has_met("answers 503").await;
    let page = site.get_with("/wiki?q=1", &NAVIGATION).await;
    is_page(&page, 503);
    assert!(page.body.contains("Almost there"), "it says what is happening: {page:?}");
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
    let mut plan = Plan::default();
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

/// Refuses each start with a message that would like to be a script.
fn refuse_to_start(site: &Site) {
    let message = "exec: <script>alert('x')</script>".to_owned();
    let refusal = Step::refuse(ErrorKind::Failed { exit: Some(127), message });
    site.container.always(Action::Start, refusal);
}

#[tokio::test]
async fn the_page_of_a_workload_that_does_not_start_says_so_and_has_a_button() {
    let site = Site::asleep().await;
    refuse_to_start(&site);
    let page = site.get_with("/", &NAVIGATION).await;
    is_page(&page, 502);
    assert!(page.body.contains("It does not start"), "{page:?}");
    assert!(page.body.contains("data-drowse=\"again\">Try again</a>"), "{page:?}");
    // Asking again would start it again, for ever.
    assert!(!refreshes(&page), "{page:?}");
}

/// What an engine says may name containers, images and paths.
#[tokio::test]
async fn what_an_engine_says_is_shown_where_the_route_says_so() {
    let hidden = Site::asleep().await;
    refuse_to_start(&hidden);
    let page = hidden.get_with("/", &NAVIGATION).await;
    let state = hidden.get("/.well-known/drowse/ready").await;
    for answer in [&page, &state] {
        assert!(!answer.body.contains("exec:"), "{answer:?}");
    }
    let shown = Site::with_route(|route| route.page_details = true).await;
    refuse_to_start(&shown);
    let page = shown.get_with("/", &NAVIGATION).await;
    is_page(&page, 502);
    assert!(page.body.contains("exec: &lt;script&gt;alert(&#x27;x&#x27;)"), "{page:?}");
    assert!(page.body.contains("exec: \\u003cscript>alert('x')"), "{page:?}");
    assert!(!page.body.contains("exec: <"), "{page:?}");
    let state = shown.get("/.well-known/drowse/ready").await;
    assert!(state.body.contains("exec: <script>"), "{state:?}");
}

#[tokio::test]
async fn the_page_speaks_the_browsers_language_or_the_one_that_is_set() {
    let site = starting().await;
    let german = [NAVIGATION[0], NAVIGATION[1], ("accept-language", "de-CH, en;q=0.5")];
    let page = site.get_with("/", &german).await;
    is_page(&page, 503);
    assert_eq!(page.header("content-language"), "de");
    assert!(page.body.contains("<html lang=\"de\""), "{page:?}");
    let state = site.get_with("/.well-known/drowse/ready", &german[2..]).await;
    assert!(state.body.contains("Anwendung"), "{state:?}");

    let mut plan = Plan::default();
    plan.options.page.language = Some(Language::French);
    let site = Site::new(plan).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    assert_eq!(site.get_with("/", &german).await.header("content-language"), "fr");
}

#[tokio::test]
async fn each_page_has_a_policy_of_its_own() {
    let site = starting().await;
    let mut policies = Vec::new();
    for _ in 0..2 {
        let page = site.get_with("/", &NAVIGATION).await;
        let policy = page.header("content-security-policy").to_owned();
        let (_, rest) = policy.split_once("script-src 'nonce-").unwrap();
        let (nonce, _) = rest.split_once('\'').unwrap();
        assert_eq!(page.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "{page:?}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        policies.push(policy);
    }
    assert_ne!(policies[0], policies[1]);
}

#[tokio::test]
async fn the_usual_time_is_that_of_the_last_wakes() {
    let wakes = [3, 90, 4].map(std::time::Duration::from_secs).to_vec();
    let site = Site::new(Plan { wakes, ..Plan::default() }).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let page = site.get_with("/", &NAVIGATION).await;
    assert!(page.body.contains("Usually takes about 4 s"), "{page:?}");
    let (_, value) = page.body.split_once(" value=\"").unwrap();
    let value: f64 = value.split('"').next().unwrap().parse().unwrap();
    assert!((0.0..97.1).contains(&value), "{value}");
}

#[tokio::test]
async fn what_it_needs_is_named_where_the_route_says_so() {
    for details in [false, true] {
        let route = Box::new(move |route: &mut drowse_gateway::RouteSpec| {
            route.page_details = details;
        });
        let site = Site::new(Plan { needs: Some("postgres"), route, ..Plan::default() }).await;
        let page = site.get_with("/", &NAVIGATION).await;
        is_page(&page, 503);
        assert!(page.body.contains("data-step=\"dependencies\""), "{page:?}");
        assert_eq!(page.body.contains("postgres"), details, "{page:?}");
    }
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
        let path = format!("/.well-known/drowse/ready?path=%2Fwiki&seen={seen}");
        tokio::spawn(async move {
            client::get_with(address, &path, &[("sec-fetch-mode", "cors")]).await
        })
    };
    // What it has not seen yet it is told at once.
    let state = soon(ask("something")).await.unwrap();
    assert_eq!((state.status.as_u16(), state.header("cache-control")), (200, "no-store"));
    assert!(state.body.contains("\"phase\":\"probing\""), "{state:?}");
    assert!(state.body.contains("\"ready\":false"), "{state:?}");
    let state: serde_json::Value = serde_json::from_str(&state.body).unwrap();
    // The rest when it happens.
    let news = ask(state["id"].as_str().unwrap());
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
