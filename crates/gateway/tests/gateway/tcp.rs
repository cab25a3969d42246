//! Raw TCP connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use drowse_gateway::{
    Chooser, Drained, GatewayOptions, InFlightStage, ProxyProtocol, TcpRouteSpec, UpstreamPolicy,
    Vantage,
};
use drowse_provider::{Transport, testing::ScriptedEngine};
use drowse_watcher::{Force, PhaseName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    client::{PATIENCE, eventually, soon},
    ports::{ServedTcp, Sleeper},
};

/// Greets each connection, and sends back what comes, until its client's end.
struct Echo {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

const GREETING: &[u8] = b"220 hello\r\n";

fn echo_on(listener: TcpListener) -> Echo {
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                to.write_all(GREETING).await?;
                tokio::io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    });
    Echo { address, server }
}

async fn echo() -> Echo {
    echo_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
}

async fn reads(stream: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    soon(stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(expected));
}

async fn reads_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    soon(stream.read_to_end(&mut read)).await.unwrap();
    read
}

async fn is_closed(stream: &mut TcpStream) {
    let end = soon(stream.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_woken_and_heard() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    client.write_all(b"one").await.unwrap();
    reads(&mut client, b"one").await;
    let in_flight = served.gateway.in_flight("app");
    assert_eq!(in_flight.len(), 1);
    assert_eq!(in_flight[0].stage, InFlightStage::Served);
    assert_eq!(in_flight[0].bytes, GREETING.len() as u64 + 6);
    sleeper.has_leases(1).await;
    drop(client);
    sleeper.has_leases(0).await;
    eventually("nothing in flight", || served.gateway.in_flight("app").is_empty()).await;
    assert_eq!(sleeper.starts(), 1);
}

#[tokio::test]
async fn what_is_said_during_a_wake_arrives_and_so_does_the_end_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sleeper = Sleeper::new("app", Transport::Tcp, address).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let mut client = served.connect().await;
    let page = vec![b'x'; 1 << 20];
    let (mut from, mut to) = client.split();
    let talking = async {
        to.write_all(&page).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let listening = async {
        // It runs, and nobody listens yet: nothing is lost, and nothing is given up.
        let failed = |now: &drowse_watcher::Snapshot| now.phase == PhaseName::Ready;
        soon(sleeper.workload.watch().wait_for(failed)).await.unwrap();
        let echo = echo_on(TcpListener::bind(address).await.unwrap());
        let mut read = Vec::new();
        soon(from.read_to_end(&mut read)).await.unwrap();
        drop(echo);
        read
    };
    let ((), read) = tokio::join!(talking, listening);
    assert_eq!(read.len(), GREETING.len() + page.len());
    sleeper.has_leases(0).await;
    assert_eq!(sleeper.starts(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_during_a_wake_holds_nothing() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await.hangs();
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let (silent, mut spoken) = (served.connect().await, served.connect().await);
    spoken.write_all(b"hello").await.unwrap();
    sleeper.has_waiting(2).await;
    assert_eq!(served.gateway.in_flight("app")[0].stage, InFlightStage::Waiting);
    drop(silent);
    sleeper.has_waiting(1).await;
    // Who has spoken may await an answer; who resets awaits none.
    socket2::SockRef::from(&spoken).set_linger(Some(Duration::ZERO)).unwrap();
    drop(spoken);
    sleeper.has_waiting(0).await;
    eventually("nothing in flight", || served.gateway.in_flight("app").is_empty()).await;
}

#[tokio::test]
async fn half_a_connection_may_go_on_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sleeper = Sleeper::new("app", Transport::Tcp, address).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let mut client = served.connect().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut application, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(reads_to_end(&mut application).await, b"question");
    sleeper.has_leases(1).await;
    application.write_all(b"answer").await.unwrap();
    reads(&mut client, b"answer").await;
    drop(application);
    is_closed(&mut client).await;
    sleeper.has_leases(0).await;
}

#[tokio::test]
async fn what_accepts_and_closes_at_once_is_tried_once_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sleeper = Sleeper::new("app", Transport::Tcp, listener.local_addr().unwrap()).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let mut client = served.connect().await;
    drop(soon(listener.accept()).await.unwrap());
    let (mut second, _) = soon(listener.accept()).await.unwrap();
    second.write_all(b"hello").await.unwrap();
    reads(&mut client, b"hello").await;
    // What closes again and again means it.
    let mut other = served.connect().await;
    drop(soon(listener.accept()).await.unwrap());
    drop(soon(listener.accept()).await.unwrap());
    is_closed(&mut other).await;
}

/// A route to an address of its own, where somebody may accept before the application does.
async fn behind_a_published_port() -> (TcpListener, Sleeper, ServedTcp) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let sleeper = Sleeper::new("app", Transport::Tcp, at).await;
    let mut route = sleeper.tcp();
    let policy = UpstreamPolicy::new().with_address(at.ip().to_string()).with_port(at.port());
    let engine = Arc::new(ScriptedEngine::new("elsewhere"));
    route.upstream = Chooser::new(engine, Vantage::Host, policy);
    let served = ServedTcp::new([route]).await;
    (listener, sleeper, served)
}

