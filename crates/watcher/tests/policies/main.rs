//! Gates, pause then stop, holds, circuits and memory, as the handle of a workload shows them, on a
//! paused clock.

#![expect(
    clippy::unwrap_used,
    clippy::unchecked_time_subtraction,
    reason = "a test that cannot go on should panic"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_provider::{
    Action, ContainerStatus, Deadline, Details, Engine, Reference, Signal, StopOptions,
    testing::{ScriptedContainer, ScriptedEngine},
};
use drowse_watcher::{
    AsleepHold, Attempt, Busy, Change, Circuit, Force, KeepAwake, Lease, LeaseKind, Memory,
    NotReady, Observer, PhaseName, Policy, Readiness, ReadyWhenRunning, SleepError, SleepMethod,
    Snapshot, StopGate, WakeError, Workload, WorkloadSpec,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

mod gates;
mod held;
mod keep;
mod past;
mod sleeping;
mod task;

const IDLE: Duration = Duration::from_mins(15);
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// Of virtual time: a test that needs more is stuck.
const PATIENCE: Duration = Duration::from_hours(100);

struct Home {
    engine: ScriptedEngine,
    app: ScriptedContainer,
    workload: Workload,
}

impl Home {
    fn new() -> Self {
        Self::with(Policy::new(IDLE))
    }

    fn with(policy: Policy) -> Self {
        Self::of(policy, |spec| spec)
    }

    fn of(policy: Policy, change: impl FnOnce(WorkloadSpec) -> WorkloadSpec) -> Self {
        let engine = ScriptedEngine::new("home");
        let app = engine.add("app");
        let workload = Workload::spawn(change(spec(&engine, policy)));
        Self { engine, app, workload }
    }

    async fn ask(&self) -> Result<Lease, WakeError> {
        let holder = self.workload.holder("route test");
        self.workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
    }

    async fn lease(&self) -> Lease {
        self.ask().await.unwrap()
    }

    async fn sleep_now(&self, force: Force) -> Result<(), SleepError> {
        self.workload.sleep_now(Deadline::after(PATIENCE), force).await
    }

    async fn until(&self, what: impl FnMut(&Snapshot) -> bool) {
        let mut watch = self.workload.watch();
        timeout(PATIENCE, watch.wait_for(what))
            .await
            .unwrap_or_else(|_| panic!("it stays so: {:?}", self.workload.snapshot()))
            .unwrap();
    }

    async fn until_phase(&self, phase: PhaseName) {
        self.until(|snapshot| snapshot.phase == phase).await;
    }

    fn status(&self) -> ContainerStatus {
        self.app.observation().status
    }
}

fn spec(engine: &ScriptedEngine, policy: Policy) -> WorkloadSpec {
    let provider = engine.provider(&Reference::Name("app".to_owned())).unwrap();
    WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), policy)
}
