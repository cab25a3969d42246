//! What the watches of a cluster tell when things go wrong.

use drowse_fakepve::{Ct, FakePve, Options, Power};
use drowse_provider::{
    ContainerStatus, Engine as _, Error, ErrorKind, EventAction, Reference, StopOptions, Unusable,
    WatchItem,
};
use drowse_proxmox::Cluster;

use crate::{
    scene::{Scene, VMID, Watching, cluster_options},
    support::{client, eventually, patience},
};

const RUNNING: ContainerStatus = ContainerStatus::Running;
const STOPPED: ContainerStatus = ContainerStatus::Stopped;

fn is_forbidden(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Forbidden { privilege: Some(privilege), .. } if privilege == "VM.Audit")
}

fn says_removed(told: &[Result<WatchItem, Error>]) -> bool {
    told.iter().any(|item| matches!(item, Ok(WatchItem::Removed)))
}

fn says(told: &[Result<WatchItem, Error>], status: &ContainerStatus) -> bool {
    told.iter().any(|item| matches!(item, Ok(WatchItem::Synced(seen)) if seen.status == *status))
}

// === Rights ===

/// What is not shown has not been deleted.
#[tokio::test]
async fn row_46_rights_that_are_taken_away_for_a_while_delete_nothing() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    let before = watching.synced(&RUNNING).await;
    scene.pve.grant(&[]).await;
    let error = watching.error().await;
    assert!(is_forbidden(&error), "{error:?}");
    scene.beats(3).await;
    assert!(!says_removed(&watching.told()));
    let error = scene.provider.observe(patience()).await.unwrap_err();
    assert!(is_forbidden(&error), "{error:?}");

    scene.pve.grant(&[("/vms/201", &["VM.Audit", "VM.PowerMgmt"])]).await;
    assert_eq!(watching.synced(&RUNNING).await.run, before.run);
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    watching.synced(&STOPPED).await;
    scene.close().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_in_mid_run_is_told_and_taken_again() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&RUNNING).await;
    scene.pve.token_valid(false).await;
    let error = watching.error().await;
    assert!(matches!(error.kind(), ErrorKind::Unauthorized), "{error:?}");
    scene.pve.token_valid(true).await;
    watching.synced(&RUNNING).await;
    scene.close().await;
}

// === Nodes and endpoints ===

#[tokio::test]
async fn a_node_that_is_away_is_no_stop() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    let before = watching.synced(&RUNNING).await;
    scene.pve.node_offline("pve1").await;
    let error = watching.error().await;
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error:?}");
    let list = scene.engine.list(patience()).await.unwrap();
    assert_eq!(list[0].status, ContainerStatus::Error(Unusable::Unreachable));
    scene.beats(3).await;
    let told = watching.told();
    assert!(!says(&told, &STOPPED) && !says_removed(&told), "{told:?}");
    scene.pve.node_online("pve1").await;
    assert_eq!(watching.synced(&RUNNING).await.run, before.run);
    scene.close().await;
}

#[tokio::test]
async fn an_api_that_is_away_is_no_stop() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    let before = watching.synced(&RUNNING).await;
    scene.pve.reachable(0, false).await;
    let error = watching.error().await;
    assert!(error.is_retryable(), "{error:?}");
    assert!(!says(&watching.told(), &STOPPED));
    scene.pve.reachable(0, true).await;
    assert_eq!(watching.synced(&RUNNING).await.run, before.run);
    scene.close().await;
}

#[tokio::test]
async fn a_certificate_that_changes_is_told_with_both_fingerprints() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&RUNNING).await;
    let new = scene.pve.renew_certificate(drowse_fakepve::Renewal::SameAuthority).await;
    let text = eventually("the error names the new certificate", async || {
        let text = watching.error().await.to_string();
        text.contains(&new).then_some(text)
    })
    .await;
    assert!(text.contains(scene.pve.fingerprint()), "{text}");
    scene.close().await;
}

// === Containers that change ===

#[tokio::test]
async fn one_that_is_deleted_and_made_again_under_its_number_goes_on() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    let before = watching.synced(&RUNNING).await;
    scene.pve.delete(VMID).await;
    watching.removed().await;
    let error = scene.provider.start(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound), "{error:?}");
    scene.pve.add_container(Ct::new(VMID).on("pve2")).await;
    watching.synced(&STOPPED).await;
    scene.provider.start(patience()).await.unwrap();
    assert_ne!(watching.synced(&RUNNING).await.run, before.run);
    scene.close().await;
}

/// The number is the same, and nothing else needs to be.
#[tokio::test]
async fn a_restore_over_it_is_seen_whole() {
    let scene = Scene::of(Ct::new(VMID).running().fixed_address("10.0.0.5/24").tag("drowse")).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&RUNNING).await;
    let before = scene.provider.inspect(patience()).await.unwrap();
    assert_eq!(before.networks[0].addresses[0].to_string(), "10.0.0.5");

    assert_eq!(scene.pve.power(VMID, Power::Stop).await, "OK");
    scene.pve.delete(VMID).await;
    let restored = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:BB:CC,ip=10.0.0.6/24";
    scene
        .pve
        .add_container(Ct::new(VMID).name("restored").networks([restored]).locked("create"))
        .await;
    watching.synced(&STOPPED).await;
    eventually("it is locked by its restore", async || {
        let seen = scene.provider.observe(patience()).await.ok()?;
        (seen.lock.as_deref() == Some("create")).then_some(())
    })
    .await;
    let error = scene.provider.start(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "create"), "{error:?}");
    scene.pve.unlock(VMID).await;
    scene.provider.start(patience()).await.unwrap();
    let after = scene.provider.inspect(patience()).await.unwrap();
    assert_eq!(after.name, "restored");
    assert_eq!(after.networks[0].addresses[0].to_string(), "10.0.0.6");
    assert!(after.labels.is_empty(), "{:?}", after.labels);
    scene.close().await;
}

