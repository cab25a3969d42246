//! HTTP/2 from clients, in clear with prior knowledge: many requests at once on one connection.

use std::{collections::BTreeSet, net::SocketAddr, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use drowse_gateway::{InFlightStage, Route, RouteTable};
use drowse_watcher::PhaseName;
use futures::{SinkExt as _, StreamExt as _, future::join_all};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, request::Builder};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    client::{Answer, Raw, eventually, soon},
    site::{Plan, Site},
};

/// A connection to the gateway, and what it ended with.
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) ended: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        let (requests, connection) = soon(h2::client::handshake(stream)).await.unwrap();
        Self { requests, ended: tokio::spawn(connection) }
    }

    /// Sends the head of a request, whose body may follow.
    pub(crate) async fn begin(&self, request: Builder) -> (ResponseFuture, SendStream<Bytes>) {
        let mut requests = soon(self.requests.clone().ready()).await.unwrap();
        requests.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&self, request: Builder) -> ResponseFuture {
        let mut requests = soon(self.requests.clone().ready()).await.unwrap();
        requests.send_request(request.body(()).unwrap(), true).unwrap().0
    }

    pub(crate) async fn send(&self, request: Builder) -> Answer {
        read(self.ask(request).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(to_app(path)).await
    }
}

/// The head of a `GET` of `app.test`.
pub(crate) fn to_app(path: &str) -> Builder {
    Request::get(format!("http://app.test{path}"))
}

pub(crate) async fn read(answer: ResponseFuture) -> Answer {
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    let bytes = soon(rest(&mut body)).await;
    let body = String::from_utf8(bytes).unwrap();
    Answer { status: head.status, headers: head.headers, body }
}

pub(crate) async fn rest(body: &mut RecvStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// Sends as much as the other end takes.
async fn fill(upload: &mut SendStream<Bytes>, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        upload.reserve_capacity(left);
        let got = soon(futures::future::poll_fn(|context| upload.poll_capacity(context))).await;
        let length = got.unwrap().unwrap().min(left);
        upload.send_data(vec![b'x'; length].into(), false).unwrap();
        left -= length;
    }
}

