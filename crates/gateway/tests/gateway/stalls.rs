//! Bodies that stall in the middle, and whose fault that is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_gateway::{
    Chooser, InFlightStage, Route, RouteTable, UpstreamPolicy, UpstreamScheme, Vantage,
};
use drowse_provider::testing::ScriptedEngine;
use drowse_watcher::{PhaseName, Policy};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    time::sleep,
};

use crate::{
    application::Speaks,
    client::{Raw, eventually, soon},
    http2::{Connection, read, rest, to_app},
    site::{Plan, Site},
};

const SHORT: Duration = Duration::from_millis(50);
const CHUNKED: &str =
    "POST /echo HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

async fn ready(plan: Plan) -> Site {
    let site = Site::new(plan).await;
    site.wake().await;
    site
}

/// Whose clients may keep it waiting for a moment only.
async fn impatient(mut plan: Plan) -> Site {
    plan.options.body_timeout = SHORT;
    ready(plan).await
}

fn speaking_http2() -> Plan {
    let speaks = Speaks::Http2 { max_streams: 100 };
    Plan { speaks, scheme: UpstreamScheme::H2c, ..Plan::default() }
}

/// Every route of the site leads here instead.
pub(crate) fn leads_to(site: &Site, address: SocketAddr) {
    let mut spec = site.gateway.routes().routes()[0].spec().clone();
    let policy = UpstreamPolicy::new().with_port(address.port());
    spec.upstream = Chooser::new(Arc::new(ScriptedEngine::new("elsewhere")), Vantage::Host, policy);
    site.gateway.replace_routes(RouteTable::build([Route::new(spec)]).unwrap());
}

#[tokio::test]
async fn an_upload_that_stalls_is_answered_with_408_and_lets_go() {
    let site = impatient(Plan::default()).await;
    let mut client = Raw::connect(site.address).await;
    client.write("POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nabc").await;
    // The connection is closed with it: what would come next is the rest of a body.
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.contains("\"reason\":\"body-timeout\""), "{answer}");
    assert!(answer.contains("Nothing of the request's body came for 50ms."), "{answer}");
    site.has_leases(0).await;
    soon(site.application.state.open.subscribe().wait_for(|open| *open == 0)).await.unwrap();
    // Whose fault it was is clear.
    assert_eq!(site.workload.snapshot().phase, PhaseName::Ready);
    assert_eq!(site.workload.snapshot().last_error, None);
}

#[tokio::test]
async fn a_stream_whose_upload_stalls_gets_the_same_and_the_others_go_on() {
    for plan in [Plan::default(), speaking_http2()] {
        let site = impatient(plan).await;
        let connection = Connection::to(site.address).await;
        let (answer, mut upload) = connection.begin(to_app("/upload").method("POST")).await;
        upload.send_data(Bytes::from_static(b"abc"), false).unwrap();
        read(answer).await.is_problem(408, "body-timeout");
        site.has_leases(0).await;
        assert_eq!(connection.get("/").await.body, "hello");
        assert_eq!(site.workload.snapshot().last_error, None);
    }
}

