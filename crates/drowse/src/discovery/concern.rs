//! Which of an engine's containers concern us: those that are to be managed, whatever these need, and
//! who needs one of them. All of that is in the engine's one list, and in its events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use drowse_provider::{Details, NetworkMode, Summary, compose};

use crate::{
    engines::InFile,
    labels::{self, Dialect},
    plan::{Crowds, NeedTarget, is_named},
    whereabouts::Whereabouts,
};

/// What is wanted on an engine.
pub(super) struct Wanted {
    pub(super) in_file: InFile,
    /// How its containers say that they are to be managed.
    pub(super) dialect: Dialect,
}

impl Wanted {
    /// Whether this container is to be managed, or says something of that.
    fn includes(&self, id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.dialect.concerns_us(labels) || self.is_in_file(id, name, labels)
    }

    fn is_in_file(&self, id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.in_file.references.iter().any(|reference| is_named(id, name, labels, reference))
    }

    /// Of a container's labels, those that anything here depends on. The others are most of them, and
    /// would be most of the memory of a container that sleeps.
    pub(super) fn of_concern(&self, labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        // Collected, not retained: a map that has shrunk has the room of what it was.
        labels.into_iter().filter(|(label, _)| self.is_of_concern(label)).collect()
    }

    fn is_of_concern(&self, label: &str) -> bool {
        // Of a machine with notes all labels are its tags, and what its notes say to us.
        self.has_notes() || labels::is_ours(label) || compose::is_read(label)
    }

    /// Whether labels are as they were, as far as they are of concern. Of notes, a list has those of the
    /// tagged ones alone.
    pub(super) fn are_same(
        &self,
        known: &BTreeMap<String, String>,
        listed: &BTreeMap<String, String>,
    ) -> bool {
        if !self.has_notes() || self.dialect.concerns_us(listed) {
            return known.iter().eq(listed.iter().filter(|(label, _)| self.is_of_concern(label)));
        }
        let tags = |labels: &BTreeMap<String, String>| -> Vec<String> {
            labels.keys().filter(|key| !labels::is_ours(key)).cloned().collect()
        };
        tags(known) == tags(listed)
    }

    /// Whether its containers are machines with numbers and notes (Proxmox), which are edited in place.
    pub(super) fn has_notes(&self) -> bool {
        matches!(self.dialect, Dialect::Notes { .. })
    }
}

/// All containers of an engine, as far as it matters whom they concern.
#[derive(Default)]
pub(super) struct Census {
    all: BTreeMap<String, Citizen>,
    /// Those that concern us, by id.
    concerned: BTreeSet<String>,
}

/// A container, and what it says of others.
#[derive(Debug, PartialEq, Eq)]
struct Citizen {
    name: String,
    is_in_file: bool,
    /// Whether it is to be managed, or says something of that.
    is_wanted: bool,
    project: Option<String>,
    /// Its place in that project.
    service: Option<String>,
    /// The services that it needs, of its project.
    depends_on: Vec<String>,
    /// Workloads or containers that its label says that it needs.
    needs: Vec<String>,
    network: Network,
}

/// In whose network a container lives.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Network {
    /// In nobody else's.
    Own,
    /// In that of this container, by id or name.
    Of(String),
    /// Nobody has said so yet.
    Untold,
}

impl Census {
    /// Of these containers.
    pub(super) fn of(wanted: &Wanted, list: &[Summary]) -> Self {
        let citizen = |one: &Summary| {
            let network = Network::listed(one);
            (one.id.clone(), Citizen::new(wanted, &one.id, &one.name, &one.labels, network))
        };
        let mut census = Self { all: list.iter().map(citizen).collect(), ..Self::default() };
        census.count(wanted);
        census
    }

