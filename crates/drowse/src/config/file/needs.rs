//! What the file alone tells to be wrong with what its workloads need.

use std::collections::BTreeSet;

use super::Reader;
use crate::{
    config::{
        ContainerConfig, EngineConfig, EngineKind, Given, Ready, WorkloadConfig, did_you_mean,
    },
    cycles::{self, Graph},
};

impl Reader<'_> {
    /// Notes cycles between the file's own workloads, names that nobody can have, and ways to be ready
    /// that a container of this kind has not.
    pub(super) fn check_needs(&mut self, workloads: &[WorkloadConfig], engines: &[EngineConfig]) {
        let graph: Graph = workloads
            .iter()
            .map(|workload| (workload.name.clone(), needs(workload).cloned().collect()))
            .collect();
        let mut told = BTreeSet::new();
        for workload in workloads {
            if let Some(why) = refuse_health(workload, engines) {
                let place = workload.settings.ready.as_ref().and_then(|it| it.origin.place());
                self.error(&place.unwrap_or(&workload.place).clone(), why);
            }
            let Some(Given { value: names, origin }) = &workload.settings.needs else { continue };
            let place = origin.place().unwrap_or(&workload.place).clone();
            // Labels may bring whatever is not in the file, if there is an engine to have them.
            if engines.is_empty() {
                for name in names.iter().filter(|name| !graph.contains_key(*name)) {
                    let or = did_you_mean(name, graph.keys().map(String::as_str))
                        .map(|meant| format!(": did you mean `{meant}`?"))
                        .unwrap_or_default();
                    self.error(&place, format!("there is no workload `{name}`{or}"));
                }
            }
            if let Some(cycle) = cycles::cycle_of(&graph, &workload.name)
                && !cycle.iter().any(|name| told.contains(name))
            {
                let words = cycles::in_words(&cycle);
                self.error(&place, format!("it needs itself: {words}"));
                told.extend(cycle);
            }
        }
    }
}

/// Why it cannot be ready when it is healthy, if it is to be so and cannot.
fn refuse_health(workload: &WorkloadConfig, engines: &[EngineConfig]) -> Option<&'static str> {
    if workload.settings.ready.as_ref()?.value != Ready::Healthy {
        return None;
    }
    match &workload.container {
        ContainerConfig::Process(_) => Some("a process has no health check: leave `ready` out"),
        ContainerConfig::OnEngine { engine, .. } => {
            let engine = engines.iter().find(|it| it.name == *engine)?;
            matches!(engine.kind, EngineKind::Proxmox(_))
                .then_some("containers of Proxmox have no health checks: leave `ready` out")
        }
    }
}

fn needs(workload: &WorkloadConfig) -> impl Iterator<Item = &String> {
    workload.settings.needs.iter().flat_map(|needs| &needs.value)
}