#[tokio::test]
async fn a_request_arrives_as_one_of_http_1_1() {
    let site = Site::asleep().await;
    let connection = Connection::to(site.address).await;
    let request = to_app("/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "192.0.2.1");
    let answer = connection.send(request).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello"));
    let (head, headers) = site.application.last_seen();
    assert_eq!(head, "GET /a?b=c");
    assert_eq!(headers["host"], "app.test");
    assert_eq!(headers["cookie"], "a=1; b=2");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("content-length"));
    site.has_leases(0).await;
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn what_belongs_to_a_hop_stays_on_it() {
    let site = Site::ready().await;
    let answer = Connection::to(site.address).await.get("/hop").await;
    assert_eq!((&*answer.body, answer.header("x-end")), ("hop", "1"));
    for name in ["connection", "keep-alive", "x-hop", "proxy-authenticate", "transfer-encoding"] {
        assert!(!answer.headers.contains_key(name), "{name}: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let site = Site::ready().await;
    let request = to_app("/").method(Method::HEAD);
    let answer = Connection::to(site.address).await.send(request).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-length"), &*answer.body),
        (200, "5", "")
    );
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let site = Site::ready().await;
    let connection = Connection::to(site.address).await;
    // HTTP/1.1 carries those that were announced.
    let request = to_app("/trailers-seen").method("POST").header("trailer", "x-sum, host");
    let (answer, mut upload) = connection.begin(request).await;
    upload.send_data("body".into(), false).unwrap();
    let trailers = [("x-sum", "9"), ("host", "evil.test"), ("x-forwarded-for", "192.0.2.1")];
    let trailers = trailers
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    upload.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
    assert_eq!(read(answer).await.body, "x-sum");

    let answer = connection.ask(to_app("/trailers").header("te", "trailers")).await;
    let mut body = soon(answer).await.unwrap().into_body();
    assert_eq!(soon(rest(&mut body)).await, b"text");
    assert_eq!(soon(body.trailers()).await.unwrap().unwrap()["x-sum"], "9");
}

#[tokio::test]
async fn each_stream_has_a_lease_and_is_told_of_by_itself() {
    let site = Site::ready().await;
    let connection = Connection::to(site.address).await;
    let (events, _open) = connection.begin(to_app("/sse")).await;
    let _events = soon(events).await.unwrap();
    let (_echo, mut upload) = connection.begin(to_app("/echo").method("POST")).await;
    upload.send_data("12345".into(), false).unwrap();
    let (_hanging, mut hanging) = connection.begin(to_app("/hang")).await;
    site.has_leases(3).await;
    eventually("the bytes of one", || {
        let bytes: BTreeSet<u64> =
            site.gateway.in_flight("app").iter().map(|one| one.bytes).collect();
        bytes == BTreeSet::from([0, 10])
    })
    .await;
    assert_eq!(site.gateway.in_flight("app").len(), 3);
    // The others go on when one leaves.
    hanging.send_reset(h2::Reason::CANCEL);
    site.has_leases(2).await;
    eventually("two", || site.gateway.in_flight("app").len() == 2).await;
    assert_eq!(connection.get("/").await.body, "hello");
    connection.ended.abort();
    site.has_leases(0).await;
    eventually("none", || site.gateway.in_flight("app").is_empty()).await;
}

/// Row 52: one connection, and bodies for a host that sleeps, as many as a client may send.
#[tokio::test]
async fn bodies_for_a_sleeping_host_stall_no_other_stream() {
    let (site, other) = (Site::asleep().await, Site::ready().await);
    let mut spec = other.gateway.routes().routes()[0].spec().clone();
    spec.name = "other".into();
    spec.hosts = vec!["other.test".parse().unwrap()];
    let routes = [site.gateway.routes().routes()[0].clone(), Route::new(spec)];
    site.gateway.replace_routes(RouteTable::build(routes).unwrap());
    site.application.state.is_up.store(false, Ordering::SeqCst);

    let connection = Connection::to(site.address).await;
    let uploads = join_all((0..99).map(|_| connection.begin(to_app("/upload").method("POST"))));
    let mut uploads = uploads.await;
    site.has_waiting(99).await;
    join_all(uploads.iter_mut().map(|(_, upload)| fill(upload, 256 * 1024))).await;

    let (answer, mut upload) = connection.begin(Request::post("http://other.test/upload")).await;
    fill(&mut upload, 1024 * 1024).await;
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read(answer).await.body, (1024 * 1024).to_string());
    assert_eq!(site.gateway.in_flight("app").len(), 99);
    assert!(site.gateway.in_flight("app").iter().all(|one| one.stage == InFlightStage::Waiting));

    // They are all served when it is awake.
    site.application.state.is_up.store(true, Ordering::SeqCst);
    for (_, upload) in &mut uploads {
        upload.send_data(Bytes::new(), true).unwrap();
    }
    for (answer, _) in uploads {
        assert_eq!(read(answer).await.status, 200);
    }
    assert_eq!(site.starts(), 1);
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_websocket_over_http_2_becomes_one_of_http_1_1() {
    let site = Site::asleep().await;
    let stream = soon(TcpStream::connect(site.address)).await.unwrap();
    let (mut requests, connection) =
        soon(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
            .await
            .unwrap();
    tokio::spawn(connection);
    // What the server can do is known when its settings have come.
    let known = Request::get("http://app.test/.well-known/drowse/ready").body(Empty::new());
    let known = soon(requests.send_request(known.unwrap())).await.unwrap();
    soon(known.into_body().collect()).await.unwrap();

    let connect = |path: &str| {
        Request::connect(format!("http://app.test{path}"))
            .extension(hyper::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let mut answer = soon(requests.send_request(connect("/ws"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let stream = TokioIo::new(soon(hyper::upgrade::on(&mut answer)).await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    for text in ["one".to_owned(), "x".repeat(1 << 20), "three".to_owned()] {
        socket.send(Message::text(&*text)).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::text(text));
    }
    assert_eq!(site.workload.leases(), 1);
    assert_eq!(site.gateway.in_flight("app")[0].stage, InFlightStage::Upgraded);
    soon(socket.close(None)).await.unwrap();
    drop(socket);
    site.has_leases(0).await;

    // What the application does not make a WebSocket of is no success.
    assert_eq!(soon(requests.send_request(connect("/missing"))).await.unwrap().status(), 404);
    assert_eq!(soon(requests.send_request(connect("/"))).await.unwrap().status(), 502);
    site.has_leases(0).await;
}

#[tokio::test]
async fn other_ways_to_connect_are_refused() {
    let site = Site::asleep().await;
    let connection = Connection::to(site.address).await;
    connection.get("/.well-known/drowse/ready").await;
    let plain = Request::builder().method(Method::CONNECT).uri("app.test:443");
    connection.send(plain).await.is_problem(400, "bad-request");
    let other = to_app("/").method(Method::CONNECT).extension(Protocol::from_static("connect-udp"));
    connection.send(other).await.is_problem(400, "bad-request");
    assert_eq!(site.starts(), 0);
}

#[tokio::test]
async fn heads_are_bounded() {
    let mut plan = Plan::default();
    plan.options.max_header_bytes = 16 * 1024;
    let site = Site::new(plan).await;
    let connection = Connection::to(site.address).await;
    let large = to_app("/").header("x-large", "x".repeat(20 * 1024));
    assert_eq!(connection.send(large).await.status, 431);
    let many = (0..101).fold(to_app("/"), |head, i| head.header(format!("x-{i}"), "1"));
    connection.send(many).await.is_problem(431, "head-too-large");
    let two = to_app("/").header("host", "other.test");
    connection.send(two).await.is_problem(400, "bad-request");
    assert_eq!(site.starts(), 0);
}

#[tokio::test]
async fn a_shutdown_lets_streams_end_and_takes_no_new_ones() {
    let mut plan = Plan::default();
    plan.options.grace = crate::client::PATIENCE;
    let mut site = Site::new(plan).await;
    site.wake().await;
    let idle = Connection::to(site.address).await;
    assert_eq!(idle.get("/").await.body, "hello");
    let mut busy = Connection::to(site.address).await;
    let events = busy.ask(to_app("/sse")).await;
    let mut events = soon(events).await.unwrap().into_body();
    site.shutdown.cancel();
    soon(idle.ended).await.unwrap().unwrap();
    // Told to begin nothing more, while what runs goes on.
    eventually("told", || {
        let ready = futures::FutureExt::now_or_never(busy.requests.clone().ready());
        matches!(ready, Some(Err(_)))
    })
    .await;
    assert!(!busy.ended.is_finished());
    let mut sender = site.application.state.events.borrow()[0].clone();
    sender.send("data: last\n\n".into()).await.unwrap();
    assert_eq!(soon(events.data()).await.unwrap().unwrap(), "data: last\n\n");
    drop(sender);
    site.application.state.events.send_modify(Vec::clear);
    assert_eq!(soon(rest(&mut events)).await, b"");
    soon(&mut busy.ended).await.unwrap().unwrap();
    assert_eq!(soon(&mut site.serving).await.unwrap(), drowse_gateway::Drained::Whole);
}

#[tokio::test]
async fn at_the_end_of_the_grace_streams_that_wait_are_told() {
    let mut plan = Plan::default();
    plan.options.grace = Duration::from_millis(100);
    let mut site = Site::new(plan).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let connection = Connection::to(site.address).await;
    let answer = connection.ask(to_app("/")).await;
    site.has_waiting(1).await;
    site.shutdown.cancel();
    read(answer).await.is_problem(503, "shutting-down");
    soon(&mut site.serving).await.unwrap();
    site.has_waiting(0).await;
}

#[tokio::test]
async fn a_connection_without_a_stream_is_closed_after_a_while() {
    let mut plan = Plan::default();
    plan.options.header_read_timeout = Duration::from_millis(100);
    let site = Site::new(plan).await;
    site.wake().await;
    // One that asks for nothing, one that has asked, and one that never ends its greeting.
    let silent = Connection::to(site.address).await;
    let used = Connection::to(site.address).await;
    assert_eq!(used.get("/").await.body, "hello");
    let mut half = Raw::connect(site.address).await;
    half.write("PRI * HTTP/2.0\r\n\r\nSM").await;
    let mut greeted = Raw::connect(site.address).await;
    greeted.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    soon(silent.ended).await.unwrap().unwrap();
    soon(used.ended).await.unwrap().unwrap();
    let mut rest = Vec::new();
    _ = soon(half.0.read_to_end(&mut rest)).await;
    _ = soon(greeted.0.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_more_is_let_go_of() {
    let mut plan = Plan::default();
    plan.options.ping_interval = Duration::from_millis(100);
    plan.options.ping_timeout = Duration::from_millis(100);
    let site = Site::new(plan).await;
    site.wake().await;
    let stream = soon(TcpStream::connect(site.address)).await.unwrap();
    let (requests, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    let mut connection = Box::pin(connection);
    let mut requests = requests;
    let (answer, _) = requests.send_request(to_app("/sse").body(()).unwrap(), true).unwrap();
    tokio::select! {
        answer = answer => assert_eq!(answer.unwrap().status(), 200),
        ended = &mut connection => panic!("{ended:?}"),
    }
    assert_eq!(site.workload.leases(), 1);
    // Its connection is open, and nobody is there: no ping is answered.
    site.has_leases(0).await;
    drop(connection);
}

/// What nobody reads yet has a bound over all connections.
#[tokio::test]
async fn uploads_that_wait_are_bounded_by_their_bytes() {
    let mut plan = Plan::default();
    plan.options.max_unread_bytes = 300_000;
    let site = Site::new(plan).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let (first, second) = (Connection::to(site.address).await, Connection::to(site.address).await);
    let upload = || to_app("/upload").method("POST");
    let (waits, _body) = first.begin(upload()).await;
    site.has_waiting(1).await;
    let (refused, _refused_body) = second.begin(upload()).await;
    let refused = read(refused).await;
    refused.is_problem(503, "too-many-waiting");
    assert_eq!(refused.header("retry-after"), "10");
    // One that says how little it is, and one that is nothing.
    let (small, mut body) = second.begin(upload().header("content-length", "3")).await;
    let empty = second.ask(to_app("/")).await;
    site.has_waiting(3).await;
    body.send_data("abc".into(), true).unwrap();
    site.application.state.is_up.store(true, Ordering::SeqCst);
    assert_eq!(read(small).await.body, "3");
    assert_eq!(read(empty).await.body, "hello");
    drop(waits);
}

/// Whoever calls by gRPC looks for a status of gRPC, and takes whatever else for a damaged message.
#[tokio::test]
async fn a_call_of_grpc_is_told_in_grpcs_words_what_went_wrong() {
    let site = Site::gone().await;
    let connection = Connection::to(site.address).await;
    let call =
        |url: &str| Request::post(url.to_owned()).header("content-type", "application/grpc+proto");
    for (url, code, message) in [
        ("http://app.test/a.B/C", "12", "app: there is no such container"),
        ("http://nowhere.test/a.B/C", "12", "There is no route for `nowhere.test`."),
    ] {
        let answer = connection.send(call(url)).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""), "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/grpc");
        assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), (code, message));
    }
    // To whoever says nothing of gRPC it is a problem as ever.
    connection.get("/a.B/C").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_their_connection() {
    let site = Site::asleep().await;
    let connection = Connection::to(site.address).await;
    eventually("closed", || {
        for _ in 0..100 {
            let mut requests = connection.requests.clone();
            let request = to_app("/hang").body(()).unwrap();
            if let Ok((_, mut stream)) = requests.send_request(request, false) {
                stream.send_reset(h2::Reason::CANCEL);
            }
        }
        connection.ended.is_finished()
    })
    .await;
    site.has_waiting(0).await;
    site.wake().await;
    assert_eq!(site.get("/").await.body, "hello");
}

#[tokio::test]
async fn a_stream_wakes_and_the_workload_sleeps_when_the_last_has_ended() {
    let mut plan = Plan::default();
    plan.policy.idle = Duration::from_millis(200);
    let site = Site::new(plan).await;
    let connection = Connection::to(site.address).await;
    let events = connection.ask(to_app("/sse")).await;
    let events = soon(events).await.unwrap();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(site.workload.snapshot().phase, PhaseName::Ready);
    }
    drop(events);
    site.is(PhaseName::Asleep).await;
    // The connection stays, and the next request on it wakes.
    assert_eq!(connection.get("/").await.body, "hello");
    assert_eq!(site.starts(), 2);
}
