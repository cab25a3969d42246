//! gRPC through drowse, by a client and a server that are not ours (tonic).

use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use drowse_e2e::{
    DEADLINE, Drowse, DrowseSpec, Site, TestContainer, eventually, free_port, within,
};
use futures::SinkExt as _;
use futures::channel::mpsc;
use futures::future::{BoxFuture, join_all};
use http::Uri;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use super::{NEVER, crash};

/// A container that serves gRPC, asleep, and a drowse before it.
async fn asleep(name: &str, idle: &str) -> (Site, TestContainer, Drowse) {
    let site = Site::new().await;
    let app = site.container(name).env("MODE", "grpc").create().await;
    let drowse = drowse(&site, &app, idle, "port: 80").await;
    (site, app, drowse)
}

/// A drowse before it. `upstream`: what its route says of that.
async fn drowse(site: &Site, app: &TestContainer, idle: &str, upstream: &str) -> Drowse {
    let (engine, name, host) = (site.relay.url(), app.name(), app.host());
    let config = format!(
        "engines: {{ home: {{ docker: \"{engine}\" }} }}\n\
         workloads:\n  {name}:\n    container: {{ name: \"{name}\" }}\n    idle: {idle}\n    \
         routes: [{{ host: \"{host}\", {upstream}, scheme: h2c }}]\n"
    );
    let drowse = DrowseSpec::default().config(&config).start().await;
    drowse.wait_until_read(app.name()).await;
    drowse
}

/// One connection of HTTP/2 to drowse, for as many calls as are made on it.
#[derive(Clone)]
struct Channel(SendRequest<tonic::body::Body>);

impl Channel {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within(DEADLINE, "the handshake", handshake).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }
}

impl GrpcService<tonic::body::Body> for Channel {
    type ResponseBody = hyper::body::Incoming;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<http::Response<Self::ResponseBody>, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Text {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

async fn client(drowse: &Drowse, host: &str) -> Grpc<Channel> {
    let origin: Uri = format!("http://{host}").parse().unwrap();
    let channel = Channel::open(drowse.address()).await;
    let mut client = Grpc::with_origin(channel, origin);
    client.ready().await.unwrap();
    client
}

async fn once(client: &mut Grpc<Channel>, text: &'static str) -> Result<Bytes, Status> {
    let path = "/testapp.Echo/Once".parse().unwrap();
    let request = tonic::Request::new(Bytes::from_static(text.as_bytes()));
    let answer = client.unary(request, path, Text);
    within(DEADLINE, "an answer", answer).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_call_wakes_and_its_status_comes_in_trailers() {
    let (site, app, drowse) = asleep("grpc", NEVER).await;
    let mut client = client(&drowse, &app.host()).await;
    assert_eq!(once(&mut client, "hello").await.unwrap(), "hello");
    assert_eq!(site.starts(&app).await, 1);
    let failed = once(&mut client, "fail").await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::FailedPrecondition, "as told"));
    assert_eq!(once(&mut client, "again").await.unwrap(), "again");
}

#[tokio::test]
async fn messages_stream_both_ways_and_keep_awake_until_the_last() {
    let (site, app, drowse) = asleep("streams", "1s").await;
    let mut client = client(&drowse, &app.host()).await;
    let (mut sender, receiver) = mpsc::channel(1);
    let path = "/testapp.Echo/Each".parse().unwrap();
    let call = client.streaming(tonic::Request::new(receiver), path, Text);
    let mut answers = within(DEADLINE, "an answer", call).await.unwrap().into_inner();
    for text in ["one", "two", "three"] {
        sender.send(Bytes::from_static(text.as_bytes())).await.unwrap();
        let answer = within(DEADLINE, "a message", answers.message()).await.unwrap();
        assert_eq!(answer.unwrap(), text, "as soon as it was sent");
        // The idle time passes meanwhile.
        super::let_pass(std::time::Duration::from_millis(1_500)).await;
        assert_eq!(app.state().await.status, "running");
    }
    drop(sender);
    assert_eq!(within(DEADLINE, "the end", answers.message()).await.unwrap(), None);
    site.wait_until_stopped(&app, 1).await;
    // On the same connection: the next call wakes it again.
    assert_eq!(once(&mut client, "again").await.unwrap(), "again");
    assert_eq!(site.starts(&app).await, 2);
}

/// So many calls at once, some to a connection.
async fn at_once(drowse: &Drowse, app: &TestContainer, calls: usize) -> Vec<Result<Bytes, Status>> {
    let mut clients = Vec::new();
    for _ in 0..calls.div_ceil(50) {
        clients.push(client(drowse, &app.host()).await);
    }
    let all = (0..calls).map(|number| {
        let mut client = clients[number / 50].clone();
        async move { once(&mut client, "hello").await }
    });
    join_all(all).await
}

async fn all_are_served(site: &Site, drowse: &Drowse, app: &TestContainer, calls: usize) {
    for answer in at_once(drowse, app, calls).await {
        assert_eq!(answer.unwrap(), "hello");
    }
    assert_eq!(site.starts(app).await, 1);
}

#[tokio::test]
async fn row_13_two_hundred_calls_are_one_start() {
    let site = Site::new().await;
    let app = site.container("grpc-herd").env("MODE", "grpc").env("START_DELAY_MS", 1000);
    let app = app.create().await;
    let drowse = drowse(&site, &app, NEVER, "port: 80").await;
    all_are_served(&site, &drowse, &app, 200).await;
}

#[tokio::test]
async fn row_14_when_the_start_fails_each_call_is_told_so() {
    let site = Site::new().await;
    let app = site.container("grpc-broken").env("MODE", "grpc").env("EXIT_AFTER_MS", 0);
    let app = app.create().await;
    let drowse = drowse(&site, &app, NEVER, "port: 80").await;
    for answer in at_once(&drowse, &app, 20).await {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let why = "it does not start: its process ended with exit code 1";
        assert!(status.message().contains(why), "{status}");
    }
    eventually(DEADLINE, "no lease and nobody waiting", || async {
        let row = drowse.row(app.name()).await;
        (row["leases"] == 0 && row["waiting"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_17_an_accepted_connection_is_no_readiness() {
    let site = Site::new().await;
    let app = site.container("grpc-accepts").env("MODE", "grpc").env("ACCEPT_THEN_CLOSE_MS", 1500);
    let app = app.create().await;
    let drowse = drowse(&site, &app, NEVER, "port: 80").await;
    all_are_served(&site, &drowse, &app, 20).await;
}

#[tokio::test]
async fn row_17_a_published_port_accepts_before_the_application_listens() {
    let site = Site::new().await;
    let published = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let app = site.container("grpc-proxied").env("MODE", "grpc").env("START_DELAY_MS", 1500);
    let app = app.publish_at(80, published).create().await;
    let upstream = format!("address: 127.0.0.1, port: {}", published.port());
    let drowse = drowse(&site, &app, NEVER, &upstream).await;
    all_are_served(&site, &drowse, &app, 20).await;
}

#[tokio::test]
async fn row_49_an_application_that_died_unseen_is_started_for_the_next_call() {
    let (site, app, drowse) = asleep("grpc-died", NEVER).await;
    let mut client = client(&drowse, &app.host()).await;
    assert_eq!(once(&mut client, "one").await.unwrap(), "one");
    site.relay.lose_events(true);
    crash(&app).await;
    site.wait_until_stopped(&app, 1).await;
    // Its method may be repeated by nobody: it is held, and sent once.
    assert_eq!(once(&mut client, "two").await.unwrap(), "two");
    assert_eq!(site.starts(&app).await, 2);
}