/// What an engine does at a published port as long as the application behind it refuses; and it may take
/// its time.
#[tokio::test]
async fn row_17_in_a_young_run_it_is_no_answer_to_close_what_was_not_read() {
    let (listener, sleeper, served) = behind_a_published_port().await;
    let mut client = served.connect().await;
    client.write_all(b"question").await.unwrap();
    for _ in 0..4 {
        let (early, _) = soon(listener.accept()).await.unwrap();
        soon(early.readable()).await.unwrap();
    }
    let (mut application, _) = soon(listener.accept()).await.unwrap();
    reads(&mut application, b"question").await;
    client.write_all(b", more").await.unwrap();
    reads(&mut application, b", more").await;
    client.shutdown().await.unwrap();
    assert_eq!(reads_to_end(&mut application).await, b"");
    application.write_all(b"answer").await.unwrap();
    reads(&mut client, b"answer").await;
    drop(application);
    is_closed(&mut client).await;
    assert_eq!(sleeper.starts(), 1);
}

#[tokio::test]
async fn row_17_who_has_said_all_is_heard_and_answered_in_a_young_run() {
    let (listener, sleeper, served) = behind_a_published_port().await;
    let mut client = served.connect().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let (early, _) = soon(listener.accept()).await.unwrap();
    soon(early.readable()).await.unwrap();
    drop(early);
    let (mut application, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(reads_to_end(&mut application).await, b"question");
    application.write_all(b"answer").await.unwrap();
    drop(application);
    assert_eq!(reads_to_end(&mut client).await, b"answer");
    sleeper.has_leases(0).await;
}

/// A reset does not tell how much was read.
#[tokio::test]
async fn row_17_what_may_have_been_read_in_part_is_sent_a_few_times() {
    let (listener, sleeper, served) = behind_a_published_port().await;
    let mut client = served.connect().await;
    client.write_all(b"question").await.unwrap();
    for _ in 0..6 {
        let (mut application, _) = soon(listener.accept()).await.unwrap();
        reads(&mut application, b"quest").await;
    }
    is_closed(&mut client).await;
    sleeper.has_leases(0).await;
}

/// Who has read and closes has answered: it is not said twice.
#[tokio::test]
async fn row_17_what_was_read_is_not_sent_again() {
    let (listener, sleeper, served) = behind_a_published_port().await;
    let mut client = served.connect().await;
    client.write_all(b"question").await.unwrap();
    let (mut application, _) = soon(listener.accept()).await.unwrap();
    reads(&mut application, b"question").await;
    drop(application);
    is_closed(&mut client).await;
    drop(client);
    sleeper.has_leases(0).await;
    // The next one is another client's.
    let _other = served.connect().await;
    let (mut application, _) = soon(listener.accept()).await.unwrap();
    application.write_all(b"hello").await.unwrap();
}

#[tokio::test]
async fn a_quiet_connection_keeps_nothing_awake_and_is_closed_when_it_sleeps() {
    let echo = echo().await;
    let idle = Duration::from_hours(1);
    let sleeper = Sleeper::with_idle("app", Transport::Tcp, echo.address, idle).await;
    let mut route = sleeper.tcp();
    route.quiet_after = Some(Duration::from_millis(20));
    let served = ServedTcp::new([route]).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    for text in [b"one", b"two"] {
        sleeper.has_leases(0).await;
        assert_eq!(served.gateway.in_flight("app")[0].stage, InFlightStage::Quiet);
        client.write_all(text).await.unwrap();
        reads(&mut client, text).await;
    }
    sleeper.has_leases(0).await;
    let deadline = drowse_provider::Deadline::after(PATIENCE);
    sleeper.workload.sleep_now(deadline, Force::No).await.unwrap();
    is_closed(&mut client).await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_given_up_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sleeper = Sleeper::new("app", Transport::Tcp, address).await;
    let mut route = sleeper.tcp();
    route.hold = Duration::from_millis(200);
    let served = ServedTcp::new([route]).await;
    is_closed(&mut served.connect().await).await;
    sleeper.has_leases(0).await;
}

#[tokio::test]
async fn a_port_that_is_closed_lets_its_connections_go_on() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    served.port.close();
    eventually("nobody to listen", || std::net::TcpStream::connect(served.address).is_err()).await;
    client.write_all(b"still").await.unwrap();
    reads(&mut client, b"still").await;
    client.shutdown().await.unwrap();
    assert_eq!(soon(served.serving).await.unwrap(), Drained::Whole);
}

