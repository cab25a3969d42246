//! What is in use stays awake.

use std::time::Duration;

use drowse_e2e::http::RawConnection;
use drowse_e2e::websocket::{self, Message};
use drowse_e2e::{DEADLINE, Site, Workload, eventually};
use futures::{SinkExt, StreamExt};
use tokio::time::Instant;

use super::{NEVER, awake, let_pass};

/// Several times the idle time of these tests.
const LONG: Duration = Duration::from_secs(4);

#[tokio::test]
async fn row_02_a_download_outlasts_the_idle_time() {
    let (site, app, drowse) = awake("download", "1s").await;
    let download = drowse.get(&app.host(), "/stream?bytes=100000&ms=4000").send().await;
    assert_eq!((download.status.as_u16(), download.body.len()), (200, 100_000));
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped while a download was in flight");
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_02_server_sent_events_outlast_the_idle_time() {
    let (site, app, drowse) = awake("sse", "1s").await;
    let mut events = drowse.get(&app.host(), "/sse?ms=500&count=9").open().await;
    let mut text = Vec::new();
    while let Some(event) = events.chunk(DEADLINE).await.unwrap() {
        text.extend_from_slice(&event);
    }
    assert!(String::from_utf8(text).unwrap().ends_with("data: 8\n\n"));
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped while events were flowing");
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_02_a_silent_websocket_outlasts_the_idle_time() {
    let (site, app, drowse) = awake("ws", "1s").await;
    let mut socket = websocket::connect(drowse.address(), &app.host(), "/ws").await.unwrap();
    let_pass(LONG).await;
    socket.send(Message::text("still there?")).await.unwrap();
    let answer = drowse_e2e::within(DEADLINE, "an echo", socket.next()).await;
    assert_eq!(answer.unwrap().unwrap(), Message::text("still there?"));
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped under an open WebSocket");
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_02_an_upload_outlasts_the_idle_time() {
    let (site, app, drowse) = awake("upload", "1s").await;
    let mut upload = RawConnection::open(drowse.address()).await;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {}\r\nContent-Length: 20\r\n\r\n0123456789",
        app.host()
    );
    upload.send(head).await;
    let_pass(LONG).await;
    upload.send("0123456789").await;
    let head = upload.read_head(DEADLINE).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body = upload.read_until("}", DEADLINE).await;
    assert!(body.contains("\"bytes\":20"), "{body}");
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped under an upload");
}

#[tokio::test]
async fn an_open_connection_without_a_request_is_no_use() {
    let (site, app, drowse) = awake("keepalive", "1s").await;
    let mut connection = RawConnection::open(drowse.address()).await;
    connection.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", app.host())).await;
    assert!(connection.read_head(DEADLINE).await.starts_with("HTTP/1.1 200"));
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_06_after_a_kill_what_was_in_use_has_its_whole_idle_time() {
    const IDLE: Duration = Duration::from_secs(5);
    let (site, app, mut drowse) = awake("killed", "5s").await;
    // Most of the idle time passes under the first drowse; none of it counts for the second.
    let_pass(IDLE * 3 / 4).await;
    drowse.kill().await;
    let began = Instant::now();
    drowse.start_again().await;
    site.events.wait_for(&app, "kill", 1, DEADLINE).await;
    assert!(began.elapsed() >= IDLE, "stopped {:?} after the restart", began.elapsed());
    site.wait_until_stopped(&app, 1).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn row_06_a_request_right_after_the_restart_is_served_by_the_same_run() {
    let (site, app, mut drowse) = awake("again", NEVER).await;
    drowse.kill().await;
    drowse.start_again().await;
    let served = || async {
        let answer = drowse.get(&app.host(), "/").send().await;
        // Until the engine is read it says when to come again.
        let is_early = answer.status == 503 && answer.header("retry-after").is_some();
        assert!(is_early || answer.status == 200, "{} {}", answer.status, answer.text());
        (answer.status == 200).then_some(())
    };
    eventually(DEADLINE, "the request to be served", served).await;
    assert_eq!(site.starts(&app).await, 1);
    assert_eq!(site.relay.count(|request| request.is_order("stop")), 0);
}

#[tokio::test]
async fn row_31_memory_does_not_grow_with_requests_served() {
    const WARM_UP: usize = 10_000;
    const REQUESTS: usize = 40_000;
    let site = Site::new().await;
    let app = site.container("session").create().await;
    // As a user runs it: DEBUG has a line for each request, which this harness would keep.
    let spec = site.drowse(&[Workload::of(&app).idle(NEVER)]).env("RUST_LOG", "info");
    let drowse = spec.start().await;
    drowse.wait_until_read(app.name()).await;
    let mut connection = RawConnection::open(drowse.address()).await;
    ask_again_and_again(&mut connection, &app.host(), WARM_UP).await;
    let before = drowse.resident_kib();
    ask_again_and_again(&mut connection, &app.host(), REQUESTS).await;
    let grown = drowse.resident_kib().saturating_sub(before);
    // Ten bytes for each request would be more.
    assert!(grown < 400, "{grown} KiB more after {REQUESTS} requests");
    assert_eq!(site.starts(&app).await, 1);
}

/// Requests on one connection, some of them at once.
async fn ask_again_and_again(connection: &mut RawConnection, host: &str, times: usize) {
    const AT_ONCE: usize = 50;
    let request = format!("GET /status/200 HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let requests = request.repeat(AT_ONCE);
    for _ in 0..times / AT_ONCE {
        connection.send(&requests).await;
        for _ in 0..AT_ONCE {
            let head = connection.read_head(DEADLINE).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            connection.read_until("200 OK\n", DEADLINE).await;
        }
    }
}
