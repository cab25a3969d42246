//! UDP: packets wake, wait and find their way back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use drowse_e2e::{
    ContainerSpec, DEADLINE, Drowse, Site, TestContainer, Workload, eventually, free_port, within,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::NEVER;

/// A container that sends packets back, behind a port; see the test application's `udp-echo`.
struct Echo {
    site: Site,
    app: TestContainer,
    drowse: Drowse,
    port: SocketAddr,
}

impl Echo {
    async fn asleep(name: &str, idle: &str, start_delay_ms: u32) -> Self {
        let site = Site::new().await;
        let spec = echo(&site, name).env("START_DELAY_MS", start_delay_ms);
        let app = spec.create().await;
        Self::of(site, app, idle).await
    }

    async fn of(site: Site, app: TestContainer, idle: &str) -> Self {
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let routes = [format!("udp: {}, port: 80, udp_idle: 1s", port.port())];
        let drowse = site.start(&[Workload::by_routes(&app, &routes).idle(idle)]).await;
        drowse.logs().wait_for(&["listening", &port.to_string()], DEADLINE).await;
        Self { site, app, drowse, port }
    }

    async fn is_unused(&self) {
        eventually(DEADLINE, "no lease and nobody waiting", || async {
            let row = self.drowse.row(self.app.name()).await;
            (row["leases"] == 0 && row["waiting"] == 0).then_some(())
        })
        .await;
    }

    async fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        client.connect(self.port).await.unwrap();
        client
    }
}

fn echo(site: &Site, name: &str) -> ContainerSpec {
    site.container(name).env("MODE", "udp-echo").env("NAME", format!("{name} "))
}

/// Sends a packet, once, and waits for this reply to it.
async fn asks(client: &UdpSocket, question: &str, answer: &str) {
    client.send(question.as_bytes()).await.unwrap();
    hears(client, answer).await;
}

async fn hears(client: &UdpSocket, answer: &str) {
    let mut packet = [0; 2048];
    let length = within(DEADLINE, answer, client.recv(&mut packet)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&packet[..length]), answer);
}

#[tokio::test]
async fn row_13_many_clients_are_one_start_and_each_gets_its_reply() {
    let echo = Echo::asleep("dns", NEVER, 1000).await;
    let all = (0..50).map(|number| {
        let echo = &echo;
        async move {
            let client = echo.client().await;
            asks(&client, &format!("query {number}"), &format!("dns query {number}")).await;
        }
    });
    futures::future::join_all(all).await;
    assert_eq!(echo.site.starts(&echo.app).await, 1);
}

#[tokio::test]
async fn row_14_when_the_start_fails_sessions_end_and_later_ones_wake_it() {
    let site = Site::new().await;
    let taken = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let owner = site.container("owner").publish_at(80, taken).run().await;
    let app = echo(&site, "loser").publish_at(80, taken).create().await;
    let echo = Echo::of(site, app, NEVER).await;
    for _ in 0..20 {
        echo.client().await.send(b"hello").await.unwrap();
    }
    let logs = echo.drowse.logs();
    logs.wait_for(&["a UDP session was not served", "port is already allocated"], DEADLINE).await;
    echo.is_unused().await;
    // The cause is gone: it wakes, after the back-off. A client that is not replied to asks again.
    owner.stop().await;
    let client = echo.client().await;
    eventually(DEADLINE, "a reply", || async {
        client.send(b"hello").await.unwrap();
        let received = timeout(Duration::from_secs(1), client.recv(&mut [0; 64])).await;
        received.is_ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_15_the_first_client_leaves_and_the_wake_goes_on() {
    let echo = Echo::asleep("leaving", NEVER, 1500).await;
    let first = echo.client().await;
    first.send(b"one").await.unwrap();
    echo.site.events.wait_for(&echo.app, "start", 1, DEADLINE).await;
    let second = echo.client().await;
    second.send(b"two").await.unwrap();
    drop(first);
    hears(&second, "leaving two").await;
    assert_eq!(echo.site.starts(&echo.app).await, 1);
    drop(second);
    echo.is_unused().await;
}

/// It runs, and is taken for ready; what it was sent is refused for longer than a packet is on its way.
#[tokio::test]
async fn row_17_a_packet_for_who_does_not_listen_yet_arrives() {
    let echo = Echo::asleep("late", NEVER, 3000).await;
    let client = echo.client().await;
    asks(&client, "hello", "late hello").await;
    assert_eq!(echo.site.starts(&echo.app).await, 1);
}

#[tokio::test]
async fn a_session_keeps_it_awake_and_its_end_lets_it_sleep() {
    let echo = Echo::asleep("session", "1s", 0).await;
    let client = echo.client().await;
    for number in 0..8 {
        asks(&client, &format!("{number}"), &format!("session {number}")).await;
        super::let_pass(Duration::from_millis(500)).await;
    }
    assert_eq!(echo.site.starts(&echo.app).await, 1);
    echo.site.wait_until_stopped(&echo.app, 1).await;
    let name = echo.app.name();
    echo.drowse.wait_until(name, |state| state == "asleep", DEADLINE).await;
    asks(&client, "again", "session again").await;
}

#[tokio::test]
async fn row_49_an_application_that_was_killed_is_started_again() {
    let echo = Echo::asleep("killed", NEVER, 0).await;
    let client = echo.client().await;
    asks(&client, "one", "killed one").await;
    let pid = echo.app.inspect().await.unwrap()["State"]["Pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    echo.site.events.wait_for(&echo.app, "die", 1, DEADLINE).await;
    let name = echo.app.name();
    echo.drowse.wait_until(name, |state| state != "ready", DEADLINE).await;
    asks(&client, "two", "killed two").await;
    assert_eq!(echo.site.starts(&echo.app).await, 2);
}
