//! The workloads that labels or notes define.

use std::sync::Arc;

use drowse_provider::{
    Details,
    compose::{self, Member},
};

use super::{
    DefinedIn, Draft, EngineView, Planned, PlannedContainer, Planner, lasting_reference,
    left_alone, name_is_taken_by, subject,
};
use crate::{config::Problem, labels::Reading};

impl Planner<'_> {
    /// Plans what labels or notes define, if nothing is wrong with it.
    pub(super) fn plan_labels(
        &mut self,
        engine: &str,
        view: &EngineView,
        details: &Arc<Details>,
    ) -> Option<Planned> {
        let subject = subject(engine, &details.name);
        let labelled = match view.dialect.read(&details.labels) {
            Reading::Nothing => return None,
            Reading::NotEnabled => {
                if !details.labels.contains_key("drowse.enable") {
                    let how = view.dialect.how_to_enable();
                    let why = format!("it has labels of drowse and is not managed: {how}");
                    self.plan.problems.push(Problem::warning(why).about(&*subject));
                }
                // What it says of that counts all the same.
                self.complain(
                    &subject,
                    view.dialect.needs(&details.labels).err().into_iter().collect(),
                );
                return None;
            }
            Reading::Wrong { mistakes, .. } => {
                self.complain(&subject, mistakes);
                return None;
            }
            Reading::Enabled(labelled) => *labelled,
        };
        if compose::is_one_off(&details.labels) {
            return None;
        }
        let mut mistakes = Vec::new();
        let reference = lasting_reference(view, details);
        let containers = view.containers.as_deref().unwrap_or_default();
        match self.services.find(engine, containers, &reference) {
            Ok(Some(chosen)) if chosen.id == details.id => {}
            // Another one stands for the service now.
            Ok(_) => return None,
            Err(replicas) => mistakes.push(replicas.to_string()),
        }
        let lasting_name = || Member::from(&**details).lasting_name().to_owned();
        let name = labelled.name.map_or_else(lasting_name, |name| name.value);
        let container = PlannedContainer::OnEngine(reference);
        if let Some(why) = left_alone(self.config, &name, &container, Some(details)) {
            self.plan.problems.push(Problem::warning(why).about(subject));
            self.absent.add(name, engine.to_owned(), Some(details.clone()));
            return None;
        }
        if let Some(other) = self.plan.workloads.iter().find(|other| other.name == name) {
            mistakes.push(name_is_taken_by(other));
        }
        let planned = self.planned(
            Draft {
                name,
                engine: engine.to_owned(),
                container,
                details: Some(details.clone()),
                settings: labelled.settings,
                route_settings: labelled.routes,
                port: labelled.port,
                from: if view.is_numbered() { DefinedIn::Tag } else { DefinedIn::Labels },
            },
            view,
            &mut mistakes,
        );
        if mistakes.is_empty() {
            return Some(planned);
        }
        self.complain(&subject, mistakes);
        self.absent.add(planned.name, planned.engine, planned.details);
        None
    }
}
