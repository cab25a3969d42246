//! What the log says of a workload at INFO: changes and what keeps it awake, and nothing per
//! request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use drowse_provider::{
    Action, Deadline, Details, Engine, ErrorKind, Reference, Signal,
    testing::{ScriptedEngine, Step},
};
use drowse_watcher::{
    AsleepHold, Force, Lease, LeaseKind, PhaseName, Policy, ReadyWhenRunning, StopGate, Workload,
    WorkloadSpec,
};
use tokio::time::{sleep, timeout};
use tracing::subscriber::DefaultGuard;

const IDLE: Duration = Duration::from_mins(15);
/// Of virtual time: a test that needs more is stuck.
const PATIENCE: Duration = Duration::from_hours(10);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        String::from_utf8_lossy(&bytes).lines().map(|line| line.trim().to_owned()).collect()
    }

    fn of(&self, word: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(word)).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn workload() -> (ScriptedEngine, Workload) {
    workload_of(|spec| spec)
}

fn workload_of(change: impl FnOnce(WorkloadSpec) -> WorkloadSpec) -> (ScriptedEngine, Workload) {
    let engine = ScriptedEngine::new("home");
    engine.add("app");
    let provider = engine.provider(&Reference::Name("app".to_owned())).unwrap();
    let spec = WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), Policy::new(IDLE));
    (engine, Workload::spawn(change(spec)))
}

async fn lease(workload: &Workload, holder: &str) -> Lease {
    let holder = workload.holder(holder);
    workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await.unwrap()
}

