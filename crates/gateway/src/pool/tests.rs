//! Whose turn it is.

use std::pin::pin;

use drowse_provider::{
    Capabilities, Deadline, Engine, Port, Reach, Reference, testing::ScriptedEngine,
};
use drowse_watcher::{LeaseKind, Policy, ReadyWhenRunning, WorkloadSpec};
use futures::{FutureExt as _, poll};
use tokio::{net::TcpListener, time::timeout};

use super::*;
use crate::{UpstreamPolicy, UpstreamScheme, Vantage};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_waited_for_a_turn_until_the_run_was_over_dials_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::tcp(listener.local_addr().unwrap().port());
    let engine = ScriptedEngine::with("home", Capabilities::all(), Reach::Loopback);
    engine.add("app").set_details(|details| details.exposed = vec![port]);
    let provider = engine.provider(&Reference::Name("app".into())).unwrap();
    let chooser = Chooser::new(Arc::new(engine), Vantage::Host, UpstreamPolicy::new());
    let policy = Policy::new(Duration::from_hours(1));
    let spec = WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), policy);
    let workload = Workload::spawn(spec);
    let lease = async || {
        let holder = workload.holder("test");
        workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await.unwrap()
    };
    let run = lease().await.run();
    let dialer = Dialer::new(&UpstreamScheme::H2c, &chooser, None);
    let pools = Pools::new(workload.clone(), chooser, dialer);
    let pool = pools.of(&run);
    let turn = pools.turn(&pool, Protocols::Any).await;
    let wanted = Wanted { protocols: Protocols::Any, is_fresh: false };
    let target = pool.target().unwrap();
    let mut waits = pin!(pools.obtain(&pool, &run, target, wanted, PATIENCE, || Ok(())));
    assert!(poll!(waits.as_mut()).is_pending());

    // Who had the turn finds nobody there.
    workload.upstream_failed(&run);
    let mut news = workload.watch();
    let doubted = news.wait_for(|_| workload.is_in_doubt(&run));
    timeout(PATIENCE, doubted).await.unwrap().unwrap();
    let next = pools.of(&lease().await.run());
    let of_next = pools.turn(&next, Protocols::Any).now_or_never();
    assert!(of_next.is_some(), "those of the earlier run are in the way of the next");
    drop(turn);
    assert!(matches!(waits.await, Err(NotObtained::Over)));
    assert!(listener.accept().now_or_never().is_none(), "it was dialled");
}