    /// Takes in a container of which an event tells.
    pub(super) fn heard_of(
        &mut self,
        wanted: &Wanted,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) {
        // Events say nothing of networks, and those of some engines nothing of labels.
        let known = self.all.get(id);
        let network = known.map_or(Network::Untold, |known| known.network.clone());
        let mut citizen = Citizen::new(wanted, id, name, labels, network);
        if let Some(known) = known
            && citizen.project.is_none()
            && !citizen.is_wanted
        {
            let Citizen { project, service, depends_on, needs, is_in_file, is_wanted, .. } = known;
            citizen.project.clone_from(project);
            citizen.service.clone_from(service);
            citizen.depends_on.clone_from(depends_on);
            citizen.needs.clone_from(needs);
            (citizen.is_in_file, citizen.is_wanted) = (*is_in_file, *is_wanted);
        }
        self.put(wanted, id, citizen);
    }

    /// Takes in a container that was read.
    pub(super) fn learn(&mut self, wanted: &Wanted, details: &Details) {
        let Details { id, name, labels, network_mode, .. } = details;
        let citizen = Citizen::new(wanted, id, name, labels, Network::of(network_mode));
        self.put(wanted, id, citizen);
    }

    /// Counting takes long where there are thousands: a read mostly shows what the list did.
    fn put(&mut self, wanted: &Wanted, id: &str, citizen: Citizen) {
        if self.all.get(id) != Some(&citizen) {
            self.all.insert(id.to_owned(), citizen);
            self.count(wanted);
        }
    }

    /// A container is gone. Whoever concerned us for its sake does until the next list.
    pub(super) fn forget(&mut self, id: &str) {
        self.all.remove(id);
        self.concerned.remove(id);
    }

    /// Whether this container concerns us.
    pub(super) fn concerns_us(&self, id: &str) -> bool {
        self.concerned.contains(id)
    }

    /// Those that concern us, each with its name and whether the file names it.
    pub(super) fn concerned(&self) -> impl Iterator<Item = (&String, &str, bool)> {
        self.concerned.iter().filter_map(|id| {
            let citizen = self.all.get(id)?;
            Some((id, citizen.name.as_str(), citizen.is_in_file))
        })
    }

    /// What a container needs; `None` if what was told of it does not tell that.
    pub(super) fn needs_of(&self, id: &str) -> Option<Vec<NeedTarget>> {
        self.all.get(id)?.targets()
    }

    /// Finds out anew who concerns us.
    fn count(&mut self, wanted: &Wanted) {
        let index = Index::of(&self.all);
        let roots = self.all.iter().filter(|(_, one)| one.is_wanted).map(|(id, _)| id.as_str());
        let mut concerned: BTreeSet<&str> = roots.collect();
        let by_file = wanted.in_file.needed.iter().flat_map(|name| index.called(name));
        let mut open: Vec<&str> = concerned.iter().copied().chain(by_file).collect();
        concerned.extend(&open);
        while let Some(id) = open.pop() {
            for needed in self.all[id].needs(&index) {
                if concerned.insert(needed) {
                    open.push(needed);
                }
            }
        }
        // Who needs one that may sleep. What these need besides is never started for their sake.
        for (id, one) in &self.all {
            if one.needs(&index).any(|needed| self.all[needed].is_wanted) {
                concerned.insert(id);
            }
        }
        self.concerned = concerned.into_iter().map(str::to_owned).collect();
    }
}

impl Citizen {
    fn new(
        wanted: &Wanted,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
        network: Network,
    ) -> Self {
        let (project, service) = match compose::service_of(labels) {
            Some((project, service)) => (Some(project), Some(service)),
            None => (compose::project_of(labels), None),
        };
        // What is wrong with it is told where it is planned.
        let needs = wanted.dialect.readable_needs(labels);
        Self {
            name: name.to_owned(),
            is_in_file: wanted.is_in_file(id, name, labels),
            is_wanted: wanted.includes(id, name, labels),
            depends_on: compose::dependencies_of(labels)
                .filter_map(|said| Some(said.ok()?.service))
                .collect(),
            project: project.map(str::to_owned),
            service: service.map(str::to_owned),
            needs: needs.map(|needs| needs.value).unwrap_or_default(),
            network,
        }
    }