#[tokio::test]
async fn a_shutdown_cuts_what_outlasts_the_grace() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let mut options = GatewayOptions::new();
    options.grace = Duration::from_millis(10);
    let served = ServedTcp::with(options, [sleeper.tcp()]).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    served.shutdown.cancel();
    assert_eq!(soon(served.serving).await.unwrap(), Drained::Cut);
    is_closed(&mut client).await;
    sleeper.has_leases(0).await;
}

#[tokio::test]
async fn the_application_is_told_who_is_connected() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let told = |version| {
        let mut route = sleeper.tcp();
        route.send_proxy_protocol = Some(version);
        route
    };
    let served = ServedTcp::new([told(ProxyProtocol::V1)]).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    let (from, to) = (client.local_addr().unwrap(), served.address);
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", from.port(), to.port());
    reads(&mut client, header.as_bytes()).await;

    let served = ServedTcp::new([told(ProxyProtocol::V2)]).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    let mut header = [0; 28];
    soon(client.read_exact(&mut header)).await.unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
}

/// A route that expects the header, and passes on what it says.
fn behind_a_proxy(sleeper: &Sleeper) -> TcpRouteSpec {
    let mut route = sleeper.tcp();
    route.expects_proxy_protocol = true;
    route.send_proxy_protocol = Some(ProxyProtocol::V1);
    route
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_connects() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let mut options = GatewayOptions::new();
    options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let served = ServedTcp::with(options, [behind_a_proxy(&sleeper)]).await;
    let mut client = served.connect().await;
    let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n";
    client.write_all(header).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    reads(&mut client, GREETING).await;
    reads(&mut client, header).await;
    reads(&mut client, b"hello").await;
    let in_flight = served.gateway.in_flight("app");
    assert_eq!(in_flight[0].client.to_string(), "203.0.113.7");
    assert_eq!(in_flight[0].peer.to_string(), "127.0.0.1");
}

#[tokio::test]
async fn whoever_else_connects_there_wakes_nothing() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let served = ServedTcp::new([behind_a_proxy(&sleeper)]).await;
    let mut client = served.connect().await;
    client.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\nhello").await.unwrap();
    is_closed(&mut client).await;
    assert_eq!(sleeper.starts(), 0);
}

/// What a TLS client says first to a server of this name.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

fn named(sleeper: &Sleeper, names: &[&str]) -> TcpRouteSpec {
    let mut route = sleeper.tcp();
    route.server_names = names.iter().map(|name| name.parse().unwrap()).collect();
    route
}

