//! What a planned workload and its container are called, and where it is: for logs and tables.

use drowse_provider::Reference;

use super::{Planned, PlannedContainer, PlannedPortRoute, PlannedRoute};
use crate::labels;

impl Planned {
    /// What a user asks for, or connects to.
    pub(crate) fn urls(&self) -> Vec<String> {
        let by_port = self.port_routes.iter().flat_map(PlannedPortRoute::urls);
        self.routes.iter().flat_map(PlannedRoute::urls).chain(by_port).collect()
    }

    /// Whether traffic finds it.
    pub(crate) fn has_routes(&self) -> bool {
        !(self.routes.is_empty() && self.port_routes.is_empty())
    }

    /// How the container is named to its engine: for logs, and as long as the workload is the same.
    pub(crate) fn container_name(&self) -> String {
        match &self.container {
            PlannedContainer::OnEngine(reference) => reference.to_string(),
            PlannedContainer::Process(_) => self.name.clone(),
        }
    }

    /// How people call the container: for tables.
    pub(crate) fn shown_name(&self) -> String {
        match (&self.container, &self.details) {
            (PlannedContainer::OnEngine(Reference::Vmid(_)), Some(details)) => details.name.clone(),
            _ => self.container_name(),
        }
    }

    /// The number that its cluster gives it, where its engine is one.
    pub(crate) fn vmid(&self) -> Option<u32> {
        match (&self.container, &self.details) {
            (PlannedContainer::OnEngine(Reference::Vmid(vmid)), _) => Some(*vmid),
            (_, Some(details)) => details.node.as_ref().and(details.id.parse().ok()),
            _ => None,
        }
    }

    /// Its tags, where its engine has numbers and tags.
    pub(crate) fn tags(&self) -> Vec<String> {
        let Some(details) = self.details.as_ref().filter(|_| self.vmid().is_some()) else {
            return Vec::new();
        };
        details.labels.keys().filter(|label| !labels::is_ours(label)).cloned().collect()
    }

    /// What works on the container and keeps orders from it, as it was last read.
    pub(crate) fn lock(&self) -> Option<String> {
        self.details.as_ref()?.observation.lock.clone()
    }

    /// The machine of its engine that it is on, where there are several.
    pub(crate) fn node(&self) -> Option<String> {
        self.details.as_ref()?.node.clone()
    }
}
