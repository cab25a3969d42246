//! UDP sessions.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use drowse_gateway::{Gateway, GatewayOptions, InFlightStage};
use drowse_provider::{Action, Transport, testing::Step};
use drowse_watcher::PhaseName;
use tokio::{net::UdpSocket, task::JoinHandle, time::sleep};

use crate::{
    client::{eventually, soon},
    ports::{Reserved, ServedUdp, Sleeper},
};

/// Sends each packet back, with a word before it.
struct Echo {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Echo {
    /// Returns when nobody listens there any more.
    async fn ends(mut self) {
        self.server.abort();
        assert!(soon(&mut self.server).await.unwrap_err().is_cancelled());
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn echo_at(address: &str, word: &'static str) -> Echo {
    echo_on(UdpSocket::bind(address).await.unwrap(), word)
}

fn echo_on(socket: UdpSocket, word: &'static str) -> Echo {
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut packet = [0; 2048];
        loop {
            let (length, peer) = socket.recv_from(&mut packet).await.unwrap();
            let reply = [word.as_bytes(), &packet[..length]].concat();
            socket.send_to(&reply, peer).await.unwrap();
        }
    });
    Echo { address, server }
}

async fn echo() -> Echo {
    echo_at("127.0.0.1:0", "").await
}

fn gateway() -> Gateway {
    Gateway::new(GatewayOptions::new())
}

async fn receives(client: &UdpSocket, expected: &str) {
    let mut packet = [0; 2048];
    let length = soon(client.recv(&mut packet)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&packet[..length]), expected);
}

#[tokio::test]
async fn what_comes_during_a_wake_is_queued_and_replies_find_their_way_back() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let (one, other) = (served.client().await, served.client().await);
    for number in 0..3 {
        one.send(format!("one {number}").as_bytes()).await.unwrap();
        other.send(format!("other {number}").as_bytes()).await.unwrap();
    }
    for number in 0..3 {
        receives(&one, &format!("one {number}")).await;
        receives(&other, &format!("other {number}")).await;
    }
    assert_eq!(sleeper.starts(), 1);
    sleeper.has_leases(2).await;
    let in_flight = served.gateway.in_flight("app");
    assert_eq!(in_flight.len(), 2);
    assert_eq!((in_flight[0].stage, in_flight[0].dropped), (InFlightStage::Served, 0));
    // After the first reply packets take the short way.
    one.send(b"again").await.unwrap();
    receives(&one, "again").await;
    one.send(&[]).await.unwrap();
    receives(&one, "").await;
}

#[tokio::test]
async fn a_session_ends_when_nothing_has_passed_for_a_while() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let mut route = sleeper.udp();
    route.idle = Duration::from_millis(50);
    let served = ServedUdp::new(gateway(), route).await;
    let client = served.client().await;
    for _ in 0..2 {
        client.send(b"hello").await.unwrap();
        receives(&client, "hello").await;
        sleeper.has_leases(0).await;
        eventually("no session", || served.gateway.in_flight("app").is_empty()).await;
    }
}

#[tokio::test]
async fn replies_to_a_client_that_is_silent_keep_no_session_for_ever() {
    let application = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = application.local_addr().unwrap();
    let sleeper = Sleeper::new("app", Transport::Udp, at).await;
    let mut route = sleeper.udp();
    route.idle = Duration::from_millis(50);
    let served = ServedUdp::new(gateway(), route).await;
    let client = served.client().await;
    client.send(b"hello").await.unwrap();
    let (_, session) = soon(application.recv_from(&mut [0; 8])).await.unwrap();
    let sockets = [application.into_std().unwrap()];
    let _flood = Flood::of(sockets, session);
    receives(&client, "more").await;
    sleeper.has_leases(0).await;
    eventually("no session", || served.gateway.in_flight("app").is_empty()).await;
}

/// How long an application that runs may take until it listens: for so long it refuses.
const LATE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn row_17_packets_that_nobody_listened_for_yet_are_sent_again() {
    let reserved = Reserved::new();
    let sleeper = Sleeper::new("app", Transport::Udp, reserved.address).await;
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let client = served.client().await;
    // One alone: with the next one, it would be said of this that nobody had it.
    client.send(b"hello").await.unwrap();
    sleeper.is(PhaseName::Ready).await;
    sleep(LATE).await;
    let _echo = echo_on(reserved.listen(), "late ");
    receives(&client, "late hello").await;
    assert_eq!(sleeper.starts(), 1);
}

