//! Raw TCP: upstreams that misbehave, and clients that go away, at each stage of a connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use drowse_gateway::GatewayOptions;
use drowse_provider::Transport;
use drowse_watcher::PhaseName;
use futures::future::BoxFuture;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{
    Behaviour, alone,
    client::{Raw, eventually},
    descriptors,
    ports::{ServedTcp, Sleeper},
    read_to_end, tasks,
};

/// More than there is room for on the way.
const LONG: usize = 32 << 20;

/// How long a connection is held.
const HOLD: Duration = Duration::from_secs(2);

/// A route to an upstream that does as it is told.
struct Scene {
    sleeper: Sleeper,
    served: ServedTcp,
    behaviour: Arc<Mutex<Behaviour>>,
    /// How many descriptors there were without it, and tasks before the first connection.
    before: (usize, usize),
}

impl Scene {
    async fn new(splice_after: Option<u64>) -> Self {
        let descriptors = descriptors();
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(greets));
        let address = upstream(Arc::clone(&behaviour)).await;
        let sleeper = Sleeper::new("app", Transport::Tcp, address).await;
        let mut options = GatewayOptions::new();
        options.splice_after = splice_after;
        let mut route = sleeper.tcp();
        route.hold = HOLD;
        let served = ServedTcp::with(options, [route]).await;
        let before = (descriptors, tasks());
        let scene = Self { sleeper, served, behaviour, before };
        Raw::connect(scene.served.address).await.read_until(GREETING).await;
        scene.is_unused("at first").await;
        scene
    }

    /// A client of an upstream that behaves so from now on.
    async fn client(&self, behaviour: Behaviour) -> Raw {
        *self.behaviour.lock().unwrap() = behaviour;
        Raw::connect(self.served.address).await
    }

    async fn is_unused(&self, what: &str) {
        let is_unused = || {
            let in_flight = self.served.gateway.in_flight("app");
            self.sleeper.workload.leases() == 0 && in_flight.is_empty()
        };
        eventually(&format!("{what}: nothing in flight"), is_unused).await;
    }

    /// Waits until there are no more tasks than there were, ends it, and waits until there are no more
    /// descriptors than without it.
    async fn leaves_nothing(self) {
        let (descriptors_before, tasks_before) = self.before;
        assert_eq!(self.sleeper.starts(), 1);
        eventually("every task ends", || tasks() <= tasks_before).await;
        self.served.shutdown.cancel();
        self.served.serving.await.unwrap();
        drop(self.served.gateway);
        // The upstream's listener is there.
        let is_closed = || descriptors() <= descriptors_before + 1;
        eventually("every descriptor is closed", is_closed).await;
    }
}

/// Behaves as is said at that moment, at this address.
async fn upstream(behaviour: Arc<Mutex<Behaviour>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let behaviour = *behaviour.lock().unwrap();
            tokio::spawn(behaviour(stream));
        }
    });
    address
}

const GREETING: &str = "220 hello\r\n";

/// An upstream that says this, and closes when its peer does.
fn greets(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        _ = stream.write_all(GREETING.as_bytes()).await;
        read_to_end(stream).await;
    })
}

fn is_silent(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(read_to_end(stream))
}

/// Greets, and reads nothing; says something now and then, until its peer is gone.
fn stops(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        _ = stream.write_all(GREETING.as_bytes()).await;
        while stream.write_all(b".").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    })
}

fn pours(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        _ = stream.write_all(GREETING.as_bytes()).await;
        _ = stream.write_all(&vec![b'y'; LONG]).await;
    })
}

fn resets(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What an upstream does, and what its client, who says something and awaits the end, sees of it.
struct Fault {
    what: &'static str,
    upstream: Behaviour,
    sees: &'static str,
}

fn faults() -> Vec<Fault> {
    let fault = |what, upstream: Behaviour, sees| Fault { what, upstream, sees };
    vec![
        fault("closes at once", |_| Box::pin(async {}), ""),
        fault("resets at once", |stream| Box::pin(async move { resets(&stream) }), ""),
        fault(
            "reads a part and closes",
            |mut stream| {
                Box::pin(async move {
                    _ = stream.read(&mut [0; 2]).await;
                })
            },
            "",
        ),
        fault(
            "greets and closes",
            |mut stream| {
                Box::pin(async move {
                    _ = stream.write_all(GREETING.as_bytes()).await;
                })
            },
            GREETING,
        ),
        fault(
            "greets, reads and resets",
            |mut stream| {
                Box::pin(async move {
                    _ = stream.write_all(GREETING.as_bytes()).await;
                    _ = stream.read(&mut [0; 64]).await;
                    resets(&stream);
                })
            },
            GREETING,
        ),
        fault(
            "says that it sends no more, and reads on",
            |mut stream| {
                Box::pin(async move {
                    _ = stream.write_all(GREETING.as_bytes()).await;
                    _ = stream.shutdown().await;
                    read_to_end(stream).await;
                })
            },
            GREETING,
        ),
    ]
}

/// How a client goes away.
#[derive(Clone, Copy, Debug)]
enum Goes {
    /// Of who has spoken it is not known then whether it awaits an answer: its upstream decides that.
    Closing,
    Resetting,
}

impl Goes {
    const EITHER: &[Self] = &[Self::Closing, Self::Resetting];

    fn away(self, client: Raw) {
        if let Self::Resetting = self {
            resets(&client.0);
        }
        drop(client);
    }
}

/// At which stage a client goes away, and from what.
struct Leaving {
    what: &'static str,
    upstream: Behaviour,
    until: for<'a> fn(&'a mut Raw) -> BoxFuture<'a, ()>,
    goes: &'static [Goes],
}

