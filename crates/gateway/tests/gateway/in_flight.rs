//! What is told of the requests in flight.

use std::{net::IpAddr, sync::atomic::Ordering};

use drowse_gateway::{InFlight, InFlightStage, RouteTable};
use futures::SinkExt as _;

use crate::{
    client::{Raw, connect, eventually, request, send, soon},
    site::Site,
};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl Site {
    /// The only request in flight, as soon as it is so.
    async fn only(&self, is_so: impl Fn(&InFlight) -> bool) -> InFlight {
        let only = || match &*self.gateway.in_flight("app") {
            [only] if is_so(only) => Some(only.clone()),
            _ => None,
        };
        eventually("one request", || only().is_some()).await;
        only().expect("it stays so")
    }
}

#[tokio::test]
async fn a_request_is_told_of_from_its_head_to_its_last_byte() {
    let site = Site::asleep().await;
    assert_eq!(site.gateway.in_flight("app"), []);
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut client = Raw::connect(site.address).await;
    client.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let waiting = site.only(|only| only.stage == InFlightStage::Waiting).await;
    assert_eq!((&*waiting.route, waiting.peer, waiting.client), ("app", HERE, HERE));
    assert_eq!(site.gateway.in_flight("another"), []);

    site.application.state.is_up.store(true, Ordering::SeqCst);
    client.read_until("text/event-stream").await;
    site.only(|only| only.stage == InFlightStage::Served && only.bytes == 0).await;
    let mut events = site.application.state.events.subscribe();
    soon(events.wait_for(|events| !events.is_empty())).await.unwrap();
    let mut sender = site.application.state.events.borrow()[0].clone();
    sender.send("data: first\n\n".into()).await.unwrap();
    client.read_until("first").await;
    site.only(|only| only.bytes == 13).await;

    // A table without its route does not make it go away.
    site.gateway.replace_routes(RouteTable::default());
    site.only(|only| only.bytes == 13).await;

    drop(sender);
    site.application.state.events.send_modify(Vec::clear);
    client.read_until("0\r\n\r\n").await;
    eventually("none", || site.gateway.in_flight("app").is_empty()).await;
}

#[tokio::test]
async fn what_a_client_sends_is_counted_as_well() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client.write("POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99\r\n\r\nabc").await;
    site.only(|only| only.bytes == 3).await;
    client.write(&"x".repeat(96)).await;
    client.read_until("99").await;
    eventually("none", || site.gateway.in_flight("app").is_empty()).await;
}

#[tokio::test]
async fn the_client_is_who_a_trusted_proxy_says() {
    let site = Site::behind(&["127.0.0.1"]).await;
    let mut proxy = Raw::connect(site.address).await;
    proxy
        .write("GET /hang HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 2001:db8::7\r\n\r\n")
        .await;
    let only = site.only(|only| only.stage == InFlightStage::Served).await;
    assert_eq!((only.peer, only.client), (HERE, "2001:db8::7".parse().unwrap()));
    proxy.leave().await;
    eventually("none", || site.gateway.in_flight("app").is_empty()).await;
}

#[tokio::test]
async fn what_is_passive_is_told_so_and_what_is_over_is_not_told() {
    let site = Site::with_route(|route| route.passive.paths = vec!["/hang".parse().unwrap()]).await;
    site.wake().await;
    let mut kept = connect(site.address).await;
    assert_eq!(send(&mut kept, request("/", &[])).await.status, 200);
    eventually("none", || site.gateway.in_flight("app").is_empty()).await;
    let mut monitor = Raw::connect(site.address).await;
    monitor.write("GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    site.only(|only| only.stage == InFlightStage::Passive).await;
}
