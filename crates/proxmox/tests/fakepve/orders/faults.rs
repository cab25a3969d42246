//! What goes wrong with each order.

use drowse_fakepve::{Ct, Fault, Harm, Options};
use drowse_provider::{Action, Engine as _, Error, ErrorKind, Reference};

use super::{ORDERS, ct, to_be_changed_by};
use crate::{
    scene::{Scene, VMID},
    support::{eventually, patience},
};

/// Each read, of which none succeeds.
async fn refused_reads(scene: &Scene) -> [Error; 4] {
    let provider = &scene.provider;
    [
        provider.observe(patience()).await.unwrap_err(),
        provider.status(patience()).await.unwrap_err(),
        provider.inspect(patience()).await.unwrap_err(),
        provider.stats(patience()).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn each_read_says_what_is_in_the_way() {
    let scene = Scene::of(ct().running()).await;
    let all = [("/vms", &["VM.Audit", "VM.PowerMgmt"][..])];
    scene.pve.grant(&[]).await;
    for error in refused_reads(&scene).await {
        assert!(matches!(error.kind(), ErrorKind::Forbidden { .. }), "{error}");
    }
    scene.pve.grant(&all).await;
    scene.pve.node_offline("pve1").await;
    for error in refused_reads(&scene).await {
        assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
        assert_eq!((error.engine(), error.container()), ("pve", Some("201")));
    }
    scene.pve.node_online("pve1").await;
    scene.pve.fault(Fault::new(Harm::Body { body: "<html>".to_owned() })).await;
    for error in refused_reads(&scene).await {
        assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error}");
    }
    scene.pve.clear_faults().await;
    scene.pve.delete(VMID).await;
    for error in refused_reads(&scene).await {
        assert!(matches!(error.kind(), ErrorKind::NotFound), "{error}");
    }
}

/// Must-not-happen 29.
#[tokio::test]
async fn each_right_that_lacks_is_named() {
    for (rights, lacks) in [
        (&["VM.Audit"][..], "VM.PowerMgmt"),
        (&["VM.PowerMgmt"][..], "VM.Audit"),
        (&[][..], "VM.Audit"),
    ] {
        for action in ORDERS {
            let scene = Scene::of(to_be_changed_by(action)).await;
            scene.pve.grant(&[("/vms", rights)]).await;
            let error = scene.order(action).await.unwrap_err();
            match error.kind() {
                ErrorKind::Forbidden { privilege, path } => {
                    assert_eq!(privilege.as_deref(), Some(lacks), "{error}");
                    assert_eq!(path.as_deref(), Some("/vms/201"), "{error}");
                }
                other => panic!("{action} without {lacks}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_lock_that_only_the_task_meets_is_a_lock() {
    for action in ORDERS {
        let scene = Scene::of(to_be_changed_by(action)).await;
        scene.pve.hold_config_lock(VMID).await;
        let error = scene.order(action).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "config"), "{error}");
        scene.pve.release_config_lock(VMID).await;
        scene.order(action).await.unwrap();
    }
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_not_repeated() {
    for action in ORDERS {
        let scene = Scene::of(to_be_changed_by(action)).await;
        scene.pve.fault(Fault::new(Harm::CutAfter).of("POST", ".*").times(1)).await;
        scene.order(action).await.unwrap();
        assert_eq!(scene.orders().await.len(), 1, "{action}");
    }
}

/// Whoever waited for it goes away while its answer is under way.
#[tokio::test]
async fn an_order_that_has_arrived_is_followed_though_nobody_waits_for_it() {
    for action in ORDERS {
        let scene = Scene::of(to_be_changed_by(action)).await;
        scene.pve.fault(Fault::new(Harm::Delay { seconds: 0.3 }).of("POST", ".*").times(1)).await;
        let first = scene.begin(action);
        scene.has_ordered(1).await;
        first.abort();
        first.await.unwrap_err();
        scene.order(action).await.unwrap();
        assert_eq!(scene.orders().await.len(), 1, "{action}");
    }
}

#[tokio::test]
async fn an_api_that_falters_while_a_task_runs_is_waited_out() {
    let scene = Scene::of(ct().start_secs(20.0)).await;
    let task = "/nodes/pve1/tasks/.*/status";
    for harm in [Harm::CutAfter, Harm::Half, Harm::CutBefore] {
        scene.pve.fault(Fault::new(harm).of("GET", task).times(2)).await;
    }
    scene.order(Action::Start).await.unwrap();
    assert_eq!(scene.orders().await, ["start"]);
}

/// What hangs has all the places for reads, and an order none of them.
#[tokio::test]
async fn nodes_that_hang_delay_no_order_on_another() {
    let options = Options::default().nodes(["pve1", "pve2", "pve3"]);
    let scene = Scene::with(options, ct()).await;
    let others = [202, 203, 204, 302, 303, 304];
    for vmid in others {
        let node = if vmid < 300 { "pve2" } else { "pve3" };
        scene.pve.add_container(Ct::new(vmid).on(node).running()).await;
    }
    // So that everybody's place is known.
    scene.engine.list(patience()).await.unwrap();

    scene.pve.forget_requests().await;
    scene.pve.fault(Fault::new(Harm::Silent).of("GET", "/nodes/pve[23]/.*")).await;
    let hanging = others.map(|vmid| {
        let other = scene.engine.provider(&Reference::Vmid(vmid)).unwrap();
        tokio::spawn(async move { other.status(patience()).await })
    });
    eventually("all of them hang", async || {
        (scene.pve.requests().await.len() == others.len()).then_some(())
    })
    .await;
    scene.order(Action::Start).await.unwrap();
    let still_hang = hanging.iter().any(|other| !other.is_finished());
    assert!(still_hang, "the start waited for them");
    scene.close().await;
}
