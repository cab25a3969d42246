//! HTTP clients that go away at each stage of an exchange.

use std::{net::Shutdown, time::Duration};

use bytes::Bytes;
use drowse_provider::{Action, testing::Step};
use drowse_watcher::PhaseName;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::{
    alone,
    client::{Raw, eventually, soon},
    descriptors,
    site::Site,
    tasks,
};

/// What a client says, and how far its exchange is when it goes away.
struct Leaving {
    what: &'static str,
    says: &'static str,
    /// What it has read by then.
    reads: &'static str,
    /// How many requests of it are in use.
    leases: u32,
}

const LEAVINGS: [Leaving; 8] = [
    Leaving { what: "before a word", says: "", reads: "", leases: 0 },
    Leaving { what: "in the head", says: "GET / HTTP/1.1\r\nHost: app.te", reads: "", leases: 0 },
    Leaving {
        what: "before the answer",
        says: "GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n",
        reads: "",
        leases: 1,
    },
    Leaving {
        what: "in the middle of its upload",
        says: "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99\r\n\r\nabc",
        reads: "",
        leases: 1,
    },
    Leaving {
        what: "in the middle of a chunk",
        says: "POST /upload HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        reads: "",
        leases: 1,
    },
    Leaving {
        what: "in the middle of the answer",
        says: "GET /sse HTTP/1.1\r\nHost: app.test\r\n\r\n",
        reads: "\r\n\r\n",
        leases: 1,
    },
    Leaving {
        what: "in the middle of both",
        says: "POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99\r\n\r\nabc",
        reads: "3\r\nabc\r\n",
        leases: 1,
    },
    Leaving {
        what: "from a WebSocket",
        says: "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        reads: "\r\n\r\n",
        leases: 1,
    },
];

/// Waits until nothing but what there was before is left, of the gateway and of the application.
async fn leaves_nothing(site: &Site, before: (usize, usize)) {
    eventually("the last connection is closed", || *site.application.state.open.borrow() == 0)
        .await;
    eventually("every descriptor is closed", || descriptors() <= before.0).await;
    eventually("every task ends", || tasks() <= before.1).await;
    assert_eq!(site.starts(), 1);
}

async fn at_rest(site: &Site) -> (usize, usize) {
    eventually("the idle connection is closed", || *site.application.state.open.borrow() == 0)
        .await;
    (descriptors(), tasks())
}

#[test]
fn at_whatever_stage_a_client_goes_its_lease_ends_and_nothing_is_left() {
    alone(async {
        let site = Site::ready().await;
        let before = at_rest(&site).await;
        for Leaving { what, says, reads, leases } in LEAVINGS {
            for resets in [false, true] {
                let mut client = Raw::connect(site.address).await;
                client.write(says).await;
                client.read_until(reads).await;
                site.has_leases(leases).await;
                if resets {
                    SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
                }
                client.leave().await;
                site.has_leases(0).await;
                assert_eq!(site.workload.snapshot().phase, PhaseName::Ready, "{what}");
                site.application.state.events.send_modify(Vec::clear);
            }
        }
        assert_eq!(site.get("/").await.status, 200);
        leaves_nothing(&site, before).await;
    });
}

#[test]
fn also_over_http_2() {
    alone(async {
        let site = Site::ready().await;
        let before = at_rest(&site).await;
        for path in ["/hang", "/sse"] {
            // The stream alone, and the connection with it.
            for of_connection in [false, true] {
                let stream = TcpStream::connect(site.address).await.unwrap();
                let socket = SockRef::from(&stream).try_clone().unwrap();
                let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
                let (mut client, connection) = soon(handshake).await.unwrap();
                let connection = tokio::spawn(connection);
                let request = Request::get(format!("http://app.test{path}"));
                let sent = client.send_request(request.body(Empty::<Bytes>::new()).unwrap());
                let sent = tokio::spawn(sent);
                site.has_leases(1).await;
                let answer = match path {
                    "/hang" => {
                        if !of_connection {
                            sent.abort();
                        }
                        None
                    }
                    _ => Some(soon(sent).await.unwrap().unwrap()),
                };
                if of_connection {
                    socket.shutdown(Shutdown::Both).unwrap();
                }
                drop(answer);
                site.has_leases(0).await;
                drop(client);
                _ = soon(connection).await;
                site.application.state.events.send_modify(Vec::clear);
            }
        }
        assert_eq!(site.workload.snapshot().phase, PhaseName::Ready);
        leaves_nothing(&site, before).await;
    });
}

#[test]
fn who_goes_while_it_is_asleep_leaves_nothing() {
    alone(async {
        let site = Site::asleep().await;
        site.container.always(Action::Start, Step::hang());
        let get = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
        // Its wake goes on.
        let mut first = Raw::connect(site.address).await;
        first.write(get).await;
        site.has_waiting(1).await;
        first.leave().await;
        site.has_waiting(0).await;
        let before = (descriptors(), tasks());
        for says in [get, LEAVINGS[3].says, LEAVINGS[4].says, LEAVINGS[7].says] {
            let mut client = Raw::connect(site.address).await;
            client.write(says).await;
            site.has_waiting(1).await;
            client.leave().await;
            site.has_waiting(0).await;
        }
        leaves_nothing(&site, before).await;
    });
}
