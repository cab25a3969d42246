//! What is spoken to upstreams: HTTP/1.1 and HTTP/2, in clear and over TLS.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use drowse_gateway::{
    Chooser, UpstreamPolicy, UpstreamScheme, UpstreamTls, UpstreamTrust, Vantage,
};
use drowse_provider::testing::ScriptedEngine;
use drowse_watcher::Policy;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{
    application::Speaks,
    client::{Raw, connect, eventually, get, soon},
    site::{Plan, Site},
};

fn h2c(max_streams: u32) -> Plan {
    Plan { speaks: Speaks::Http2 { max_streams }, scheme: UpstreamScheme::H2c, ..Plan::default() }
}

/// A certificate for these names, the CA that signed it, and what shows it.
struct Certificate {
    acceptor: TlsAcceptor,
    ca_file: PathBuf,
    own_file: PathBuf,
    _folder: TempDir,
}

impl Certificate {
    fn of(names: &[&str], protocols: &[&[u8]]) -> Self {
        let mut ca = CertificateParams::new([]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (ca_file, own_file) = (folder.path().join("ca.pem"), folder.path().join("own.pem"));
        std::fs::write(&ca_file, issuer.pem()).unwrap();
        std::fs::write(&own_file, signed.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key.unwrap())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Self { acceptor: Arc::new(config).into(), ca_file, own_file, _folder: folder }
    }

    fn trusted(&self) -> UpstreamTls {
        UpstreamTls::new().trusting(UpstreamTrust::CaFile(self.ca_file.clone()))
    }

    fn site(&self, tls: UpstreamTls) -> Plan {
        Plan {
            speaks: Speaks::Tls(self.acceptor.clone()),
            scheme: UpstreamScheme::Https(tls),
            policy: Policy::new(Duration::from_hours(1)).with_wake_timeout(Duration::from_secs(2)),
            ..Plan::default()
        }
    }
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

#[tokio::test]
async fn many_requests_share_one_connection_by_http2() {
    let site = Site::new(h2c(100)).await;
    assert_eq!(site.get("/x?y").await.body, "hello", "it wakes");
    let (target, headers) = site.application.last_seen();
    assert_eq!(target, "GET http://app.test/x?y");
    assert_eq!(headers["x-forwarded-host"], "app.test");
    assert!(!headers.contains_key("connection") && !headers.contains_key("host"));
    let opened = site.application.connections();
    let mut requests = JoinSet::new();
    for _ in 0..80 {
        requests.spawn(get(site.address, "/"));
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(site.application.connections(), opened, "the first request's served them all");
    site.has_leases(0).await;
}

#[tokio::test]
async fn what_does_not_fit_on_a_connection_goes_by_another() {
    let site = Site::new(h2c(2)).await;
    site.wake().await;
    let opened = site.application.connections();
    let mut open = Vec::new();
    for request in 1..=5 {
        let mut client = Raw::connect(site.address).await;
        client.write("GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        open.push(client);
        eventually("it arrives", || site.application.requests() == request).await;
    }
    assert_eq!(site.application.connections(), opened + 3);
    assert_eq!(site.workload.leases(), 5);
    for client in open {
        client.leave().await;
    }
    site.has_leases(0).await;
    assert_eq!(site.get("/").await.status, 200);
    assert_eq!(site.application.connections(), opened + 3, "there is room again");
}

/// Nothing says so on the connection itself.
#[tokio::test]
async fn what_is_on_a_connection_ends_with_the_run_that_it_leads_to() {
    let site = Site::new(h2c(100)).await;
    site.wake().await;
    let mut client = Raw::connect(site.address).await;
    client
        .write("POST /hang HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    eventually("it arrives", || site.application.requests() == 1).await;
    site.container.crash(1);
    let answer = client.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    site.has_leases(0).await;
}

#[tokio::test]
async fn bodies_and_trailers_stream_both_ways_at_once_by_http2() {
    let site = Site::new(h2c(100)).await;
    let mut client = Raw::connect(site.address).await;
    client
        .write(
            "POST /echo HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\
             TE: trailers\r\nTrailer: x-sum\r\nConnection: TE, close\r\n\r\n3\r\nabc\r\n",
        )
        .await;
    client.read_until("abc").await;
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["te"], "trailers");
    assert_eq!(site.workload.leases(), 1);
    client.write("3\r\ndef\r\n").await;
    client.read_until("def").await;
    client.write("0\r\nx-sum: 6\r\n\r\n").await;
    client.read_all().await;
    site.has_leases(0).await;

    let mut client = Raw::connect(site.address).await;
    client
        .write("GET /trailers HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
        .await;
    let answer = client.read_all().await.to_ascii_lowercase();
    assert!(answer.ends_with("0\r\nx-sum: 9\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream_and_no_other() {
    let site = Site::new(h2c(100)).await;
    site.wake().await;
    let mut stays = Raw::connect(site.address).await;
    stays.write("GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    stays.read_until("text/event-stream").await;
    let mut leaves = Raw::connect(site.address).await;
    let upload = "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99\r\n\r\nabc";
    leaves.write(upload).await;
    let mut received = site.application.state.received.subscribe();
    soon(received.wait_for(|bytes| *bytes == 3)).await.unwrap();
    assert_eq!(site.workload.leases(), 2);
    drop(leaves);
    site.has_leases(1).await;
    let mut sender = site.application.state.events.borrow()[0].clone();
    sender.send("still there".into()).await.unwrap();
    stays.read_until("still there").await;
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http2_is_told_apart() {
    let site = Site::new(Plan {
        scheme: UpstreamScheme::H2c,
        policy: Policy::new(Duration::from_hours(1)).with_wake_timeout(Duration::from_secs(1)),
        ..Plan::default()
    })
    .await;
    site.get("/").await.is_problem(504, "timeout");
}

#[tokio::test]
async fn http2_is_agreed_upon_over_tls() {
    let certificate = Certificate::of(&["app.test"], BOTH);
    let site = Site::new(certificate.site(certificate.trusted())).await;
    assert_eq!(site.get("/").await.body, "hello");
    assert_eq!(site.application.last_seen().0, "GET https://app.test/");
    // What is upgraded goes by HTTP/1.1 all the same.
    let stream = TcpStream::connect(site.address).await.unwrap();
    let (mut socket, answer) = soon(client_async("ws://app.test/ws", stream)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    socket.send(Message::text("one")).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::text("one"));
}

#[tokio::test]
async fn an_upstream_over_tls_may_speak_http1_alone() {
    for protocols in [&[b"http/1.1" as &[u8]][..], &[]] {
        let certificate = Certificate::of(&["app.test"], protocols);
        let site = Site::new(certificate.site(certificate.trusted())).await;
        assert_eq!(site.get("/x").await.body, "hello");
        let (target, headers) = site.application.last_seen();
        assert_eq!((target.as_str(), headers["host"].to_str().unwrap()), ("GET /x", "app.test"));
        assert_eq!(site.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_certificate_is_checked_unless_anyone_is_believed() {
    let certificate = Certificate::of(&["other.test"], BOTH);
    let by_name = certificate.trusted().named("other.test");
    let site = Site::new(certificate.site(by_name)).await;
    assert_eq!(site.get("/").await.status, 200);

    let itself = UpstreamTrust::CaFile(certificate.own_file.clone());
    for trust in [itself, UpstreamTrust::Anyone] {
        let site = Site::new(certificate.site(UpstreamTls::new().trusting(trust))).await;
        assert_eq!(site.get("/").await.status, 200);
    }

    for (tls, words) in [
        (certificate.trusted(), "is not for `app.test` but for"),
        (UpstreamTls::new(), "is of no CA that is trusted"),
    ] {
        let site = Site::new(certificate.site(tls)).await;
        site.get("/").await.is_problem(504, "timeout");
        site.has_met(words).await;
        assert_eq!(site.application.requests(), 0);
    }
}

/// An upstream that refuses the first request, and each time after so many more ends the connection when
/// its last answer is out.
async fn refuses_once(per_connection: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut served = 0;
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                        continue;
                    }
                    drop(request);
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"at last"), true).unwrap();
                    served += 1;
                    if served == per_connection {
                        connection.graceful_shutdown();
                    }
                }
            });
        }
    });
    (address, requests)
}

/// What was not looked at is sent again, whatever its method; and nobody learns of a connection's end.
#[tokio::test]
async fn what_an_upstream_refuses_is_sent_again() {
    let (address, requests) = refuses_once(2).await;
    let site = Site::with_route(move |route| {
        let engine = Arc::new(ScriptedEngine::new("elsewhere"));
        let policy = UpstreamPolicy::new().with_port(address.port());
        route.upstream = Chooser::new(engine, Vantage::Host, policy);
        route.scheme = UpstreamScheme::H2c;
    })
    .await;
    site.wake().await;
    for _ in 0..6 {
        let mut client = Raw::connect(site.address).await;
        let head = "POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n";
        client.write(&format!("{head}Content-Length: 0\r\n\r\n")).await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("at last"), "{answer}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 7);
    site.has_leases(0).await;
}

#[tokio::test]
async fn a_head_has_no_body_and_a_method_that_nobody_knows_passes() {
    for plan in [Plan::default(), h2c(100)] {
        let site = Site::new(plan).await;
        site.wake().await;
        let mut connection = connect(site.address).await;
        for method in ["HEAD", "GET", "PROPFIND", "BREW"] {
            let request = Request::builder().method(method).uri("/").header("host", "app.test");
            let request = request.body(http_body_util::Empty::new()).unwrap();
            connection.ready().await.unwrap();
            let (head, body) = connection.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            assert_eq!(head.headers["content-length"], "5");
            assert_eq!(body, if method == "HEAD" { "" } else { "hello" });
            assert!(site.application.last_seen().0.starts_with(method));
        }
    }
}
