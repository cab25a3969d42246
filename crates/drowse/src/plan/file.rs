//! The workloads of the file, with what their containers say.

use drowse_gateway::PathPrefix;
use drowse_provider::{Capabilities, Reach, Reference};

use super::{
    DefinedIn, Draft, EngineView, Planned, PlannedContainer, Planner, Waiting, left_alone,
    namesakes, services::Bound,
};
use crate::{
    config::{ContainerConfig, PROCESS_ENGINE, Problem, Settings, WorkloadConfig},
    labels::{Labelled, Reading},
};

impl Planner<'_> {
    /// Plans a workload of the file; what it is bound to.
    pub(super) fn plan_file(
        &mut self,
        workload: &WorkloadConfig,
        managed: &[Bound],
    ) -> Option<Bound> {
        let mut mistakes = Vec::new();
        let (engine, container, details, view) = match &workload.container {
            ContainerConfig::Process(process) => (
                PROCESS_ENGINE.to_owned(),
                PlannedContainer::Process(process.clone()),
                None,
                &EngineView::unread(Capabilities::all(), Reach::Loopback),
            ),
            ContainerConfig::OnEngine { engine, reference } => {
                let view = self.inventory.get(engine)?;
                let Some(containers) = &view.containers else {
                    self.reserve_hosts(workload);
                    self.plan.waiting.push(Waiting {
                        name: workload.name.clone(),
                        engine: engine.clone(),
                        container: reference.to_string(),
                        vmid: match reference {
                            Reference::Vmid(vmid) => Some(*vmid),
                            _ => None,
                        },
                    });
                    return None;
                };
                let found = match namesakes(view, containers, reference) {
                    Some(several) => Err(several),
                    None => {
                        self.services.find(engine, containers, reference).map_err(|e| e.to_string())
                    }
                };
                let details = found.unwrap_or_else(|why| {
                    mistakes.push(why);
                    None
                });
                let container = PlannedContainer::OnEngine(reference.clone());
                (engine.clone(), container, details.cloned(), view)
            }
        };
        let bound = details.as_ref().map(|details| Bound::to(&engine, details));
        let alone = left_alone(self.config, &workload.name, &container, details.as_deref());
        if let Some(why) = alone {
            let subject = format!("workload `{}`", workload.name);
            self.plan.problems.push(Problem::warning(why).about(subject).at(&workload.place));
            if let Some(details) = details {
                self.absent.add_needs(&engine, &details, &workload.settings);
                self.absent.add(workload.name.clone(), engine, Some(details));
            }
            return bound;
        }
        if let Some(details) = &details
            && managed.iter().any(|other| other.covers(&engine, details))
        {
            self.plan.problems.push(
                Problem::error(format!(
                    "workload `{}`: its container is another workload's already",
                    workload.name
                ))
                .at(&workload.place),
            );
            self.absent.add_needs(&engine, details, &workload.settings);
            self.absent.add(workload.name.clone(), engine, Some(details.clone()));
            return None;
        }
        let (labelled, wrong) = match details.as_ref().map(|it| view.dialect.read(&it.labels)) {
            Some(Reading::Enabled(labelled)) => (*labelled, Vec::new()),
            Some(Reading::Wrong { mistakes, rest }) => (*rest, mistakes),
            _ => (Labelled::default(), Vec::new()),
        };
        let draft = |labelled: Labelled| Draft {
            name: workload.name.clone(),
            engine: engine.clone(),
            container: container.clone(),
            details: details.clone(),
            settings: workload.settings.clone().or(&labelled.settings),
            route_settings: workload.routes.clone().unwrap_or(labelled.routes),
            port: labelled.port,
            from: DefinedIn::File,
        };
        let planned = if view.is_numbered() {
            let (planned, left_out) = self.planned_by_notes(draft, labelled, view, &mut mistakes);
            for why in wrong.into_iter().chain(left_out) {
                let message =
                    format!("workload `{}`: left out of what its notes say: {why}", workload.name);
                self.plan.problems.push(Problem::warning(message).at(&workload.place));
            }
            planned
        } else {
            mistakes.extend(wrong);
            self.planned(draft(labelled), view, &mut mistakes)
        };
        for mistake in &mistakes {
            let message = format!("workload `{}`: {mistake}", workload.name);
            self.plan.problems.push(Problem::error(message).at(&workload.place));
        }
        if mistakes.is_empty() {
            self.take(planned);
        } else {
            if let Some(details) = &planned.details {
                self.absent.add_needs(&planned.engine, details, &workload.settings);
            }
            self.absent.add(planned.name, planned.engine, planned.details);
        }
        bound
    }

    /// What the file gives to a workload is not up for grabs while its engine is out of reach.
    fn reserve_hosts(&mut self, workload: &WorkloadConfig) {
        for route in workload.routes.iter().flatten() {
            let path = route.path.as_ref().map_or_else(PathPrefix::root, |path| path.value.clone());
            for host in route.hosts.iter().flat_map(|hosts| &hosts.value) {
                self.taken.insert((host.clone(), path.clone()), workload.name.clone());
            }
        }
        self.taken_ports.reserve(workload, &self.config.addresses());
    }

    /// Turns a draft of the file into a plan, with as much of its container's notes as can be: whoever
    /// edits these must not thereby take down what the file defines. What is left out of them, and why.
    fn planned_by_notes(
        &self,
        draft: impl Fn(Labelled) -> Draft,
        notes: Labelled,
        view: &EngineView,
        mistakes: &mut Vec<String>,
    ) -> (Planned, Vec<String>) {
        let routes = Labelled { settings: Settings::default(), ..notes.clone() };
        let settings = Labelled { settings: notes.settings.clone(), ..Labelled::default() };
        let mut left_out = None;
        for part in [notes, routes, settings] {
            let mut wrong = Vec::new();
            let planned = self.planned(draft(part), view, &mut wrong);
            if wrong.is_empty() {
                return (planned, left_out.unwrap_or_default());
            }
            left_out.get_or_insert(wrong);
        }
        // What is wrong without any of them is the file's own.
        let mut wrong = Vec::new();
        let planned = self.planned(draft(Labelled::default()), view, &mut wrong);
        let mut left_out = left_out.unwrap_or_default();
        left_out.retain(|why| !wrong.contains(why));
        mistakes.extend(wrong);
        (planned, left_out)
    }
}