#[tokio::test]
async fn an_upload_that_stalls_while_it_is_answered_is_cut() {
    let site = impatient(Plan::default()).await;
    let mut client = Raw::connect(site.address).await;
    client.write(CHUNKED).await;
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("abc"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    site.has_leases(0).await;
    soon(site.application.state.open.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

/// It is the upstream that takes nothing, for longer than a client may be silent.
#[tokio::test]
async fn an_upstream_may_take_its_time() {
    const LENGTH: usize = 16 << 20;
    let mut plan = Plan::default();
    plan.options.body_timeout = Duration::from_secs(1);
    let site = ready(plan).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    leads_to(&site, listener.local_addr().unwrap());
    let upstream = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        sleep(Duration::from_millis(2_500)).await;
        let (mut received, mut piece) = (0, vec![0; 1 << 16]);
        while received < LENGTH {
            received += stream.read(&mut piece).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthank").await.unwrap();
        stream
    });
    let mut client = Raw::connect(site.address).await;
    let head = format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.write(&head).await;
    soon(client.0.write_all(&vec![b'x'; LENGTH])).await.unwrap();
    client.read_until("thank").await;
    soon(upstream).await.unwrap();
    site.has_leases(0).await;
}

#[tokio::test]
async fn in_a_grpc_call_both_may_be_silent() {
    let site = impatient(speaking_http2()).await;
    let connection = Connection::to(site.address).await;
    let request = to_app("/echo").method("POST").header("content-type", "application/grpc");
    let (answer, mut upload) = connection.begin(request).await;
    let mut answer = soon(answer).await.unwrap().into_body();
    for text in ["first", "second"] {
        sleep(4 * SHORT).await;
        assert_eq!(site.workload.leases(), 1);
        upload.send_data(text.into(), false).unwrap();
        assert_eq!(soon(answer.data()).await.unwrap().unwrap(), text);
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(soon(rest(&mut answer)).await, b"");
    site.has_leases(0).await;
}

/// An upstream that answers over HTTP/2 before it has read anything, never reads anything, and resets nothing;
/// and how many connections to it have come and gone.
async fn answering_early(site: &Site, is_whole: bool) -> watch::Receiver<(usize, usize)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    leads_to(site, listener.local_addr().unwrap());
    let (connections, seen) = watch::channel((0, 0));
    tokio::spawn(async move {
        let connections = &connections;
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => open.push(async move {
                    connections.send_modify(|(come, _)| *come += 1);
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut kept = Vec::new();
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        let mut body = answer.send_response(http::Response::new(()), false).unwrap();
                        body.send_data(Bytes::from_static(b"early"), is_whole).unwrap();
                        kept.push((request, body));
                    }
                    connections.send_modify(|(_, gone)| *gone += 1);
                }),
                Some(()) = open.next() => {}
            }
        }
    });
    seen
}

/// More than an upstream's window.
const MUCH: usize = 200_000;

#[tokio::test]
async fn an_upload_that_its_answer_has_overtaken_ends() {
    let site = impatient(speaking_http2()).await;
    let mut upstream = answering_early(&site, true).await;
    let connection = Connection::to(site.address).await;
    let (answer, mut upload) = connection.begin(to_app("/").method("POST")).await;
    upload.send_data(vec![b'x'; MUCH].into(), false).unwrap();
    assert_eq!(read(answer).await.body, "early");
    site.has_leases(0).await;
    let reset = futures::future::poll_fn(|context| upload.poll_reset(context));
    assert_eq!(soon(reset).await.unwrap(), h2::Reason::NO_ERROR);
    // What is stuck of it takes nobody else's place.
    soon(upstream.wait_for(|seen| *seen == (1, 1))).await.unwrap();
    assert_eq!(connection.get("/").await.body, "early");
    assert_eq!(*upstream.borrow(), (2, 1));
    assert_eq!(site.workload.snapshot().last_error, None);
}

#[tokio::test]
async fn a_stuck_upload_lets_the_others_on_its_connection_end() {
    let site = impatient(speaking_http2()).await;
    let mut upstream = answering_early(&site, false).await;
    let connection = Connection::to(site.address).await;
    let mut other = soon(connection.ask(to_app("/")).await).await.unwrap().into_body();
    assert_eq!(soon(other.data()).await.unwrap().unwrap(), "early");
    // Its client leaves in the middle of the answer.
    let mut leaving = Raw::connect(site.address).await;
    let head = format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {MUCH}\r\n\r\n");
    leaving.write(&(head + &"x".repeat(MUCH))).await;
    leaving.read_until("early").await;
    assert_eq!(*upstream.borrow(), (1, 0));
    leaving.leave().await;
    site.has_leases(1).await;
    // It takes no further request, and goes on with that one.
    while upstream.borrow().0 == 1 {
        drop(soon(connection.ask(to_app("/")).await).await.unwrap());
    }
    site.has_leases(1).await;
    assert_eq!(upstream.borrow().1, 0);
    assert!(other.data().now_or_never().is_none());
    drop(other);
    site.has_leases(0).await;
    soon(upstream.wait_for(|seen| *seen == (2, 1))).await.unwrap();
}

