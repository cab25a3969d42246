//! gRPC, by HTTP/2 in clear. The messages are text, and nothing around them.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::{Code, Status, Streaming};

use crate::server;
use crate::state::App;

pub(crate) async fn run(app: Arc<App>) -> anyhow::Result<()> {
    let listener = server::bind(&app)?;
    tokio::spawn(server::announce_ready(app.clone()));
    loop {
        let stream = server::accept(&listener, &app).await?;
        if app.closes_connections() {
            continue;
        }
        tokio::spawn(serve(stream, app.clone()));
    }
}

async fn serve(stream: TcpStream, app: Arc<App>) {
    let service = service_fn(move |request| answer(request, app.clone()));
    // A client that breaks off is the client's business: its error is not told.
    let serving = http2::Builder::new(TokioExecutor::new());
    drop(serving.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    app: Arc<App>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    app.requested();
    if !app.is_ready() {
        return Ok(Status::unavailable("not ready yet").into_http());
    }
    let mut grpc = Grpc::new(Text);
    Ok(match request.uri().path() {
        "/testapp.Echo/Once" => grpc.unary(Once, request).await,
        "/testapp.Echo/Each" => grpc.streaming(Each, request).await,
        _ => Status::unimplemented("no such method; see drowse-testapp --help").into_http(),
    })
}

/// One message comes back. `fail` is answered with an error instead.
struct Once;

impl UnaryService<Bytes> for Once {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        Box::pin(async move {
            match request.into_inner() {
                text if text == "fail" => Err(Status::new(Code::FailedPrecondition, "as told")),
                text => Ok(tonic::Response::new(text)),
            }
        })
    }
}

/// Each message comes back as soon as it is there.
struct Each;

impl StreamingService<Bytes> for Each {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move { Ok(tonic::Response::new(request.into_inner().boxed())) })
    }
}

/// Messages as they are.
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
