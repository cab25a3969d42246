//! TLS from clients: handshakes, certificates that change, and what is refused.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use drowse_gateway::{
    CertificateFiles, CertificateSource, ListenerOptions, Network, Tls, TlsOptions, TlsVersion,
};
use futures::{SinkExt as _, StreamExt as _};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{
    client::{PATIENCE, Raw, eventually, soon},
    site::{Plan, Site},
};

/// Certificates in a folder that is removed in the end.
struct Certificates {
    folder: PathBuf,
    roots: RootCertStore,
}

impl Certificates {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("drowse-gateway-tls-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        Self { folder, roots: RootCertStore::empty() }
    }

    /// Makes a certificate for these hosts, which clients trust, at these files.
    fn make(&mut self, name: &str, hosts: &[&str]) -> CertificateFiles {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
        self.roots.add(made.der().clone()).unwrap();
        let certificate = self.folder.join(format!("{name}.crt"));
        let path = self.folder.join(format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::write(&certificate, made.pem()).unwrap();
        CertificateFiles { certificate, key: path }
    }

    /// A client of these versions that offers these protocols.
    fn client(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    fn http2(&self) -> TlsConnector {
        self.client(&["h2", "http/1.1"], &[&TLS12, &TLS13])
    }

    fn http1(&self) -> TlsConnector {
        self.client(&["http/1.1"], &[&TLS12, &TLS13])
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

fn options(files: &[&CertificateFiles]) -> TlsOptions {
    let sources = files.iter().map(|files| CertificateSource::Files((*files).clone())).collect();
    let mut options = TlsOptions::new(sources);
    options.look_every = Duration::from_millis(20);
    options
}

fn plan(tls: &Tls) -> Plan {
    let mut listener = ListenerOptions::default();
    listener.tls = Some(tls.clone());
    Plan { listener, ..Plan::default() }
}

async fn connect(
    client: &TlsConnector,
    address: SocketAddr,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    soon(client.connect(name, stream)).await
}

/// The answer to a `GET /` over HTTP/1.1.
async fn ask(stream: TlsStream<TcpStream>, host: &str) -> (u16, String) {
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", host).body(Empty::<bytes::Bytes>::new());
    let answer = soon(requests.send_request(request.unwrap())).await.unwrap();
    let status = answer.status().as_u16();
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn the_protocol_is_agreed_upon_and_the_application_knows_of_tls() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let tls = Tls::load(options(&[&files])).unwrap();
    let site = Site::new(plan(&tls)).await;

    for versions in [&[&TLS12][..], &[&TLS13]] {
        let client = certificates.client(&["http/1.1"], versions);
        let stream = connect(&client, site.address, "app.test").await.unwrap();
        assert_eq!(ask(stream, "app.test").await, (200, "hello".to_owned()));
    }
    // Who offers nothing gets HTTP/1.1.
    let client = certificates.client(&[], &[&TLS13]);
    let stream = connect(&client, site.address, "app.test").await.unwrap();
    assert_eq!(ask(stream, "app.test").await.0, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["forwarded"], "for=127.0.0.1;host=\"app.test\";proto=https");
    assert_eq!(headers["x-forwarded-port"], site.address.port().to_string());

    let stream = connect(&certificates.http2(), site.address, "app.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, connection) =
        soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
    tokio::spawn(connection);
    let request = |host: &str| {
        Request::get(format!("https://{host}/")).body(Empty::<bytes::Bytes>::new()).unwrap()
    };
    let answer = soon(requests.send_request(request("app.test"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(site.application.last_seen().1["x-forwarded-proto"], "https");
    // A host that the certificate is not for: on a connection of its own.
    let answer = soon(requests.send_request(request("x.below.test"))).await.unwrap();
    assert_eq!(answer.status(), 421);
    site.has_leases(0).await;
}

/// Between a client and the gateway: calls `amid` when the gateway has said its first words of a handshake.
async fn interrupted(gateway: SocketAddr, amid: impl FnOnce() + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(gateway).await.unwrap();
        let mut words = vec![0; 16 * 1024];
        let length = client.read(&mut words).await.unwrap();
        server.write_all(&words[..length]).await.unwrap();
        let length = server.read(&mut words).await.unwrap();
        amid();
        client.write_all(&words[..length]).await.unwrap();
        _ = copy_bidirectional(&mut client, &mut server).await;
    });
    address
}

#[tokio::test]
async fn who_is_amid_a_handshake_when_a_shutdown_begins_is_answered() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    for version in [&TLS12, &TLS13] {
        let tls = Tls::load(options(&[&files])).unwrap();
        let mut site = Site::new(plan(&tls)).await;
        site.wake().await;
        let shutdown = site.shutdown.clone();
        let address = interrupted(site.address, move || shutdown.cancel()).await;
        let client = certificates.client(&["http/1.1"], &[version]);
        let mut stream = connect(&client, address, "app.test").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        soon(&mut site.serving).await.unwrap();

        let mut site = Site::new(plan(&tls)).await;
        site.wake().await;
        let shutdown = site.shutdown.clone();
        let address = interrupted(site.address, move || shutdown.cancel()).await;
        let client = certificates.client(&["h2"], &[version]);
        let stream = connect(&client, address, "app.test").await.unwrap();
        let (mut requests, connection) =
            soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("https://app.test/").body(Empty::<bytes::Bytes>::new());
        let answer = soon(requests.send_request(request.unwrap())).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop((answer, requests));
        soon(&mut site.serving).await.unwrap();
    }
}

#[tokio::test]
async fn a_websocket_goes_through_tls() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let tls = Tls::load(options(&[&files])).unwrap();
    let site = Site::new(plan(&tls)).await;
    let stream = connect(&certificates.http1(), site.address, "app.test").await.unwrap();
    let (mut socket, _) = Box::pin(soon(client_async("wss://app.test/ws", stream))).await.unwrap();
    let text = Message::text("x".repeat(1 << 20));
    socket.send(text.clone()).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), text);
    drop(socket);
    site.has_leases(0).await;
}

#[tokio::test]
async fn several_hosts_share_a_connection_whose_certificate_is_for_them() {
    let mut certificates = Certificates::new();
    let files = certificates.make("both", &["app.test", "*.below.test"]);
    let tls = Tls::load(options(&[&files])).unwrap();
    let site = Site::new(plan(&tls)).await;
    let stream = connect(&certificates.http2(), site.address, "app.test").await.unwrap();
    let (mut requests, connection) =
        soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
    tokio::spawn(connection);
    for host in ["app.test", "x.below.test", "x.below.test:443"] {
        let request = Request::get(format!("https://{host}/")).body(Empty::<bytes::Bytes>::new());
        let answer = soon(requests.send_request(request.unwrap())).await.unwrap();
        assert_eq!(answer.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_session_is_resumed() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let tls = Tls::load(options(&[&files])).unwrap();
    let site = Site::new(plan(&tls)).await;
    for version in [&TLS12, &TLS13] {
        let client = certificates.client(&["http/1.1"], &[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = connect(&client, site.address, "app.test").await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
            assert_eq!(ask(stream, "app.test").await.0, 200);
        }
    }
}

#[tokio::test]
async fn older_versions_are_refused_where_the_minimum_says_so() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let mut options = options(&[&files]);
    options.minimum = TlsVersion::V1_3;
    let site = Site::new(plan(&Tls::load(options).unwrap())).await;
    let old = certificates.client(&[], &[&TLS12]);
    connect(&old, site.address, "app.test").await.unwrap_err();
    let new = certificates.client(&[], &[&TLS13]);
    connect(&new, site.address, "app.test").await.unwrap();
}

#[tokio::test]
async fn a_changed_certificate_is_shown_and_what_is_connected_goes_on() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let tls = Tls::load(options(&[&files])).unwrap();
    let following = tokio::spawn({
        let tls = tls.clone();
        async move { tls.follow(BTreeSet::new).await }
    });
    let site = Site::new(plan(&tls)).await;
    let old = connect(&certificates.http1(), site.address, "app.test").await.unwrap();
    let shown = certificate(&old);
    let (mut requests, connection) = http1::handshake(TokioIo::new(old)).await.unwrap();
    tokio::spawn(connection);

    // Half of the new pair, and a broken one: the old one stays.
    let before = tls.certificates();
    fs::write(&files.certificate, "nothing").unwrap();
    let stream = connect(&certificates.http1(), site.address, "app.test").await.unwrap();
    assert_eq!(certificate(&stream), shown);
    assert_eq!(ask(stream, "app.test").await.0, 200);
    assert_eq!(tls.certificates(), before);

    certificates.make("app", &["app.test"]);
    eventually("the new one", || tls.certificates() != before).await;
    let new = soon(async {
        loop {
            let stream = connect(&certificates.http1(), site.address, "app.test").await.unwrap();
            if certificate(&stream) != shown {
                return stream;
            }
        }
    })
    .await;
    assert_eq!(ask(new, "app.test").await.0, 200);
    let request = Request::get("/").header("host", "app.test").body(Empty::<bytes::Bytes>::new());
    assert_eq!(soon(requests.send_request(request.unwrap())).await.unwrap().status(), 200);
    following.abort();
}

#[tokio::test]
async fn a_client_in_clear_is_told_what_is_spoken() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let site = Site::new(plan(&Tls::load(options(&[&files])).unwrap())).await;
    let mut client = Raw::connect(site.address).await;
    client.write("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "This port speaks TLS: write https:// instead of http://\r\n");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(site.starts(), 0);
}

#[tokio::test]
async fn handshakes_are_bounded_in_time() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let mut plan = plan(&Tls::load(options(&[&files])).unwrap());
    plan.options.header_read_timeout = Duration::from_millis(300);
    plan.options.handshake_timeout = Duration::from_millis(300);
    let site = Site::new(plan).await;
    let mut silent = Raw::connect(site.address).await;
    let mut begun = Raw::connect(site.address).await;
    soon(begun.0.write_all(&[0x16, 3, 1, 2, 0, 1])).await.unwrap();
    let mut greeted = greeted(&certificates, site.address).await;
    for stream in [&mut begun.0, &mut greeted] {
        let mut rest = Vec::new();
        _ = soon(stream.read_to_end(&mut rest)).await;
    }
    assert_eq!(silent.read_all().await, "");
}

/// A client that has sent its whole `ClientHello`, was answered, and says no more.
async fn greeted(certificates: &Certificates, address: SocketAddr) -> TcpStream {
    let mut stream = soon(TcpStream::connect(address)).await.unwrap();
    let name = ServerName::try_from("app.test").unwrap();
    let config = Arc::clone(certificates.http1().config());
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    soon(stream.write_all(&hello)).await.unwrap();
    soon(stream.readable()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_stalls_in_a_handshake_keeps_nobody_waiting() {
    /// More than any number of handshakes that was ever allowed at once.
    const STALLED: usize = 1_100;
    // Each has two ends in this process.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let mut plan = plan(&Tls::load(options(&[&files])).unwrap());
    plan.options.handshake_timeout = Duration::from_hours(1);
    let site = Site::new(plan).await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(greeted(&certificates, site.address).await);
    }
    let mut begun = Raw::connect(site.address).await;
    soon(begun.0.write_all(&[0x16, 3, 1, 2, 0, 1])).await.unwrap();
    let stream = soon(connect(&certificates.http1(), site.address, "app.test")).await.unwrap();
    assert_eq!(ask(stream, "app.test").await.0, 200);
}

#[tokio::test]
async fn a_shutdown_waits_for_no_handshake() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let mut plan = plan(&Tls::load(options(&[&files])).unwrap());
    plan.options.grace = PATIENCE * 2;
    let mut site = Site::new(plan).await;
    let _silent = Raw::connect(site.address).await;
    let mut begun = Raw::connect(site.address).await;
    soon(begun.0.write_all(&[0x16, 3, 1])).await.unwrap();
    let done = connect(&certificates.http1(), site.address, "app.test").await.unwrap();
    assert_eq!(ask(done, "app.test").await.0, 200);
    site.shutdown.cancel();
    assert_eq!(soon(&mut site.serving).await.unwrap(), drowse_gateway::Drained::Whole);
}

#[tokio::test]
async fn a_trusted_proxys_header_comes_before_the_handshake() {
    let mut certificates = Certificates::new();
    let files = certificates.make("app", &["app.test"]);
    let mut plan = plan(&Tls::load(options(&[&files])).unwrap());
    plan.listener.proxy_protocol = true;
    plan.options.trusted_proxies = ["127.0.0.1".parse::<Network>().unwrap()].into_iter().collect();
    let site = Site::new(plan).await;
    let mut stream = soon(TcpStream::connect(site.address)).await.unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n").await.unwrap();
    let name = ServerName::try_from("app.test").unwrap();
    let stream = soon(certificates.http1().connect(name, stream)).await.unwrap();
    assert_eq!(ask(stream, "app.test").await.0, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["x-forwarded-for"], "203.0.113.7");
    assert_eq!(headers["x-forwarded-port"], "443");
    assert_eq!(headers["forwarded"], "for=203.0.113.7;host=\"app.test\";proto=https");
}

#[tokio::test]
async fn a_header_of_the_proxy_protocol_counts_from_trusted_proxies_alone() {
    for (trusted, answers) in [("127.0.0.1", true), ("192.0.2.1", false)] {
        let mut plan = Plan::default();
        plan.listener.proxy_protocol = true;
        plan.options.trusted_proxies = [trusted.parse::<Network>().unwrap()].into_iter().collect();
        let site = Site::new(plan).await;
        let mut client = Raw::connect(site.address).await;
        // A refused one may be closed before it has written.
        _ = client
            .0
            .write_all(
                b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 80\r\n\
                  GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
            )
            .await;
        assert_eq!(client.read_all().await.ends_with("hello"), answers);
        if answers {
            assert_eq!(site.application.last_seen().1["x-forwarded-for"], "203.0.113.7");
        } else {
            assert_eq!(site.starts(), 0);
        }
    }
}
