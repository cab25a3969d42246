//! UDP: packets wake, wait and find their way back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload, free_port, within};
use tokio::net::UdpSocket;

use super::NEVER;

/// How long a reply is waited for before its question is sent again.
const RETRY: Duration = Duration::from_secs(2);

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
        let spec = site.container(name).env("MODE", "udp-echo").env("NAME", format!("{name} "));
        let app = spec.env("START_DELAY_MS", start_delay_ms).create().await;
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let routes = [format!("udp: {}, port: 80, udp_idle: 1s", port.port())];
        let drowse = site.start(&[Workload::by_routes(&app, &routes).idle(idle)]).await;
        drowse.logs().wait_for(&["listening", &port.to_string()], DEADLINE).await;
        Self { site, app, drowse, port }
    }

    async fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        client.connect(self.port).await.unwrap();
        client
    }
}

/// Sends a packet until there is this reply to it, as resolvers do: it may be lost, as packets are, and
/// so may the word that nobody listens yet.
async fn asks(client: &UdpSocket, question: &str, answer: &str) {
    let mut packet = [0; 2048];
    let asking = async {
        loop {
            client.send(question.as_bytes()).await.unwrap();
            let received = tokio::time::timeout(RETRY, client.recv(&mut packet)).await;
            if let Ok(received) = received
                && packet[..received.unwrap()] == *answer.as_bytes()
            {
                return;
            }
        }
    };
    within(DEADLINE, answer, asking).await;
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
