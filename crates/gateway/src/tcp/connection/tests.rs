//! Whose turn it is.

use drowse_provider::{Capabilities, Engine as _, Port, Reach, Reference, testing::ScriptedEngine};
use drowse_watcher::{PhaseName, Policy, ReadyWhenRunning, Workload, WorkloadSpec};
use futures::FutureExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::{Chooser, Gateway, GatewayOptions, TcpRouteSpec, TcpTable, UpstreamPolicy, Vantage};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_waits_for_its_turn_does_so_until_its_deadline() {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exposed = Port::tcp(application.local_addr().unwrap().port());
    let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
    engine.add("app").set_details(|details| details.exposed = vec![exposed]);
    let provider = engine.provider(&Reference::Name("app".into())).unwrap();
    let chooser = Chooser::new(Arc::new(engine), Vantage::Host, UpstreamPolicy::new());
    let policy = Policy::new(Duration::from_hours(1));
    let spec = WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), policy);
    let workload = Workload::spawn(spec);
    let (holder, deadline) = (workload.holder("test"), Deadline::after(PATIENCE));
    let lease = workload.lease(&holder, LeaseKind::Active, deadline).await.unwrap();

    let mut spec = TcpRouteSpec::new("app", workload.clone(), chooser);
    spec.hold = Duration::from_millis(50);
    let route = TcpRoute::new(spec);
    let openings = route.0.openings_of(&lease.run());
    let all = openings.turns.available_permits().try_into().unwrap();
    let _others = openings.turns.acquire_many(all).await.unwrap();

    let port = TcpPort::new(TcpTable::build([route]).unwrap());
    let gateway = Gateway::new(GatewayOptions::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let connection = Connection::new(Arc::clone(gateway.inner()), port, peer);
    timeout(PATIENCE, connection.serve(stream)).await.unwrap();
    assert!(application.accept().now_or_never().is_none(), "it was dialled");
    // It is not the application that was slow.
    let now = workload.snapshot();
    assert_eq!((now.phase, now.last_error), (PhaseName::Ready, None));
}
