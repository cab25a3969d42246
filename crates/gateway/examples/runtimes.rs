//! The gateway on one runtime whose threads steal each other's work, or on as many runtimes as there
//! are threads, each with a listener (`SO_REUSEPORT`), routes and upstream connections of its own, and
//! all of them on one workload: for measuring which of the two is better.
//!
//! ```sh
//! cargo run --profile dist -p drowse-gateway --example runtimes -- sharded 2 127.0.0.1:8080 127.0.0.1:9000
//! ```

use std::{env, error::Error, net::SocketAddr, sync::Arc, thread, time::Duration};

use drowse_gateway::{
    Chooser, Gateway, GatewayOptions, HttpReadiness, Route, RouteSpec, RouteTable, UpstreamPolicy,
    Vantage,
};
use drowse_provider::{Capabilities, Engine, Port, Reach, Reference, testing::ScriptedEngine};
use drowse_watcher::{Policy, Workload, WorkloadSpec};
use tokio::{net::TcpSocket, runtime::Builder};
use tokio_util::sync::CancellationToken;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "runtimes stealing|sharded THREADS LISTEN UPSTREAM";

/// Long enough for a herd that connects at once; the kernel caps it at `somaxconn`.
const BACKLOG: u32 = 16_384;

fn main() -> Outcome {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [mode, threads, listen, upstream] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let (threads, listen) = (threads.parse()?, listen.parse()?);
    let upstream: SocketAddr = upstream.parse()?;
    let stealing =
        |threads| Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match mode.as_str() {
        "stealing" => stealing(threads)?.block_on(async {
            let target = Target::of(upstream)?;
            target.serve(listen).await
        }),
        "sharded" => {
            // The workload's own task: next to nothing to do on the warm path.
            let control = stealing(1)?;
            let target = control.block_on(async { Target::of(upstream) })?;
            let shards = (0..threads).map(|_| {
                let target = target.clone();
                thread::spawn(move || {
                    Builder::new_current_thread()
                        .enable_all()
                        .build()?
                        .block_on(target.serve(listen))
                })
            });
            let shards: Vec<_> = shards.collect();
            shards.into_iter().try_for_each(|shard| shard.join().map_err(|_| "a shard panicked")?)
        }
        _ => Err(USAGE.into()),
    }
}

/// The one workload, and how it is dialled.
#[derive(Clone)]
struct Target {
    workload: Workload,
    chooser: Chooser,
}

impl Target {
    fn of(upstream: SocketAddr) -> Outcome<Self> {
        let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
        let container = engine.add("app");
        container.set_details(|details| details.exposed = vec![Port::tcp(upstream.port())]);
        let provider = engine.provider(&Reference::Name("app".into()))?;
        let chooser = Chooser::new(Arc::new(engine), Vantage::Host, UpstreamPolicy::new());
        let readiness = HttpReadiness::new(chooser.clone()).with_host("app.test");
        let policy = Policy::new(Duration::from_hours(1));
        let spec = WorkloadSpec::new("app", provider, Arc::new(readiness), policy);
        Ok(Self { workload: Workload::spawn(spec), chooser })
    }

    async fn serve(self, listen: SocketAddr) -> Outcome {
        let hosts = ["app.test".parse()?];
        let route = Route::new(RouteSpec::new("app", hosts, self.workload, self.chooser));
        let gateway = Gateway::new(GatewayOptions::new());
        gateway.replace_routes(RouteTable::build([route])?);
        gateway.set_discovering(false);
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(listen)?;
        gateway.serve(socket.listen(BACKLOG)?, CancellationToken::new()).await;
        Ok(())
    }
}
