//! What goes wrong with starts and stops.

use std::time::Duration;

use drowse_fakepve::{Ct, Fault, GuestInterface, Harm, Options, Power};
use drowse_provider::{ContainerStatus, ErrorKind, Signal, StopOptions, Support};

use crate::{
    scene::{Scene, VMID, Watching},
    support::{eventually, patience},
};

const RUNNING: ContainerStatus = ContainerStatus::Running;
const STOPPED: ContainerStatus = ContainerStatus::Stopped;
const START: &str = "/nodes/pve1/lxc/201/status/start";
const SHUTDOWN: &str = "/nodes/pve1/lxc/201/status/shutdown";

fn within(seconds: u64) -> StopOptions {
    StopOptions::new().with_timeout(Duration::from_secs(seconds))
}

/// How the orders of this path were given.
async fn bodies(scene: &Scene, path: &str) -> Vec<String> {
    let requests = scene.pve.requests().await.into_iter();
    requests
        .filter(|each| each.method == "POST" && each.path == path)
        .map(|each| each.body)
        .collect()
}

// === Stops ===

/// The timeout is a parameter of the order: nothing is written into the guest's configuration.
#[tokio::test]
async fn row_27_a_shutdown_beyond_its_timeout_is_killed_and_nothing_is_configured() {
    let ct = Ct::new(VMID).running().shutdown_secs(90.0).option("startup", "order=3,up=5,down=7");
    let scene = Scene::of(ct).await;
    let before = scene.pve.state(VMID).await.config;
    scene.provider.stop(&within(3), patience()).await.unwrap();
    assert_eq!(scene.status().await, STOPPED);
    let [body] = &bodies(&scene, SHUTDOWN).await[..] else { panic!("one shutdown") };
    assert!(body.contains("timeout=3") && body.contains("forceStop=1"), "{body}");
    assert_eq!(scene.pve.state(VMID).await.config, before);
    scene.close().await;
}

#[tokio::test]
async fn row_26_what_cannot_be_is_said_beforehand() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    let capabilities = scene.provider.capabilities();
    for support in [
        capabilities.pause,
        capabilities.signals,
        capabilities.stop_signal,
        capabilities.health,
        capabilities.exit_code,
    ] {
        assert!(matches!(&support, Support::No(why) if !why.is_empty()), "{support:?}");
    }
    let error = scene.provider.pause(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    assert!(scene.pve.tasks().await.is_empty());
    scene.close().await;
}

// === Locks ===

#[tokio::test]
async fn a_lock_is_told_at_once_and_nothing_is_ordered_until_it_goes() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    scene.pve.lock(VMID, "backup").await;
    for error in [
        scene.provider.stop(&StopOptions::new(), patience()).await.unwrap_err(),
        scene.provider.kill(Signal::KILL, patience()).await.unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "backup"), "{error:?}");
    }
    let seen = scene.provider.observe(patience()).await.unwrap();
    assert_eq!((seen.status, seen.lock.as_deref()), (RUNNING, Some("backup")));
    scene.provider.start(patience()).await.unwrap();
    assert!(scene.pve.tasks().await.is_empty());

    scene.pve.unlock(VMID).await;
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    assert_eq!(scene.status().await, STOPPED);
    scene.close().await;
}

/// Who retries is the caller.
#[tokio::test]
async fn row_24_a_lock_that_stays_keeps_a_start_from_it() {
    let scene = Scene::of(Ct::new(VMID).locked("snapshot")).await;
    for _ in 0..3 {
        let error = scene.provider.start(patience()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "snapshot"), "{error:?}");
        assert!(error.is_retryable());
    }
    insta::assert_snapshot!(
        scene.provider.start(patience()).await.unwrap_err(),
        @"start of container `201` on engine `pve`: locked by snapshot"
    );
    assert!(scene.pve.tasks().await.is_empty());
    scene.pve.unlock(VMID).await;
    scene.provider.start(patience()).await.unwrap();
    scene.close().await;
}

