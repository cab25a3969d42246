//! What routes change, and whom they send elsewhere.

use drowse_gateway::{GatewayOptions, HeaderChanges, Network};
use drowse_watcher::PhaseName;

use crate::{
    client::{Raw, eventually},
    site::{Plan, Site},
};

#[tokio::test]
async fn a_prefix_is_taken_off_and_told() {
    let site = Site::with_route(|route| {
        route.path = "/app".parse().unwrap();
        route.strip_prefix = true;
    })
    .await;
    for (asked, seen) in [("/app", "GET /"), ("/app/x?y=1", "GET /x?y=1"), ("/app/?z", "GET /?z")] {
        assert_eq!(site.get_with(asked, &[("x-forwarded-prefix", "/evil")]).await.status, 200);
        let (target, headers) = site.application.last_seen();
        assert_eq!(target, seen);
        let told: Vec<_> = headers.get_all("x-forwarded-prefix").iter().collect();
        assert_eq!(told, ["/app"]);
    }
    site.get("/apple").await.is_problem(404, "no-route");
}

#[tokio::test]
async fn headers_are_changed_on_both_ways() {
    let site = Site::with_route(|route| {
        let mut request = HeaderChanges::none();
        request.change("x-from", "drowse").unwrap();
        request.change("cookie", "").unwrap();
        let mut response = HeaderChanges::none();
        response.change("x-end", "").unwrap();
        response.change("x-frame-options", "DENY").unwrap();
        (route.request_headers, route.response_headers) = (request, response);
    })
    .await;
    let answer = site.get_with("/hop", &[("cookie", "a=b"), ("x-from", "somebody")]).await;
    assert_eq!((answer.header("x-end"), answer.header("x-frame-options")), ("", "DENY"));
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["x-from"], "drowse");
    assert!(!headers.contains_key("cookie"));
}

#[tokio::test]
async fn who_comes_by_http_is_sent_to_https_and_wakes_nothing() {
    let mut options = GatewayOptions::new();
    options.trusted_proxies =
        [&"127.0.0.0/8"].map(|it| it.parse::<Network>().unwrap()).into_iter().collect();
    let route = Box::new(|route: &mut drowse_gateway::RouteSpec| route.https_only = true);
    let site = Site::new(Plan { options, route, ..Plan::default() }).await;
    for (host, forwarded, location) in [
        ("app.test", None, "https://app.test/x?y=1"),
        ("app.test:8080", None, "https://app.test/x?y=1"),
        ("app.test", Some("public.test:80"), "https://public.test/x?y=1"),
    ] {
        let mut client = Raw::connect(site.address).await;
        let forwarded = forwarded.map_or_else(String::new, |host| {
            format!("X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: {host}\r\n")
        });
        let head = format!("POST /x?y=1 HTTP/1.1\r\nHost: {host}\r\n{forwarded}");
        client.write(&format!("{head}Connection: close\r\nContent-Length: 0\r\n\r\n")).await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        assert!(answer.contains(&format!("location: {location}\r\n")), "{answer}");
    }
    assert_eq!((site.starts(), site.workload.snapshot().phase), (0, PhaseName::Asleep));
    let by_https = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
    assert_eq!(site.get_with("/", &by_https).await.status, 200);
}

#[tokio::test]
async fn more_than_may_wait_are_told_to_come_again() {
    let mut options = GatewayOptions::new();
    options.max_waiting_per_workload = 2;
    let site = Site::new(Plan { options, ..Plan::default() }).await;
    site.application.state.is_up.store(false, std::sync::atomic::Ordering::SeqCst);
    let mut waiting = Vec::new();
    for number in 1..=2 {
        let mut client = Raw::connect(site.address).await;
        client.write("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
        site.has_waiting(number).await;
        waiting.push(client);
    }
    let answer = site.get("/").await;
    answer.is_problem(503, "too-many-waiting");
    assert_eq!(answer.header("retry-after"), "10");
    site.application.state.is_up.store(true, std::sync::atomic::Ordering::SeqCst);
    for mut client in waiting {
        assert!(client.read_all().await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(site.get("/").await.status, 200);
}

/// No application waits for a connection that nobody uses when it is asked to end.
#[tokio::test]
async fn unused_connections_are_closed_when_the_workload_sleeps() {
    let site = Site::ready().await;
    assert_eq!(site.get("/").await.status, 200);
    let open = || *site.application.state.open.borrow();
    eventually("one is kept", || open() == 1).await;
    let deadline = drowse_provider::Deadline::after(crate::client::PATIENCE);
    let asleep = site.workload.sleep_now(deadline, drowse_watcher::Force::No);
    crate::client::soon(asleep).await.unwrap();
    eventually("it is closed", || open() == 0).await;
}
