//! One container, through its provider.

use std::{sync::Arc, time::Duration};

use drowse_fakepve::{Ct, Request};
use drowse_provider::{
    Action, ContainerStatus, Deadline, Engine as _, Error, ErrorKind, KillOutcome, Provider,
    Reference, Signal, StopOptions,
};
use tokio::task::JoinHandle;

use crate::{
    scene::{Scene, VMID},
    support::{PATIENCE, client, eventually, patience},
};

#[path = "orders/faults.rs"]
mod faults;
#[path = "orders/reads.rs"]
mod reads;

const ORDERS: [Action; 3] = [Action::Start, Action::Stop, Action::Kill];
const ASKED: &str = "shutdown timeout=60&forceStop=1";
const NOTHING: [&str; 0] = [];

impl Scene {
    async fn order(&self, action: Action) -> Result<(), Error> {
        order(&*self.provider, action).await
    }

    /// An order that somebody else waits for.
    fn begin(&self, action: Action) -> JoinHandle<Result<(), Error>> {
        let provider = Arc::clone(&self.provider);
        tokio::spawn(async move { order(&*provider, action).await })
    }

    /// What was ordered: the last part of each path, and the form.
    async fn orders(&self) -> Vec<String> {
        let order = |request: &Request| {
            let verb = request.path.rsplit('/').next().unwrap_or_default();
            format!("{verb} {}", request.body).trim_end().to_owned()
        };
        let requests = self.pve.requests().await;
        requests.iter().filter(|request| request.method != "GET").map(order).collect()
    }

    /// Returns when so many orders have arrived.
    async fn has_ordered(&self, count: usize) {
        let arrived = async || (self.orders().await.len() >= count).then_some(());
        eventually("the order arrives", arrived).await;
    }

    async fn runs(&self) -> bool {
        self.pve.state(VMID).await.is_running()
    }
}

fn ct() -> Ct {
    Ct::new(VMID)
}

async fn order(provider: &dyn Provider, action: Action) -> Result<(), Error> {
    match action {
        Action::Start => provider.start(patience()).await,
        Action::Stop => provider.stop(&StopOptions::new(), patience()).await,
        Action::Kill => provider.kill(Signal::KILL, patience()).await.map(|_| ()),
        other => panic!("{other} is no order"),
    }
}

/// One that this order would have to change.
fn to_be_changed_by(action: Action) -> Ct {
    if action == Action::Start { ct() } else { ct().running() }
}

// === what is ordered ===

#[tokio::test]
async fn what_is_ordered_is_what_the_api_has_for_it() {
    let scene = Scene::of(ct().option("startup", "order=2,down=7")).await;
    let before = scene.pve.state(VMID).await.config;
    let provider = &scene.provider;
    let half = StopOptions::new().with_timeout(Duration::from_millis(1_500));
    let at_once = StopOptions::new().with_timeout(Duration::ZERO);
    for stop in [StopOptions::new(), half.with_signal(Signal::TERM), at_once] {
        provider.start(patience()).await.unwrap();
        provider.stop(&stop, patience()).await.unwrap();
    }
    provider.start(patience()).await.unwrap();
    let killed = provider.kill(Signal::KILL, patience()).await.unwrap();
    assert_eq!(killed, KillOutcome::Exited(None));

    assert_eq!(
        scene.orders().await,
        [
            "start",
            "shutdown timeout=7&forceStop=1",
            "start",
            "shutdown timeout=2&forceStop=1",
            "start",
            "stop",
            "start",
            "stop",
        ]
    );
    // Must-not-happen 27.
    assert_eq!(scene.pve.state(VMID).await.config, before);
}

#[tokio::test]
async fn what_is_so_already_is_not_ordered() {
    let scene = Scene::of(ct().running()).await;
    scene.order(Action::Start).await.unwrap();
    assert_eq!(scene.orders().await, NOTHING);

    let scene = Scene::of(ct().locked("backup")).await;
    scene.order(Action::Stop).await.unwrap();
    scene.order(Action::Kill).await.unwrap();
    assert_eq!(scene.orders().await, NOTHING);
}

#[tokio::test]
async fn many_who_want_the_same_share_one_order() {
    let scene = Scene::of(ct()).await;
    // Also through other handles, and by another name for it.
    let by_name = scene.engine.provider(&Reference::Name("ct201".to_owned())).unwrap();
    let again = scene.engine.provider(&Reference::Vmid(VMID)).unwrap();
    let providers = [Arc::clone(&scene.provider), again, by_name];
    for action in [Action::Start, Action::Stop] {
        let all = providers.iter().cycle().take(30).map(|provider| order(&**provider, action));
        for outcome in futures::future::join_all(all).await {
            outcome.unwrap();
        }
    }
    assert_eq!(scene.orders().await, ["start", ASKED]);
}

#[tokio::test]
async fn a_start_waits_for_the_end_of_a_stop() {
    let scene = Scene::of(ct().running().shutdown_secs(20.0)).await;
    let stopping = scene.begin(Action::Stop);
    scene.has_ordered(1).await;
    scene.order(Action::Start).await.unwrap();
    stopping.await.unwrap().unwrap();
    assert!(scene.runs().await);
    assert_eq!(scene.orders().await, [ASKED, "start"]);
}