async fn asleep(workload: &Workload) {
    let mut watch = workload.watch();
    let slept = watch.wait_for(|snapshot| snapshot.phase == PhaseName::Asleep);
    timeout(PATIENCE, slept).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_change_is_a_line_and_a_request_is_none() {
    let (log, _guard) = Log::listen();
    let (_engine, workload) = workload();
    asleep(&workload).await;
    drop(lease(&workload, "route").await);
    let woken = log.lines().len();
    for _ in 0..1_000 {
        drop(lease(&workload, "route").await);
    }
    assert_eq!(log.lines().len(), woken);
    asleep(&workload).await;
    let changes: Vec<String> = log
        .lines()
        .iter()
        .filter_map(|line| Some(line.split("to=").nth(1)?.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(changes, ["asleep", "starting", "probing", "ready", "stopping", "asleep"]);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_it_awake_is_told_once_for_each_holder() {
    let (log, _guard) = Log::listen();
    let (_engine, workload) = workload();
    let download = lease(&workload, "route files").await;
    sleep(IDLE * 4).await;
    let told = log.of("stays awake");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("route files (1)"), "{told:#?}");

    let socket = lease(&workload, "route chat").await;
    drop(download);
    sleep(IDLE * 4).await;
    let told = log.of("stays awake");
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("route chat (1)"), "{told:#?}");

    drop(socket);
    asleep(&workload).await;
    let again = lease(&workload, "route files").await;
    sleep(IDLE * 4).await;
    assert_eq!(log.of("stays awake").len(), 3, "a new time of being awake");
    drop(again);
}

#[derive(Debug)]
struct Busy(Mutex<&'static str>);

#[async_trait]
impl StopGate for Busy {
    async fn may_sleep(&self, _: &Details) -> Result<(), drowse_watcher::Busy> {
        Err(drowse_watcher::Busy::new(*self.0.lock().unwrap(), "63 % of a core"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_busy_is_told_once_for_each_who_says_so() {
    let (log, _guard) = Log::listen();
    let gate = Arc::new(Busy(Mutex::new("its processor use")));
    let asked: Arc<dyn StopGate> = gate.clone();
    let (_engine, workload) = workload_of(|spec| spec.with_gates(vec![asked]));
    drop(lease(&workload, "route").await);
    sleep(IDLE * 2).await;
    let told = log.of("busy");
    assert_eq!(
        told,
        [
            "INFO stays awake: its idle time is over, and it is busy workload=\"app\" engine=\"home\" \
          container=app by=\"its processor use\" reason=\"63 % of a core\""
        ]
    );
    *gate.0.lock().unwrap() = "the veto of /busy";
    sleep(IDLE * 2).await;
    assert_eq!(log.of("busy").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_outside_tells_what_keeps_it_asleep() {
    let (log, _guard) = Log::listen();
    let (engine, workload) = workload();
    drop(lease(&workload, "route").await);
    engine.container("app").unwrap().kill(Signal::TERM);
    asleep(&workload).await;
    let told = log.of("drowse hold");
    assert_eq!(told.len(), 1, "{told:#?}");
    let until_time = told[0].split(" took=").next().unwrap();
    assert_eq!(
        until_time,
        "INFO asleep: a request wakes it again, unless `drowse hold app --asleep` \
         workload=\"app\" engine=\"home\" container=app from=probing to=asleep \
         reason=\"stopped from outside\""
    );
}

#[tokio::test(start_paused = true)]
async fn that_it_is_held_asleep_and_until_when_is_told() {
    let (log, _guard) = Log::listen();
    let (_engine, workload) = workload();
    asleep(&workload).await;
    let until = tokio::time::Instant::now() + IDLE;
    workload.hold_asleep(Some(AsleepHold::new("a restore").until(until))).await;
    sleep(IDLE * 2).await;
    let names = "workload=\"app\" engine=\"home\" container=app";
    assert_eq!(
        log.of("held asleep"),
        [
            format!(
                "INFO held asleep: nothing wakes it until it is released {names} reason=\"a restore\""
            ),
            format!("INFO no longer held asleep {names}"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_forced_sleep_tells_who_is_cut_off() {
    let (log, _guard) = Log::listen();
    let (_engine, workload) = workload();
    let stream = lease(&workload, "route films").await;
    workload.sleep_now(Deadline::after(PATIENCE), Force::EvenInUse).await.unwrap();
    drop(stream);
    assert_eq!(
        log.of("cut off"),
        ["INFO put to sleep on request, though it is in use: whoever uses it is cut off \
          workload=\"app\" engine=\"home\" container=app holders=\"route films (1)\" uses=1"]
    );
}

/// Row 24: why nobody is served, and that nothing needs to be done about it.
#[tokio::test(start_paused = true)]
async fn a_wake_that_waits_for_a_lock_is_a_line() {
    let (log, _guard) = Log::listen();
    let (engine, workload) = workload();
    asleep(&workload).await;
    let app = engine.container("app").unwrap();
    app.set_details(|details| details.observation.lock = Some("backup".to_owned()));
    app.always(Action::Start, Step::refuse(ErrorKind::Locked { by: "backup".to_owned() }));
    let holder = workload.holder("route");
    for _ in 0..3 {
        let asked = workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE));
        asked.await.expect_err("locked");
    }
    let told = log.of("locked_by");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(
        told[0],
        "INFO cannot be woken yet: it is locked; it is woken when the lock is gone workload=\"app\" \
         engine=\"home\" container=app locked_by=\"backup\""
    );
}

/// Row 48: the one who reads the log at night learns what happened, to what, and what to do.
#[tokio::test(start_paused = true)]
async fn a_sleeper_that_is_removed_for_good_is_an_error() {
    let (log, _guard) = Log::listen();
    let (engine, workload) = workload();
    asleep(&workload).await;
    engine.container("app").unwrap().remove();
    let mut watch = workload.watch();
    let gone = watch.wait_for(|snapshot| snapshot.phase == PhaseName::Gone);
    timeout(PATIENCE, gone).await.unwrap().unwrap();
    sleep(IDLE).await;
    let told = log.of("ERROR");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(
        told[0],
        "ERROR its container was removed while it slept, so no request can wake it: if that was a prune \
         (`docker container prune` and `docker system prune` remove whatever does not run), make it \
         again, as with `docker compose up -d`, and prune with `--filter label!=drowse.enable=true` from \
         now on workload=\"app\" engine=\"home\" container=app"
    );
}
