//! Passive use. Neither the file nor labels can name passive routes or clients yet, so this is the
//! watcher itself, with the Docker provider, on the real engine.

use std::sync::Arc;
use std::time::Duration;

use drowse_docker::{DockerEngine, DockerOptions};
use drowse_e2e::{DEADLINE, Site, TestContainer};
use drowse_provider::{Deadline, Engine, Reference};
use drowse_watcher::{
    LeaseKind, PhaseName, Policy, ReadyWhenRunning, WakeError, Workload, WorkloadSpec,
};

const IDLE: Duration = Duration::from_secs(2);

async fn watched(site: &Site, app: &TestContainer) -> (DockerEngine, Workload) {
    let engine = DockerEngine::connect("home", site.relay.url(), DockerOptions::default()).unwrap();
    let provider = engine.provider(&Reference::Name(app.name().to_owned())).unwrap();
    let policy = Policy::new(IDLE);
    let spec = WorkloadSpec::new(app.name(), provider, Arc::new(ReadyWhenRunning), policy);
    let workload = Workload::spawn(spec);
    until(&workload, PhaseName::Asleep).await;
    (engine, workload)
}

async fn until(workload: &Workload, phase: PhaseName) {
    let mut watch = workload.watch();
    let reached = watch.wait_for(|snapshot| snapshot.phase == phase);
    drowse_e2e::within(DEADLINE, phase.as_str(), reached).await.unwrap();
}

#[tokio::test]
async fn row_44_a_monitor_does_not_wake_what_sleeps() {
    let site = Site::new().await;
    let app = site.container("monitored").create().await;
    let (engine, workload) = watched(&site, &app).await;
    let monitor = workload.holder("monitor");
    for _ in 0..10 {
        let lease = workload.lease(&monitor, LeaseKind::Passive, Deadline::after(DEADLINE)).await;
        assert!(matches!(lease, Err(WakeError::Asleep)), "{lease:?}");
    }
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0);
    assert_eq!(app.state().await.status, "created");
    workload.close().await;
    engine.close().await;
}

#[tokio::test]
async fn row_44_a_monitor_does_not_keep_awake_what_it_asks() {
    let site = Site::new().await;
    let app = site.container("watched").create().await;
    let (engine, workload) = watched(&site, &app).await;
    let user = workload.holder("user");
    let lease = workload.lease(&user, LeaseKind::Active, Deadline::after(DEADLINE)).await.unwrap();
    drop(lease);
    // Far more often than the idle time, until it sleeps in spite of that.
    let monitor = workload.holder("monitor");
    let asking = async {
        loop {
            let deadline = Deadline::after(DEADLINE);
            drop(workload.lease(&monitor, LeaseKind::Passive, deadline).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        never = asking => never,
        () = site.wait_until_stopped(&app, 1) => {}
    }
    assert_eq!(site.starts(&app).await, 1);
    workload.close().await;
    engine.close().await;
}

#[tokio::test]
async fn row_44_nothing_is_stopped_under_a_monitors_request() {
    let site = Site::new().await;
    let app = site.container("asked").create().await;
    let (engine, workload) = watched(&site, &app).await;
    let user = workload.holder("user");
    let active = workload.lease(&user, LeaseKind::Active, Deadline::after(DEADLINE)).await.unwrap();
    let monitor = workload.holder("monitor");
    let passive = workload.lease(&monitor, LeaseKind::Passive, Deadline::after(DEADLINE)).await;
    let passive = passive.unwrap();
    drop(active);
    super::let_pass(2 * IDLE).await;
    site.events.catch_up(&app).await;
    assert_eq!(site.events.heard(&app, "kill"), 0);
    drop(passive);
    site.wait_until_stopped(&app, 1).await;
    workload.close().await;
    engine.close().await;
}
