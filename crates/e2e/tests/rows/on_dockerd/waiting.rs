//! Those who wait for a container to wake: who gets what, and what becomes of the wake.

use ::http::Method;
use drowse_e2e::http::{RawConnection, Response};
use drowse_e2e::websocket::{self, Message};
use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload, eventually, http};
use futures::{SinkExt, StreamExt};

use super::{NEVER, asleep};

/// A sleeping container that takes a while, so that whoever asks has to wait.
async fn slow_starter(name: &str) -> (Site, TestContainer, Drowse) {
    let site = Site::new().await;
    let app = site.container(name).env("READY_DELAY_MS", 1000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    (site, app, drowse)
}

#[tokio::test]
async fn row_15_a_wake_goes_on_when_its_first_client_leaves() {
    let (site, app, drowse) = slow_starter("leaver").await;
    let mut first = RawConnection::open(drowse.address()).await;
    first.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", app.host())).await;
    start_is_ordered(&site).await;
    let second = tokio::spawn(drowse.get(&app.host(), "/").send());
    drop(first);
    second.await.unwrap().assert_served();
    assert_eq!(site.starts(&app).await, 1);
    assert_eq!(site.events.heard(&app, "kill"), 0);
}

#[tokio::test]
async fn row_15_a_wake_goes_on_when_nobody_is_left() {
    let (site, app, drowse) = slow_starter("alone").await;
    let mut only = RawConnection::open(drowse.address()).await;
    only.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", app.host())).await;
    start_is_ordered(&site).await;
    drop(only);
    drowse.wait_until(app.name(), |state| state == "ready", DEADLINE).await;
    assert_eq!(app.state().await.status, "running");
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_16_programs_are_held_until_the_application_answers() {
    let (site, app, drowse) = slow_starter("held").await;
    let curl = drowse.get(&app.host(), "/").header("accept", "*/*");
    let api = drowse.get(&app.host(), "/headers").header("accept", "application/json");
    let bare = drowse.get(&app.host(), "/");
    let monitor = drowse.get(&app.host(), "/").method(Method::HEAD);
    // What a page's own script or image asks for is no navigation.
    let script = drowse.get(&app.host(), "/").header("sec-fetch-mode", "cors");
    let script = script.header("accept", "text/html");
    let post = http::post(drowse.address(), "/upload", "12345").host(&app.host());
    let form = http::post(drowse.address(), "/upload", "1").host(&app.host()).navigation();

    let (curl, api, bare, monitor, script, post, form) = tokio::join!(
        curl.send(),
        api.send(),
        bare.send(),
        monitor.send(),
        script.send(),
        post.send(),
        form.send(),
    );
    curl.assert_served();
    bare.assert_served();
    script.assert_served();
    assert_eq!(api.json()["path"], "/headers");
    assert_eq!(monitor.status, 200);
    assert_eq!(post.json()["bytes"], 5);
    // A body is never answered with a page that would ask again without it.
    assert_eq!(form.json()["bytes"], 1);
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_16_a_websocket_is_held_until_the_application_answers() {
    let (site, app, drowse) = slow_starter("held-ws").await;
    let mut socket = websocket::connect(drowse.address(), &app.host(), "/ws").await.unwrap();
    socket.send(Message::text("good morning")).await.unwrap();
    let answer = drowse_e2e::within(DEADLINE, "an echo", socket.next()).await;
    assert_eq!(answer.unwrap().unwrap(), Message::text("good morning"));
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_16_only_a_browsers_navigation_gets_the_page_and_goes_on_by_itself() {
    let (site, app, drowse) = slow_starter("page").await;
    // An old browser says no more than what it takes.
    let old = drowse.get(&app.host(), "/").header("accept", "text/html,*/*;q=0.8");
    let page = drowse.get(&app.host(), "/deep/link?a=b").navigation();
    let (page, old) = tokio::join!(page.send(), old.send());
    for page in [&page, &old] {
        assert_page(page);
    }

    // Asking for the page has woken it; the same navigation ends at the application.
    let served = || async {
        let answer = drowse.get(&app.host(), "/").navigation().send().await;
        let is_page = answer.status == 503;
        if !is_page {
            answer.assert_served();
        }
        (!is_page).then_some(())
    };
    eventually(DEADLINE, "the navigation to end at the application", served).await;
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn an_unknown_host_is_not_found_and_wakes_nothing() {
    let (site, app, drowse) = asleep("quiet", NEVER).await;
    drowse.get("nobody.test", "/").send().await.assert_problem(404);
    assert_eq!(drowse.get("nobody.test", "/").navigation().send().await.status, 404);
    assert_eq!(app.state().await.status, "created");
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0);
}

fn assert_page(page: &Response) {
    let text = page.text();
    assert_eq!(page.status, 503, "{text}");
    assert!(page.header("content-type").unwrap_or_default().starts_with("text/html"), "{text}");
    assert!(page.header("retry-after").is_some(), "{:?}", page.headers);
    assert!(page.header("cache-control").unwrap_or_default().contains("no-store"));
    // Without JavaScript too.
    let refreshes = text.to_lowercase().contains("http-equiv=\"refresh\"");
    assert!(refreshes || page.header("refresh").is_some(), "{text}");
}

async fn start_is_ordered(site: &Site) {
    let ordered =
        || async { (site.relay.count(|request| request.is_order("start")) > 0).then_some(()) };
    eventually(DEADLINE, "the start to be ordered", ordered).await;
}