    /// The services of its project that it needs.
    fn services(&self) -> impl Iterator<Item = (&str, &str)> {
        let of = |project| self.depends_on.iter().map(move |service| (project, service.as_str()));
        self.project.as_deref().into_iter().flat_map(of)
    }

    fn holder(&self) -> Option<&str> {
        match &self.network {
            Network::Of(holder) => Some(holder),
            Network::Own | Network::Untold => None,
        }
    }

    /// What it needs, whoever that is, if all of it was told.
    fn targets(&self) -> Option<Vec<NeedTarget>> {
        if self.network == Network::Untold {
            return None;
        }
        let by_service = self.services().map(|(project, service)| NeedTarget::Service {
            project: project.to_owned(),
            service: service.to_owned(),
        });
        let by_name = self.needs.iter().cloned().map(NeedTarget::Called);
        let holder = self.holder().map(|holder| NeedTarget::Holder(holder.to_owned()));
        Some(by_service.chain(by_name).chain(holder).collect())
    }

    /// The ids of the containers that it needs.
    fn needs<'a>(&'a self, index: &Index<'a>) -> impl Iterator<Item = &'a str> {
        let by_service =
            self.services().flat_map(|(project, service)| index.serving(project, service));
        let by_name = self.needs.iter().flat_map(|name| index.called(name));
        let holder = self.holder().into_iter().flat_map(|holder| index.holding(holder));
        by_service.copied().chain(by_name).chain(holder)
    }
}

/// Containers by what others call them.
struct Index<'a> {
    all: &'a BTreeMap<String, Citizen>,
    by_name: HashMap<&'a str, Vec<&'a str>>,
    by_service: HashMap<(&'a str, &'a str), Vec<&'a str>>,
}

impl<'a> Index<'a> {
    fn of(all: &'a BTreeMap<String, Citizen>) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        let mut by_service: HashMap<_, Vec<_>> = HashMap::new();
        for (id, one) in all {
            by_name.entry(one.name.as_str()).or_default().push(id.as_str());
            if let (Some(project), Some(service)) = (&one.project, &one.service) {
                let key = (project.as_str(), service.as_str());
                by_service.entry(key).or_default().push(id.as_str());
            }
        }
        Self { all, by_name, by_service }
    }

    /// Of that name, or of that number.
    fn called(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let by_name = self.by_name.get(name).cloned().unwrap_or_default();
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        let by_number = is_number.then(|| self.all.get_key_value(name)).flatten();
        by_name.into_iter().chain(by_number.map(|(id, _)| id.as_str()))
    }

    fn serving(&self, project: &'a str, service: &'a str) -> &[&'a str] {
        self.by_service.get(&(project, service)).map_or(&[], Vec::as_slice)
    }

    fn holding(&self, holder: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let by_id = self.all.get_key_value(holder).map(|(id, _)| id.as_str());
        let by_name = self.by_name.get(holder).cloned().unwrap_or_default();
        by_id.into_iter().chain(by_name)
    }
}

impl Network {
    fn of(mode: &NetworkMode) -> Self {
        match mode {
            NetworkMode::Container(holder) => Self::Of(holder.clone()),
            _ => Self::Own,
        }
    }

    /// As a list tells it: not every engine's list says in whose network a container lives, and then it
    /// says that it is on none.
    fn listed(one: &Summary) -> Self {
        match &one.network_mode {
            NetworkMode::Networks if one.networks.is_empty() => Self::Untold,
            mode => Self::of(mode),
        }
    }
}

/// Who of a list is on which network, without those that concern us and without ourselves.
pub(super) fn crowds(list: &[Summary], census: &Census, whereabouts: &Whereabouts) -> Crowds {
    Crowds::of(list.iter().filter(|one| {
        one.status.is_alive()
            && !whereabouts.may_be(&one.id, &one.name)
            && !census.concerns_us(&one.id)
    }))
}

#[cfg(test)]
mod tests;
