//! What cannot be, of what is needed of whom.

use std::{collections::BTreeMap, sync::Arc};

use drowse_provider::{Details, compose::DependencyCondition};
use drowse_watcher::Role;

use super::{Because, PlannedNeed, Settling, Wanted};
use crate::{
    config::Ready,
    cycles::{self, Graph},
};

/// Somebody who needs a workload.
struct Dependent {
    /// Its place among the workloads.
    at: usize,
    wanted: Wanted,
    because: Because,
}

impl Settling<'_> {
    /// What is needed as a job is one, unless somebody needs or reaches it as a service.
    pub(super) fn settle_roles(&mut self) {
        for (name, needed_by) in self.needed_by() {
            let Some(target) = self.by_name.get(&name).copied() else { continue };
            let is_job = |it: &&Dependent| it.wanted == Wanted::Completed;
            let jobs: Vec<usize> = needed_by.iter().filter(is_job).map(|it| it.at).collect();
            if jobs.is_empty() {
                continue;
            }
            // Whoever names a job says that it is needed, and not as what.
            let mut services =
                needed_by.iter().filter(|it| !is_job(it) && it.because != Because::Needs);
            let service = services.next().map(|it| it.at);
            let otherwise = match service {
                Some(by) => {
                    format!("`{}` needs it as a service", self.workloads[by].name)
                }
                None if self.workloads[target].has_routes() => {
                    "it has routes, as a service".to_owned()
                }
                None => {
                    let policy = self.workloads[target].policy.clone();
                    self.workloads[target].policy = policy.with_role(Role::Job);
                    let all = self.needs.iter_mut().flatten().filter(|need| need.name == name);
                    all.for_each(|need| need.wanted = Wanted::Completed);
                    continue;
                }
            };
            for by in jobs {
                self.errors[by].push(format!(
                    "it needs `{name}` to complete (`{}`), as a job, and {otherwise}: it can only be \
                     one of them",
                    DependencyCondition::Completed.as_str()
                ));
            }
        }
    }

    /// What is needed to be healthy is ready when it is, unless its user says otherwise.
    pub(super) fn settle_health(&mut self) {
        for (name, needed_by) in self.needed_by() {
            let Some(target) = self.by_name.get(&name).copied() else { continue };
            let target = &mut self.workloads[target];
            for by in needed_by.iter().filter(|it| it.wanted == Wanted::Healthy) {
                let lacks_check = |details: &Arc<Details>| !details.has_health_check;
                if target.ready.is_none() && target.details.as_ref().is_some_and(lacks_check) {
                    self.errors[by.at].push(format!(
                        "it needs `{name}` to be healthy (`{}`), and container `{}` has no health \
                         check of its own",
                        DependencyCondition::Healthy.as_str(),
                        target.own_name(),
                    ));
                } else {
                    target.ready.get_or_insert(Ready::Healthy);
                }
            }
        }
    }

    /// By the name of each that is needed, who needs it.
    fn needed_by(&self) -> BTreeMap<String, Vec<Dependent>> {
        let mut needed_by: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (at, needs) in self.needs.iter().enumerate() {
            for PlannedNeed { name, wanted, because } in needs {
                let dependent = Dependent { at, wanted: *wanted, because: *because };
                needed_by.entry(name.clone()).or_default().push(dependent);
            }
        }
        needed_by
    }

    pub(super) fn find_cycles(&mut self) {
        let edges = self.workloads.iter().zip(&self.needs).filter(|(_, needs)| !needs.is_empty());
        let graph: Graph = edges
            .map(|(planned, needs)| {
                (planned.name.clone(), needs.iter().map(|need| need.name.clone()).collect())
            })
            .collect();
        for (at, planned) in self.workloads.iter().enumerate() {
            if let Some(cycle) = cycles::cycle_of(&graph, &planned.name) {
                self.errors[at].push(format!("it needs itself: {}", cycles::in_words(&cycle)));
            }
        }
    }
}
