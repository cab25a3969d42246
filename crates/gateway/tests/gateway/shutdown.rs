//! The end of the gateway, and of its parts.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use drowse_gateway::{Chooser, Route, RouteTable, UpstreamPolicy, Vantage};
use drowse_provider::{
    Action, Capabilities, Deadline, Engine, EngineWatch, Error, ErrorKind, Provider, Reach,
    Reference, Summary,
};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

use crate::{
    client::{Raw, connect, request, send, soon},
    site::{Plan, Site},
};

fn with_grace(grace: Duration) -> Plan {
    let mut plan = Plan::default();
    plan.options.grace = grace;
    plan
}

#[tokio::test]
async fn what_is_in_flight_ends_and_nothing_new_begins() {
    let mut site = Site::new(with_grace(crate::client::PATIENCE)).await;
    let mut idle = connect(site.address).await;
    assert_eq!(soon(send(&mut idle, request("/", &[]))).await.status, 200);
    let mut streaming = Raw::connect(site.address).await;
    streaming.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    streaming.read_until("text/event-stream").await;

    site.shutdown.cancel();
    // An idle connection is closed; the stream goes on.
    soon(async {
        while idle.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut sender = site.application.state.events.borrow()[0].clone();
    sender.send("data: last\n\n".into()).await.unwrap();
    streaming.read_until("last").await;
    assert!(!site.serving.is_finished());
    drop(sender);
    site.application.state.events.send_modify(Vec::clear);
    soon(&mut site.serving).await.unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
    site.has_leases(0).await;
    assert_eq!(site.workload.snapshot().phase, drowse_watcher::PhaseName::Ready);
}

#[tokio::test]
async fn at_the_end_of_the_grace_who_waits_is_told_and_streams_are_cut() {
    let mut site = Site::new(with_grace(Duration::from_millis(100))).await;
    site.wake().await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (_socket, _) = soon(client_async("ws://app.test/ws", stream)).await.unwrap();
    let mut streaming = Raw::connect(site.address).await;
    streaming.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    streaming.read_until("text/event-stream").await;
    site.shutdown.cancel();
    soon(&mut site.serving).await.unwrap();
    site.has_leases(0).await;

    let mut site = Site::new(with_grace(Duration::from_millis(100))).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut waiting = Raw::connect(site.address).await;
    waiting.write("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    site.has_waiting(1).await;
    site.shutdown.cancel();
    let answer = waiting.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("shutting-down"), "{answer}");
    soon(&mut site.serving).await.unwrap();
    site.has_waiting(0).await;
}

#[tokio::test]
async fn a_dropped_listener_cuts_its_connections() {
    let site = Site::ready().await;
    let mut streaming = Raw::connect(site.address).await;
    streaming.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    streaming.read_until("text/event-stream").await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (_socket, _) = soon(client_async("ws://app.test/ws", stream)).await.unwrap();
    site.has_leases(2).await;
    site.serving.abort();
    site.has_leases(0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let mut plan = Plan::default();
    plan.options.max_connections = 1;
    let site = Site::new(plan).await;
    let mut first = Raw::connect(site.address).await;
    first.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    first.read_until("text/event-stream").await;
    let mut second = Raw::connect(site.address).await;
    second.write("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(site.application.requests(), 1);
    drop(first);
    assert!(second.read_all().await.ends_with("hello"));
}

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_ends_its_connection() {
    let mut plan = Plan::default();
    plan.options.header_read_timeout = Duration::from_millis(100);
    let site = Site::new(plan).await;
    let mut slow = Raw::connect(site.address).await;
    slow.write("GET / HTTP/1.1\r\nHost: ").await;
    let answer = slow.read_all().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// An engine whose reach nobody can ask for.
#[derive(Debug)]
struct Panics;

#[async_trait::async_trait]
impl Engine for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }
    fn reach(&self) -> Reach {
        panic!("on purpose")
    }
    async fn list(&self, _: Deadline) -> Result<Vec<Summary>, Error> {
        Ok(Vec::new())
    }
    fn provider(&self, _: &Reference) -> Result<Arc<dyn Provider>, Error> {
        Err(Error::new("panics", Action::Connect, ErrorKind::Closed))
    }
    fn events(&self) -> EngineWatch {
        futures::stream::pending().boxed()
    }
    async fn close(&self) {}
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    let site = Site::ready().await;
    let good = site.gateway.routes().routes()[0].clone();
    let mut spec = good.spec().clone();
    spec.name = "bad".into();
    spec.path = "/bad".parse().unwrap();
    spec.upstream = Chooser::new(Arc::new(Panics), Vantage::Host, UpstreamPolicy::new());
    site.gateway.replace_routes(RouteTable::build([good, Route::new(spec)]).unwrap());

    let mut other = connect(site.address).await;
    assert_eq!(soon(send(&mut other, request("/", &[]))).await.status, 200);
    let mut doomed = Raw::connect(site.address).await;
    doomed.write("GET /bad HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(doomed.read_all().await, "");
    site.has_leases(0).await;
    assert_eq!(soon(send(&mut other, request("/", &[]))).await.status, 200);
    assert_eq!(site.get("/").await.status, 200);
}