#[tokio::test]
async fn row_17_also_while_it_has_been_ready_for_long() {
    let reserved = Reserved::new();
    let sleeper = Sleeper::new("app", Transport::Udp, reserved.address).await;
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let other = served.client().await;
    let echo = echo_on(reserved.listen(), "");
    other.send(b"hello").await.unwrap();
    receives(&other, "hello").await;
    // Its server is started again, within the same run.
    echo.ends().await;
    let client = served.client().await;
    client.send(b"hello").await.unwrap();
    sleep(LATE).await;
    let _echo = echo_on(reserved.listen(), "late ");
    receives(&client, "late hello").await;
    assert_eq!(sleeper.starts(), 1);
}

/// IPv6 has room for some bytes more.
#[tokio::test]
async fn a_packet_that_is_too_long_for_its_upstream_is_dropped_alone() {
    static TOO_LONG: [u8; 65_520] = [b'x'; 65_520];
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let served = ServedUdp::at("[::1]:0", gateway(), sleeper.udp()).await;
    let client = UdpSocket::bind("[::1]:0").await.unwrap();
    client.connect(served.address).await.unwrap();
    // What waited, and what goes the short way.
    for (round, dropped) in [("first", 1), ("second", 2)] {
        client.send(&TOO_LONG).await.unwrap();
        client.send(round.as_bytes()).await.unwrap();
        receives(&client, round).await;
        assert_eq!(served.gateway.in_flight("app")[0].dropped, dropped);
    }
    let now = sleeper.workload.snapshot();
    assert_eq!((now.phase, now.last_error), (PhaseName::Ready, None));
    assert_eq!(sleeper.starts(), 1);
}

#[tokio::test]
async fn a_wake_may_take_longer_than_a_session_may_be_idle() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let late = Step::ok().late_by(Duration::from_millis(300));
    sleeper.container.script(Action::Start, [late]);
    let mut route = sleeper.udp();
    route.idle = Duration::from_millis(100);
    let served = ServedUdp::new(gateway(), route).await;
    let client = served.client().await;
    client.send(b"hello").await.unwrap();
    receives(&client, "hello").await;
    sleeper.has_leases(0).await;
}

#[tokio::test]
async fn a_new_run_is_sent_to_where_it_is() {
    let (first, second) = (echo().await, echo_at("127.0.0.1:0", "second ").await);
    let sleeper = Sleeper::new("app", Transport::Udp, first.address).await;
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let client = served.client().await;
    client.send(b"hello").await.unwrap();
    receives(&client, "hello").await;
    sleeper.moves_to(Transport::Udp, second.address);
    sleeper.container.crash(1);
    sleeper.has_leases(0).await;
    client.send(b"hello").await.unwrap();
    receives(&client, "second hello").await;
    assert_eq!(sleeper.starts(), 2);
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_the_oldest_first_and_counted() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await.hangs();
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let client = served.client().await;
    for number in 0..40_u8 {
        client.send(&[number; 100]).await.unwrap();
    }
    let dropped = || served.gateway.in_flight("app").first().map(|one| one.dropped);
    eventually("eight dropped packets", || dropped() == Some(8)).await;
    assert_eq!(served.gateway.in_flight("app")[0].stage, InFlightStage::Waiting);
}

#[tokio::test]
async fn one_that_sleeps_delays_nobody_else() {
    let echo = echo().await;
    let gateway = gateway();
    let asleep = Sleeper::new("asleep", Transport::Udp, echo.address).await.hangs();
    let awake = Sleeper::new("awake", Transport::Udp, echo.address).await;
    let served = ServedUdp::new(gateway.clone(), asleep.udp()).await;
    let other = ServedUdp::new(gateway, awake.udp()).await;
    served.client().await.send(b"hello").await.unwrap();
    asleep.has_waiting(1).await;
    let client = other.client().await;
    client.send(b"hello").await.unwrap();
    receives(&client, "hello").await;
}

/// A session of a client that has said something after a reply.
async fn established(served: &ServedUdp) -> UdpSocket {
    let client = served.client().await;
    for _ in 0..2 {
        client.send(b"hello").await.unwrap();
        receives(&client, "hello").await;
    }
    client
}

