//! Upstreams that misbehave at each stage of an exchange. In a process of its own: descriptors and tasks
//! are counted.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed, and uses a part of what there is for tests"
)]

#[path = "gateway/application.rs"]
mod application;
#[path = "gateway/client.rs"]
mod client;
#[path = "faults/leaving.rs"]
mod leaving;
#[path = "gateway/ports.rs"]
mod ports;
#[path = "gateway/site.rs"]
mod site;
#[path = "faults/tcp.rs"]
mod tcp;
#[path = "faults/udp.rs"]
mod udp;

use std::{
    fs::File,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use drowse_gateway::{Chooser, Route, RouteTable, UpstreamPolicy, Vantage};
use drowse_provider::testing::ScriptedEngine;
use drowse_watcher::PhaseName;
use futures::future::BoxFuture;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{self, Handle},
};

use crate::{
    client::{Raw, eventually, soon},
    site::Site,
};

/// The tests here run one after the other, also while their runtimes are made: one of them takes all
/// descriptors that there are.
fn alone(test: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// What an upstream does with a connection, from the request's head on.
type Behaviour = fn(TcpStream) -> BoxFuture<'static, ()>;

/// What goes wrong, and what its client sees of it.
struct Fault {
    what: &'static str,
    request: &'static str,
    upstream: Behaviour,
    beginning: &'static str,
    end: &'static str,
}

const GET: &str = "GET / HTTP/1.1\r\nHost: faulty.test\r\nConnection: close\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: faulty.test\r\nConnection: close\r\n\
                    Content-Length: 1000000\r\n\r\nabc";
/// Its client waits to be asked for the body.
const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: faulty.test\r\nConnection: close\r\n\
                        Expect: 100-continue\r\nContent-Length: 3\r\n\r\n";
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";
const HELLO_IN_CHUNKS: &str = "\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const PROBLEM: &str = "\"reason\":\"upstream-failed\"}";

/// An upstream that answers so, and leaves the connection to its peer.
macro_rules! says {
    ($text:expr) => {
        |mut stream: TcpStream| {
            Box::pin(async move {
                _ = stream.write_all($text.as_bytes()).await;
                read_to_end(stream).await;
            })
        }
    };
}

/// An upstream that answers so, and closes.
macro_rules! says_and_closes {
    ($text:expr) => {
        |mut stream: TcpStream| {
            Box::pin(async move {
                _ = stream.write_all($text.as_bytes()).await;
            })
        }
    };
}

async fn read_to_end(mut stream: TcpStream) {
    _ = stream.read_to_end(&mut Vec::new()).await;
}

fn faults() -> Vec<Fault> {
    let fault = |what, upstream: Behaviour, beginning, end| Fault {
        what,
        request: GET,
        upstream,
        beginning,
        end,
    };
    vec![
        fault("closes at once", says_and_closes!(""), "HTTP/1.1 502", PROBLEM),
        fault("closes in the head", says_and_closes!("HTTP/1.1 200 O"), "HTTP/1.1 502", PROBLEM),
        fault("says what is no HTTP", says!("SSH-2.0-OpenSSH\r\n\r\n"), "HTTP/1.1 502", PROBLEM),
        fault(
            "says two lengths",
            says!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
            "HTTP/1.1 502",
            PROBLEM,
        ),
        fault(
            "says a head without an end",
            says!(format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(4 << 20))),
            "HTTP/1.1 502",
            PROBLEM,
        ),
        fault(
            "switches protocols unasked",
            says!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            "HTTP/1.1 502",
            PROBLEM,
        ),
        fault(
            "resets",
            |stream: TcpStream| {
                Box::pin(async move {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                })
            },
            "HTTP/1.1 502",
            PROBLEM,
        ),
        fault(
            "closes in the body",
            says_and_closes!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello"),
            "HTTP/1.1 200",
            "hello",
        ),
        fault(
            "closes between chunks",
            says_and_closes!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
            "HTTP/1.1 200",
            "ok\r\n",
        ),
        fault(
            "says a chunk that is none",
            says!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"),
            "HTTP/1.1 200",
            "ok\r\n",
        ),
        fault(
            "ends its body by closing",
            says_and_closes!("HTTP/1.0 200 OK\r\n\r\nhello"),
            "HTTP/1.1 200",
            LAST_CHUNK,
        ),
        fault(
            "says a shorter length beside chunks",
            says!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n"
            ),
            "HTTP/1.1 200",
            HELLO_IN_CHUNKS,
        ),
        fault(
            "says a longer length beside chunks",
            says!(
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n"
            ),
            "HTTP/1.1 200",
            HELLO_IN_CHUNKS,
        ),
        fault(
            "encodes its answer for the way",
            says!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n"
            ),
            "HTTP/1.1 502",
            PROBLEM,
        ),
        fault(
            "encodes it and ends it by closing",
            says_and_closes!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello"),
            "HTTP/1.1 502",
            PROBLEM,
        ),
        fault(
            "says more than its answer",
            says!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"),
            "HTTP/1.1 200",
            "\r\n\r\nok",
        ),
        fault(
            "hints before it answers",
            says!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            ),
            "HTTP/1.1 200",
            "\r\n\r\nok",
        ),
        Fault {
            what: "answers early and closes",
            request: POST,
            upstream: says_and_closes!(
                "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
            ),
            beginning: "HTTP/1.1 413",
            end: "no",
        },
        Fault {
            what: "encodes its answer before the upload is through",
            request: POST,
            upstream: says!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            beginning: "HTTP/1.1 502",
            end: PROBLEM,
        },
        Fault {
            what: "closes in the middle of an upload",
            request: POST,
            upstream: says_and_closes!(""),
            beginning: "HTTP/1.1 502",
            end: PROBLEM,
        },
    ]
}