/// An answer that goes on until its sender is dropped.
async fn events(site: &Site) -> futures::channel::mpsc::Sender<Bytes> {
    let mut events = site.application.state.events.subscribe();
    let sender = soon(events.wait_for(|events| !events.is_empty())).await.unwrap()[0].clone();
    site.application.state.events.send_modify(Vec::clear);
    sender
}

#[tokio::test]
async fn a_download_that_nobody_takes_keeps_nothing_awake_and_goes_on_when_it_is_taken() {
    const PIECE: usize = 1 << 20;
    let mut plan = Plan::default();
    plan.options.user_timeout = SHORT;
    let site = ready(plan).await;
    let connection = Connection::to(site.address).await;
    let answer = connection.ask(to_app("/sse")).await;
    let mut answer = soon(answer).await.unwrap().into_body();
    let mut sender = events(&site).await;
    sender.send(vec![b'x'; PIECE].into()).await.unwrap();
    site.has_leases(0).await;
    assert_eq!(site.gateway.in_flight("app")[0].stage, InFlightStage::Quiet);
    let mut taken = 0;
    while taken < PIECE {
        let piece = soon(answer.data()).await.unwrap().unwrap();
        answer.flow_control().release_capacity(piece.len()).unwrap();
        taken += piece.len();
    }
    // An upstream that is silent is in use.
    site.has_leases(1).await;
    sleep(4 * SHORT).await;
    assert_eq!(site.workload.leases(), 1);
    drop(sender);
    assert_eq!(soon(rest(&mut answer)).await, b"");
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_download_that_nobody_takes_is_cut_when_its_workload_sleeps() {
    let mut plan = Plan { policy: Policy::new(SHORT), ..Plan::default() };
    plan.options.user_timeout = SHORT;
    let site = Site::new(plan).await;
    let connection = Connection::to(site.address).await;
    let answer = connection.ask(to_app("/sse")).await;
    let mut answer = soon(answer).await.unwrap().into_body();
    let mut sender = events(&site).await;
    sender.send(vec![b'x'; 1 << 20].into()).await.unwrap();
    site.is(PhaseName::Asleep).await;
    let end = soon(async {
        loop {
            match answer.data().await {
                Some(Ok(piece)) => answer.flow_control().release_capacity(piece.len()).unwrap(),
                end => break end,
            }
        }
    });
    assert!(matches!(end.await, Some(Err(_))), "it was not whole");
    eventually("no request", || site.gateway.in_flight("app").is_empty()).await;
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn with_quiet_after_silent_events_keep_nothing_awake_and_none_is_lost() {
    let site = Site::with_route(|route| route.quiet_after = Some(SHORT)).await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    client.read_until("text/event-stream").await;
    let mut sender = events(&site).await;
    for event in ["first", "second", "third"] {
        site.has_leases(0).await;
        assert_eq!(site.gateway.in_flight("app")[0].stage, InFlightStage::Quiet);
        sender.send(event.into()).await.unwrap();
        client.read_until(event).await;
    }
    site.has_leases(0).await;
    // The moment of last use is counted in milliseconds.
    let before = site.workload.snapshot().next_sleep;
    sleep(SHORT).await;
    drop(sender);
    client.read_until("0\r\n\r\n").await;
    eventually("no request", || site.gateway.in_flight("app").is_empty()).await;
    assert_eq!(site.workload.snapshot().next_sleep, before, "its end is no use");
    assert!(before.is_some());
}

#[tokio::test]
async fn with_quiet_after_silent_events_end_when_their_workload_sleeps() {
    let route = Box::new(|route: &mut drowse_gateway::RouteSpec| route.quiet_after = Some(SHORT));
    let site = Site::new(Plan { policy: Policy::new(SHORT), route, ..Plan::default() }).await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    site.is(PhaseName::Asleep).await;
    assert_eq!(site.starts(), 1);
}