#[tokio::test]
async fn there_are_so_many_sessions_and_who_is_in_use_stays() {
    let echo = echo().await;
    let mut options = GatewayOptions::new();
    options.max_udp_sessions = 4;
    let gateway = Gateway::new(options);
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let served = ServedUdp::new(gateway, sleeper.udp()).await;
    let stays = established(&served).await;
    // Each takes the place of the one before: whoever comes with a thousand keeps nobody out.
    for _ in 0..5 {
        let client = served.client().await;
        client.send(b"hello").await.unwrap();
        receives(&client, "hello").await;
        sleeper.has_leases(2).await;
    }
    stays.send(b"still").await.unwrap();
    receives(&stays, "still").await;
    assert_eq!(served.gateway.in_flight("app").len(), 2);
    // Two that are in use give way to nobody.
    let also = established(&served).await;
    served.client().await.send(b"lost").await.unwrap();
    for client in [&stays, &also] {
        client.send(b"still").await.unwrap();
        receives(client, "still").await;
    }
}

#[tokio::test]
async fn a_client_has_so_many_sessions_and_no_more() {
    let echo = echo().await;
    let mut options = GatewayOptions::new();
    options.max_udp_sessions_per_source = 1;
    let gateway = Gateway::new(options);
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let served = ServedUdp::new(gateway, sleeper.udp()).await;
    for _ in 0..3 {
        let client = served.client().await;
        client.send(b"hello").await.unwrap();
        receives(&client, "hello").await;
        sleeper.has_leases(1).await;
    }
}

/// Asks a port that is bound to all addresses at each of these, from `client`.
async fn is_replied_from_where_it_asks(bound: &str, client: &str, asked: &[IpAddr]) {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let served = ServedUdp::at(bound, gateway(), sleeper.udp()).await;
    let client = UdpSocket::bind(client).await.unwrap();
    // What waited, and what goes the short way.
    for round in ["first", "second"] {
        for ip in asked {
            let asked = SocketAddr::new(*ip, served.address.port());
            client.send_to(round.as_bytes(), asked).await.unwrap();
            let mut reply = [0; 16];
            let (length, from) = soon(client.recv_from(&mut reply)).await.unwrap();
            assert_eq!((&reply[..length], from), (round.as_bytes(), asked));
        }
    }
    assert_eq!(served.gateway.in_flight("app").len(), asked.len(), "a session for each");
}

fn loopback(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

#[tokio::test]
async fn replies_leave_from_the_address_that_was_asked() {
    let asked = [loopback(2), loopback(1), loopback(3)];
    is_replied_from_where_it_asks("0.0.0.0:0", "127.0.0.1:0", &asked).await;
}

#[tokio::test]
async fn also_for_clients_of_ipv4_on_a_socket_of_ipv6() {
    let asked = [loopback(2), loopback(1)];
    is_replied_from_where_it_asks("[::]:0", "127.0.0.1:0", &asked).await;
}

#[tokio::test]
async fn also_over_ipv6() {
    let mut all = nix::ifaddrs::getifaddrs().unwrap();
    // The loopback has but one. Where this machine has none beside, that one is asked.
    let another = all.find_map(|interface| {
        let address = interface.address?.as_sockaddr_in6()?.ip();
        let is_usable = !address.is_loopback() && !address.is_unicast_link_local();
        is_usable.then_some(IpAddr::V6(address))
    });
    let asked: Vec<_> = another.into_iter().chain([Ipv6Addr::LOCALHOST.into()]).collect();
    is_replied_from_where_it_asks("[::]:0", "[::1]:0", &asked).await;
}

/// Sends packets as fast as can be, from threads of its own, until it is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    fn of(sockets: impl IntoIterator<Item = std::net::UdpSocket>, to: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let flood = |socket: std::net::UdpSocket| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // Nobody may be there any more.
                    _ = socket.send_to(b"more", to);
                }
            })
        };
        let threads = sockets.into_iter().map(flood).collect();
        Self { is_over, threads }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn blocking() -> std::net::UdpSocket {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn a_flood_of_packets_keeps_no_port_from_being_closed() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Udp, echo.address).await;
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let _flood = Flood::of([blocking(), blocking()], served.address);
    sleeper.has_leases(2).await;
    served.port.close();
    soon(served.serving).await.unwrap();
    assert!(served.gateway.in_flight("app").is_empty());
}

#[tokio::test]
async fn a_flood_of_replies_keeps_no_session_from_being_closed() {
    let application = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = application.local_addr().unwrap();
    let sleeper = Sleeper::new("app", Transport::Udp, at).await;
    let served = ServedUdp::new(gateway(), sleeper.udp()).await;
    let client = served.client().await;
    client.send(b"hello").await.unwrap();
    let (_, session) = soon(application.recv_from(&mut [0; 8])).await.unwrap();
    let sockets = [application.into_std().unwrap()];
    let _flood = Flood::of(sockets, session);
    receives(&client, "more").await;
    served.port.close();
    soon(served.serving).await.unwrap();
    sleeper.has_leases(0).await;
}