#[tokio::test]
async fn another_task_that_holds_the_configuration_is_a_lock() {
    let scene = Scene::of(Ct::new(VMID)).await;
    scene.pve.hold_config_lock(VMID).await;
    let error = scene.provider.start(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error:?}");
    scene.pve.release_config_lock(VMID).await;
    scene.provider.start(patience()).await.unwrap();
    scene.close().await;
}

// === Starts ===

#[tokio::test]
async fn a_start_that_fails_in_its_task_says_what_the_task_says() {
    let recorded: [(&str, &[&str]); 6] = [
        ("unable to get PID for CT 201 (not running?)", &[]),
        (
            "startup for container '201' failed",
            &["sync_wait: 34 An error occurred in another process (expected sequence number 7)"],
        ),
        ("volume 'local:203/subvol-203-disk-0.subvol' does not exist", &[]),
        ("bridge 'vmbr9' does not exist", &[]),
        ("you can't start a CT if it's a template", &[]),
        ("received interrupt", &[]),
    ];
    for (exit, log) in recorded {
        let scene = Scene::of(Ct::new(VMID).start_fails(exit).start_logs(log)).await;
        let error = scene.provider.start(patience()).await.unwrap_err();
        match error.kind() {
            ErrorKind::Failed { exit: None, message } => {
                assert!(message.contains(exit), "{message}");
                assert!(log.iter().all(|line| message.contains(line)), "{message}");
            }
            other => panic!("{exit}: {other:?}"),
        }
        assert_eq!(scene.status().await, STOPPED);
        assert_eq!(scene.taken("vzstart").await, 1, "it is not tried again: {exit}");
        scene.close().await;
    }
}

#[tokio::test]
async fn row_22_warnings_are_a_success() {
    let scene = Scene::of(Ct::new(VMID)).await;
    scene.pve.warn(VMID, &["old systemd", "nesting is off"]).await;
    scene.provider.start(patience()).await.unwrap();
    assert_eq!(scene.status().await, RUNNING);
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    assert_eq!(scene.status().await, STOPPED);
    let ends = scene.pve.tasks().await.into_iter().map(|task| task.exitstatus.unwrap());
    assert_eq!(ends.collect::<Vec<_>>(), ["WARNINGS: 2", "WARNINGS: 2"]);
    scene.close().await;
}

#[tokio::test]
async fn row_23_what_is_so_already_is_a_success() {
    let scene = Scene::of(Ct::new(VMID)).await;
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    scene.provider.start(patience()).await.unwrap();
    scene.provider.start(patience()).await.unwrap();
    // Somebody else was faster, after it was read.
    scene.pve.fault(Fault::new(refusal("CT 201 not running")).of("POST", SHUTDOWN).times(1)).await;
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    scene.pve.fault(Fault::new(refusal("CT 201 already running")).of("POST", START).times(1)).await;
    scene.provider.start(patience()).await.unwrap();
    assert_eq!(scene.status().await, RUNNING);
    scene.close().await;
}

fn refusal(reason: &str) -> Harm {
    Harm::Status { status: 500, reason: reason.into() }
}

// === An answer that does not come ===

/// The node's own words, from the proxy that could not reach it.
#[tokio::test]
async fn a_start_that_the_proxy_lost_is_looked_for() {
    let scene = Scene::of(Ct::new(VMID)).await;
    let lost = Harm::Status { status: 596, reason: "Connection timed out".into() };
    scene.pve.fault(Fault::new(lost).of("POST", START).times(1)).await;
    // It was not taken here, so looking for it finds nothing.
    let error = scene.provider.start(patience()).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    scene.provider.start(patience()).await.unwrap();
    assert_eq!(scene.taken("vzstart").await, 1);
    scene.close().await;
}

#[tokio::test]
async fn nonsense_for_a_while_changes_nothing() {
    let scene = Scene::of(Ct::new(VMID)).await;
    let mut watching = Watching::begin(&scene.provider);
    watching.synced(&STOPPED).await;
    scene.pve.fault(Fault::new(Harm::Half).of("GET", ".*")).await;
    let error = watching.error().await;
    assert!(error.is_retryable(), "{error:?}");
    scene.pve.clear_faults().await;
    watching.synced(&STOPPED).await;
    scene.provider.start(patience()).await.unwrap();
    watching.synced(&RUNNING).await;
    scene.close().await;
}

