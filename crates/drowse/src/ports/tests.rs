use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use drowse_gateway::{
    Chooser, Gateway, GatewayOptions, TcpRoute, TcpRouteSpec, UpstreamPolicy, Vantage,
};
use drowse_provider::{Capabilities, Engine, Reach, Reference, Transport, testing::ScriptedEngine};
use drowse_watcher::{Policy, ReadyWhenRunning, Workload, WorkloadSpec};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Duration, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    At, Troubles,
    keeper::Keeper,
    wanted::{Leads, Port, Wanted},
};
use crate::handed::HandedSockets;

/// A keeper, and what it tells.
struct Kept {
    keeper: Keeper,
    troubles: watch::Receiver<Troubles>,
    at: At,
    wanted: Wanted,
    none: Wanted,
}

fn kept() -> Kept {
    let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
    engine.add("db");
    let provider = engine.provider(&Reference::Name("db".into())).unwrap();
    let policy = Policy::new(Duration::from_hours(1));
    let readiness = Arc::new(ReadyWhenRunning);
    let workload = Workload::spawn(WorkloadSpec::new("db", provider, readiness, policy));
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let chooser = Chooser::new(engine, Vantage::Host, UpstreamPolicy::new());
    let route = TcpRoute::new(TcpRouteSpec::new("db/default", workload, chooser));
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = (Transport::Tcp, free.local_addr().unwrap());
    let port = Port { leads: Leads::Tcp(vec![route]), workloads: vec!["db".to_owned()] };
    let wanted = Wanted([(at, port)].into_iter().collect());
    let (telling, troubles) = watch::channel(Troubles::new());
    let gateway = Gateway::new(GatewayOptions::new());
    let handed = Arc::new(HandedSockets::default());
    let keeper = Keeper::new(gateway, handed, telling, CancellationToken::new());
    Kept { keeper, troubles, at, wanted, none: Wanted::default() }
}

async fn is_listened_on(address: SocketAddr) {
    TcpStream::connect(address).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_wanted_again_at_once_is_had_soon_and_without_a_word() {
    let Kept { mut keeper, troubles, at, wanted, none } = kept();
    assert!(keeper.apply(&wanted));
    for _ in 0..3 {
        assert!(keeper.apply(&none));
        // Whoever serves it has had no turn yet.
        assert!(!keeper.apply(&wanted));
        while !keeper.apply(&wanted) {
            sleep(Duration::from_millis(1)).await;
        }
        is_listened_on(at.1).await;
    }
    assert!(!troubles.has_changed().unwrap());
}

#[tokio::test]
async fn a_port_whose_task_fails_is_told_and_listened_on_again() {
    let Kept { mut keeper, troubles, at, wanted, .. } = kept();
    assert!(keeper.apply(&wanted));
    keeper.fail_all().await;
    keeper.apply(&wanted);
    let told = troubles.borrow().values().next().unwrap().line();
    assert!(told.contains("has failed"), "{told}");
    keeper.apply(&wanted);
    assert!(troubles.borrow().is_empty());
    is_listened_on(at.1).await;
}