fn leavings() -> Vec<Leaving> {
    fn greeted(client: &mut Raw) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            client.read_until(GREETING).await;
        })
    }
    vec![
        Leaving {
            what: "before a word of either",
            upstream: is_silent,
            until: |_| Box::pin(async {}),
            goes: Goes::EITHER,
        },
        Leaving {
            what: "having asked",
            upstream: is_silent,
            until: |client| Box::pin(async move { client.write("hello").await }),
            goes: Goes::EITHER,
        },
        Leaving { what: "greeted", upstream: greets, until: greeted, goes: Goes::EITHER },
        Leaving {
            what: "having said all",
            upstream: stops,
            until: |client| {
                Box::pin(async move {
                    greeted(client).await;
                    client.write_all_there_is("bye").await;
                })
            },
            goes: &[Goes::Resetting],
        },
        Leaving {
            what: "in the middle of an upload that is stuck",
            upstream: stops,
            until: |client| {
                Box::pin(async move {
                    greeted(client).await;
                    let more = vec![b'x'; LONG];
                    let stuck = sleep(Duration::from_millis(100));
                    tokio::select! {
                        _ = client.0.write_all(&more) => panic!("there was room for it"),
                        () = stuck => {}
                    }
                })
            },
            goes: &[Goes::Resetting],
        },
        Leaving {
            what: "in the middle of a download that it does not read",
            upstream: pours,
            until: |client| {
                Box::pin(async move {
                    greeted(client).await;
                    client.0.readable().await.unwrap();
                })
            },
            goes: Goes::EITHER,
        },
        Leaving {
            what: "when its upstream has said all",
            upstream: faults().remove(5).upstream,
            until: |client| {
                Box::pin(async move {
                    assert_eq!(client.read_all().await, GREETING);
                })
            },
            goes: Goes::EITHER,
        },
    ]
}

#[test]
fn whatever_an_upstream_does_its_lease_ends_and_nothing_is_left() {
    for splice_after in [None, Some(0)] {
        alone(async {
            let scene = Scene::new(splice_after).await;
            for Fault { what, upstream, sees } in faults() {
                let mut client = scene.client(upstream).await;
                client.write("hello").await;
                assert_eq!(client.read_all().await, sees, "{what}");
                drop(client);
                scene.is_unused(what).await;
                // What others are served by is in no doubt for long.
                scene.client(greets).await.read_until(GREETING).await;
                scene.is_unused(what).await;
            }
            scene.leaves_nothing().await;
        });
    }
}

#[test]
fn at_whatever_stage_a_client_goes_nothing_is_left() {
    for splice_after in [None, Some(0)] {
        alone(async {
            let scene = Scene::new(splice_after).await;
            for Leaving { what, upstream, until, goes } in leavings() {
                for goes in goes {
                    let mut client = scene.client(upstream).await;
                    until(&mut client).await;
                    goes.away(client);
                    scene.is_unused(&format!("{goes:?} {what}")).await;
                }
            }
            // It is no fault of the application.
            assert_eq!(scene.sleeper.workload.snapshot().phase, PhaseName::Ready);
            scene.leaves_nothing().await;
        });
    }
}

#[test]
fn who_goes_before_there_is_an_upstream_leaves_nothing() {
    alone(async {
        let deserted = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let hangs = Sleeper::new("hangs", Transport::Tcp, deserted).await.hangs();
        let refuses = Sleeper::new("refuses", Transport::Tcp, deserted).await;
        let by_name = |sleeper: &Sleeper| {
            let mut route = sleeper.tcp();
            route.server_names = vec!["app.test".parse().unwrap()];
            route
        };
        let behind_a_proxy = |sleeper: &Sleeper| {
            let mut route = sleeper.tcp();
            route.expects_proxy_protocol = true;
            route
        };
        let mut options = GatewayOptions::new();
        options.trusted_proxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
        let ports = [
            (ServedTcp::new([hangs.tcp()]).await, "hello", 1),
            (ServedTcp::new([refuses.tcp()]).await, "hello", 1),
            (ServedTcp::new([by_name(&hangs)]).await, "\x16\x03\x01", 0),
            (ServedTcp::with(options, [behind_a_proxy(&hangs)]).await, "PROXY TCP4 192", 0),
        ];
        // Their wakes go on.
        let first =
            [Raw::connect(ports[0].0.address).await, Raw::connect(ports[1].0.address).await];
        hangs.has_waiting(1).await;
        refuses.is(PhaseName::Ready).await;
        drop(first);
        hangs.has_waiting(0).await;
        refuses.has_leases(0).await;
        let before = (descriptors(), tasks());
        for (served, beginning, in_flight) in &ports {
            for (has_spoken, goes) in
                [(false, Goes::Closing), (false, Goes::Resetting), (true, Goes::Resetting)]
            {
                let mut client = Raw::connect(served.address).await;
                if has_spoken {
                    client.write(beginning).await;
                }
                let all = || {
                    let of = |sleeper: &Sleeper| served.gateway.in_flight(sleeper.workload.name());
                    [of(&hangs), of(&refuses)].concat()
                };
                eventually("it is held", || all().len() == *in_flight).await;
                goes.away(client);
                eventually("it is held no longer", || all().is_empty()).await;
            }
        }
        hangs.has_waiting(0).await;
        refuses.has_leases(0).await;
        eventually("every task ends", || tasks() <= before.1).await;
        eventually("every descriptor is closed", || descriptors() <= before.0).await;
    });
}
