//! What a byte of raw TCP costs the gateway: copied, and handed on by the kernel (`splice`), by turns.
//!
//! The gateway has a thread of its own, whose CPU time is counted; who sends and who receives are others.
//!
//! ```sh
//! cargo run --release -p drowse-gateway --example tcp_streams -- GIB ROUNDS [STREAMS]
//! ```

use std::{
    env,
    error::Error,
    io::{Read as _, Write as _, stdout},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use drowse_gateway::{
    Chooser, Gateway, GatewayOptions, TcpPort, TcpRoute, TcpRouteSpec, TcpTable, UpstreamPolicy,
    Vantage,
};
use drowse_provider::{Capabilities, Engine, Port, Reach, Reference, testing::ScriptedEngine};
use drowse_watcher::{Policy, ReadyWhenRunning, Workload, WorkloadSpec};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const GIB: usize = 1 << 30;
const PIECE: usize = 256 * 1024;

fn main() -> Outcome {
    let mut arguments = env::args().skip(1);
    let mut number = |default: &str| arguments.next().unwrap_or(default.to_owned()).parse();
    let (gib, rounds, streams): (usize, usize, usize) = (number("4")?, number("5")?, number("1")?);
    let source = source(gib * GIB / streams)?;
    let mut seconds = [("copied", None, Vec::new()), ("spliced", Some(4 << 20), Vec::new())];
    for _ in 0..rounds {
        for (_, after, all) in &mut seconds {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            all.push(round(source, *after, streams)?.as_secs_f64() / gib as f64);
        }
    }
    for (what, _, mut all) in seconds {
        all.sort_by(f64::total_cmp);
        let all: Vec<_> = all.iter().map(|seconds| format!("{seconds:.2}")).collect();
        writeln!(stdout(), "{what:8} CPU s per GiB: {}", all.join(" "))?;
    }
    Ok(())
}

/// Sends this many bytes on each connection.
fn source(bytes: usize) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || send(stream, bytes));
        }
    });
    Ok(address)
}

fn send(mut stream: TcpStream, bytes: usize) -> std::io::Result<()> {
    let piece = vec![b'x'; PIECE];
    (0..bytes / PIECE).try_for_each(|_| stream.write_all(&piece))
}

fn receive(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let mut piece = vec![0; PIECE];
    while stream.read(&mut piece)? > 0 {}
    Ok(())
}

/// How much CPU the gateway takes for as many streams.
fn round(source: SocketAddr, splice_after: Option<u64>, streams: usize) -> Outcome<Duration> {
    let (told, address) = mpsc::channel();
    let shutdown = CancellationToken::new();
    let gateway = thread::spawn({
        let shutdown = shutdown.clone();
        move || -> Outcome<Duration> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let route = TcpRoute::new(route(source)?);
                let mut options = GatewayOptions::new();
                options.splice_after = splice_after;
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                told.send(listener.local_addr()?)?;
                let port = TcpPort::new(TcpTable::build([route])?);
                Gateway::new(options).serve_tcp(listener, port, shutdown).await;
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            })?;
            let used = clock_gettime(ClockId::ThreadCPUTime);
            Ok(Duration::try_from(used)?)
        }
    });
    let address = address.recv()?;
    let sinks: Vec<_> = (0..streams).map(|_| thread::spawn(move || receive(address))).collect();
    for sink in sinks {
        sink.join().map_err(|_| "a client panicked")??;
    }
    shutdown.cancel();
    gateway.join().map_err(|_| "the gateway panicked")?
}

fn route(upstream: SocketAddr) -> Outcome<TcpRouteSpec> {
    let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
    let container = engine.add("app");
    container.set_details(|details| details.exposed = vec![Port::tcp(upstream.port())]);
    let provider = engine.provider(&Reference::Name("app".into()))?;
    let chooser = Chooser::new(Arc::new(engine), Vantage::Host, UpstreamPolicy::new());
    let policy = Policy::new(Duration::from_hours(1));
    let workload =
        Workload::spawn(WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), policy));
    Ok(TcpRouteSpec::new("app", workload, chooser))
}