/// Behaves so from now on, at this address.
async fn upstream(behaviour: Behaviour) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            tokio::spawn(behaviour(stream));
        }
    });
    (address, serving)
}

/// A second route of the site, `faulty.test`, that leads here.
fn leads_to(site: &Site, address: SocketAddr) {
    let good = site.gateway.routes().routes()[0].clone();
    let mut spec = good.spec().clone();
    spec.name = "faulty".into();
    spec.hosts = vec!["faulty.test".parse().unwrap()];
    let engine = Arc::new(ScriptedEngine::new("elsewhere"));
    let policy = UpstreamPolicy::new().with_port(address.port());
    spec.upstream = Chooser::new(engine, Vantage::Host, policy);
    site.gateway.replace_routes(RouteTable::build([good, Route::new(spec)]).unwrap());
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[test]
fn whatever_an_upstream_does_its_lease_ends_and_nothing_is_left() {
    alone(async {
        let site = Site::ready().await;
        assert_eq!(site.get("/").await.status, 200);
        // What is kept for a while is closed by then.
        eventually("the idle connection is closed", || *site.application.state.open.borrow() == 0)
            .await;
        let before = (descriptors(), tasks());
        for fault in faults() {
            let what = fault.what;
            let (address, serving) = upstream(fault.upstream).await;
            leads_to(&site, address);
            let mut client = Raw::connect(site.address).await;
            client.write(fault.request).await;
            let answer = client.read_all().await;
            assert!(answer.starts_with(fault.beginning), "{what}: {answer}");
            assert!(answer.ends_with(fault.end), "{what}: {answer}");
            let is_whole = fault.end.ends_with(LAST_CHUNK);
            assert_eq!(answer.ends_with(LAST_CHUNK), is_whole, "{what}: {answer}");
            site.has_leases(0).await;
            // What others are served by is in no doubt for long.
            site.is(PhaseName::Ready).await;
            assert_eq!(site.get("/").await.status, 200, "{what}");
            serving.abort();
        }
        site.gateway.replace_routes(
            RouteTable::build(site.gateway.routes().routes()[..1].to_vec()).unwrap(),
        );
        eventually("the idle connection is closed", || *site.application.state.open.borrow() == 0)
            .await;
        eventually("every descriptor is closed", || descriptors() <= before.0).await;
        eventually("every task ends", || tasks() <= before.1).await;
        assert_eq!(site.starts(), 1);
    });
}

#[test]
fn a_client_that_leaves_a_stalled_answer_ends_its_lease() {
    alone(async {
        let site = Site::ready().await;
        let stalls: [Behaviour; 3] = [
            says!(""),
            says!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello"),
            says!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
        ];
        for stall in stalls {
            let (address, serving) = upstream(stall).await;
            leads_to(&site, address);
            let mut client = Raw::connect(site.address).await;
            client.write(GET).await;
            site.has_leases(1).await;
            client.leave().await;
            site.has_leases(0).await;
            serving.abort();
        }
    });
}

#[test]
fn a_body_is_asked_for_when_the_upstream_asks() {
    alone(async {
        let site = Site::ready().await;
        let (address, serving) = upstream(|mut stream| {
            Box::pin(async move {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                let mut body = [0; 3];
                stream.read_exact(&mut body).await.unwrap();
                assert_eq!(&body, b"abc");
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            })
        })
        .await;
        leads_to(&site, address);
        let mut client = Raw::connect(site.address).await;
        client.write(EXPECTING).await;
        client.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
        client.write("abc").await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        serving.abort();

        // It does not want it: neither is it asked for, nor is the connection used further.
        let refuses: Behaviour =
            says!("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
        let (address, serving) = upstream(refuses).await;
        leads_to(&site, address);
        let mut client = Raw::connect(site.address).await;
        client.write(EXPECTING).await;
        let answer = soon(client.read_all()).await;
        assert!(answer.starts_with("HTTP/1.1 417") && answer.ends_with("no"), "{answer}");
        site.has_leases(0).await;
        serving.abort();
    });
}

/// One machine's lack takes no workload out of ready.
#[test]
fn descriptors_that_run_out_are_no_fault_of_the_application() {
    alone(async {
        let site = Site::ready().await;
        eventually("the idle connection is closed", || *site.application.state.open.borrow() == 0)
            .await;
        let mut client = client::connect(site.address).await;
        let nowhere = || http::Request::get("/").header("host", "nowhere.test").body(()).unwrap();
        assert_eq!(client::send(&mut client, nowhere()).await.status, 404);

        let before = getrlimit(Resource::Nofile);
        let most = u64::try_from(descriptors()).unwrap() + 16;
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..before }).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let get = || http::Request::get("/").header("host", "app.test").body(()).unwrap();
        let answer = client::send(&mut client, get()).await;
        let phase = site.workload.snapshot().phase;
        drop(taken);
        setrlimit(Resource::Nofile, before).unwrap();
        answer.is_problem(503, "out-of-means");
        assert_eq!(answer.header("retry-after"), "5");
        assert_eq!(phase, PhaseName::Ready);
        assert_eq!(site.workload.snapshot().last_error, None);
        assert_eq!(client::send(&mut client, get()).await.status, 200);
    });
}

