//! The handshake of a WebSocket is held as any request is, and what is not the application's own answer opens none.

use std::net::{Ipv4Addr, SocketAddr};

use drowse_e2e::websocket::{self, Message, WebSocketStream};
use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload, eventually, free_port, within};
use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

use super::{NEVER, asleep, crash};

type Socket = WebSocketStream<TcpStream>;

async fn open(drowse: &Drowse, app: &TestContainer) -> Socket {
    websocket::connect(drowse.address(), &app.host(), "/ws").await.unwrap()
}

async fn echoes(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let echo = within(DEADLINE, "an echo", socket.next()).await;
    assert_eq!(echo.unwrap().unwrap(), Message::text(text));
}

/// So many sockets at once, each of which works, and one start.
async fn all_open(site: &Site, drowse: &Drowse, app: &TestContainer, size: usize) {
    let all = (0..size).map(|number| async move {
        let mut socket = open(drowse, app).await;
        echoes(&mut socket, &number.to_string()).await;
        socket
    });
    let sockets = join_all(all).await;
    assert_eq!(site.starts(app).await, 1);
    assert_eq!(drowse.row(app.name()).await["leases"], size);
    drop(sockets);
    is_unused(drowse, app).await;
}

async fn is_unused(drowse: &Drowse, app: &TestContainer) {
    eventually(DEADLINE, "no lease and nobody waiting", || async {
        let row = drowse.row(app.name()).await;
        (row["leases"] == 0 && row["waiting"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_13_two_hundred_handshakes_are_one_start() {
    let site = Site::new().await;
    let app = site.container("ws-herd").env("READY_DELAY_MS", 1000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    all_open(&site, &drowse, &app, 200).await;
}

#[tokio::test]
async fn row_14_when_the_start_fails_each_handshake_is_answered_with_the_reason() {
    let site = Site::new().await;
    let app = site.container("ws-broken").env("EXIT_AFTER_MS", 0).env("EXIT_CODE", 7);
    let app = app.create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let (address, host) = (drowse.address(), app.host());
    let refused = join_all((0..20).map(|_| websocket::connect(address, &host, "/ws"))).await;
    for refused in refused {
        let Err(error) = refused else { panic!("it is open") };
        let Error::Http(answer) = *error else { panic!("{error}") };
        let said = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default());
        assert_eq!(answer.status(), 502, "{said}");
        assert!(said.contains("exit code 7"), "{said}");
    }
    is_unused(&drowse, &app).await;
}

#[tokio::test]
async fn row_17_an_accepted_connection_is_no_handshake() {
    let site = Site::new().await;
    let app = site.container("ws-accepts").env("ACCEPT_THEN_CLOSE_MS", 1500).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    all_open(&site, &drowse, &app, 20).await;
}

#[tokio::test]
async fn row_17_a_published_port_accepts_before_the_application_listens() {
    let site = Site::new().await;
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let app = site.container("ws-proxied").env("START_DELAY_MS", 1500).publish_at(80, port);
    let app = app.create().await;
    let drowse = site.start(&[Workload::at(&app, port).idle(NEVER)]).await;
    all_open(&site, &drowse, &app, 20).await;
}

#[tokio::test]
async fn row_49_an_application_that_died_unseen_is_started_for_the_next_handshake() {
    let (site, app, drowse) = asleep("ws-died", NEVER).await;
    let mut first = open(&drowse, &app).await;
    echoes(&mut first, "one").await;
    site.relay.lose_events(true);
    crash(&app).await;
    // Its socket ends with it.
    let ended = async { while let Some(Ok(_)) = first.next().await {} };
    within(DEADLINE, "the end of the socket", ended).await;
    site.wait_until_stopped(&app, 1).await;
    let mut next = open(&drowse, &app).await;
    echoes(&mut next, "two").await;
    assert_eq!(site.starts(&app).await, 2);
}