// === The cluster ===

#[tokio::test]
async fn a_second_endpoint_takes_over_in_the_middle_of_an_order() {
    let options = Options::default().endpoints(2);
    let scene = Scene::with(options, Ct::new(VMID).start_secs(30.0)).await;
    let start = scene.provider.start(patience());
    let cut = async {
        scene.under_way("vzstart").await;
        scene.pve.reachable(0, false).await;
    };
    let (started, ()) = tokio::join!(start, cut);
    started.unwrap();
    assert_eq!(scene.taken("vzstart").await, 1);
    scene.close().await;
}

#[tokio::test]
async fn row_29_a_right_that_lacks_is_named_with_its_path() {
    let scene = Scene::of(Ct::new(VMID)).await;
    scene.pve.grant(&[("/vms", &["VM.Audit"])]).await;
    insta::assert_snapshot!(
        scene.provider.start(patience()).await.unwrap_err(),
        @"start of container `201` on engine `pve`: not permitted: `VM.PowerMgmt` is needed on `/vms/201`"
    );
    scene.pve.grant(&[("/vms", &["VM.PowerMgmt"])]).await;
    let error = scene.provider.observe(patience()).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Forbidden { privilege: Some(privilege), path: Some(path) }
            if privilege == "VM.Audit" && path == "/vms/201"),
        "{error:?}"
    );
    assert!(scene.pve.tasks().await.is_empty());
    scene.close().await;
}

// === High availability ===

/// Its task ends before anything has happened.
#[tokio::test]
async fn high_availability_is_waited_for_until_it_really_runs() {
    let scene = Scene::of(Ct::new(VMID).ha("stopped")).await;
    scene.pve.ha_takes(40.0).await;
    scene.provider.start(patience()).await.unwrap();
    assert!(scene.pve.state(VMID).await.is_running());
    assert_eq!(scene.status().await, RUNNING);
    scene.provider.stop(&within(2), patience()).await.unwrap();
    assert!(!scene.pve.state(VMID).await.is_running());
    let kinds: Vec<_> = scene.pve.tasks().await.into_iter().map(|task| task.kind).collect();
    assert_eq!(kinds, ["hastart", "hastop"]);
    for path in [SHUTDOWN, "/nodes/pve1/lxc/201/status/stop"] {
        let bodies = bodies(&scene, path).await;
        assert!(bodies.iter().all(|body| !body.contains("overrule")), "it is refused: {bodies:?}");
    }
    scene.close().await;
}

#[tokio::test]
async fn high_availability_that_moves_it_is_followed() {
    let scene = Scene::of(Ct::new(VMID).ha("stopped")).await;
    scene.pve.ha_takes(40.0).await;
    let start = scene.provider.start(patience());
    let move_it = async {
        scene.under_way("hastart").await;
        scene.pve.migrate(VMID, "pve2").await;
    };
    let (started, ()) = tokio::join!(start, move_it);
    started.unwrap();
    assert_eq!(scene.status().await, RUNNING);
    scene.close().await;
}

// === Migration ===

