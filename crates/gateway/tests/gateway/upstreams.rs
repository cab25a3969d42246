//! Upstreams that fail, and whose connections belong to whom.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use drowse_gateway::{Chooser, UpstreamPolicy, Vantage};
use drowse_provider::{Port, testing::ScriptedEngine};
use drowse_watcher::{LeaseKind, PhaseName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    application::Application,
    client::{self, Raw, connect, request, send, soon},
    site::Site,
};

/// Row 49: the container died, and nobody has been told of it yet.
#[tokio::test]
async fn a_ready_workload_that_died_unseen_is_started_again_for_the_request() {
    let mut site = Site::ready().await;
    assert_eq!(site.get("/").await.status, 200);
    site.engine.break_events();
    site.container.crash(137);
    let dead = std::mem::replace(&mut site.application, Application::start());
    dead.stop().await;
    let port = site.application.address.port();
    site.container.set_details(|details| details.exposed = vec![Port::tcp(port)]);

    let before = site.starts();
    assert_eq!(site.get("/").await.body, "hello");
    assert_eq!(site.starts(), before + 1);
    site.has_leases(0).await;
}

/// The same for a request with a body, none of which was sent.
#[tokio::test]
async fn a_post_of_which_nothing_was_sent_is_held_and_sent_again() {
    let mut site = Site::ready().await;
    site.engine.break_events();
    site.container.crash(137);
    let dead = std::mem::replace(&mut site.application, Application::start());
    dead.stop().await;
    let port = site.application.address.port();
    site.container.set_details(|details| details.exposed = vec![Port::tcp(port)]);

    let answer = post(&site, "/upload").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('3'), "{answer}");
}

/// Row 41: what was connected to an earlier run is not used for a later one, even if that address
/// still answers.
#[tokio::test]
async fn connections_belong_to_one_run() {
    let mut site = Site::ready().await;
    let mut connection = connect(site.address).await;
    assert_eq!(send(&mut connection, request("/", &[])).await.status, 200);
    let stranger = std::mem::replace(&mut site.application, Application::start());
    let served_by_stranger = stranger.requests();
    let port = site.application.address.port();
    soon(
        site.workload.sleep_now(
            drowse_provider::Deadline::after(client::PATIENCE),
            drowse_watcher::Force::No,
        ),
    )
    .await
    .unwrap();
    site.container.set_details(|details| details.exposed = vec![Port::tcp(port)]);

    assert_eq!(soon(send(&mut connection, request("/", &[]))).await.status, 200);
    assert_eq!(site.application.requests(), 1);
    assert_eq!(stranger.requests(), served_by_stranger);
}

/// Whoever has the address by then may be another container, or the next run, which is not ready.
#[tokio::test]
async fn a_connection_that_took_until_after_its_runs_end_is_not_used() {
    // Its queue is full: who connects waits until somebody is accepted.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(queued) = timeout(Duration::from_millis(250), TcpStream::connect(address)).await {
        queue.push(queued.unwrap());
    }
    let site = Site::with_route(move |route| {
        let engine = Arc::new(ScriptedEngine::new("elsewhere"));
        let policy = UpstreamPolicy::new().with_port(address.port());
        route.upstream = Chooser::new(engine, Vantage::Host, policy);
    })
    .await;
    site.wake().await;

    let upstream = async {
        site.has_leases(1).await;
        site.container.crash(137);
        soon(site.workload.watch().wait_for(|now| now.phase != PhaseName::Ready)).await.unwrap();
        for _ in &queue {
            drop(soon(listener.accept()).await.unwrap());
        }
        let (mut late, _) = soon(listener.accept()).await.unwrap();
        let mut bytes = Vec::new();
        soon(late.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), "", "it was used");
        let (mut next, _) = soon(listener.accept()).await.unwrap();
        soon(next.read(&mut [0; 1024])).await.unwrap();
        next.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        next
    };
    let (answer, _open) = tokio::join!(site.get("/"), upstream);
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello"));
    assert_eq!(site.starts(), 2);
}

/// As happens when an application closes an idle connection while a request is on its way.
#[tokio::test]
async fn an_idle_connection_that_closes_costs_another_connection_and_nothing_else() {
    let site = Site::ready().await;
    site.application.state.closes_reused.store(true, Ordering::SeqCst);
    let epoch = || {
        let holder = site.workload.holder("test");
        site.workload.try_lease(&holder, LeaseKind::Active).unwrap().run().epoch
    };
    let before = epoch();
    let opened = site.application.connections();
    for _ in 0..3 {
        assert_eq!(site.get("/").await.status, 200);
    }
    assert_eq!(site.application.connections(), opened + 3);
    assert_eq!(site.application.requests(), 3);

    // A request that may not be repeated is not.
    let answer = post(&site, "/upload").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream-failed"), "{answer}");
    assert_eq!(site.application.requests(), 3);
    assert_eq!(epoch(), before, "the run was not in doubt");
}

