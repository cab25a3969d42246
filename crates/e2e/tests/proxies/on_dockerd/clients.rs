//! Who asks, as the application and the log see it.

use std::net::{IpAddr, Ipv4Addr};

use drowse_e2e::http::{self, Request};
use drowse_e2e::{DEADLINE, within};
use serde_json::Value;

use super::{HOST, Kind, Stack, TRUSTING};

const DOCUMENTATION: &str = include_str!("../../../../../docs/proxies.md");

/// A client that is not at the proxy's own address.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));

/// What a client may try to pass itself off with.
fn forged(request: Request) -> Request {
    let names = [
        "x-forwarded-for",
        "x-forwarded-port",
        "x-real-ip",
        "x_forwarded_for",
        "x_real_ip",
        "x_forwarded_proto",
    ];
    let request = names.into_iter().fold(request, |request, name| request.header(name, "6.6.6.6"));
    request
        .header("x-forwarded-proto", "gopher")
        .header("x-forwarded-host", "evil.test")
        .header("forwarded", "for=6.6.6.6;host=evil.test;proto=gopher")
        .header("drowse-probe", "1")
}

/// The headers of a request as the application has got it, `name: value` each.
async fn seen(request: Request) -> Vec<String> {
    let answer = request.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = seen["headers"].as_array().unwrap();
    headers.iter().map(|pair| format!("{}: {}", text(&pair[0]), text(&pair[1]))).collect()
}

fn has(headers: &[String], wanted: &[&str]) {
    for header in wanted {
        assert!(headers.iter().any(|seen| seen == header), "no `{header}` in {headers:#?}");
    }
    let all = headers.join("\n");
    for forged in ["6.6.6.6", "evil", "gopher", "drowse-probe"] {
        assert!(!all.contains(forged), "{forged} in {all}");
    }
    for header in ["host", "x-forwarded-for", "x-forwarded-proto", "forwarded", "x-real-ip"] {
        let times = headers.iter().filter(|seen| seen.starts_with(&format!("{header}: "))).count();
        assert!(times <= 1, "{times} times {header} in {all}");
    }
}

async fn applications_see_the_client(kind: Kind) {
    let stack = Stack::documented(kind).await;
    let front = &stack.front;
    let request = http::get(front.http, "/headers").host(HOST).source(CLIENT);
    has(
        &seen(forged(request)).await,
        &[
            "host: wiki.example.com",
            "x-forwarded-for: 127.0.0.5, 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: wiki.example.com",
            "x-real-ip: 127.0.0.5",
            "forwarded: for=127.0.0.5;host=\"wiki.example.com\";proto=http, for=127.0.0.1",
        ],
    );
    let line = stack.drowse.logs().wait_for(&["woken by a request"], DEADLINE).await;
    assert!(line.contains("client=127.0.0.5") && line.contains("peer=127.0.0.1"), "{line}");

    let by_https = seen(http::get(front.by_https, "/headers").host(HOST)).await;
    has(&by_https, &["host: wiki.example.com", "x-forwarded-proto: https"]);
    assert!(by_https.iter().any(|header| header.contains(";proto=https")), "{by_https:#?}");
    assert_eq!(stack.drowse.logs().matching(&["trusted_proxies"]), Vec::<String>::new());
}

#[tokio::test]
async fn behind_nginx_applications_see_the_client() {
    applications_see_the_client(Kind::nginx()).await;
}

#[tokio::test]
async fn behind_caddy_applications_see_the_client() {
    applications_see_the_client(Kind::caddy()).await;
}

/// The proxy is taken for the client until the setting that the log names is there.
async fn the_log_says_what_to_add(kind: Kind) {
    let mut stack = Stack::new(kind, 0, "").await;
    let front = stack.front.http;
    for _ in 0..3 {
        let request = http::get(front, "/headers").host(HOST).source(CLIENT);
        has(&seen(forged(request)).await, &["x-forwarded-for: 127.0.0.1"]);
    }
    let logs = stack.drowse.logs().clone();
    let line = logs.wait_for(&["add `trusted_proxies: "], DEADLINE).await;
    assert_eq!(logs.matching(&["trusted_proxies"]).len(), 1, "once for each peer");

    let (_, words) = line.split_once("INFO ").unwrap();
    let documented =
        words.split("peer=").next().unwrap().trim().replace("127.0.0.1", "172.30.80.3");
    assert!(DOCUMENTATION.contains(&documented), "{line}");
    let named = line.split('`').nth(1).unwrap();
    assert_eq!(named, "trusted_proxies: [\"127.0.0.1\"]");
    let config = std::fs::read_to_string(stack.drowse.spec().config_path()).unwrap();
    std::fs::write(stack.drowse.spec().config_path(), format!("{named}\n{config}")).unwrap();
    stack.drowse.terminate(DEADLINE).await;
    within(DEADLINE, "drowse to start again", stack.drowse.start_again()).await;
    stack.drowse.wait_until_read(stack.app.name()).await;
    let request = http::get(front, "/headers").host(HOST).source(CLIENT);
    has(&seen(forged(request)).await, &["x-forwarded-for: 127.0.0.5, 127.0.0.1"]);
    assert_eq!(logs.matching(&["trusted_proxies"]).len(), 1, "there is nothing to add any more");
}

#[tokio::test]
async fn behind_an_untrusted_nginx_the_log_says_what_to_add() {
    the_log_says_what_to_add(Kind::nginx()).await;
}

#[tokio::test]
async fn behind_an_untrusted_caddy_the_log_says_what_to_add() {
    the_log_says_what_to_add(Kind::caddy()).await;
}

/// Whoever reaches drowse past the proxy is believed nothing.
#[tokio::test]
async fn past_the_proxy_nobody_is_believed() {
    let stack = Stack::new(Kind::nginx(), 0, TRUSTING).await;
    let direct = stack.drowse.get(HOST, "/headers").source(CLIENT);
    has(&seen(forged(direct)).await, &["x-forwarded-for: 127.0.0.5", "x-forwarded-proto: http"]);
    stack.drowse.logs().wait_for(&["trusted_proxies: [\"127.0.0.5\"]"], DEADLINE).await;
}
