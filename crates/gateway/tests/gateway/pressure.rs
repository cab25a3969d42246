//! Ends that do not read, and how far the one that sends to them gets: what is on its way has its bound, and
//! is neither lost nor kept here. Asserted as bytes: of what was sent, the gateway holds so much at most, and the
//! rest waits in the sockets.

use std::{
    fs,
    future::poll_fn,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use drowse_gateway::UpstreamScheme;
use drowse_provider::Transport;
use h2::{RecvStream, SendStream};
use http::{Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

use crate::{
    application::Speaks,
    client::soon,
    http2::{Connection, to_app},
    ports::{ServedTcp, Sleeper},
    site::{Plan, Site},
    stalls::leads_to,
};

/// What the gateway may hold of one direction: hyper's buffers, a window of HTTP/2 or a pipe. With what the
/// libraries at the ends hold.
const OWN: usize = 1 << 20;

/// Much more than there is room for on the way.
const LENGTH: usize = 32 << 20;

/// Room for what is sent or received at the ends, which are ours.
const ROOM: u32 = 32 * 1024;

const PIECE: usize = 16 * 1024;
static POURED: [u8; PIECE] = [b'x'; PIECE];

/// Lets `pouring` send until nothing moves any more, and then `draining` receive. `ports`: those by which the
/// client and the gateway have connected.
async fn stops(
    ports: [u16; 2],
    sent: &AtomicUsize,
    pouring: impl Future<Output = ()>,
    draining: impl Future<Output = usize>,
) {
    let received = async {
        let mut before = 0;
        loop {
            // If it was only slow, less was proved, and nothing fails.
            sleep(Duration::from_millis(300)).await;
            let now = sent.load(Ordering::Relaxed);
            if now > 0 && now == before {
                break;
            }
            before = now;
        }
        let (sent, kernel) = (sent.load(Ordering::Relaxed), in_kernel(ports));
        let own = sent.saturating_sub(kernel);
        assert!(own <= OWN, "of {sent} bytes that were taken the kernel has no more than {kernel}");
        draining.await
    };
    let ((), received) = soon(async { tokio::join!(pouring, received) }).await;
    assert_eq!((sent.load(Ordering::Relaxed), received), (LENGTH, LENGTH));
}

/// What waits in the sockets at both ends of these connections, to be sent or to be read.
fn in_kernel(ports: [u16; 2]) -> usize {
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let hex = |digits: &str| usize::from_str_radix(digits, 16).unwrap();
    let of_socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = [fields.next().unwrap(), fields.next().unwrap()];
        let is_its = |end: &str| {
            let port = hex(end.split_once(':').unwrap().1);
            ports.iter().any(|its| usize::from(*its) == port)
        };
        let (to_send, to_read) = fields.nth(1).unwrap().split_once(':').unwrap();
        if ends.into_iter().any(is_its) { hex(to_send) + hex(to_read) } else { 0 }
    };
    table.lines().skip(1).map(of_socket).sum()
}

async fn pour(mut to: impl AsyncWrite + Unpin, sent: &AtomicUsize) {
    while sent.load(Ordering::Relaxed) < LENGTH {
        let left = LENGTH - sent.load(Ordering::Relaxed);
        let count = to.write(&POURED[..left.min(PIECE)]).await.unwrap();
        sent.fetch_add(count, Ordering::Relaxed);
    }
}

async fn drain(mut from: impl AsyncRead + Unpin) -> usize {
    let mut piece = vec![0; 64 * 1024];
    let mut received = 0;
    while received < LENGTH {
        let count = from.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "closed after {received} bytes");
        received += count;
    }
    received
}

async fn pour_data(mut to: SendStream<Bytes>, sent: &AtomicUsize) {
    let piece = Bytes::from_static(&POURED);
    while sent.load(Ordering::Relaxed) < LENGTH {
        let left = LENGTH - sent.load(Ordering::Relaxed);
        to.reserve_capacity(left.min(PIECE));
        let room = poll_fn(|context| to.poll_capacity(context)).await.unwrap().unwrap();
        let count = room.min(left).min(PIECE);
        to.send_data(piece.slice(..count), left == count).unwrap();
        sent.fetch_add(count, Ordering::Relaxed);
    }
}

async fn drain_data(mut from: RecvStream) -> usize {
    let mut received = 0;
    while let Some(piece) = from.data().await {
        let count = piece.unwrap().len();
        received += count;
        from.flow_control().release_capacity(count).unwrap();
    }
    received
}

fn narrow() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(ROOM).unwrap();
    socket.set_send_buffer_size(ROOM).unwrap();
    socket
}

fn listener() -> (TcpListener, SocketAddr) {
    let socket = narrow();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn connect(address: SocketAddr) -> TcpStream {
    soon(narrow().connect(address)).await.unwrap()
}

async fn accept(listener: &TcpListener) -> TcpStream {
    soon(listener.accept()).await.unwrap().0
}

/// Reads up to the end of a head.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn port(stream: &TcpStream) -> u16 {
    stream.local_addr().unwrap().port()
}

fn peer_port(stream: &TcpStream) -> u16 {
    stream.peer_addr().unwrap().port()
}

