//! What passes through both hops.

use drowse_e2e::http::{self, Response};
use drowse_e2e::websocket::{self, Message};
use drowse_e2e::{DEADLINE, eventually, within};
use futures::{SinkExt, StreamExt};

use super::{HOST, Kind, Stack, TRUSTING};

async fn everything_passes(kind: Kind) {
    let stack = Stack::documented(kind).await;
    let front = stack.front.http;
    http::get(front, "/").host(HOST).send().await.assert_served();

    // More than nginx's own limit.
    let body = b"0123456789".repeat(300_000);
    let answer = http::post(front, "/upload", body).host(HOST).send().await;
    assert_eq!(answer.json()["bytes"], 3_000_000);

    let mut socket = websocket::connect(front, HOST, "/ws").await.unwrap();
    for text in ["good", "morning"] {
        socket.send(Message::text(text)).await.unwrap();
        let answer = within(DEADLINE, "an echo", socket.next()).await;
        assert_eq!(answer.unwrap().unwrap(), Message::text(text));
    }
    socket.close(None).await.unwrap();

    // The second event is an hour away: whoever waited for it would not pass on the first.
    let mut events = http::get(front, "/sse?ms=3600000").host(HOST).open().await;
    assert_eq!(events.chunk(DEADLINE).await.unwrap().unwrap(), "data: 0\n\n");
    drop(events);
    let mut stream = http::get(front, "/stream?bytes=20&ms=20000").host(HOST).open().await;
    let first = stream.chunk(DEADLINE).await.unwrap().unwrap();
    assert!(first.len() < 20, "it waited for the whole answer");
    drop(stream);

    eventually(DEADLINE, "the end of everything to be seen", || async {
        (stack.drowse.row(stack.app.name()).await["leases"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn everything_passes_nginx() {
    everything_passes(Kind::nginx()).await;
}

#[tokio::test]
async fn everything_passes_caddy() {
    everything_passes(Kind::caddy()).await;
}

async fn the_waiting_page_and_the_woken_application_pass(kind: Kind) {
    let stack = Stack::new(kind, 1_500, TRUSTING).await;
    let navigate =
        || async { http::get(stack.front.http, "/").host(HOST).navigation().send().await };
    assert_page(&navigate().await);
    // What the page itself asks, until it is told that the application is ready.
    let mut state = serde_json::json!({ "ready": false, "id": "" });
    while state["ready"] != true {
        let seen = state["id"].as_str().unwrap();
        let question = format!("/.well-known/drowse/ready?seen={seen}");
        let asked = http::get(stack.front.http, &question).host(HOST);
        // Each answer is held for 20 s at most.
        state = asked.deadline(DEADLINE * 2).send().await.json();
    }
    navigate().await.assert_served();
}

fn assert_page(page: &Response) {
    let text = page.text();
    assert_eq!(page.status, 503, "{text}");
    assert!(page.header("content-type").unwrap_or_default().starts_with("text/html"), "{text}");
    assert!(page.header("retry-after").is_some(), "{:?}", page.headers);
    assert!(page.header("cache-control").unwrap_or_default().contains("no-store"));
    assert!(text.contains("http-equiv=\"refresh\""), "{text}");
}

#[tokio::test]
async fn the_waiting_page_passes_nginx() {
    the_waiting_page_and_the_woken_application_pass(Kind::nginx()).await;
}

#[tokio::test]
async fn the_waiting_page_passes_caddy() {
    the_waiting_page_and_the_woken_application_pass(Kind::caddy()).await;
}

/// How many requests the application gets for one that nginx tires of waiting for, with two ways to
/// the same drowse.
async fn sent_after_a_timeout(kind: Kind) -> u64 {
    let kind = kind.with("proxy_read_timeout 1h", "proxy_read_timeout 1s");
    let two = "server 127.0.0.1:8080 max_fails=0; server 127.0.0.1:8080 max_fails=0;";
    let stack = Stack::new(kind.with("server 127.0.0.1:8080;", two), 0, TRUSTING).await;
    let requests = || async {
        let stamp = stack.drowse.get(HOST, "/stamp").send().await.json();
        stamp["requests"].as_u64().unwrap()
    };
    let before = requests().await;
    let answer = http::get(stack.front.http, "/hang").host(HOST).send().await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    // The second question counts itself.
    requests().await - before - 1
}

#[tokio::test]
async fn nginx_sends_no_request_twice() {
    let documented = Kind::nginx();
    let default = documented.clone().with("proxy_next_upstream error;", "");
    let (documented, default) =
        tokio::join!(sent_after_a_timeout(documented), sent_after_a_timeout(default));
    assert_eq!(documented, 1);
    assert_eq!(default, 2, "the setting is not needed any more");
}