#[tokio::test]
async fn tls_clients_are_told_apart_by_the_name_that_they_ask_for() {
    let (one, other) = (echo().await, echo().await);
    let exact = Sleeper::new("exact", Transport::Tcp, one.address).await;
    let below = Sleeper::new("below", Transport::Tcp, other.address).await;
    let routes = [named(&exact, &["db.test"]), named(&below, &["*.test"])];
    let served = ServedTcp::new(routes).await;
    for (name, woken, sleeping) in [("DB.test", &exact, None), ("a.b.test", &below, Some(&exact))] {
        let before = sleeping.map(Sleeper::starts);
        let mut client = served.connect().await;
        // In two pieces: the name is known when it is whole.
        let hello = hello(name);
        let (first, second) = hello.split_at(40);
        client.write_all(first).await.unwrap();
        client.write_all(second).await.unwrap();
        reads(&mut client, GREETING).await;
        let mut passed = vec![0; hello.len()];
        soon(client.read_exact(&mut passed)).await.unwrap();
        assert_eq!(passed, hello, "it is passed on as it came");
        assert_eq!(woken.starts(), 1, "{name}");
        assert_eq!(sleeping.map(Sleeper::starts), before);
    }
}

#[tokio::test]
async fn an_unknown_name_gets_an_alert_and_wakes_nothing() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let served = ServedTcp::new([named(&sleeper, &["db.test"])]).await;
    let mut client = served.connect().await;
    client.write_all(&hello("other.test")).await.unwrap();
    assert_eq!(reads_to_end(&mut client).await, [21, 3, 3, 0, 2, 2, 112]);
    let mut client = served.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let alert = reads_to_end(&mut client).await;
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");
    assert_eq!(sleeper.starts(), 0);
}

#[tokio::test]
async fn what_asks_for_no_known_name_has_the_default_if_there_is_one() {
    let echo = echo().await;
    let named_one = Sleeper::new("named", Transport::Tcp, echo.address).await;
    let default = Sleeper::new("default", Transport::Tcp, echo.address).await;
    let served = ServedTcp::new([named(&named_one, &["db.test"]), default.tcp()]).await;
    for said in [hello("other.test"), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut client = served.connect().await;
        client.write_all(&said).await.unwrap();
        reads(&mut client, GREETING).await;
        let mut passed = vec![0; said.len()];
        soon(client.read_exact(&mut passed)).await.unwrap();
        assert_eq!(passed, said);
    }
    assert_eq!((named_one.starts(), default.starts()), (0, 1));
}

/// A connection by a proxy, on behalf of this client.
async fn connect_for(served: &ServedTcp, client: &str) -> TcpStream {
    let mut stream = served.connect().await;
    let header = format!("PROXY TCP4 {client} 192.0.2.1 50000 443\r\n");
    stream.write_all(header.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_no_more() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let mut options = GatewayOptions::new();
    // This machine's own are not counted: whom a proxy names is.
    options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    options.max_connections_per_source = 1;
    let served = ServedTcp::with(options, [behind_a_proxy(&sleeper)]).await;
    let connect = async |client: &str| connect_for(&served, client).await;
    let mut first = connect("203.0.113.7").await;
    reads(&mut first, GREETING).await;
    is_closed(&mut connect("203.0.113.7").await).await;
    reads(&mut connect("203.0.113.8").await, GREETING).await;
}

#[tokio::test]
async fn connections_count_among_what_waits() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await.hangs();
    let mut options = GatewayOptions::new();
    options.max_waiting = 1;
    let served = ServedTcp::with(options, [sleeper.tcp()]).await;
    let _first = served.connect().await;
    sleeper.has_waiting(1).await;
    is_closed(&mut served.connect().await).await;
}

#[tokio::test]
async fn one_source_has_a_quarter_of_the_places_of_what_waits() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await.hangs();
    let mut options = GatewayOptions::new();
    options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    options.max_waiting = 4;
    let served = ServedTcp::with(options, [behind_a_proxy(&sleeper)]).await;
    let connect = async |client: &str| connect_for(&served, client).await;
    let _first = connect("203.0.113.7").await;
    sleeper.has_waiting(1).await;
    is_closed(&mut connect("203.0.113.7").await).await;
    let _other = connect("203.0.113.8").await;
    sleeper.has_waiting(2).await;
}