/// A connection of HTTP/2 to the gateway, and its port.
async fn connect_http2(address: SocketAddr) -> (Connection, u16) {
    let stream = connect(address).await;
    let port = port(&stream);
    let (requests, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    (Connection { requests, ended: tokio::spawn(connection) }, port)
}

/// A site that leads to this listener.
async fn ready(plan: Plan, upstream: SocketAddr) -> Site {
    let site = Site::new(plan).await;
    site.wake().await;
    leads_to(&site, upstream);
    site
}

fn h2c() -> Plan {
    let speaks = Speaks::Http2 { max_streams: 100 };
    Plan { speaks, scheme: UpstreamScheme::H2c, ..Plan::default() }
}

/// The first request on this connection.
async fn accept_stream(stream: TcpStream) -> (RecvStream, h2::server::SendResponse<Bytes>) {
    let mut connection = soon(h2::server::handshake(stream)).await.unwrap();
    let (request, respond) = soon(connection.accept()).await.unwrap().unwrap();
    // Goes on until it is closed.
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    (request.into_body(), respond)
}

fn post() -> String {
    format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {LENGTH}\r\n\r\n")
}

#[tokio::test]
async fn an_upload_waits_for_its_upstream() {
    let (listener, address) = listener();
    let site = ready(Plan::default(), address).await;
    let mut client = connect(site.address).await;
    client.write_all(post().as_bytes()).await.unwrap();
    let mut upstream = accept(&listener).await;
    let ports = [port(&client), peer_port(&upstream)];
    read_head(&mut upstream).await;
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour(&mut client, &sent), drain(&mut upstream)).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
    site.has_leases(0).await;
}

#[tokio::test]
async fn an_upload_over_http2_waits_for_its_upstream() {
    let (listener, address) = listener();
    let site = ready(Plan::default(), address).await;
    let (client, port_of_client) = connect_http2(site.address).await;
    let request = to_app("/").method("POST").header("content-length", LENGTH);
    let (answer, upload) = client.begin(request).await;
    let mut upstream = accept(&listener).await;
    let ports = [port_of_client, peer_port(&upstream)];
    read_head(&mut upstream).await;
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour_data(upload, &sent), drain(&mut upstream)).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), StatusCode::OK);
    site.has_leases(0).await;
}

#[tokio::test]
async fn an_upload_waits_for_an_upstream_of_http2() {
    let (listener, address) = listener();
    let site = ready(h2c(), address).await;
    let mut client = connect(site.address).await;
    client.write_all(post().as_bytes()).await.unwrap();
    let upstream = accept(&listener).await;
    let ports = [port(&client), peer_port(&upstream)];
    let (upload, mut respond) = accept_stream(upstream).await;
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour(&mut client, &sent), drain_data(upload)).await;
    respond.send_response(Response::new(()), true).unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
    site.has_leases(0).await;
}

#[tokio::test]
async fn an_answer_waits_for_its_client() {
    let (listener, address) = listener();
    let site = ready(Plan::default(), address).await;
    let mut client = connect(site.address).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
    let mut upstream = accept(&listener).await;
    let ports = [port(&client), peer_port(&upstream)];
    read_head(&mut upstream).await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    upstream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200"));
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour(&mut upstream, &sent), drain(&mut client)).await;
    site.has_leases(0).await;
}

#[tokio::test]
async fn an_answer_over_http2_waits_for_its_client() {
    let (listener, address) = listener();
    let site = ready(Plan::default(), address).await;
    let (client, port_of_client) = connect_http2(site.address).await;
    let answer = client.ask(to_app("/")).await;
    let mut upstream = accept(&listener).await;
    let ports = [port_of_client, peer_port(&upstream)];
    read_head(&mut upstream).await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    upstream.write_all(head.as_bytes()).await.unwrap();
    let answer = soon(answer).await.unwrap().into_body();
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour(&mut upstream, &sent), drain_data(answer)).await;
    site.has_leases(0).await;
}

#[tokio::test]
async fn an_answer_of_an_upstream_of_http2_waits_for_its_client() {
    let (listener, address) = listener();
    let site = ready(h2c(), address).await;
    let (client, port_of_client) = connect_http2(site.address).await;
    let answer = client.ask(to_app("/")).await;
    let upstream = accept(&listener).await;
    let ports = [port_of_client, peer_port(&upstream)];
    let (_, mut respond) = accept_stream(upstream).await;
    let download = respond.send_response(Response::new(()), false).unwrap();
    let answer = soon(answer).await.unwrap().into_body();
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour_data(download, &sent), drain_data(answer)).await;
    site.has_leases(0).await;
}

#[tokio::test]
async fn either_end_of_a_websocket_waits_for_the_other() {
    let (listener, address) = listener();
    let site = ready(Plan::default(), address).await;
    let mut client = connect(site.address).await;
    let head =
        "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut upstream = accept(&listener).await;
    read_head(&mut upstream).await;
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    upstream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
    both_wait(client, upstream).await;
    site.has_leases(0).await;
}

#[tokio::test]
async fn either_end_of_a_tcp_connection_waits_for_the_other() {
    let (listener, address) = listener();
    let sleeper = Sleeper::new("app", Transport::Tcp, address).await;
    let served = ServedTcp::new([sleeper.tcp()]).await;
    let client = connect(served.address).await;
    let upstream = accept(&listener).await;
    both_wait(client, upstream).await;
    sleeper.has_leases(0).await;
}

/// One after the other: while one waits its other direction passes.
async fn both_wait(mut client: TcpStream, mut upstream: TcpStream) {
    let ports = [port(&client), peer_port(&upstream)];
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour(&mut client, &sent), drain(&mut upstream)).await;
    let sent = AtomicUsize::new(0);
    stops(ports, &sent, pour(&mut upstream, &sent), drain(&mut client)).await;
}
