//! Who may enter: whoever may not wakes nothing (row 30).

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use drowse_gateway::{
    Access, AllowedNetworks, BasicAuth, ForwardAuth, GatewayOptions, Network, RouteSpec,
};
use drowse_provider::Transport;
use drowse_watcher::PhaseName;
use http::Method;
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use crate::{
    client::soon,
    ports::{ServedTcp, ServedUdp, Sleeper},
    site::{Plan, Site},
};

pub(crate) fn only(networks: &[&str]) -> AllowedNetworks {
    networks.iter().map(|network| network.parse::<Network>().unwrap()).collect()
}

fn is_asleep(site: &Site) {
    assert_eq!(site.starts(), 0);
    assert_eq!(site.workload.snapshot().phase, PhaseName::Asleep);
}

fn from(networks: &'static [&'static str]) -> impl Fn(&mut RouteSpec) {
    move |route| {
        let mut access = Access::open();
        access.networks = only(networks);
        route.access = access;
    }
}

#[tokio::test]
async fn clients_of_other_networks_wake_nothing_and_are_told_nothing() {
    let site = Site::with_route(from(&["192.0.2.0/24"])).await;
    for path in ["/", "/.well-known/drowse/ready?path=/", "/.well-known/drowse/events?path=/"] {
        let answer = site.get(path).await;
        answer.is_problem(403, "forbidden");
        assert!(answer.body.contains("127.0.0.1"), "{answer:?}");
    }
    // Nobody may say for himself where he comes from.
    site.get_with("/", &[("x-forwarded-for", "192.0.2.7")]).await.is_problem(403, "forbidden");
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    site.get_with("/", &upgrade).await.is_problem(403, "forbidden");
    is_asleep(&site);
    assert!(site.gateway.in_flight("app").is_empty());
}

#[tokio::test]
async fn what_is_passive_is_checked_as_well() {
    let site = Site::with_route(|route| {
        from(&["192.0.2.0/24"])(route);
        route.passive.methods = vec![Method::GET];
    })
    .await;
    site.get("/").await.is_problem(403, "forbidden");
    site.wake().await;
    site.get("/").await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn behind_a_trusted_proxy_its_client_counts() {
    let mut options = GatewayOptions::new();
    options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let route = Box::new(from(&["192.0.2.0/24"]));
    let site = Site::new(Plan { options, route, ..Plan::default() }).await;
    let said = |client| [("x-forwarded-for", client)];
    // What stands further to the left is hearsay.
    for client in ["198.51.100.7", "192.0.2.7, 198.51.100.7"] {
        site.get_with("/", &said(client)).await.is_problem(403, "forbidden");
    }
    is_asleep(&site);
    assert_eq!(site.get_with("/", &said("192.0.2.7")).await.status, 200);
}

#[tokio::test]
async fn a_tcp_connection_from_elsewhere_is_closed_and_wakes_nothing() {
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let sleeper = Sleeper::new("app", Transport::Tcp, nowhere).await;
    let mut route = sleeper.tcp();
    route.networks = only(&["192.0.2.0/24"]);
    let served = ServedTcp::new([route]).await;
    let mut client = served.connect().await;
    assert!(matches!(soon(client.read(&mut [0])).await, Ok(0) | Err(_)));
    assert_eq!(sleeper.starts(), 0);
}

#[tokio::test]
async fn a_packet_from_elsewhere_is_dropped_and_wakes_nothing() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let refused = Sleeper::new("refused", Transport::Udp, socket.local_addr().unwrap()).await;
    let mut route = refused.udp();
    route.networks = only(&["127.0.0.2"]);
    let served = ServedUdp::new(refused_gateway(), route).await;
    let stranger = served.client().await;
    stranger.send(b"stranger").await.unwrap();
    // Sent later, and let in: by then the first one was looked at.
    let friend = tokio::net::UdpSocket::bind("127.0.0.2:0").await.unwrap();
    friend.connect(served.address).await.unwrap();
    friend.send(b"friend").await.unwrap();
    let mut packet = [0; 64];
    let (length, _) = soon(socket.recv_from(&mut packet)).await.unwrap();
    assert_eq!(&packet[..length], b"friend");
    assert_eq!(served.gateway.in_flight("refused").len(), 1);
}

