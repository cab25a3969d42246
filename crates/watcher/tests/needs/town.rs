//! Workloads over one scripted engine, by name, and what they did in which order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use drowse_provider::{
    Action, ContainerStatus, Deadline, Engine, Reference,
    testing::{ScriptedContainer, ScriptedEngine},
};
use drowse_watcher::{
    Condition, Lease, LeaseKind, Need, Needs, PhaseName, Policy, ReadyWhenRunning, WakeError,
    Workload, WorkloadSpec,
};
use tokio::time::{sleep, timeout};

pub(crate) const IDLE: Duration = Duration::from_mins(15);
/// Of virtual time: a test that needs more is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_hours(1);

pub(crate) struct Town {
    pub(crate) engine: ScriptedEngine,
    workloads: BTreeMap<&'static str, Workload>,
}

impl Town {
    pub(crate) fn new() -> Self {
        Self { engine: ScriptedEngine::new("home"), workloads: BTreeMap::new() }
    }

    /// A workload of that name which needs those others, ready.
    pub(crate) fn add(&mut self, name: &'static str, needs: &[&'static str]) -> ScriptedContainer {
        self.add_with(name, Policy::new(IDLE), self.ready(needs))
    }

    pub(crate) fn add_with(
        &mut self,
        name: &'static str,
        policy: Policy,
        needs: Needs,
    ) -> ScriptedContainer {
        let container = self.engine.add(name);
        self.manage(name, policy, needs);
        container
    }

    /// Begins to manage the container of that name.
    pub(crate) fn manage(&mut self, name: &'static str, policy: Policy, needs: Needs) {
        let spec = self.spec(name, policy).with_needs(needs);
        self.workloads.insert(name, Workload::spawn(spec));
    }

    pub(crate) fn spec(&self, name: &'static str, policy: Policy) -> WorkloadSpec {
        let provider = self.engine.provider(&Reference::Name(name.to_owned())).unwrap();
        WorkloadSpec::new(name, provider, Arc::new(ReadyWhenRunning), policy)
    }

    pub(crate) fn insert(&mut self, name: &'static str, workload: Workload) {
        self.workloads.insert(name, workload);
    }

    pub(crate) fn ready(&self, names: &[&'static str]) -> Needs {
        Needs::Of(names.iter().map(|name| self.need(name, Condition::Ready)).collect())
    }

    pub(crate) fn need(&self, name: &'static str, condition: Condition) -> Need {
        Need::new(name, self.workloads.get(name).cloned(), condition)
    }

    pub(crate) fn workload(&self, name: &str) -> &Workload {
        &self.workloads[name]
    }

    pub(crate) fn container(&self, name: &str) -> ScriptedContainer {
        self.engine.container(name).unwrap()
    }

    pub(crate) fn phase(&self, name: &str) -> PhaseName {
        self.workload(name).snapshot().phase
    }

    pub(crate) fn is_running(&self, name: &str) -> bool {
        self.container(name).observation().status == ContainerStatus::Running
    }

    pub(crate) async fn lease(&self, name: &str) -> Result<Lease, WakeError> {
        self.lease_within(name, PATIENCE).await
    }

    pub(crate) async fn lease_within(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Lease, WakeError> {
        let workload = self.workload(name);
        let holder = workload.holder("route test");
        workload.lease(&holder, LeaseKind::Active, Deadline::after(patience)).await
    }

    pub(crate) async fn until(&self, name: &str, phase: PhaseName) {
        let mut watch = self.workload(name).watch();
        timeout(PATIENCE, watch.wait_for(|snapshot| snapshot.phase == phase))
            .await
            .unwrap_or_else(|_| {
                panic!("`{name}` never {phase}: {:?}", self.workload(name).snapshot())
            })
            .unwrap();
    }

    pub(crate) async fn until_all_sleep(&self) {
        for name in self.workloads.keys() {
            self.until(name, PhaseName::Asleep).await;
            assert_eq!(self.workload(name).leases(), 0, "`{name}` is held by nobody");
        }
    }

    /// The starts and stops so far, as `+name` and `-name`.
    pub(crate) fn orders(&self) -> Vec<String> {
        let calls = self.engine.calls();
        let order = |call: &drowse_provider::testing::Call| {
            let sign = match call.action {
                Action::Start => '+',
                Action::Stop | Action::Pause | Action::Kill => '-',
                _ => return None,
            };
            Some(format!("{sign}{}", call.container.as_deref()?))
        };
        calls.iter().filter_map(order).collect()
    }
}

/// Long enough for everything that happens at once, and for nothing that waits for a time of its own.
pub(crate) async fn a_moment() {
    sleep(Duration::from_millis(900)).await;
}
