//! What the page does.

use std::sync::atomic::Ordering;

use drowse_provider::{Action, ErrorKind, Health, testing::Step};
use drowse_watcher::PhaseName;
use serde_json::json;

use super::browser::Tab;
use crate::site::{Plan, Site};

const READY: &str = "document.body.textContent === 'hello'";

/// Its application does not answer before it is told to.
pub(super) async fn silent(plan: Plan) -> Site {
    let site = Site::new(plan).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    site
}

pub(super) fn step(name: &str) -> String {
    format!("document.documentElement.dataset.step === '{name}'")
}

fn answer(site: &Site) {
    site.application.state.is_up.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn it_goes_on_once_to_the_page_that_was_asked_for() {
    let site = silent(Plan::default()).await;
    let tab = Tab::open(&site, json!({})).await;
    assert_eq!(tab.go("/wiki/page?q=1#section-2").await, 503);
    tab.until(&step("answering")).await;
    tab.is_sound().await;
    answer(&site);
    tab.until(READY).await;
    let hash = tab.evaluate("location.pathname + location.search + location.hash").await;
    assert_eq!(hash, "/wiki/page?q=1#section-2");
    assert_eq!(tab.requests("/wiki/page").await, 2, "the page, and what was asked for");
    assert_eq!(tab.requests("/events").await, 1, "one connection");
    assert_eq!(tab.evaluate("history.length").await, 2, "nothing to go back through");
    site.has_leases(0).await;
    let seen = site.application.state.seen.lock().unwrap().clone();
    let asked = seen.iter().filter(|(target, _)| target == "GET /wiki/page?q=1").count();
    assert_eq!(asked, 1, "{seen:?}");
    tab.close().await;
}

#[tokio::test]
async fn it_shows_each_step() {
    let plan = Plan { needs: Some("postgres"), ..Plan::default() };
    let site = silent(plan).await;
    let locked = ErrorKind::Locked { by: "backup".to_owned() };
    site.container.always(Action::Start, Step::refuse(locked));
    let tab = Tab::open(&site, json!({})).await;
    tab.go("/").await;
    tab.sees("Waking what it needs").await;
    let now = "document.querySelector('[aria-current=step]').textContent";
    assert_eq!(tab.evaluate(now).await, "What it needs");
    tab.is_sound().await;
    site.engine.container("postgres").unwrap().report_health(Health::Healthy);
    tab.until(&step("starting")).await;
    assert_eq!(tab.evaluate(now).await, "Starting");
    site.container.always(Action::Start, Step::ok());
    tab.until(&step("answering")).await;
    assert_eq!(tab.evaluate(now).await, "Waiting for its answer");
    answer(&site);
    tab.until(READY).await;
    tab.close().await;
}

#[tokio::test]
async fn a_failure_has_its_reason_and_a_button() {
    let site = Site::with_route(|route| route.page_details = true).await;
    let message = "exec: \"/app/serve\": <b>no such file</b>".to_owned();
    let refusal = Step::refuse(ErrorKind::Failed { exit: Some(127), message });
    site.container.always(Action::Start, refusal);
    let tab = Tab::open(&site, json!({})).await;
    assert_eq!(tab.go("/#here").await, 502);
    tab.sees("It does not start").await;
    tab.sees("<b>no such file</b>").await;
    tab.is_sound().await;
    let starts = site.starts();
    // Nothing but the button tries again.
    site.container.always(Action::Start, Step::ok());
    soon_unblocked(&site).await;
    assert_eq!(site.starts(), starts);
    tab.click("[data-drowse=again]").await;
    tab.until(READY).await;
    assert_eq!(tab.evaluate("location.hash").await, "#here");
    tab.close().await;
}

/// Until the next start would be tried.
async fn soon_unblocked(site: &Site) {
    site.is(PhaseName::Asleep).await;
}

#[tokio::test]
async fn a_failure_while_it_is_waited_for_is_told() {
    let site = silent(Plan::default()).await;
    let tab = Tab::open(&site, json!({})).await;
    tab.go("/").await;
    tab.until(&step("answering")).await;
    site.container.always(Action::Start, Step::hang());
    site.container.crash(3);
    tab.until(&step("failed")).await;
    tab.sees("Try again").await;
    tab.close().await;
}

#[tokio::test]
async fn it_goes_on_without_scripts() {
    let site = silent(Plan::default()).await;
    let tab = Tab::open(&site, json!({ "javaScriptEnabled": false })).await;
    assert_eq!(tab.go("/").await, 503);
    tab.sees("Almost there").await;
    answer(&site);
    tab.sees("hello").await;
    assert_eq!(tab.requests("/.well-known/").await, 0);
    tab.close().await;
}

#[tokio::test]
async fn it_goes_on_where_no_stream_comes_through() {
    for is_refused in [true, false] {
        let site = silent(Plan::default()).await;
        let tab = Tab::open(&site, json!({})).await;
        if is_refused {
            tab.refuse("/events").await;
        } else {
            tab.starve("/events").await;
        }
        tab.go("/").await;
        tab.until(&step("answering")).await;
        answer(&site);
        tab.until(READY).await;
        assert!(tab.requests("/ready").await >= 1);
        tab.close().await;
    }
}

#[tokio::test]
async fn it_speaks_german_and_fits_a_phone() {
    let site = silent(Plan::default()).await;
    let phone = json!({
        "locale": "de-DE", "viewport": { "width": 320, "height": 568 },
        "isMobile": true, "hasTouch": true,
    });
    let tab = Tab::open(&site, phone).await;
    tab.go("/").await;
    tab.sees("Gleich so weit").await;
    assert_eq!(tab.evaluate("document.documentElement.lang").await, "de");
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(tab.evaluate(fits).await, true);
    tab.is_sound().await;
    tab.close().await;
}

#[tokio::test]
async fn it_can_be_read_in_the_dark_and_stands_still_for_those_who_ask() {
    let site = silent(Plan::default()).await;
    let options = json!({ "colorScheme": "dark", "reducedMotion": "reduce" });
    let tab = Tab::open(&site, options).await;
    tab.go("/").await;
    tab.until(&step("answering")).await;
    tab.is_sound().await;
    let moving = "document.getAnimations().filter((one) => one.playState === 'running').length";
    assert_eq!(tab.evaluate(moving).await, 0);
    tab.close().await;
}

/// What is ready and does not stay so must not be asked for again and again.
#[tokio::test]
async fn it_stops_going_round_in_circles() {
    let site = silent(Plan::default()).await;
    let tab = Tab::open(&site, json!({})).await;
    tab.go("/").await;
    tab.until(&step("answering")).await;
    // As if it had been here seven times of late.
    let often = "sessionStorage.setItem('drowse /', JSON.stringify(Array(7).fill(Date.now())))";
    tab.evaluate(often).await;
    answer(&site);
    tab.sees("It does not stay").await;
    tab.is_sound().await;
    assert_eq!(tab.requests("http://app.test").await - tab.requests("/.well-known/").await, 1);
    // Who wants to may try again.
    tab.click("[data-drowse=again]").await;
    tab.until(READY).await;
    tab.close().await;
}