fn refused_gateway() -> drowse_gateway::Gateway {
    drowse_gateway::Gateway::new(GatewayOptions::new())
}

/// A file with `ann`, whose password is `secret`.
fn users() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_users(&file, &[("ann", "secret")]);
    file
}

fn write_users(file: &tempfile::NamedTempFile, users: &[(&str, &str)]) {
    let line = |(name, password): &(&str, &str)| {
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    };
    std::fs::write(file.path(), users.iter().map(line).collect::<String>()).unwrap();
}

fn by_password(file: &std::path::Path, pass_on: bool) -> impl Fn(&mut RouteSpec) + 'static {
    let mut basic = BasicAuth::new(file);
    basic.pass_on = pass_on;
    move |route| route.access.basic = Some(basic.clone())
}

fn said(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test]
async fn without_the_right_password_nothing_is_woken() {
    let file = users();
    let site = Site::with_route(by_password(file.path(), false)).await;
    for path in ["/", "/.well-known/drowse/ready?path=/", "/.well-known/drowse/events?path=/"] {
        let answer = site.get(path).await;
        answer.is_problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"drowse\", charset=\"UTF-8\"");
    }
    for wrong in [
        said("ann", "wrong"),
        said("eve", "secret"),
        said("ann", ""),
        "Basic ====".to_owned(),
        "Bearer secret".to_owned(),
        said("ann", &"x".repeat(2_000)),
    ] {
        let answer = site.get_with("/", &[("authorization", &wrong)]).await;
        answer.is_problem(401, "unauthorized");
    }
    let twice = [("authorization", &*said("ann", "secret")), ("authorization", "Basic eDp5")];
    site.get_with("/", &twice).await.is_problem(401, "unauthorized");
    is_asleep(&site);

    for _ in 0..2 {
        let right = said("ann", "secret");
        assert_eq!(site.get_with("/", &[("authorization", &right)]).await.status, 200);
        let (_, headers) = site.application.last_seen();
        assert!(!headers.contains_key("authorization"), "it is drowse's alone");
    }
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn the_users_are_read_again_when_they_change() {
    let file = users();
    let site = Site::with_route(by_password(file.path(), true)).await;
    let (ann, bob) = (said("ann", "secret"), said("bob", "other"));
    assert_eq!(site.get_with("/", &[("authorization", &ann)]).await.status, 200);
    assert_eq!(site.application.last_seen().1["authorization"], *ann);
    write_users(&file, &[("bob", "other")]);
    soon(async {
        while site.get_with("/", &[("authorization", &bob)]).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    // What was right is not remembered beyond the file that said so.
    site.get_with("/", &[("authorization", &ann)]).await.is_problem(401, "unauthorized");
    // A slip while it is edited locks nobody out.
    std::fs::write(file.path(), "nonsense").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(site.get_with("/", &[("authorization", &bob)]).await.status, 200);
}

#[tokio::test]
async fn without_a_file_of_users_nobody_enters() {
    let site = Site::with_route(by_password("/nowhere/users".as_ref(), false)).await;
    let answer = site.get_with("/", &[("authorization", &said("ann", "secret"))]).await;
    answer.is_problem(503, "auth-unavailable");
    assert!(!answer.body.contains("nowhere"), "{answer:?}");
    is_asleep(&site);
}

/// Whoever is asked: lets in whom the cookie names, and sends everybody else to a login.
struct Portal {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<http::request::Parts>>>,
    connections: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Portal {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::default(), Arc::<AtomicUsize>::default());
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let log: Arc<Mutex<Vec<http::request::Parts>>> = Arc::clone(&log);
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let parts = request.into_parts().0;
                    let answer = judge(&parts);
                    log.lock().unwrap().push(parts);
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, seen, connections, server }
    }

    fn last_seen(&self) -> http::request::Parts {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    fn access(&self) -> Access {
        let mut forward = ForwardAuth::new(&format!("http://{}/check?a=b", self.address)).unwrap();
        forward.tell("Remote-User").unwrap();
        forward.pass_on("X-Device").unwrap();
        let mut access = Access::open();
        access.forward = Some(Box::new(forward));
        access
    }
}

fn judge(parts: &http::request::Parts) -> http::Response<Full<Bytes>> {
    let cookie = parts.headers.get("cookie").map_or("", |cookie| cookie.to_str().unwrap());
    let answer = http::Response::builder();
    let answer = match cookie {
        "user=ann" => {
            answer.header("remote-user", "ann").header("x-other", "1").body(Full::default())
        }
        "user=nobody" => answer.body(Full::default()),
        "user=large" => answer.status(403).body(Full::from(vec![b'x'; 1 << 20])),
        _ => answer
            .status(302)
            .header("location", "https://auth.test/?rd=app")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .body(Full::from("<a href=login>")),
    };
    answer.unwrap()
}

#[tokio::test]
async fn whoever_is_not_let_in_gets_the_portals_answer_and_wakes_nothing() {
    let portal = Portal::start().await;
    let access = portal.access();
    let site = Site::with_route(move |route| route.access = access.clone()).await;
    for path in ["/a?b=c", "/.well-known/drowse/events?path=/a%3Fb%3Dc"] {
        let asked = [
            ("x-device", "phone"),
            ("x-secret", "1"),
            ("x-forwarded-uri", "/public"),
            ("x-forwarded-for", "192.0.2.7"),
            ("accept", "text/html"),
        ];
        let answer = site.get_with(path, &asked).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (302, "<a href=login>"));
        assert_eq!(answer.header("location"), "https://auth.test/?rd=app");
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(answer.header("cache-control"), "no-store");
        let seen = portal.last_seen();
        assert_eq!((seen.method.as_str(), seen.uri.to_string()), ("GET", "/check?a=b".to_owned()));
        for (name, value) in [
            ("host", portal.address.to_string()),
            ("x-forwarded-method", "GET".to_owned()),
            ("x-forwarded-proto", "http".to_owned()),
            ("x-forwarded-host", "app.test".to_owned()),
            ("x-forwarded-uri", "/a?b=c".to_owned()),
            ("x-forwarded-for", "127.0.0.1".to_owned()),
            ("x-original-url", "http://app.test/a?b=c".to_owned()),
            ("x-device", "phone".to_owned()),
            ("accept", "text/html".to_owned()),
        ] {
            assert_eq!(seen.headers[name], value, "{name}");
        }
        assert!(!seen.headers.contains_key("x-secret"));
    }
    let large = site.get_with("/", &[("cookie", "user=large")]).await;
    large.is_problem(503, "auth-unavailable");
    is_asleep(&site);
}