#[tokio::test]
async fn one_that_moves_is_told_as_such_and_not_as_gone() {
    for ct in [Ct::new(VMID), Ct::new(VMID).running()] {
        let scene = Scene::of(ct).await;
        let mut watching = Watching::begin(&scene.provider);
        let first = watching
            .find("the first read", |item| match item {
                Ok(WatchItem::Synced(seen)) => Some(seen),
                _ => None,
            })
            .await;
        scene.pve.migrate(VMID, "pve2").await;
        watching
            .find("the move", |item| match item {
                Ok(WatchItem::Event(event)) => {
                    matches!(event.action, EventAction::Migrate(_)).then_some(())
                }
                _ => None,
            })
            .await;
        let now = scene.provider.observe(patience()).await.unwrap();
        assert_eq!(now.status, first.status);
        // Nothing moves alive: what runs was shut down and started again.
        assert_eq!(now.run == first.run, first.status == STOPPED);
        assert!(!says_removed(&watching.told()));
        scene.close().await;
    }
}

/// No task tells of these.
#[tokio::test]
async fn an_end_and_a_restart_from_within_are_told() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    let first = watching.synced(&RUNNING).await.run;
    scene.pve.reboot_inside(VMID).await;
    let second = watching
        .find("the next run", |item| match item {
            Ok(WatchItem::Synced(seen)) if seen.run != first => Some(seen),
            _ => None,
        })
        .await;
    assert_eq!(second.status, RUNNING);
    scene.pve.power_off_inside(VMID).await;
    watching.synced(&STOPPED).await;
    scene.close().await;
}

/// Its uptime has dropped by less than a beat may lag.
#[tokio::test]
async fn a_restart_of_a_young_one_is_told() {
    let scene = Scene::of(Ct::new(VMID)).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&STOPPED).await;
    scene.provider.start(patience()).await.unwrap();
    let first = watching.synced(&RUNNING).await.run;
    scene.pve.has_run_for(VMID, 9.0).await;
    scene.beats(2).await;
    scene.pve.reboot_inside(VMID).await;
    watching
        .find("the next run", |item| match item {
            Ok(WatchItem::Synced(seen)) if seen.run != first => Some(()),
            _ => None,
        })
        .await;
    scene.close().await;
}

/// What `/cluster/resources` says is up to 12 s old; what a node says is true.
#[tokio::test]
async fn a_late_beat_is_not_believed_against_a_live_read() {
    let scene = Scene::of(Ct::new(VMID)).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&STOPPED).await;
    scene.pve.hold_broadcast(true).await;
    scene.provider.start(patience()).await.unwrap();
    watching.synced(&RUNNING).await;
    scene.beats(5).await;
    let told = watching.told();
    assert!(!says(&told, &STOPPED), "{told:?}");
    scene.pve.hold_broadcast(false).await;
    scene.beats(2).await;
    let told = watching.told();
    assert!(!says(&told, &STOPPED), "{told:?}");
    scene.close().await;
}

#[tokio::test]
async fn a_lock_is_told_when_it_comes_and_when_it_goes() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&RUNNING).await;
    let mut is_locked = async |by: Option<&str>| {
        watching
            .find("the lock", |item| match item {
                Ok(WatchItem::Synced(seen)) if seen.lock.as_deref() == by => Some(()),
                _ => None,
            })
            .await;
    };
    scene.pve.lock(VMID, "backup").await;
    is_locked(Some("backup")).await;
    scene.pve.unlock(VMID).await;
    is_locked(None).await;
    scene.close().await;
}

// === How much is asked ===

/// What is asked in so many beats, while so many containers sleep and are watched.
async fn asked_of(containers: u32) -> usize {
    let pve = FakePve::start(Options::default()).await;
    for vmid in 0..containers {
        pve.add_container(Ct::new(1_000 + vmid).tag("drowse").notes("drowse.host=a")).await;
    }
    let engine = Cluster::connect("pve", client(&pve), cluster_options());
    let providers: Vec<_> = (0..containers)
        .map(|vmid| engine.provider(&Reference::Vmid(1_000 + vmid)).unwrap())
        .collect();
    let mut watches: Vec<_> = providers.iter().map(Watching::begin).collect();
    for watch in &mut watches {
        watch.synced(&STOPPED).await;
    }
    pve.forget_requests().await;
    let requests = eventually("ten beats", async || {
        let requests = pve.requests().await;
        let beats = requests.iter().filter(|each| each.path == "/cluster/resources").count();
        (beats >= 10).then_some(requests)
    })
    .await;
    engine.close().await;
    requests.iter().filter(|each| each.path != "/cluster/resources").count()
}

#[tokio::test]
async fn row_28_three_hundred_sleepers_cost_one_request_each_interval() {
    assert_eq!(asked_of(1).await, 0);
    assert_eq!(asked_of(300).await, 0);
}
