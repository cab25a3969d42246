//! What a warm request costs in memory: a count, not a time, so that it is the same on every machine.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use drowse_gateway::{
    Chooser, Gateway, GatewayOptions, HttpReadiness, Route, RouteSpec, RouteTable, UpstreamPolicy,
    Vantage,
};
use drowse_provider::{Capabilities, Engine, Port, Reach, Reference, testing::ScriptedEngine};
use drowse_watcher::{Policy, Workload, WorkloadSpec};
use tokio_util::sync::CancellationToken;

/// How often memory is asked for, at most, from the head of a request to the last byte of its answer:
/// a `GET` with three headers on a kept connection, by way of a kept connection to the application.
const MOST_PER_REQUEST: usize = 10;

/// Before counting: what is made once per connection, and buffers that grow, are there then.
const WARMING: usize = 200;
const COUNTED: usize = 1_000;

const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: &[u8] =
    b"GET /page?x=1 HTTP/1.1\r\nHost: app.test\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/plain\r\n\
                        Content-Length: 5\r\n\r\nhello";

#[global_allocator]
static ALLOCATOR: Counting = Counting(AtomicUsize::new(0));

/// The system's allocator, which counts how often it is asked for memory.
struct Counting(AtomicUsize);

impl Counting {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[expect(unsafe_code, reason = "there is no other way to count what is asked of the allocator")]
// SAFETY: every call is passed on as it came, and the system's allocator keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count();
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count();
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count();
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// The client and the application allocate nothing while they are counted, and nobody else is here.
#[test]
fn a_warm_request_asks_for_little_memory() {
    let gateway = gateway_to(application());
    let mut client = TcpStream::connect(gateway).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    let mut ask = |times: usize| {
        for _ in 0..times {
            client.write_all(REQUEST).unwrap();
            read_answer(&mut client, &mut buffer);
        }
    };
    ask(WARMING);
    let before = ALLOCATOR.so_far();
    ask(COUNTED);
    let count = ALLOCATOR.so_far() - before;
    // What is made now and then besides, when a head comes in two pieces or a timer is due, is no part of
    // each request.
    assert!(count / COUNTED <= MOST_PER_REQUEST, "{count} allocations of {COUNTED} requests");
}

fn read_answer(client: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"\r\n\r\nhello") {
        let count = client.read(&mut buffer[filled..]).unwrap();
        assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&buffer[..filled]));
        filled += count;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200 "));
}

/// Answers every request on every connection.
fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    let mut filled = 0;
    // Until the gateway closes it.
    while let Ok(count) = stream.read(&mut buffer[filled..])
        && count > 0
    {
        filled += count;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            stream.write_all(ANSWER).unwrap();
        }
    }
}

/// A gateway on a thread of its own, whose one route leads to this application.
fn gateway_to(application: SocketAddr) -> SocketAddr {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::new(GatewayOptions::new());
            gateway.replace_routes(RouteTable::build([route_to(application)]).unwrap());
            gateway.set_discovering(false);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            gateway.serve(listener, CancellationToken::new()).await;
        });
    });
    told.recv_timeout(PATIENCE).unwrap()
}

fn route_to(application: SocketAddr) -> Route {
    let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
    let container = engine.add("app");
    container.set_details(|details| details.exposed = vec![Port::tcp(application.port())]);
    let provider = engine.provider(&Reference::Name("app".into())).unwrap();
    let chooser = Chooser::new(Arc::new(engine), Vantage::Host, UpstreamPolicy::new());
    let readiness = HttpReadiness::new(chooser.clone()).with_host("app.test");
    let policy = Policy::new(Duration::from_hours(1));
    let workload = WorkloadSpec::new("app", provider, Arc::new(readiness), policy);
    let hosts = ["app.test".parse().unwrap()];
    Route::new(RouteSpec::new("app", hosts, Workload::spawn(workload), chooser))
}
