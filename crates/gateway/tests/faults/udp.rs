//! UDP: upstreams that misbehave, and clients that go away, at each stage of a session.

use std::{net::SocketAddr, time::Duration};

use drowse_gateway::{Gateway, GatewayOptions};
use drowse_provider::{Deadline, Transport};
use drowse_watcher::{LeaseKind, PhaseName};
use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

use crate::{
    alone,
    client::{PATIENCE, eventually, soon},
    descriptors,
    ports::{Reserved, ServedUdp, Sleeper},
    tasks,
};

/// How long a session may be idle, and its packets wait.
const IDLE: Duration = Duration::from_millis(200);

/// Longer than any packet of IPv4.
static TOO_LONG: [u8; 65_520] = [b'x'; 65_520];

/// What an upstream does with a packet of this peer; `false`: it ends after it.
type Behaviour = fn(&UdpSocket, SocketAddr) -> bool;

/// What goes wrong.
struct Fault {
    what: &'static str,
    /// `None`: nobody listens.
    upstream: Option<Behaviour>,
}

fn replies(socket: &UdpSocket, peer: SocketAddr) -> bool {
    // There may be no room for it.
    _ = socket.try_send_to(b"reply", peer);
    true
}

const FAULTS: [Fault; 5] = [
    Fault { what: "nobody listens", upstream: None },
    Fault { what: "it is silent", upstream: Some(|_, _| true) },
    Fault { what: "it ends after the first packet", upstream: Some(|_, _| false) },
    Fault {
        what: "it ends after a reply",
        upstream: Some(|socket, peer| {
            replies(socket, peer);
            false
        }),
    },
    Fault {
        what: "it replies a thousand times",
        upstream: Some(|socket, peer| (0..1000).all(|_| replies(socket, peer))),
    },
];

/// What a client does before it goes away.
struct Leaving {
    what: &'static str,
    packets: &'static [&'static [u8]],
    awaits_reply: bool,
}

const LEAVINGS: [Leaving; 4] = [
    Leaving { what: "at once", packets: &[b"hello"], awaits_reply: false },
    Leaving { what: "after a reply", packets: &[b"hello", b"again"], awaits_reply: true },
    Leaving { what: "having sent nothing", packets: &[b""], awaits_reply: false },
    Leaving { what: "having sent too much", packets: &[&TOO_LONG, b"hello"], awaits_reply: false },
];

/// An upstream that is there.
struct Upstream(JoinHandle<()>);

impl Upstream {
    fn new(reserved: &Reserved, behaviour: Behaviour) -> Self {
        let socket = reserved.listen();
        Self(tokio::spawn(async move {
            loop {
                let (_, peer) = socket.recv_from(&mut [0; 64]).await.unwrap();
                if !behaviour(&socket, peer) {
                    return;
                }
            }
        }))
    }

    async fn ends(self) {
        self.0.abort();
        _ = soon(self.0).await;
    }
}

/// A client over IPv6, of an upstream over IPv4.
async fn client(served: &ServedUdp) -> UdpSocket {
    let client = UdpSocket::bind("[::1]:0").await.unwrap();
    client.connect(served.address).await.unwrap();
    client
}

/// Asks until there is a reply, as resolvers do: on a slow machine its session may end before.
async fn is_replied(client: &UdpSocket) {
    let asking = async {
        loop {
            client.send(b"hello").await.unwrap();
            if timeout(IDLE, client.recv(&mut [0; 64])).await.is_ok() {
                return;
            }
        }
    };
    soon(asking).await;
}

async fn served(sleeper: &Sleeper) -> ServedUdp {
    let mut route = sleeper.udp();
    (route.idle, route.hold) = (IDLE, IDLE);
    ServedUdp::at("[::1]:0", Gateway::new(GatewayOptions::new()), route).await
}

/// Waits until nothing of what was passed on is left.
async fn is_unused(sleeper: &Sleeper, served: &ServedUdp, what: &str) {
    let is_unused = || {
        let in_flight = served.gateway.in_flight("app");
        sleeper.workload.leases() == 0 && in_flight.is_empty()
    };
    eventually(&format!("{what}: nothing in flight"), is_unused).await;
    soon(sleeper.workload.watch().wait_for(|now| now.waiting == 0)).await.unwrap();
}

/// Ends it, and waits until there are no more tasks and descriptors than before.
async fn leaves_nothing(served: ServedUdp, tasks_before: usize, descriptors_before: usize) {
    eventually("every task ends", || tasks() <= tasks_before).await;
    served.port.close();
    soon(served.serving).await.unwrap();
    drop(served.gateway);
    eventually("every descriptor is closed", || descriptors() <= descriptors_before).await;
}

#[test]
fn whatever_an_upstream_does_and_whenever_a_client_goes_nothing_is_left() {
    alone(async {
        let reserved = Reserved::new();
        let sleeper = Sleeper::new("app", Transport::Udp, reserved.address).await;
        let (holder, deadline) = (sleeper.workload.holder("test"), Deadline::after(PATIENCE));
        drop(sleeper.workload.lease(&holder, LeaseKind::Active, deadline).await.unwrap());
        let descriptors_before = descriptors();
        let served = served(&sleeper).await;
        let tasks_before = tasks();
        for fault in FAULTS {
            for leaving in LEAVINGS {
                let what = format!("{}, and its client goes {}", fault.what, leaving.what);
                let upstream = fault.upstream.map(|it| Upstream::new(&reserved, it));
                let leaves = client(&served).await;
                for packet in leaving.packets {
                    leaves.send(packet).await.unwrap();
                    if leaving.awaits_reply {
                        // There may be none.
                        _ = timeout(IDLE, leaves.recv(&mut [0; 64])).await;
                    }
                }
                drop(leaves);
                is_unused(&sleeper, &served, &what).await;
                if let Some(upstream) = upstream {
                    upstream.ends().await;
                }
            }
            // What others are served by is in no doubt for long.
            sleeper.is(PhaseName::Ready).await;
            let upstream = Upstream::new(&reserved, replies);
            is_replied(&client(&served).await).await;
            is_unused(&sleeper, &served, fault.what).await;
            upstream.ends().await;
        }
        assert_eq!(sleeper.starts(), 1);
        leaves_nothing(served, tasks_before, descriptors_before).await;
    });
}

#[test]
fn who_goes_while_it_is_asleep_leaves_nothing() {
    alone(async {
        let reserved = Reserved::new();
        let sleeper = Sleeper::new("app", Transport::Udp, reserved.address).await.hangs();
        let descriptors_before = descriptors();
        let served = served(&sleeper).await;
        // Its wake goes on.
        client(&served).await.send(b"hello").await.unwrap();
        sleeper.has_waiting(1).await;
        is_unused(&sleeper, &served, "the first").await;
        let tasks_before = tasks();
        for leaving in LEAVINGS {
            let leaves = client(&served).await;
            for packet in leaving.packets {
                leaves.send(packet).await.unwrap();
            }
            drop(leaves);
            sleeper.has_waiting(1).await;
            is_unused(&sleeper, &served, leaving.what).await;
        }
        leaves_nothing(served, tasks_before, descriptors_before).await;
    });
}