#[tokio::test]
async fn row_25_one_that_moved_in_its_sleep_is_started_where_it_is() {
    let scene = Scene::of(Ct::new(VMID)).await;
    assert_eq!(scene.status().await, STOPPED);
    scene.pve.migrate(VMID, "pve2").await;
    scene.provider.start(patience()).await.unwrap();
    let details = scene.provider.inspect(patience()).await.unwrap();
    assert_eq!(details.node.as_deref(), Some("pve2"));
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    scene.pve.migrate(VMID, "pve1").await;
    scene.provider.start(patience()).await.unwrap();
    let upids = scene.pve.tasks().await.into_iter().map(|task| task.upid);
    let nodes: Vec<_> = upids.map(|upid| upid.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(nodes, ["pve2", "pve2", "pve1"]);
    scene.close().await;
}

#[tokio::test]
async fn one_that_moves_between_the_read_and_the_order_is_followed() {
    let scene = Scene::of(Ct::new(VMID)).await;
    let start = scene.provider.start(patience());
    let hold = Fault::new(Harm::Delay { seconds: 0.5 }).of("POST", ".*/status/start").times(1);
    scene.pve.fault(hold).await;
    let move_it = async {
        eventually("the order is on its way", async || {
            (scene.pve.count("POST", START).await > 0).then_some(())
        })
        .await;
        scene.pve.migrate(VMID, "pve2").await;
    };
    let (started, ()) = tokio::join!(start, move_it);
    started.unwrap();
    assert_eq!(scene.status().await, RUNNING);
    scene.close().await;
}

#[tokio::test]
async fn one_that_moves_while_it_starts_is_followed() {
    let scene = Scene::of(Ct::new(VMID).start_secs(30.0)).await;
    let start = scene.provider.start(patience());
    let move_it = async {
        scene.under_way("vzstart").await;
        scene.pve.migrate(VMID, "pve2").await;
    };
    let (started, ()) = tokio::join!(start, move_it);
    started.unwrap();
    assert_eq!(scene.status().await, RUNNING);
    assert_eq!(scene.taken("vzstart").await, 1);
    scene.close().await;
}

#[tokio::test]
async fn one_that_moves_while_it_runs_is_stopped_where_it_is() {
    let scene = Scene::of(Ct::new(VMID).running()).await;
    assert_eq!(scene.status().await, RUNNING);
    scene.pve.migrate(VMID, "pve2").await;
    scene.provider.stop(&StopOptions::new(), patience()).await.unwrap();
    assert_eq!(scene.status().await, STOPPED);
    scene.close().await;
}

// === Addresses ===

#[tokio::test]
async fn row_47_only_the_containers_own_interface_has_an_address() {
    let ct = Ct::new(VMID).running();
    let own = ct.hardware_address().to_lowercase();
    let interfaces = [
        GuestInterface::new("docker0", "02:42:01:02:03:04", ["172.17.0.1/16"]),
        GuestInterface::new("tailscale0", "", ["100.101.102.103/32", "fd7a:115c:a1e0::1/128"]),
        GuestInterface::new("eth0", &own, ["10.0.0.7/24", "fd00::7/64", "fe80::1/64"]),
        GuestInterface::new("br-lan", &own.replace("bc:", "02:"), ["192.168.1.1/24"]),
    ];
    let scene = Scene::of(ct.interfaces(interfaces)).await;
    let details = scene.provider.inspect(patience()).await.unwrap();
    let addresses: Vec<_> =
        details.networks.iter().flat_map(|each| &each.addresses).map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.7", "fd00::7"]);
    scene.close().await;
}

/// By DHCP it comes when it comes.
#[tokio::test]
async fn an_address_that_comes_late_is_there_when_it_has_come() {
    let ct = Ct::new(VMID);
    let own = ct.hardware_address();
    let scene = Scene::of(ct.interfaces([GuestInterface::new("eth0", &own, ["fe80::1/64"])])).await;
    scene.provider.start(patience()).await.unwrap();
    let addresses = async || -> Vec<String> {
        let details = scene.provider.inspect(patience()).await.unwrap();
        details.networks.iter().flat_map(|each| &each.addresses).map(ToString::to_string).collect()
    };
    assert!(addresses().await.is_empty());
    let leased = GuestInterface::new("eth0", &own, ["10.0.0.9/24", "fe80::1/64"]);
    scene.pve.set_interfaces(VMID, &[leased]).await;
    assert_eq!(addresses().await, ["10.0.0.9"]);
    scene.close().await;
}

// === Others ===

/// Another client's shutdown is not doubled: it shows as a lock, and as its end.
#[tokio::test]
async fn somebody_elses_shutdown_is_a_lock_until_it_has_ended() {
    let scene = Scene::of(Ct::new(VMID).running().shutdown_secs(50.0)).await;
    let foreign = scene.pve.power(VMID, Power::Shutdown);
    let ours = async {
        scene.under_way("vzshutdown").await;
        loop {
            match scene.provider.stop(&within(5), patience()).await {
                Ok(()) => break,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error:?}");
                }
            }
        }
    };
    let (foreign, ()) = tokio::join!(foreign, ours);
    assert_eq!(foreign, "OK");
    assert_eq!(scene.status().await, STOPPED);
    scene.close().await;
}