/// A client that reads nothing before it has sent everything is not waited for by its own upload.
#[test]
fn an_upload_goes_on_while_its_answer_waits_for_the_client() {
    alone(async {
        /// More than there is room for on the way.
        const LONG: usize = 16 << 20;
        let site = Site::ready().await;
        let (address, serving) = upstream(|stream| {
            Box::pin(async move {
                let (mut from, mut to) = stream.into_split();
                let answers = async {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
                    to.write_all(head.as_bytes()).await.unwrap();
                    to.write_all(&vec![b'y'; LONG]).await.unwrap();
                };
                let reads = async {
                    let mut bytes = vec![0; 64 * 1024];
                    let mut last = 0;
                    while last != b'z' {
                        let count = from.read(&mut bytes).await.unwrap();
                        last = bytes[..count].last().copied().unwrap_or(b'z');
                    }
                };
                tokio::join!(answers, reads);
            })
        })
        .await;
        leads_to(&site, address);
        let mut client = Raw::connect(site.address).await;
        let head = "POST / HTTP/1.1\r\nHost: faulty.test\r\nConnection: close\r\nContent-Length:";
        client.write(&format!("{head} {LONG}\r\n\r\n")).await;
        client.write(&"x".repeat(LONG - 1)).await;
        client.write("z").await;
        let answer = client.read_all().await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body.len(), LONG);
        site.has_leases(0).await;
        serving.abort();
    });
}