#[tokio::test]
async fn an_application_that_drops_connections_is_not_doubted_for_each() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sleeper = Sleeper::new("app", Transport::Tcp, listener.local_addr().unwrap()).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    // Once it may not have listened yet. From then on that is what it says to these clients.
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let mut client = served.connect().await;
        drop(soon(listener.accept()).await.unwrap());
        drop(soon(listener.accept()).await.unwrap());
        is_closed(&mut client).await;
        epochs.push(sleeper.workload.ready_run().unwrap().epoch);
    }
    assert!(epochs.windows(2).all(|two| two[0] == two[1]), "{epochs:?}");
}

/// So that a piece that is lost, or in another's place, is found.
fn much() -> Vec<u8> {
    (0..8_000_000_usize).map(|index| u8::try_from((index / 251 + index) % 256).unwrap()).collect()
}

async fn handed_on(route: TcpRouteSpec) -> ServedTcp {
    let mut options = GatewayOptions::new();
    options.splice_after = Some(64 * 1024);
    ServedTcp::with(options, [route]).await
}

/// Says this, and hears it.
async fn says(client: &mut TcpStream, text: &[u8]) {
    let (mut from, mut to) = client.split();
    let mut heard = vec![0; text.len()];
    let (said, read) = tokio::join!(soon(to.write_all(text)), soon(from.read_exact(&mut heard)));
    said.unwrap();
    read.unwrap();
    assert!(heard == text, "something else was heard");
}

#[tokio::test]
async fn what_the_kernel_hands_on_is_whole_and_counted_and_ends_by_halves() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let served = handed_on(sleeper.tcp()).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    let much = much();
    says(&mut client, &much).await;
    // And little after it, which is copied again.
    says(&mut client, b"little").await;
    let bytes = served.gateway.in_flight("app")[0].bytes;
    assert_eq!(bytes, (GREETING.len() + 2 * (much.len() + 6)) as u64);
    let (mut from, mut to) = client.split();
    let saying = async {
        to.write_all(&much).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let hearing = soon(from.read_to_end(&mut heard));
    let ((), read) = tokio::join!(saying, hearing);
    read.unwrap();
    assert!(heard == much, "something else was heard");
    sleeper.has_leases(0).await;
}

#[tokio::test]
async fn what_the_kernel_hands_on_counts_as_use_until_it_is_quiet() {
    let echo = echo().await;
    let sleeper = Sleeper::new("app", Transport::Tcp, echo.address).await;
    let mut route = sleeper.tcp();
    route.quiet_after = Some(Duration::from_millis(20));
    let served = handed_on(route).await;
    let mut client = served.connect().await;
    reads(&mut client, GREETING).await;
    for _ in 0..2 {
        says(&mut client, &much()).await;
        sleeper.has_leases(0).await;
        assert_eq!(served.gateway.in_flight("app")[0].stage, InFlightStage::Quiet);
    }
    let deadline = drowse_provider::Deadline::after(PATIENCE);
    sleeper.workload.sleep_now(deadline, Force::No).await.unwrap();
    is_closed(&mut client).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_and_leaves_holds_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sleeper = Sleeper::new("app", Transport::Tcp, listener.local_addr().unwrap()).await;
    let served = handed_on(sleeper.tcp()).await;
    let mut client = served.connect().await;
    let (mut application, _) = soon(listener.accept()).await.unwrap();
    let sending = tokio::spawn(async move {
        let much = much();
        while application.write_all(&much).await.is_ok() {}
    });
    let moved = || served.gateway.in_flight("app").first().map_or(0, |flow| flow.bytes);
    eventually("much on its way", || moved() > 1 << 20).await;
    client.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    drop(client);
    sleeper.has_leases(0).await;
    soon(sending).await.unwrap();
}
