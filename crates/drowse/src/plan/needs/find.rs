//! Whom a wish means.

use std::sync::Arc;

use drowse_provider::{Details, Reference};

use super::{NeedTarget, Settling, Wish};
use crate::{
    config::did_you_mean,
    plan::{EngineView, Planned, is_named, namesakes, selves::is_drowse},
};

/// What a wish leads to.
pub(super) enum Found {
    Workload(usize),
    /// Nothing yet, under this name.
    MayCome(String),
    /// Nothing that is to be waited for or told of.
    Fulfilled,
    Nothing(String),
}

impl Settling<'_> {
    pub(super) fn find(&mut self, at: usize, engine: &str, wish: &Wish) -> Found {
        match &wish.target {
            NeedTarget::Called(name) => self.find_called(at, engine, name),
            NeedTarget::Service { project, service } => self.find_service(engine, project, service),
            NeedTarget::Holder(holder) => self.find_holder(engine, holder),
        }
    }

    /// A workload's name comes before a container's.
    fn find_called(&mut self, at: usize, engine: &str, name: &str) -> Found {
        // What joined has its container's name, which means another one on another engine.
        if let Some(other) = self.by_name.get(name).filter(|at| **at < self.enabled) {
            return Found::Workload(*other);
        }
        if self.waiting.contains(name) {
            return Found::MayCome(name.to_owned());
        }
        let absent = self.absent;
        if let Some((engine, details)) = absent.container_of(name) {
            return self.take_called(engine, details, name, Some(name));
        }
        match self.called(engine, name) {
            Ok(Some(details)) => return self.take_called(engine, &details, name, None),
            Err(several) => return Found::Nothing(several),
            Ok(None) => {}
        }
        if self.may_come(name) {
            return Found::MayCome(name.to_owned());
        }
        if absent.workloads.contains_key(name) {
            return Found::Nothing(format!("it needs `{name}`, which is in error itself"));
        }
        Found::Nothing(self.nobody(engine, name, &self.workloads[at].name))
    }

    /// The container of a name that somebody needs, which joins if it is nobody's.
    fn take_called(
        &mut self,
        engine: &str,
        details: &Arc<Details>,
        name: &str,
        joins_as: Option<&str>,
    ) -> Found {
        if self.is_drowse(engine, details) {
            return Found::Nothing(format!(
                "it needs `{name}`, in which drowse itself runs, as it does whenever anything is \
                 woken: leave it out"
            ));
        }
        self.join(engine, details, joins_as).map_or_else(Found::Nothing, Found::Workload)
    }

    /// The container of an engine that goes by this name, or has this number.
    pub(super) fn called(&self, engine: &str, name: &str) -> Result<Option<Arc<Details>>, String> {
        self.inventory.get(engine).map_or(Ok(None), |view| called(view, name))
    }

    /// Whether a name that nobody has may turn out to be somebody's.
    pub(super) fn may_come(&self, name: &str) -> bool {
        self.waiting.contains(name) || self.inventory.values().any(EngineView::may_bring_hosts)
    }

    /// What to say of a name that nobody has, and that this one needs.
    pub(super) fn nobody(&self, engine: &str, name: &str, dependent: &str) -> String {
        let or_container = match self.inventory.get(engine) {
            Some(_) => format!(", nor a container of that name on engine `{engine}`"),
            None => String::new(),
        };
        let others = self.workloads[..self.enabled].iter().map(|other| other.name.as_str());
        let meant = did_you_mean(name, others.filter(|other| *other != dependent))
            .map(|meant| format!(": did you mean `{meant}`?"))
            .unwrap_or_default();
        format!("it needs `{name}`, and there is no such workload{or_container}{meant}")
    }

    fn find_service(&mut self, engine: &str, project: &str, service: &str) -> Found {
        let is_it =
            |planned: &Planned| planned.engine == engine && planned.is_of_service(project, service);
        if let Some(known) = self.workloads.iter().position(is_it) {
            return Found::Workload(known);
        }
        match self.services.chosen(engine, project, service) {
            Ok(Some(details)) => self.take_container(engine, details),
            Ok(None) => Found::Nothing(format!(
                "compose's `depends_on` names the service `{service}`, which has no container (an \
                 inactive profile, perhaps): passed over"
            )),
            Err(replicas) => Found::Nothing(format!(
                "compose's `depends_on` names the service `{service}`, which is not woken with it: \
                 {replicas}"
            )),
        }
    }

    /// The container whose network another one lives in. Without it that one cannot start, and its
    /// engine says so.
    fn find_holder(&mut self, engine: &str, holder: &str) -> Found {
        let containers = self.inventory.get(engine).and_then(|view| view.containers.as_ref());
        let found = containers.into_iter().flatten().find(|it| is_holder(it, holder)).cloned();
        match found {
            Some(details) => self.take_container(engine, &details),
            None => Found::Fulfilled,
        }
    }

    /// The workload of a container, which joins if it is nobody's.
    fn take_container(&mut self, engine: &str, details: &Arc<Details>) -> Found {
        if let Some(known) = self.workload_of(engine, details) {
            return Found::Workload(known);
        }
        if self.is_drowse(engine, details) {
            // Whoever can be woken finds it running.
            return Found::Fulfilled;
        }
        self.join(engine, details, None).map_or_else(Found::Nothing, Found::Workload)
    }

    pub(super) fn is_drowse(&self, engine: &str, details: &Details) -> bool {
        self.inventory.get(engine).is_some_and(|view| is_drowse(details, &view.here))
    }

    pub(super) fn workload_of(&self, engine: &str, details: &Details) -> Option<usize> {
        self.workloads.iter().position(|planned| planned.is_about(engine, details))
    }
}

/// The container of an engine that goes by this name, or has this number.
fn called(view: &EngineView, name: &str) -> Result<Option<Arc<Details>>, String> {
    let containers = view.containers.as_deref().unwrap_or_default();
    let by_number = name.parse::<u32>().ok().filter(|_| view.is_numbered());
    let reference = match by_number {
        Some(vmid) => Reference::Vmid(vmid),
        None => Reference::Name(name.to_owned()),
    };
    if let Some(several) = namesakes(view, containers, &reference) {
        return Err(several);
    }
    let is_it = |it: &&Arc<Details>| is_named(&it.id, &it.name, &it.labels, &reference);
    Ok(containers.iter().find(is_it).cloned())
}

/// Whether this is the container that a network mode names.
pub(super) fn is_holder(details: &Details, holder: &str) -> bool {
    details.id == holder || details.name == holder
}