#[tokio::test]
async fn an_order_goes_on_when_nobody_waits_any_more() {
    let scene = Scene::of(ct().running().shutdown_secs(50.0)).await;
    let provider = &scene.provider;
    let short = Deadline::after(Duration::from_millis(100));
    let options = StopOptions::new();
    let error = provider.stop(&options, short).await.unwrap_err();
    match error.kind() {
        ErrorKind::Timeout { after, .. } => assert_eq!(*after, short.duration()),
        other => panic!("{other:?}"),
    }
    // Whoever comes now joins it.
    provider.stop(&options, patience()).await.unwrap();
    assert_eq!(scene.orders().await, [ASKED]);
    assert!(!scene.runs().await);
}

/// Must not be the one that had the name before: the last beat says so still.
#[tokio::test]
async fn a_name_is_that_of_its_new_owner() {
    let scene = Scene::of(ct().name("blue").running()).await;
    let provider = scene.engine.provider(&Reference::Name("blue".to_owned())).unwrap();
    provider.status(patience()).await.unwrap();
    scene.pve.configure(VMID, "hostname", Some("green")).await;
    scene.pve.add_container(Ct::new(202).name("blue").running()).await;
    let stopped = async || order(&*provider, Action::Stop).await.ok();
    eventually("the new owner is found", stopped).await;
    assert!(scene.runs().await, "it has another name by now");
    assert!(!scene.pve.state(202).await.is_running());
}

// === what is refused ===

/// That each order is refused so, and that nothing was sent.
async fn is_refused_unsent(change: impl Fn(Ct) -> Ct, expected: impl Fn(&ErrorKind) -> bool) {
    for action in ORDERS {
        let scene = Scene::of(change(to_be_changed_by(action))).await;
        let error = scene.order(action).await.unwrap_err();
        assert!(expected(error.kind()), "{error}");
        assert_eq!(error.action(), action);
        assert_eq!(error.container(), Some("201"));
        assert_eq!(scene.orders().await, NOTHING);
    }
}

/// Must-not-happen 24 and 45.
#[tokio::test]
async fn what_is_locked_is_refused_before_any_order() {
    let is_backup = |kind: &ErrorKind| matches!(kind, ErrorKind::Locked { by } if by == "backup");
    is_refused_unsent(|ct| ct.locked("backup"), is_backup).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_before_any_order() {
    let is_conflict = |kind: &ErrorKind| {
        matches!(kind, ErrorKind::Conflict { status: ContainerStatus::Error(_) })
    };
    for state in ["error", "fence", "recovery"] {
        is_refused_unsent(|ct| ct.ha(state), is_conflict).await;
    }
    let scene = Scene::of(ct().template()).await;
    for action in ORDERS {
        let error = scene.order(action).await.unwrap_err();
        assert!(is_conflict(error.kind()), "{error}");
    }
    assert_eq!(scene.orders().await, NOTHING);
}

#[tokio::test]
async fn what_is_not_there_is_refused_before_any_order() {
    let scene = Scene::of(Ct::new(100)).await;
    for action in ORDERS {
        let error = scene.order(action).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound), "{error}");
    }
    assert_eq!(scene.orders().await, NOTHING);
}

/// Must-not-happen 26.
#[tokio::test]
async fn other_signals_and_pausing_are_refused_always() {
    let scene = Scene::of(ct().running()).await;
    let provider = &scene.provider;
    let zero = Deadline::after(Duration::ZERO);
    let int = StopOptions::new().with_signal(Signal::INT);
    for refused in [
        provider.stop(&int, zero).await,
        provider.kill(Signal::HUP, zero).await.map(|_| ()),
        provider.pause(zero).await,
        provider.unpause(zero).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    }
    assert_eq!(scene.pve.requests().await, []);
}

// === shutdowns that take long ===

#[tokio::test]
async fn a_kill_waits_for_what_high_availability_was_asked_for() {
    let scene = Scene::of(ct().ha("started").running()).await;
    let stopping = scene.begin(Action::Stop);
    scene.has_ordered(1).await;
    scene.order(Action::Kill).await.unwrap();
    stopping.await.unwrap().unwrap();
    assert_eq!(scene.orders().await, [ASKED]);
}

/// Of a life of drowse before this one.
#[tokio::test]
async fn a_kill_overrules_a_shutdown_that_is_not_known_here() {
    let scene = Scene::of(ct().running().ignores_shutdown()).await;
    let before = client(&scene.pve);
    let long = Duration::from_secs(100_000);
    before.shutdown("pve1", VMID, long, true, patience()).await.unwrap();
    scene.order(Action::Kill).await.unwrap();
    assert!(!scene.runs().await);
    assert_eq!(scene.orders().await[1..], ["stop", "stop overrule-shutdown=1"]);
}

// === the end ===

#[tokio::test]
async fn closing_ends_what_is_waited_for() {
    let scene = Scene::of(ct().running().ignores_shutdown()).await;
    let stopping = tokio::spawn({
        let provider = Arc::clone(&scene.provider);
        let options = StopOptions::new().with_timeout(PATIENCE * 100);
        async move { provider.stop(&options, Deadline::after(PATIENCE * 100)).await }
    });
    scene.has_ordered(1).await;
    scene.engine.close().await;
    let error = stopping.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
    for action in ORDERS {
        let error = scene.order(action).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
    }
}

/// Nothing but the order itself would keep the engine open.
#[tokio::test]
async fn an_order_ends_with_the_last_handle() {
    let Scene { pve, engine, provider } =
        Scene::of(ct().running().ignores_shutdown().timed_really()).await;
    let short = Deadline::after(Duration::from_millis(300));
    provider.stop(&StopOptions::new(), short).await.unwrap_err();
    drop((provider, engine));
    // Each second it would look at its task.
    let is_silent = async || {
        pve.forget_requests().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        pve.requests().await.is_empty().then_some(())
    };
    eventually("nothing is asked any more", is_silent).await;
}
