//! Upgraded connections in which nothing passes.

use std::time::Duration;

use drowse_gateway::InFlightStage;
use drowse_provider::Deadline;
use drowse_watcher::{Force, PhaseName, Policy};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{
    client::{PATIENCE, eventually, soon},
    site::{Plan, Site},
};

async fn connect(site: &Site) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(site.address).await.unwrap();
    soon(client_async("ws://app.test/ws", stream)).await.unwrap().0
}

async fn is_echoed(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::text(text));
}

#[tokio::test]
async fn a_quiet_websocket_keeps_nothing_awake_and_loses_nothing() {
    let site = Site::with_route(|route| route.quiet_after = Some(Duration::from_millis(20))).await;
    let mut socket = connect(&site).await;
    for text in ["one", "two", "three"] {
        is_echoed(&mut socket, text).await;
        site.has_leases(0).await;
        let in_flight = site.gateway.in_flight("app");
        assert_eq!(in_flight.len(), 1);
        assert_eq!(in_flight[0].stage, InFlightStage::Quiet);
    }
    assert_eq!(site.workload.snapshot().phase, PhaseName::Ready);
    // A whole page at once, both ways.
    is_echoed(&mut socket, &"x".repeat(1 << 20)).await;
    assert_eq!(site.application.requests(), 1);
}

#[tokio::test]
async fn a_quiet_websocket_is_closed_when_its_workload_sleeps() {
    let quiet_after = Some(Duration::from_millis(20));
    let policy = Policy::new(Duration::from_millis(50));
    let route =
        Box::new(move |route: &mut drowse_gateway::RouteSpec| route.quiet_after = quiet_after);
    let site = Site::new(Plan { policy, route, ..Plan::default() }).await;
    let mut socket = connect(&site).await;
    is_echoed(&mut socket, "hello").await;
    site.is(PhaseName::Asleep).await;
    // However the end is told.
    let end = soon(socket.next()).await;
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    eventually("no request", || site.gateway.in_flight("app").is_empty()).await;
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn without_the_setting_a_websocket_counts_for_as_long_as_it_is_open() {
    let site = Site::ready().await;
    let mut socket = connect(&site).await;
    is_echoed(&mut socket, "hello").await;
    let refused = site.workload.sleep_now(Deadline::after(PATIENCE), Force::No).await.unwrap_err();
    assert!(refused.to_string().contains("in use"), "{refused}");
    assert_eq!(site.gateway.in_flight("app")[0].stage, InFlightStage::Upgraded);
}