async fn post(site: &Site, path: &str) -> String {
    let mut client = Raw::connect(site.address).await;
    let head = format!("POST {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n");
    client.write(&format!("{head}Content-Length: 3\r\n\r\nabc")).await;
    client.read_all().await
}

#[tokio::test]
async fn a_get_that_was_not_answered_is_sent_once_more() {
    let site = Site::ready().await;
    assert_eq!(site.get("/close-once").await.status, 200);
    assert_eq!(site.application.requests(), 2);
}

#[tokio::test]
async fn a_get_that_is_never_answered_is_502_and_not_sent_for_ever() {
    let site = Site::ready().await;
    site.get("/close").await.is_problem(502, "upstream-failed");
    assert_eq!(site.application.requests(), 2);
    site.is(PhaseName::Ready).await;
    assert_eq!(site.starts(), 1, "it runs, so it is not started");
    assert_eq!(site.get("/").await.status, 200);
}

#[tokio::test]
async fn a_post_that_may_have_been_taken_is_502_and_not_sent_again() {
    let site = Site::ready().await;
    let answer = post(&site, "/close").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream-failed"), "{answer}");
    assert_eq!(site.application.requests(), 1);
}

#[tokio::test]
async fn an_upstream_that_does_not_begin_to_answer_in_time_is_504() {
    let site = Site::with_route(|route| route.answer_timeout = Duration::from_millis(100)).await;
    site.wake().await;
    site.get("/hang").await.is_problem(504, "upstream-timeout");
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_container_whose_port_is_not_known_says_what_to_add_where_that_is_shown() {
    let site = Site::with_route(|route| {
        route.hold = Duration::from_millis(500);
        route.page_details = true;
    })
    .await;
    site.container.set_details(|details| details.exposed = vec![Port::tcp(80), Port::tcp(81)]);
    site.get("/").await.is_problem(504, "timeout");
    site.has_met("80, 81").await;
    let answer = site.get("/").await;
    answer.is_problem(504, "timeout");
    assert!(answer.body.contains("80, 81"), "{answer:?}");
}

#[tokio::test]
async fn a_routes_own_address_may_be_a_name() {
    let site = Site::with_route(|route| {
        let engine = Arc::new(ScriptedEngine::new("elsewhere"));
        let policy = UpstreamPolicy::new().with_address("localhost");
        route.upstream = Chooser::new(engine, Vantage::Host, policy);
    })
    .await;
    assert_eq!(site.get("/").await.body, "hello");
}

/// Its resolver is this machine's: the application did nothing wrong.
#[tokio::test]
async fn a_name_that_is_not_resolved_is_no_fault_of_the_application() {
    let site = Site::with_route(|route| {
        let engine = Arc::new(ScriptedEngine::new("elsewhere"));
        let policy = UpstreamPolicy::new().with_address("nobody.invalid");
        route.upstream = Chooser::new(engine, Vantage::Host, policy);
    })
    .await;
    site.wake().await;
    let mut news = site.workload.watch();
    news.mark_unchanged();
    let answer = site.get("/").await;
    answer.is_problem(503, "unresolved");
    assert_eq!(answer.header("retry-after"), "5");
    assert!(!answer.body.contains("nobody.invalid"), "{answer:?}");
    assert_eq!(news.borrow().phase, PhaseName::Ready);
    assert_eq!(news.borrow().last_error, None);
}

/// What listens on the route's port is not what is probed: the workload is ready, and the route's
/// requests are refused.
#[tokio::test]
async fn a_port_that_refuses_for_good_is_502_at_the_deadline() {
    for shows in [false, true] {
        told_of_a_port_that_refuses(shows).await;
    }
}

async fn told_of_a_port_that_refuses(shows: bool) {
    let site = Site::with_route(move |route| {
        route.page_details = shows;
        let engine = Arc::new(ScriptedEngine::new("elsewhere"));
        // Bound and not listened at: nobody else gets it, and it refuses.
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let policy = UpstreamPolicy::new().with_port(taken.local_addr().unwrap().port());
        std::mem::forget(taken);
        route.upstream = Chooser::new(engine, Vantage::Host, policy);
        route.hold = Duration::from_millis(500);
    })
    .await;
    let answer = site.get("/").await;
    answer.is_problem(502, "upstream-failed");
    // Neither the address inside nor what is met there is everybody's business.
    for word in ["refused", "127.0.0.1"] {
        assert_eq!(answer.body.contains(word), shows, "{answer:?}");
    }
    assert_eq!(site.starts(), 1);
    site.has_leases(0).await;
}
