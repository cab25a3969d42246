//! Applications of which a part fails while the rest is well, and those that are really gone.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use drowse_gateway::{Chooser, InFlight, InFlightStage, TcpRouteSpec, UpstreamPolicy, Vantage};
use drowse_provider::testing::ScriptedEngine;
use drowse_watcher::PhaseName;
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time,
};

use crate::{
    application::Application,
    client::{eventually, soon},
    ports::ServedTcp,
    site::Site,
};

/// A port at which nobody listens, and nobody else will.
struct Refusing {
    taken: TcpSocket,
    address: SocketAddr,
}

impl Refusing {
    fn new() -> Self {
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        Self { taken, address }
    }

    /// Somebody listens at last, and answers once.
    async fn answer_once(self) {
        let (mut client, _) = self.taken.listen(8).unwrap().accept().await.unwrap();
        assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
        client.write_all(answer).await.unwrap();
    }

    fn chooser(&self) -> Chooser {
        let engine = Arc::new(ScriptedEngine::new("elsewhere"));
        let policy = UpstreamPolicy::new().with_port(self.address.port());
        Chooser::new(engine, Vantage::Host, policy)
    }
}

fn epoch(site: &Site) -> u64 {
    site.workload.ready_run().expect("it is ready").epoch
}

/// Its run is young no more: what it refuses is not still to come.
async fn grows_up() {
    time::pause();
    time::advance(Duration::from_secs(11)).await;
    time::resume();
}

#[tokio::test]
async fn a_path_that_is_never_answered_keeps_nobody_else_waiting() {
    let site = Site::ready().await;
    // It was well until now: this one has it looked into before anybody else is let in.
    site.get("/close").await.is_problem(502, "upstream-failed");
    site.is(PhaseName::Ready).await;
    let before = epoch(&site);
    let closing = join_all((0..4).map(|_| async {
        for _ in 0..25 {
            site.get("/close").await.is_problem(502, "upstream-failed");
            assert_eq!(epoch(&site), before);
        }
    }));
    let others = join_all((0..4).map(|_| async {
        for _ in 0..50 {
            assert_eq!(site.get("/").await.status, 200);
            assert_eq!(epoch(&site), before);
        }
    }));
    soon(async { tokio::join!(closing, others) }).await;
    assert_eq!((epoch(&site), site.starts()), (before, 1));
}

#[tokio::test]
async fn connections_to_a_port_that_refuses_keep_nobody_else_waiting() {
    let refusing = Refusing::new();
    let site = Site::ready().await;
    let route = TcpRouteSpec::new("ssh", site.workload.clone(), refusing.chooser());
    let served = ServedTcp::new([route]).await;
    let before = epoch(&site);
    let clients = join_all((0..20).map(|_| served.connect())).await;
    // Looked into once while nobody is let in, and from then on beside all the others.
    let is_again = || site.workload.ready_run().is_some_and(|run| run.epoch > before);
    eventually("it was looked into", is_again).await;
    let before = epoch(&site);
    let probed = site.application.connections();
    let looked_into = || site.application.connections() >= probed + 5;
    while !looked_into() {
        assert_eq!(site.get("/").await.status, 200);
        assert_eq!(epoch(&site), before);
    }
    assert_eq!(served.gateway.in_flight("app").len(), clients.len(), "they have patience");
}

#[tokio::test]
async fn a_listener_that_dies_after_a_refuted_report_is_found_out_and_waited_for() {
    for is_young in [true, false] {
        let mut site = Site::ready().await;
        site.get("/close").await.is_problem(502, "upstream-failed");
        site.is(PhaseName::Ready).await;
        if !is_young {
            grows_up().await;
        }
        let before = epoch(&site);
        let address = site.application.address;
        let dead = std::mem::replace(&mut site.application, Application::start());
        dead.stop().await;
        let back = async {
            site.is(PhaseName::Probing).await;
            site.has_waiting(3).await;
            Application::start_at(address)
        };
        let asking = join_all((0..3).map(|_| site.get("/")));
        let (answers, _back) = soon(async { tokio::join!(asking, back) }).await;
        for answer in answers {
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello"));
        }
        assert!(epoch(&site) > before);
        assert_eq!(site.starts(), 1, "it runs: it is not started");
    }
}

#[tokio::test]
async fn a_port_that_refuses_while_its_application_is_well_is_502_before_the_deadline() {
    let refusing = Refusing::new();
    let chooser = refusing.chooser();
    let site = Site::with_route(move |route| {
        route.upstream = chooser.clone();
        route.hold = Duration::from_hours(1);
    })
    .await;
    site.wake().await;
    grows_up().await;
    for _ in 0..3 {
        soon(site.get("/")).await.is_problem(502, "upstream-failed");
    }
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_port_that_refuses_for_a_moment_is_tried_once_more_however_well_its_application_is() {
    let refusing = Refusing::new();
    let chooser = refusing.chooser();
    let site = Site::with_route(move |route| route.upstream = chooser.clone()).await;
    site.wake().await;
    grows_up().await;
    // Its reports are refuted from here on, with the gate open.
    soon(site.get("/")).await.is_problem(502, "upstream-failed");
    let back = async {
        let waits = |flight: &InFlight| flight.stage == InFlightStage::Waiting;
        let is_refused = || site.gateway.in_flight("app").iter().any(waits);
        eventually("it waits for what came of its report", is_refused).await;
        Box::pin(refusing.answer_once()).await;
    };
    let (answer, ()) = Box::pin(soon(async { tokio::join!(site.get("/"), back) })).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "late"));
}
