//! What may speak against a sleep, beside leases: what the container uses, and what is asked.

mod cpu_and_network;
mod patience;
#[cfg(test)]
mod testing;
mod veto;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use drowse_gateway::{Chooser, HostPattern, HttpVeto, Standpoint};
use drowse_provider::{Details, Engine, Provider};
use drowse_watcher::{Busy, StopGate};
use futures::future::try_join_all;

use self::{cpu_and_network::CpuAndNetwork, veto::Veto};
use crate::plan::{Planned, PlannedGates, upstream_policy};

/// The gates of one workload, as its plan has them.
pub(crate) struct Gates(RwLock<Arc<Asked>>);

/// What is asked at one time.
#[derive(Debug)]
struct Asked {
    by: By,
    /// All at once.
    vetoes: Vec<Veto>,
    /// After these: being asked is no use.
    usage: Option<Box<CpuAndNetwork>>,
}

/// What makes out the gates.
#[derive(Clone, Debug, PartialEq, Eq)]
struct By {
    gates: PlannedGates,
    network: Option<String>,
    idle: Duration,
    is_open: bool,
}

/// Of what a gate speaks to.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) provider: &'a Arc<dyn Provider>,
    pub(crate) engine: &'a Arc<dyn Engine>,
    pub(crate) standpoint: &'a Standpoint,
}

impl Gates {
    /// The gates of a plan. `is_open`: it can be reached past the gateway.
    pub(crate) fn new(planned: &Planned, is_open: bool, subject: Subject<'_>) -> Self {
        Self(RwLock::new(Arc::new(Asked::new(planned, is_open, subject))))
    }

    /// Those of this plan from now on. What is being asked is asked to its end.
    pub(crate) fn follow(&self, planned: &Planned, is_open: bool, subject: Subject<'_>) {
        if self.now().by != By::of(planned, is_open) {
            let asked = Arc::new(Asked::new(planned, is_open, subject));
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = asked;
        }
    }

    fn now(&self) -> Arc<Asked> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl By {
    fn of(planned: &Planned, is_open: bool) -> Self {
        let (gates, network) = (planned.gates.clone(), planned.network.clone());
        Self { gates, network, idle: planned.policy.idle, is_open }
    }
}

impl Asked {
    fn new(planned: &Planned, is_open: bool, subject: Subject<'_>) -> Self {
        let name = &planned.name;
        let by_path = planned.gates.veto_path.as_ref().map(|veto| {
            let policy = upstream_policy(veto.port, veto.address.clone(), planned.network.clone());
            let (engine, standpoint) = (subject.engine.clone(), subject.standpoint.clone());
            let chooser = Chooser::new(engine, standpoint, policy);
            let question = HttpVeto::new(chooser, &*veto.path).with_scheme(&veto.scheme);
            Veto::by_path(
                name,
                match &veto.host {
                    Some(HostPattern::Exact(host)) => question.with_host(host),
                    _ => question,
                },
            )
        });
        let by_command = planned
            .gates
            .veto_command
            .as_ref()
            .map(|command| Veto::by_command(name, &planned.engine, command.clone()));
        let usage = planned.gates.use_limits(is_open).map(|limits| {
            let provider = subject.provider.clone();
            Box::new(CpuAndNetwork::new(name, provider, limits, planned.policy.idle))
        });
        let vetoes = by_path.into_iter().chain(by_command).collect();
        Self { by: By::of(planned, is_open), vetoes, usage }
    }
}

#[async_trait]
impl StopGate for Gates {
    async fn may_sleep(&self, details: &Details) -> Result<(), Busy> {
        let asked = self.now();
        try_join_all(asked.vetoes.iter().map(|veto| veto.may_sleep(details))).await?;
        match &asked.usage {
            Some(usage) => usage.may_sleep(details).await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(formatter)
    }
}
