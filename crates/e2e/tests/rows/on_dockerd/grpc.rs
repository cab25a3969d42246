//! gRPC through drowse, by a client and a server that are not ours (tonic).

use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use drowse_e2e::{DEADLINE, Drowse, DrowseSpec, Site, TestContainer, within};
use futures::SinkExt as _;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use http::Uri;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use super::NEVER;

/// A container that serves gRPC, asleep, and a drowse before it.
async fn asleep(name: &str, idle: &str) -> (Site, TestContainer, Drowse) {
    let site = Site::new().await;
    let app = site.container(name).env("MODE", "grpc").create().await;
    let (engine, name, host) = (site.relay.url(), app.name(), app.host());
    let config = format!(
        "engines: {{ home: {{ docker: \"{engine}\" }} }}\n\
         workloads:\n  {name}:\n    container: {{ name: \"{name}\" }}\n    idle: {idle}\n    \
         routes: [{{ host: \"{host}\", port: 80, scheme: h2c }}]\n"
    );
    let drowse = DrowseSpec::default().config(&config).start().await;
    drowse.wait_until_read(app.name()).await;
    (site, app, drowse)
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
