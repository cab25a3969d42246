//! Containers that nobody enabled and that are in the graph all the same.

use std::{collections::HashSet, sync::Arc};

use drowse_provider::{ContainerStatus, Details, Reference, Unusable, compose::Member};

use super::{NeedTarget, PlannedNeeds, Settling, Wish, is_holder, wishes};
use crate::{
    config::{Given, Problem},
    plan::{
        DefinedIn, EngineView, Planned, PlannedContainer, PlannedGates, lasting_reference, policy,
        subject,
    },
};

impl Settling<'_> {
    /// Somebody needs this container: it joins, under this name if it has one. Why not, if it cannot be
    /// started.
    pub(super) fn join(
        &mut self,
        engine: &str,
        details: &Arc<Details>,
        name: Option<&str>,
    ) -> Result<usize, String> {
        if let Some(known) = self.workload_of(engine, details) {
            return Ok(known);
        }
        let is_template = details.observation.status == ContainerStatus::Error(Unusable::Template);
        let view = self.inventory.get(engine).filter(|_| !is_template).ok_or_else(|| {
            format!("it needs container `{}`, which is a template and never runs", details.name)
        })?;
        Ok(self.add(engine, view, details, name))
    }

    /// Adds whoever nobody enabled, and needs a workload that its user did enable: for as long as it
    /// runs, that one is needed.
    pub(super) fn add_dependents(&mut self) {
        let inventory = self.inventory;
        let id = |planned: &Planned| {
            Some((planned.engine.clone(), planned.details.as_ref()?.id.clone()))
        };
        let planned: HashSet<(String, String)> = self.workloads.iter().filter_map(id).collect();
        for (engine, view) in inventory {
            for details in view.containers.iter().flatten() {
                // Most are, where there are thousands.
                if planned.contains(&(engine.clone(), details.id.clone())) {
                    continue;
                }
                let (mut wishes, _) = wishes::of_container(details);
                let said = self.needs_of(engine, view, details);
                wishes.extend(wishes::by_names(said.map(|said| said.value).unwrap_or_default()));
                if wishes.is_empty()
                    || self.workload_of(engine, details).is_some()
                    || self.is_drowse(engine, details)
                {
                    continue;
                }
                self.warn_of_nobody(engine, details, &wishes);
                let needed: Vec<(usize, Wish)> = wishes
                    .into_iter()
                    .filter_map(|wish| Some((self.find_enabled(engine, &wish.target)?, wish)))
                    .collect();
                if needed.is_empty() {
                    continue;
                }
                let at = self.add(engine, view, details, None);
                for (other, wish) in needed {
                    let name = self.workloads[other].name.clone();
                    self.need(at, name, &wish);
                }
            }
        }
    }

    /// The workload that its user enabled and that is meant by this.
    pub(super) fn find_enabled(&self, engine: &str, target: &NeedTarget) -> Option<usize> {
        let mut enabled = self.workloads[..self.enabled].iter();
        match target {
            NeedTarget::Called(name) => enabled.position(|it| it.name == *name).or_else(|| {
                if self.waiting.contains(name) || self.absent.workloads.contains_key(name) {
                    return None;
                }
                let details = self.called(engine, name).ok()??;
                self.workload_of(engine, &details).filter(|at| *at < self.enabled)
            }),
            NeedTarget::Service { project, service } => {
                enabled.position(|it| it.engine == engine && it.is_of_service(project, service))
            }
            NeedTarget::Holder(holder) => enabled.position(|it| {
                it.engine == engine && it.details.as_ref().is_some_and(|it| is_holder(it, holder))
            }),
        }
    }

    /// Tells of names that nobody has. Whoever is not managed is not thereby in error.
    fn warn_of_nobody(&mut self, engine: &str, details: &Details, wishes: &[Wish]) {
        for wish in wishes {
            let NeedTarget::Called(name) = &wish.target else { continue };
            let is_somebody = self.by_name.contains_key(name)
                || self.absent.workloads.contains_key(name)
                || !matches!(self.called(engine, name), Ok(None))
                || self.may_come(name);
            if !is_somebody {
                let why = self.nobody(engine, name, &details.name);
                self.warnings.push(Problem::warning(why).about(subject(engine, &details.name)));
            }
        }
    }

    /// What the key `needs` says of a container that is in nobody's hands: in the file, where that has it,
    /// else in its labels, whether or not they enable it.
    fn needs_of(
        &self,
        engine: &str,
        view: &EngineView,
        details: &Details,
    ) -> Option<Given<Vec<String>>> {
        let in_file = self.absent.needs_of(engine, details);
        in_file.cloned().or_else(|| view.dialect.readable_needs(&details.labels))
    }

    fn add(
        &mut self,
        engine: &str,
        view: &EngineView,
        details: &Arc<Details>,
        name: Option<&str>,
    ) -> usize {
        let at = self.workloads.len();
        let reference = match lasting_reference(view, details) {
            // Of several replicas, this one.
            Reference::Service { project, service }
                if self.services.chosen(engine, &project, &service).is_err() =>
            {
                Reference::Name(details.name.clone())
            }
            lasting => lasting,
        };
        let name = name.map_or_else(|| self.free_name(engine, details), str::to_owned);
        self.by_name.insert(name.clone(), at);
        self.needs.push(Vec::new());
        self.errors.push(Vec::new());
        self.workloads.push(Planned {
            policy: policy::never_asleep(&self.config.defaults),
            schedule: None,
            gates: PlannedGates::none(),
            name,
            engine: engine.to_owned(),
            container: PlannedContainer::OnEngine(reference),
            routes: Vec::new(),
            port_routes: Vec::new(),
            port: None,
            network: None,
            ready: None,
            group: None,
            needs_said: self.needs_of(engine, view, details),
            needs: PlannedNeeds::default(),
            details: Some(details.clone()),
            from: DefinedIn::Needs,
        });
        at
    }

    /// The container's own name, if no other's workload has it.
    fn free_name(&self, engine: &str, details: &Details) -> String {
        let own = Member::from(details).lasting_name();
        let names = [own.to_owned(), format!("{engine}.{own}"), format!("{engine}.{}", details.id)];
        let is_free = |name: &&String| {
            !self.by_name.contains_key(*name)
                && !self.waiting.contains(*name)
                && self.absent.workloads.get(*name).is_none_or(|(its, absent)| {
                    its == engine && absent.as_ref().is_some_and(|it| it.id == details.id)
                })
        };
        let [.., last] = &names;
        names.iter().find(is_free).unwrap_or(last).clone()
    }
}
