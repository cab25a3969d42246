//! The runtime over a scripted engine: the handle as its users hold it, on a paused clock.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_provider::{
    Action, ContainerStatus, Deadline, Details, Engine, ErrorKind, Reference, Signal, Unusable,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};
use drowse_watcher::{
    Attempt, Busy, Force, Lease, LeaseKind, NotReady, OrderSlots, PhaseName, Policy, Readiness,
    ReadyWhenRunning, SleepError, SleepMethod, StopGate, WakeError, Workload, WorkloadSpec,
};
use tokio::time::timeout;

const IDLE: Duration = Duration::from_mins(15);
/// Of virtual time: a test that needs more is stuck.
const PATIENCE: Duration = Duration::from_hours(10);

struct Home {
    engine: ScriptedEngine,
    app: ScriptedContainer,
    workload: Workload,
}

impl Home {
    fn new() -> Self {
        Self::with(Policy::new(IDLE), Arc::new(ReadyWhenRunning))
    }

    fn with(policy: Policy, readiness: Arc<dyn Readiness>) -> Self {
        let engine = ScriptedEngine::new("home");
        let app = engine.add("app");
        let workload = spawn(&engine, policy, readiness);
        Self { engine, app, workload }
    }

    async fn lease(&self) -> Result<Lease, WakeError> {
        let holder = self.workload.holder("route test");
        self.workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
    }

    async fn until(&self, phase: PhaseName) {
        let mut watch = self.workload.watch();
        timeout(PATIENCE, watch.wait_for(|snapshot| snapshot.phase == phase))
            .await
            .unwrap_or_else(|_| panic!("never {phase}: {:?}", self.workload.snapshot()))
            .unwrap();
    }
}

fn spawn(engine: &ScriptedEngine, policy: Policy, readiness: Arc<dyn Readiness>) -> Workload {
    let provider = engine.provider(&Reference::Name("app".to_owned())).unwrap();
    Workload::spawn(WorkloadSpec::new("app", provider, readiness, policy))
}

