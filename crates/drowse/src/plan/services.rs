//! Which container a workload is about, also while an update replaces it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use drowse_provider::{
    Details, Reference,
    compose::{self, Member, Replicas},
};

use super::{EngineView, Inventory};

/// The container that a workload of the file is bound to, and what stands in for it in an update.
pub(super) struct Bound {
    engine: String,
    id: String,
    service: Option<(String, String)>,
}

impl Bound {
    pub(super) fn to(engine: &str, details: &Details) -> Self {
        let service = compose::service_of(&details.labels);
        let service = service.map(|(project, service)| (project.to_owned(), service.to_owned()));
        Self { engine: engine.to_owned(), id: details.id.clone(), service }
    }

    pub(super) fn covers(&self, engine: &str, details: &Details) -> bool {
        let service = self.service.as_ref().map(|(project, service)| (&**project, &**service));
        self.engine == engine
            && (self.id == details.id
                || (service.is_some() && service == compose::service_of(&details.labels)))
    }
}

/// What a labelled container is called for good: whoever recreates it means the same workload.
pub(super) fn lasting_reference(view: &EngineView, details: &Details) -> Reference {
    if let (true, Ok(vmid)) = (view.is_numbered(), details.id.parse()) {
        return Reference::Vmid(vmid);
    }
    match compose::service_of(&details.labels) {
        Some((project, service)) => {
            Reference::Service { project: project.to_owned(), service: service.to_owned() }
        }
        None => Reference::Name(details.name.clone()),
    }
}

/// What is said where a name means several containers: possible only where they have numbers.
pub(super) fn namesakes(
    view: &EngineView,
    containers: &[Arc<Details>],
    reference: &Reference,
) -> Option<String> {
    let Reference::Name(name) = reference else { return None };
    let of_that_name = containers.iter().filter(|one| view.is_numbered() && one.name == *name);
    let several: Vec<String> = of_that_name
        .map(|one| match &one.node {
            Some(node) => format!("{} on node `{node}`", one.id),
            None => one.id.clone(),
        })
        .collect();
    (several.len() > 1).then(|| {
        format!(
            "several containers are called `{name}` ({}): say which one by `vmid`",
            several.join(", ")
        )
    })
}

/// The containers of each compose service: by engine, project and service.
pub(super) struct Services<'a>(HashMap<(&'a str, &'a str, &'a str), Vec<&'a Arc<Details>>>);

impl<'a> Services<'a> {
    pub(super) fn of(inventory: &'a Inventory) -> Self {
        let mut services: HashMap<_, Vec<_>> = HashMap::new();
        for (engine, view) in inventory {
            for details in view.containers.iter().flatten() {
                if let Some((project, service)) = compose::service_of(&details.labels) {
                    let key = (engine.as_str(), project, service);
                    services.entry(key).or_default().push(details);
                }
            }
        }
        Self(services)
    }

    /// The container of an engine that `reference` names, of these.
    pub(super) fn find(
        &self,
        engine: &str,
        containers: &'a [Arc<Details>],
        reference: &Reference,
    ) -> Result<Option<&'a Arc<Details>>, Replicas> {
        let Reference::Service { project, service } = reference else {
            let is_it = |one: &&Arc<Details>| is_named(&one.id, &one.name, &one.labels, reference);
            return Ok(containers.iter().find(is_it));
        };
        self.chosen(engine, project, service)
    }

    /// The container of an engine that a compose service means.
    pub(super) fn chosen(
        &self,
        engine: &str,
        project: &str,
        service: &str,
    ) -> Result<Option<&'a Arc<Details>>, Replicas> {
        let members = self.0.get(&(engine, project, service));
        let members = members.map(Vec::as_slice).unwrap_or_default();
        let chosen = compose::choose(members.iter().map(|details| Member::from(&***details)))?;
        Ok(chosen
            .and_then(|chosen| members.iter().find(|details| details.id == chosen.id).copied()))
    }
}

/// Whether this container is the one that `reference` names, or, of a service, may be.
pub(crate) fn is_named(
    id: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    reference: &Reference,
) -> bool {
    match reference {
        Reference::Name(wanted) => name == wanted,
        Reference::Id(wanted) => match id.parse::<u32>() {
            // The beginning of a number is another number.
            Ok(number) => wanted.parse() == Ok(number),
            // As Docker has it: the beginning of an id will do.
            Err(_) => !wanted.is_empty() && id.starts_with(wanted.as_str()),
        },
        Reference::Service { project, service } => {
            compose::service_of(labels) == Some((project.as_str(), service.as_str()))
        }
        Reference::Vmid(vmid) => id.parse() == Ok(*vmid),
        _ => false,
    }
}