#[tokio::test]
async fn the_application_is_told_who_entered_and_by_nobody_else() {
    let portal = Portal::start().await;
    let access = portal.access();
    let site = Site::with_route(move |route| route.access = access.clone()).await;
    // Also not by naming the header one of this hop alone, or by another spelling.
    let lies = [
        ("cookie", "user=ann"),
        ("remote-user", "root"),
        ("remote_user", "root"),
        ("connection", "remote-user"),
    ];
    assert_eq!(site.get_with("/", &lies).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert_eq!(headers["remote-user"], "ann");
    assert_eq!(headers.get_all("remote-user").iter().count(), 1);
    assert!(!headers.contains_key("remote_user") && !headers.contains_key("x-other"));
    assert_eq!(headers["cookie"], "user=ann");
    let lies = [("cookie", "user=nobody"), ("remote-user", "root"), ("Remote_User", "root")];
    assert_eq!(site.get_with("/", &lies).await.status, 200);
    let (_, headers) = site.application.last_seen();
    assert!(!headers.contains_key("remote-user") && !headers.contains_key("remote_user"));
    // One connection carries both questions.
    assert_eq!(portal.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_nobody_can_be_asked_nobody_enters() {
    let portal = Portal::start().await;
    let access = portal.access();
    let site = Site::with_route(move |route| route.access = access.clone()).await;
    portal.server.abort();
    while !portal.server.is_finished() {
        tokio::task::yield_now().await;
    }
    site.get_with("/", &[("cookie", "user=ann")]).await.is_problem(503, "auth-unavailable");
    is_asleep(&site);
}