#[tokio::test(start_paused = true)]
async fn the_whole_round() {
    let home = Home::new();
    let lease = home.lease().await.unwrap();
    assert_eq!(home.app.observation().status, ContainerStatus::Running);
    assert_eq!(lease.run().run, home.app.observation().run);
    drop(lease);
    home.until(PhaseName::Asleep).await;
    assert_eq!(home.app.observation().status, ContainerStatus::Stopped);
    let lease = home.lease().await.unwrap();
    assert_eq!(lease.run().epoch, 2);
    assert_eq!(home.app.calls(Action::Start), 2);
    assert_eq!(home.app.calls(Action::Stop), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_in_doubt_from_its_end_on_and_nothing_is_once_nobody_looks() {
    let home = Home::new();
    let lease = home.lease().await.unwrap();
    let run = lease.run();
    assert!(!home.workload.is_in_doubt(&run));
    home.app.crash(1);
    let mut watch = home.workload.watch();
    watch.wait_for(|snapshot| snapshot.phase != PhaseName::Ready).await.unwrap();
    assert!(home.workload.is_in_doubt(&run));
    let next = home.lease().await.unwrap().run();
    assert!(home.workload.is_in_doubt(&run), "its addresses may be the next run's");
    assert!(!home.workload.is_in_doubt(&next));
    home.workload.close().await;
    assert!(!home.workload.is_in_doubt(&next));
}

#[tokio::test(start_paused = true)]
async fn pausing_and_killing_are_sleep_too() {
    for (sleep, action, status) in [
        (SleepMethod::Pause, Action::Pause, ContainerStatus::Paused),
        (SleepMethod::Kill, Action::Kill, ContainerStatus::Stopped),
    ] {
        let home = Home::with(Policy::new(IDLE).with_sleep(sleep), Arc::new(ReadyWhenRunning));
        drop(home.lease().await.unwrap());
        home.until(PhaseName::Asleep).await;
        assert_eq!(home.app.observation().status, status);
        assert_eq!(home.app.calls(action), 1);
        drop(home.lease().await.unwrap());
        assert_eq!(home.app.observation().status, ContainerStatus::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_are_one_start() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::ok().late_by(Duration::from_secs(3))]);
    home.until(PhaseName::Asleep).await;
    let asks = (0..10_000).map(|_| {
        let workload = home.workload.clone();
        tokio::spawn(async move {
            let holder = workload.holder("route test");
            workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
        })
    });
    let asks: Vec<_> = asks.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(home.workload.waited_for_by(), [("route test".to_owned(), 10_000)]);
    let leases: Vec<_> = futures::future::join_all(asks).await;
    assert_eq!(home.workload.waited_for_by(), []);
    assert!(leases.iter().all(|lease| matches!(lease, Ok(Ok(_)))));
    assert_eq!(home.workload.leases(), 10_000);
    assert_eq!(home.workload.held_by(), [("route test".to_owned(), 10_000)]);
    drop(leases);
    assert_eq!(home.workload.leases(), 0);
    assert_eq!(home.app.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn a_passive_lease_never_wakes_and_holds_off_a_stop_while_it_is_held() {
    let home = Home::new();
    home.until(PhaseName::Asleep).await;
    let monitor = home.workload.holder("monitor");
    let far = Deadline::after(PATIENCE);
    let refused = home.workload.lease(&monitor, LeaseKind::Passive, far).await.unwrap_err();
    assert!(matches!(refused, WakeError::Asleep));
    assert_eq!(home.app.calls(Action::Start), 0);

    drop(home.lease().await.unwrap());
    let passive = home.workload.lease(&monitor, LeaseKind::Passive, far).await.unwrap();
    tokio::time::sleep(IDLE * 3).await;
    assert_eq!(home.app.calls(Action::Stop), 0);
    drop(passive);
    // It was no use: the idle time is long over.
    let slept = timeout(Duration::from_mins(1), home.app.called(Action::Stop, 1)).await;
    assert!(slept.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_asks_each_minute_does_not_keep_it_awake() {
    let home = Home::new();
    drop(home.lease().await.unwrap());
    let monitor = home.workload.holder("monitor");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(home.workload.lease(&monitor, LeaseKind::Passive, Deadline::after(PATIENCE)).await);
    }
    home.until(PhaseName::Asleep).await;
    assert_eq!(home.app.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_nobody_with_it() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::ok().late_by(Duration::from_secs(3))]);
    let gone = timeout(Duration::from_secs(1), home.lease()).await;
    assert!(gone.is_err());
    let lease = home.lease().await.unwrap();
    assert_eq!(home.workload.leases(), 1);
    drop(lease);
    assert_eq!(home.app.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_by_its_deadline_though_the_engine_hangs() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::hang()]);
    let holder = home.workload.holder("route test");
    let deadline = Deadline::after(Duration::from_secs(7));
    let refused = home.workload.lease(&holder, LeaseKind::Active, deadline).await.unwrap_err();
    assert!(matches!(refused, WakeError::Timeout { .. }), "{refused}");
    assert!(deadline.has_passed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_start_order_is_given_again() {
    let home = Home::new();
    let lost = || ErrorKind::Unavailable { reason: "connection reset".to_owned() };
    home.app.script(Action::Start, [Step::refuse(lost())]);
    home.lease().await.unwrap();
    assert_eq!(home.app.calls(Action::Start), 2);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_was_lost_is_found_out_by_a_read() {
    let home = Home::new();
    let lost = ErrorKind::Unavailable { reason: "connection reset".to_owned() };
    home.app.script(Action::Start, [Step::lose_answer(lost)]);
    home.lease().await.unwrap();
    assert_eq!(home.app.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_under_a_reported_upstream_wakes_it_again() {
    let home = Home::new();
    let lease = home.lease().await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    home.engine.break_events();
    home.app.crash(139);
    home.workload.upstream_failed(&lease.run());
    drop(lease);
    home.until(PhaseName::Asleep).await;
    let lease = home.lease().await.unwrap();
    assert_eq!(lease.run().epoch, 2);
    assert_eq!(lease.run().run, home.app.observation().run);
}

#[tokio::test(start_paused = true)]
async fn sleep_on_request_names_who_holds_it() {
    let home = Home::new();
    let lease = home.lease().await.unwrap();
    let far = || Deadline::after(PATIENCE);
    let refused = home.workload.sleep_now(far(), Force::No).await.unwrap_err();
    assert_eq!(refused.to_string(), "in use: 1 lease(s) held by route test");
    assert!(matches!(refused, SleepError::InUse { leases: 1, .. }));
    drop(lease);
    home.workload.sleep_now(far(), Force::No).await.unwrap();
    assert_eq!(home.app.observation().status, ContainerStatus::Stopped);
    // Asleep already: that is what was asked for.
    home.workload.sleep_now(far(), Force::No).await.unwrap();
    assert_eq!(home.app.calls(Action::Stop), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_for_an_hour_stops_nothing() {
    let home = Home::new();
    drop(home.lease().await.unwrap());
    home.engine.go_down("no route to host");
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(home.workload.snapshot().phase, PhaseName::Ready);
    assert!(home.workload.snapshot().engine_lost_since.is_some());
    drop(home.lease().await.unwrap());
    home.engine.come_back();
    home.until(PhaseName::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_killed_and_started_while_the_events_were_cut_is_known_afterwards() {
    let home = Home::new();
    drop(home.lease().await.unwrap());
    let before = home.app.observation().run;
    home.engine.break_events();
    home.app.kill(Signal::KILL);
    home.app.start();
    home.engine.mend_events();
    let mut watch = home.workload.watch();
    let now = home.app.observation().run;
    assert_ne!(before, now);
    timeout(PATIENCE, watch.wait_for(|snapshot| snapshot.run == now)).await.unwrap().unwrap();
    home.until(PhaseName::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn closing_answers_everybody_and_leaves_the_container() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::ok().late_by(Duration::from_secs(3))]);
    let waiting = tokio::spawn({
        let workload = home.workload.clone();
        async move {
            let holder = workload.holder("route test");
            workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
        }
    });
    timeout(PATIENCE, home.app.called(Action::Start, 1)).await.unwrap();
    home.workload.close().await;
    assert!(matches!(waiting.await.unwrap(), Err(WakeError::Closed)));
    // The order was taken: it was seen through before `close` returned.
    assert_eq!(home.app.observation().status, ContainerStatus::Running);
    assert!(matches!(home.lease().await, Err(WakeError::Closed)));
    home.workload.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_policy_counts_from_now_on() {
    let home = Home::new();
    drop(home.lease().await.unwrap());
    home.workload.set_policy(Policy::new(Duration::from_secs(5))).await;
    let slept = timeout(Duration::from_secs(6), home.app.called(Action::Stop, 1)).await;
    assert!(slept.is_ok());
}

/// Counts how many orders are in flight at a time.
#[tokio::test(start_paused = true)]
async fn an_engine_is_given_no_more_orders_at_a_time_than_it_has_slots() {
    let engine = ScriptedEngine::new("home");
    let slots = OrderSlots::new(2);
    let workloads: Vec<Workload> = (0..6)
        .map(|number| {
            let name = format!("app-{number}");
            let app = engine.add(&name);
            app.always(Action::Start, Step::ok().late_by(Duration::from_secs(10)));
            let provider = engine.provider(&Reference::Name(name.clone())).unwrap();
            let readiness = Arc::new(ReadyWhenRunning);
            let spec = WorkloadSpec::new(name, provider, readiness, Policy::new(IDLE));
            Workload::spawn(spec.with_slots(slots.clone()))
        })
        .collect();
    let began = tokio::time::Instant::now();
    futures::future::join_all(workloads.iter().map(|workload| async {
        let holder = workload.holder("test");
        workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await.unwrap()
    }))
    .await;
    // Virtual time: six starts of 10 s, two at a time.
    assert!(began.elapsed() >= Duration::from_secs(30));
    assert!(began.elapsed() < Duration::from_secs(40));
}

/// As at a Proxmox cluster, where a stop may take a minute.
/// The last of them waits for longer than its wake timeout, which has not begun.
#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_is_not_told_that_it_is_late() {
    let engine = ScriptedEngine::new("home");
    let slots = OrderSlots::new(1);
    let workloads: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|name| {
            let app = engine.add(name);
            app.always(Action::Start, Step::ok().late_by(Duration::from_secs(40)));
            let provider = engine.provider(&Reference::Name(name.to_owned())).unwrap();
            let policy = Policy::new(IDLE).with_wake_timeout(Duration::from_mins(1));
            let spec = WorkloadSpec::new(name, provider, Arc::new(ReadyWhenRunning), policy);
            Workload::spawn(spec.with_slots(slots.clone()))
        })
        .into();
    let waiting = workloads.iter().map(|workload| async {
        let holder = workload.holder("route test");
        workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
    });
    let leases = futures::future::join_all(waiting).await;
    assert!(leases.iter().all(Result::is_ok), "{leases:?}");
    for workload in &workloads {
        let took = workload.snapshot().last_wake_took.unwrap();
        assert!(took < Duration::from_secs(41), "{took:?}");
    }
    assert_eq!(engine.calls().iter().filter(|call| call.action == Action::Start).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn slow_stops_leave_slots_for_starts() {
    let engine = ScriptedEngine::new("home");
    let slots = OrderSlots::new(4);
    let workloads: Vec<Workload> = (0..8)
        .map(|number| {
            let name = format!("app-{number}");
            let app = engine.add(&name);
            app.always(Action::Stop, Step::ok().late_by(Duration::from_mins(1)));
            let provider = engine.provider(&Reference::Name(name.clone())).unwrap();
            let readiness = Arc::new(ReadyWhenRunning);
            let spec = WorkloadSpec::new(name, provider, readiness, Policy::new(IDLE));
            Workload::spawn(spec.with_slots(slots.clone()))
        })
        .collect();
    let lease = async |workload: &Workload| {
        let holder = workload.holder("test");
        workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await.unwrap()
    };
    let (sleeper, others) = workloads.split_last().unwrap();
    for workload in others {
        drop(lease(workload).await);
    }
    // All fall idle at once.
    let stopping = engine.container("app-0").unwrap();
    timeout(PATIENCE, stopping.called(Action::Stop, 1)).await.unwrap();
    let began = tokio::time::Instant::now();
    drop(lease(sleeper).await);
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for the others' stops");
}

#[derive(Debug, Default)]
struct Asked(AtomicUsize);

#[async_trait]
impl StopGate for Asked {
    async fn may_sleep(&self, _: &Details) -> Result<(), Busy> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// When they fall idle, and when their turn has come.
#[tokio::test(start_paused = true)]
async fn in_a_long_queue_of_sleeps_gates_are_asked_twice() {
    let engine = ScriptedEngine::new("home");
    let slots = OrderSlots::new(2);
    let all: Vec<(Workload, Arc<Asked>)> = (0..6)
        .map(|number| {
            let name = format!("app-{number}");
            let app = engine.add(&name);
            app.always(Action::Stop, Step::ok().late_by(Duration::from_mins(1)));
            let provider = engine.provider(&Reference::Name(name.clone())).unwrap();
            let readiness = Arc::new(ReadyWhenRunning);
            let gate = Arc::new(Asked::default());
            let spec = WorkloadSpec::new(name, provider, readiness, Policy::new(IDLE))
                .with_slots(slots.clone())
                .with_gates(vec![Arc::clone(&gate) as _]);
            (Workload::spawn(spec), gate)
        })
        .collect();
    for (workload, _) in &all {
        let holder = workload.holder("test");
        let lease = workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await;
        drop(lease.unwrap());
    }
    for (workload, _) in &all {
        let mut watch = workload.watch();
        let asleep = watch.wait_for(|snapshot| snapshot.phase == PhaseName::Asleep);
        timeout(PATIENCE, asleep).await.unwrap().unwrap();
    }
    let asked: Vec<_> = all.iter().map(|(_, gate)| gate.0.load(Ordering::Relaxed)).collect();
    assert!(asked.iter().all(|times| (1..=2).contains(times)), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_leave_at_once_leave_nothing_behind() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::hang()]);
    let asks: Vec<_> = (0..10_000)
        .map(|_| {
            let workload = home.workload.clone();
            tokio::spawn(async move {
                let holder = workload.holder("route test");
                drop(workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await);
            })
        })
        .collect();
    let mut watch = home.workload.watch();
    timeout(PATIENCE, watch.wait_for(|snapshot| snapshot.waiting == 10_000))
        .await
        .unwrap()
        .unwrap();
    for ask in &asks {
        ask.abort();
    }
    futures::future::join_all(asks).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(home.workload.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn closing_gives_no_order_that_still_waits_for_its_turn() {
    let engine = ScriptedEngine::new("home");
    let slots = OrderSlots::new(1);
    let [(slow, first), (app, second)] = ["slow", "app"].map(|name| {
        let app = engine.add(name);
        let provider = engine.provider(&Reference::Name(name.to_owned())).unwrap();
        let spec = WorkloadSpec::new(name, provider, Arc::new(ReadyWhenRunning), Policy::new(IDLE));
        (app, Workload::spawn(spec.with_slots(slots.clone())))
    });
    slow.script(Action::Start, [Step::ok().late_by(Duration::from_mins(1))]);
    let ask = |workload: &Workload| {
        let workload = workload.clone();
        tokio::spawn(async move {
            let holder = workload.holder("test");
            workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
        })
    };
    let _one = ask(&first);
    timeout(PATIENCE, slow.called(Action::Start, 1)).await.unwrap();
    let two = ask(&second);
    let mut watch = second.watch();
    let starting = watch.wait_for(|snapshot| snapshot.phase == PhaseName::Starting);
    timeout(PATIENCE, starting).await.unwrap().unwrap();
    timeout(Duration::from_secs(1), second.close()).await.expect("nothing was ordered yet");
    assert!(matches!(two.await.unwrap(), Err(WakeError::Closed)));
    first.close().await;
    assert_eq!(app.calls(Action::Start), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_it_is_being_closed_is_told_at_once() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::ok().late_by(Duration::from_mins(1))]);
    let first = tokio::spawn({
        let workload = home.workload.clone();
        async move {
            let holder = workload.holder("route test");
            workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
        }
    });
    timeout(PATIENCE, home.app.called(Action::Start, 1)).await.unwrap();
    let closing = tokio::spawn({
        let workload = home.workload.clone();
        async move { workload.close().await }
    });
    assert!(matches!(first.await.unwrap(), Err(WakeError::Closed)));
    let began = tokio::time::Instant::now();
    assert!(matches!(home.lease().await, Err(WakeError::Closed)));
    let answer = home.workload.sleep_now(Deadline::after(PATIENCE), Force::No).await;
    assert!(matches!(answer, Err(SleepError::Closed)));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_time_without_end_never_sleeps() {
    let mut policy = Policy::new(Duration::MAX).with_wake_timeout(Duration::MAX);
    policy.start_grace = Duration::MAX;
    policy.adoption_jitter = Duration::MAX;
    let home = Home::with(policy, Arc::new(ReadyWhenRunning));
    let lease = timeout(Duration::from_secs(10), home.lease()).await.unwrap().unwrap();
    drop(lease);
    tokio::time::sleep(Duration::from_hours(10_000)).await;
    assert_eq!(home.app.calls(Action::Stop), 0);
    assert_eq!(home.workload.snapshot().phase, PhaseName::Ready);
}

/// Row 49, of an engine that is only asked now and then: nobody tells of the death.
#[tokio::test(start_paused = true)]
async fn row_49_what_died_unseen_is_started_again_for_the_request_that_finds_out() {
    let home = Home::new();
    let lease = home.lease().await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    home.engine.break_events();
    home.app.crash(137);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(home.workload.snapshot().phase, PhaseName::Ready, "nobody knows");
    // Its upstream refused, and nothing was sent: the gateway says so, and asks anew.
    home.workload.upstream_failed(&lease.run());
    drop(lease);
    let mut watch = home.workload.watch();
    watch.wait_for(|snapshot| snapshot.phase != PhaseName::Ready).await.unwrap();
    let lease = home.lease().await.unwrap();
    assert_eq!(lease.run().run, home.app.observation().run, "another run");
    assert_eq!(home.app.calls(Action::Start), 2);
}

/// Answers as long as it is told to.
#[derive(Debug, Default)]
struct Listener(AtomicBool);

#[async_trait]
impl Readiness for Listener {
    async fn probe(&self, _: &Details, _: Attempt) -> Result<(), NotReady> {
        let answers = self.0.load(Ordering::Relaxed);
        answers.then_some(()).ok_or_else(|| NotReady::new("connection refused"))
    }
}

#[tokio::test(start_paused = true)]
async fn who_reports_is_told_whether_others_are_served() {
    let listener = Arc::new(Listener::default());
    listener.0.store(true, Ordering::Relaxed);
    let home = Home::with(Policy::new(IDLE), listener.clone());
    let far = || Deadline::after(PATIENCE);
    let lease = home.lease().await.unwrap();
    let report = home.workload.upstream_failed(&lease.run());
    assert!(!home.workload.is_refuted(report, far()).await, "the first takes it out of ready");
    let lease = home.lease().await.unwrap();
    let run = lease.run();
    let report = home.workload.upstream_failed(&run);
    assert!(!home.workload.is_refuted(report, far()).await, "it is young");
    assert!(!home.workload.is_in_doubt(&run));
    tokio::time::sleep(Duration::from_secs(11)).await;
    for _ in 0..20 {
        let report = home.workload.upstream_failed(&run);
        assert!(home.workload.is_refuted(report, far()).await);
        assert!(!home.workload.is_in_doubt(&run));
    }
    // Now it is so.
    listener.0.store(false, Ordering::Relaxed);
    let before = tokio::time::Instant::now();
    let report = home.workload.upstream_failed(&run);
    assert!(!home.workload.is_refuted(report, far()).await);
    assert!(home.workload.is_in_doubt(&run));
    assert!(
        before.elapsed() <= Duration::from_secs(1),
        "on a paused clock: {:?}",
        before.elapsed()
    );
    listener.0.store(true, Ordering::Relaxed);
    assert_eq!(home.lease().await.unwrap().run().run, run.run);
    assert_eq!(home.app.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn who_reports_is_told_at_the_deadline_or_when_it_is_managed_no_more() {
    let home = Home::new();
    let run = home.lease().await.unwrap().run();
    let report = home.workload.upstream_failed(&run);
    home.workload.is_refuted(report, Deadline::after(PATIENCE)).await;
    let run = home.lease().await.unwrap().run();
    let report = home.workload.upstream_failed(&run);
    assert!(!home.workload.is_refuted(report, Deadline::after(Duration::ZERO)).await);
    let report = home.workload.upstream_failed(&run);
    let (is_refuted, ()) = tokio::join!(
        home.workload.is_refuted(report, Deadline::after(PATIENCE)),
        home.workload.close()
    );
    assert!(!is_refuted);
}

/// As an engine of several machines tells it in its lists.
fn out_of_reach(home: &Home) {
    let unreachable = ContainerStatus::Error(Unusable::Unreachable);
    home.app.set_details(|details| details.observation.status = unreachable);
    home.engine.resync();
}

#[tokio::test(start_paused = true)]
async fn what_is_on_a_machine_out_of_reach_is_not_taken_for_stopped() {
    let home = Home::new();
    drop(home.lease().await.unwrap());
    out_of_reach(&home);
    tokio::time::sleep(IDLE * 4).await;
    assert_eq!(home.workload.snapshot().phase, PhaseName::Ready);
    assert!(home.workload.snapshot().engine_lost_since.is_some());
    assert!(home.lease().await.is_ok(), "served on");
    assert_eq!((home.app.calls(Action::Start), home.app.calls(Action::Stop)), (1, 0));

    let home = Home::new();
    home.until(PhaseName::Asleep).await;
    out_of_reach(&home);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let holder = home.workload.holder("route test");
    let asked =
        home.workload.lease(&holder, LeaseKind::Active, Deadline::after(Duration::from_secs(30)));
    assert!(matches!(asked.await, Err(WakeError::EngineUnavailable { .. })));
    assert_eq!(home.app.calls(Action::Start), 0);
}

/// Something else holds the container, as a read shows it.
fn locked(home: &Home, by: Option<&str>) {
    let lock = by.map(str::to_owned);
    home.app.set_details(|details| details.observation.lock = lock);
    let refused = Step::refuse(ErrorKind::Locked { by: by.unwrap_or_default().to_owned() });
    let step = if by.is_some() { refused } else { Step::ok() };
    home.app.always(Action::Start, step.clone());
    home.app.always(Action::Stop, step);
}

/// Rows 24 and 45.
#[tokio::test(start_paused = true)]
async fn an_hour_long_backup_holds_nobody_up_and_orders_nothing() {
    const HOUR: u64 = 60;
    // While it is ready, and its idle time ends.
    let home = Home::new();
    drop(home.lease().await.unwrap());
    locked(&home, Some("backup"));
    let reads = home.app.calls(Action::Inspect);
    for _ in 0..HOUR {
        tokio::time::sleep(Duration::from_mins(1)).await;
        let holder = home.workload.holder("route test");
        assert!(home.workload.try_lease(&holder, LeaseKind::Passive).is_some(), "it would wait");
    }
    assert_eq!(home.app.calls(Action::Stop), 0);
    assert!(home.app.calls(Action::Inspect) - reads < 60, "one look a minute");
    locked(&home, None);
    home.engine.resync();
    home.until(PhaseName::Asleep).await;

    // While it sleeps.
    locked(&home, Some("backup"));
    let (starts, reads) = (home.app.calls(Action::Start), home.app.calls(Action::Inspect));
    for _ in 0..HOUR {
        let began = tokio::time::Instant::now();
        let refused = home.lease().await.unwrap_err();
        assert!(matches!(&refused, WakeError::Locked { by, .. } if by == "backup"), "{refused}");
        assert!(began.elapsed() <= Duration::from_secs(17), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(45)).await;
    }
    assert!(home.app.calls(Action::Start) - starts <= 1, "one met the lock, and then it was known");
    assert!(home.app.calls(Action::Inspect) - reads < 60 * 12);
    locked(&home, None);
    home.engine.resync();
    home.until(PhaseName::Ready).await;
}
