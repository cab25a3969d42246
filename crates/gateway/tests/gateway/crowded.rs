//! More than may wait, for a wake or for a connection to an application that is awake.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use drowse_gateway::UpstreamScheme;
use futures::stream::{FuturesUnordered, StreamExt as _};
use h2::{SendStream, client::ResponseFuture};
use http::request::Builder;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    application::Speaks,
    client::{Answer, soon},
    http2::{Connection, read, to_app},
    site::{Plan, Site},
    stalls::leads_to,
};

/// An application of HTTP/2, every connection to which is accepted at once and led to it only when it is
/// said so: until then one request has the turn to open one, and all others wait.
struct Slow {
    site: Site,
    is_open: watch::Sender<bool>,
}

impl Slow {
    async fn new(mut plan: Plan) -> Self {
        (plan.speaks, plan.scheme) = (Speaks::Http2 { max_streams: 100 }, UpstreamScheme::H2c);
        let site = Site::new(plan).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        leads_to(&site, listener.local_addr().unwrap());
        let (is_open, opened) = watch::channel(false);
        let application = site.application.address;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut opened = opened.clone();
                tokio::spawn(async move {
                    _ = opened.wait_for(|is_open| *is_open).await;
                    let mut inner = TcpStream::connect(application).await.unwrap();
                    _ = copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
        Self { site, is_open }
    }

    fn opens(&self) {
        self.is_open.send_replace(true);
    }
}

/// Of so many the one that is refused, which must be the first to be answered, and the answers of the rest.
async fn one_is_refused(
    slow: &Slow,
    answers: impl IntoIterator<Item = ResponseFuture>,
) -> (Answer, Vec<Answer>) {
    let epoch = || slow.site.workload.ready_run().map(|run| run.epoch);
    let before = epoch();
    let mut answers: FuturesUnordered<_> = answers.into_iter().map(read).collect();
    let refused = soon(answers.next()).await.unwrap();
    // At once, and not when the one who connects has given up.
    assert!(before.is_some() && epoch() == before);
    refused.is_problem(503, "too-many-waiting");
    assert_eq!(refused.header("retry-after"), "10");
    slow.opens();
    (refused, answers.collect().await)
}

fn all_are(answers: &[Answer], body: &str) {
    assert!(answers.iter().all(|it| (it.status.as_u16(), &*it.body) == (200, body)), "{answers:?}");
}

#[tokio::test]
async fn what_waits_for_a_connection_to_an_awake_application_is_bounded() {
    let mut plan = Plan::default();
    plan.options.max_waiting = 1;
    let slow = Slow::new(plan).await;
    slow.site.wake().await;
    let client = Connection::to(slow.site.address).await;
    // One opens the connection, one waits for that.
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(client.ask(to_app("/")).await);
    }
    let (refused, served) = one_is_refused(&slow, asked).await;
    assert!(refused.body.contains("1 requests wait already, which is the most."), "{refused:?}");
    all_are(&served, "hello");
    assert_eq!(served.len(), 2);
    // Whoever finds a connection waits for none.
    assert_eq!(client.get("/").await.body, "hello");
    slow.site.has_leases(0).await;
}

#[tokio::test]
async fn and_so_are_the_bodies_of_what_waits() {
    let mut plan = Plan::default();
    plan.options.max_unread_bytes = 300_000;
    let slow = Slow::new(plan).await;
    slow.site.wake().await;
    let client = Connection::to(slow.site.address).await;
    let (mut asked, mut bodies) = (Vec::new(), Vec::<SendStream<Bytes>>::new());
    for _ in 0..3 {
        let (answer, body) = client.begin(to_app("/upload").method("POST")).await;
        asked.push(answer);
        bodies.push(body);
    }
    let served = async {
        let (refused, served) = one_is_refused(&slow, asked).await;
        assert!(refused.body.contains("may have 300000 bytes already"), "{refused:?}");
        served
    };
    let bodies_follow = async {
        let mut is_open = slow.is_open.subscribe();
        soon(is_open.wait_for(|is_open| *is_open)).await.unwrap();
        for body in &mut bodies {
            // That of the refused one was reset.
            _ = body.send_data("abc".into(), true);
        }
    };
    let (mut served, ()) = tokio::join!(served, bodies_follow);
    // The application says how much it has received so far.
    served.sort_by_key(|answer| answer.body.clone());
    let received: Vec<_> = served.iter().map(|answer| &*answer.body).collect();
    assert_eq!(received, ["3", "6"]);
    slow.site.has_leases(0).await;
}

/// Who waited for the wake is not sent away for those who came after it.
#[tokio::test]
async fn a_place_is_kept_from_the_wake_until_there_is_a_connection() {
    let mut plan = Plan::default();
    plan.options.max_waiting_per_workload = 2;
    let slow = Slow::new(plan).await;
    slow.site.application.state.is_up.store(false, Ordering::SeqCst);
    let client = Connection::to(slow.site.address).await;
    let first = client.ask(to_app("/")).await;
    let second = client.ask(to_app("/")).await;
    slow.site.has_waiting(2).await;
    slow.site.application.state.is_up.store(true, Ordering::SeqCst);
    slow.site.has_leases(2).await;
    let third = client.ask(to_app("/")).await;
    let (refused, served) = one_is_refused(&slow, [first, second, third]).await;
    assert!(refused.body.contains("2 requests wait for app already"), "{refused:?}");
    all_are(&served, "hello");
    assert_eq!(served.len(), 2);
}

fn of(client: &str, request: Builder) -> Builder {
    request.header("x-forwarded-for", client)
}

/// A site that never wakes, and trusts this machine about whose requests it passes on.
async fn behind_a_proxy(mut plan: Plan) -> Site {
    plan.options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let site = Site::new(plan).await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    site
}

#[tokio::test]
async fn one_source_has_a_quarter_of_the_places() {
    let mut plan = Plan::default();
    plan.options.max_waiting = 8;
    let site = behind_a_proxy(plan).await;
    let proxy = Connection::to(site.address).await;
    let mut asked = Vec::new();
    for client in ["2001:db8::1", "2001:db8::2"] {
        asked.push(proxy.ask(of(client, to_app("/"))).await);
    }
    site.has_waiting(2).await;
    let refused = proxy.send(of("2001:db8::3", to_app("/"))).await;
    refused.is_problem(503, "too-many-waiting");
    assert_eq!(refused.header("retry-after"), "10");
    let said = "2 requests from your address wait already, which is the most of one.";
    assert!(refused.body.contains(said), "{refused:?}");
    // Others have the rest, and of this machine's own and the proxy's nobody counts.
    for request in [of("203.0.113.7", to_app("/")), to_app("/"), to_app("/"), to_app("/")] {
        asked.push(proxy.ask(request).await);
    }
    site.has_waiting(6).await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    for answer in asked {
        assert_eq!(read(answer).await.body, "hello");
    }
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn and_of_the_bytes_that_nobody_has_read() {
    let mut plan = Plan::default();
    plan.options.max_unread_bytes = 1 << 20;
    let site = behind_a_proxy(plan).await;
    let proxy = Connection::to(site.address).await;
    let upload = |client| of(client, to_app("/upload").method("POST"));
    let (_first, _body) = proxy.begin(upload("203.0.113.7")).await;
    site.has_waiting(1).await;
    let (refused, _body_of_none) = proxy.begin(upload("203.0.113.7")).await;
    let refused = read(refused).await;
    refused.is_problem(503, "too-many-waiting");
    let said =
        "from your address that wait may have 262144 bytes already, which is the most of one.";
    assert!(refused.body.contains(said), "{refused:?}");
    let (_other, _other_body) = proxy.begin(upload("203.0.113.8")).await;
    let _without_one = proxy.ask(of("203.0.113.7", to_app("/"))).await;
    site.has_waiting(3).await;
}
