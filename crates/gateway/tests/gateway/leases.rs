//! A lease lasts as long as anything is in flight, and no longer.

use std::{sync::atomic::Ordering, time::Duration};

use drowse_watcher::{PhaseName, Policy};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{
    client::{Raw, connect, eventually, request, send, soon},
    site::{Plan, Site},
};

#[tokio::test]
async fn an_event_stream_is_passed_on_at_once_and_keeps_awake() {
    let plan = Plan { policy: Policy::new(Duration::from_millis(10)), ..Plan::default() };
    let site = Site::new(plan).await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    client.read_until("text/event-stream").await;
    let mut events = site.application.state.events.subscribe();
    soon(events.wait_for(|events| !events.is_empty())).await.unwrap();
    for event in ["first", "second", "third"] {
        let mut sender = site.application.state.events.borrow()[0].clone();
        sender.send(format!("data: {event}\n\n").into()).await.unwrap();
        client.read_until(event).await;
        // The idle time passes many times meanwhile.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(site.workload.leases(), 1);
        assert_eq!(site.workload.snapshot().phase, PhaseName::Ready);
    }
    site.application.state.events.send_modify(Vec::clear);
    client.read_until("0\r\n\r\n").await;
    site.is(PhaseName::Asleep).await;
    assert_eq!(site.starts(), 1);
}

/// Row 2.
#[tokio::test]
async fn a_websocket_keeps_awake_while_it_is_open() {
    let plan = Plan { policy: Policy::new(Duration::from_millis(10)), ..Plan::default() };
    let site = Site::new(plan).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    // The handshake itself is held while the workload wakes.
    let (mut socket, answer) = soon(client_async("ws://app.test/ws", stream)).await.unwrap();
    assert_eq!(answer.status(), 101);
    for text in ["one", "two", "three"] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::text(text));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(site.workload.leases(), 1);
        assert_eq!(site.workload.snapshot().phase, PhaseName::Ready);
    }
    soon(socket.close(None)).await.unwrap();
    drop(socket);
    site.is(PhaseName::Asleep).await;
}

#[tokio::test]
async fn a_websocket_whose_client_vanishes_lets_go() {
    let site = Site::ready().await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (socket, _) = soon(client_async("ws://app.test/ws", stream)).await.unwrap();
    site.has_leases(1).await;
    drop(socket);
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_lets_go() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    eventually("the request", || site.application.requests() == 1).await;
    assert_eq!(site.workload.leases(), 1);
    client.leave().await;
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_upload_lets_go() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client.write("POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99\r\n\r\nabc").await;
    let mut received = site.application.state.received.subscribe();
    soon(received.wait_for(|bytes| *bytes == 3)).await.unwrap();
    assert_eq!(site.workload.leases(), 1);
    client.leave().await;
    site.has_leases(0).await;
    // The upstream's connection was closed with it: half a request must not be completed by another.
    soon(site.application.state.open.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_answer_lets_go() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    client.read_until("text/event-stream").await;
    assert_eq!(site.workload.leases(), 1);
    // However soon: who was answered does not wait for an answer.
    drop(client);
    site.has_leases(0).await;
    soon(site.application.state.open.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_held_waits_for_nothing_more() {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut client = Raw::connect(site.address).await;
    client.write("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    site.has_waiting(1).await;
    client.leave().await;
    site.has_waiting(0).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    site.is(PhaseName::Ready).await;
    site.has_leases(0).await;
}

/// What it asked for is not done for nobody when the workload wakes.
#[tokio::test]
async fn a_client_that_leaves_while_its_upload_is_held_is_forgotten() {
    // As much as a socket takes in: an end behind more than that does not arrive.
    let whole = "x".repeat(40_000);
    let uploads = [
        // Chunked: its end has not come, or is not read yet.
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_owned(),
        format!("Transfer-Encoding: chunked\r\n\r\n9c40\r\n{whole}\r\n0\r\n\r\n"),
        // Half of it is there.
        "Content-Length: 6\r\n\r\nabc".to_owned(),
        // All of it is there, and not all was read.
        format!("Content-Length: 40000\r\n\r\n{whole}"),
        "Content-Length: 3\r\n\r\nabc".to_owned(),
    ];
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    for upload in uploads {
        let mut client = Raw::connect(site.address).await;
        client.write("POST /upload HTTP/1.1\r\nHost: app.test\r\n").await;
        client.write(&upload).await;
        site.has_waiting(1).await;
        client.leave().await;
        site.has_waiting(0).await;
    }
    site.application.state.is_up.store(true, Ordering::SeqCst);
    site.is(PhaseName::Ready).await;
    assert_eq!(site.get("/").await.status, 200);
    assert_eq!(site.application.requests(), 1, "and that was the last one");
    site.has_leases(0).await;
}

/// RFC 9112 does not forbid it, and `nc -N` does it.
#[tokio::test]
async fn a_client_that_has_said_all_is_answered() {
    let requests = [
        "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        format!(
            "POST /upload HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             9c40\r\n{}\r\n0\r\n\r\n",
            "x".repeat(40_000)
        ),
    ];
    for request in &requests {
        let site = Site::asleep().await;
        site.application.state.is_up.store(false, Ordering::SeqCst);
        let mut client = Raw::connect(site.address).await;
        client.write_all_there_is(request).await;
        site.has_waiting(1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        site.application.state.is_up.store(true, Ordering::SeqCst);
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // Likewise where nothing is waited for.
        let mut client = Raw::connect(site.address).await;
        client.write_all_there_is(request).await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        site.has_leases(0).await;
    }
}

/// Who has said all may still go away.
#[tokio::test]
async fn a_client_that_has_said_all_and_breaks_off_lets_go() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client.write_all_there_is("GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    eventually("the request", || site.application.requests() == 1).await;
    client.0.set_zero_linger().unwrap();
    drop(client);
    site.has_leases(0).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_keeps_the_lease_until_the_upload_ends() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client
        .write("POST /echo HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    client.read_until("abc").await;
    assert_eq!(site.workload.leases(), 1);
    client.write("3\r\ndef\r\n").await;
    client.read_until("def").await;
    assert_eq!(site.workload.leases(), 1);
    client.write("0\r\n\r\n").await;
    client.read_until("0\r\n\r\n").await;
    site.has_leases(0).await;
}

/// Row 31, small: what was served leaves nothing behind.
#[tokio::test]
async fn many_requests_of_one_connection_leave_nothing_behind() {
    let site = Site::ready().await;
    let mut connection = connect(site.address).await;
    for _ in 0..2_000 {
        assert_eq!(send(&mut connection, request("/", &[])).await.status, 200);
    }
    site.has_leases(0).await;
    let opened = site.application.connections();
    assert!(opened <= 3, "probe and one upstream connection, not {opened}");
    assert_eq!(site.workload.held_by(), []);
}

#[tokio::test]
async fn unused_upstream_connections_are_closed_after_a_while() {
    let site = Site::ready().await;
    assert_eq!(site.get("/").await.status, 200);
    soon(site.application.state.open.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn problems_hold_no_lease() {
    let site = Site::ready().await;
    site.get("/.well-known/drowse/nothing").await.is_problem(404, "no-route");
    assert_eq!(site.get("/missing").await.body, "the application's own 404");
    site.has_leases(0).await;
}
