//! Which of an engine's containers concern us: those that are to be managed, whatever these need, and
//! who needs one of them. All of that is in the engine's one list, and in its events.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use drowse_provider::{Details, NetworkMode, Reference, Summary, compose};

use crate::{
    labels::{self, Dialect},
    plan::is_named,
};

/// What is wanted on an engine.
pub(super) struct Wanted {
    /// What the file names on it.
    pub(super) references: Arc<[Reference]>,
    /// What the file's workloads there need, by names, which may be those of containers there.
    pub(super) needed: Arc<[String]>,
    /// How its containers say that they are to be managed.
    pub(super) dialect: Dialect,
}

impl Wanted {
    /// Whether this container is to be managed, or says something of that.
    fn includes(&self, id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.dialect.concerns_us(labels) || self.is_in_file(id, name, labels)
    }

    fn is_in_file(&self, id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.references.iter().any(|reference| is_named(id, name, labels, reference))
    }

    /// Whether labels are as they were. Of notes, a list has those of the tagged ones alone.
    pub(super) fn are_same(
        &self,
        known: &BTreeMap<String, String>,
        listed: &BTreeMap<String, String>,
    ) -> bool {
        if !self.has_notes() || self.dialect.concerns_us(listed) {
            return known == listed;
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
    /// The container whose network it lives in, by id or name.
    lives_in: Option<String>,
}

impl Census {
    /// Of these containers.
    pub(super) fn of(wanted: &Wanted, list: &[Summary]) -> Self {
        let citizen = |one: &Summary| {
            let lives_in = holder(&one.network_mode);
            (one.id.clone(), Citizen::new(wanted, &one.id, &one.name, &one.labels, lives_in))
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
        let lives_in = known.and_then(|known| known.lives_in.clone());
        let mut citizen = Citizen::new(wanted, id, name, labels, lives_in);
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
        let citizen = Citizen::new(wanted, id, name, labels, holder(network_mode));
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

    /// Finds out anew who concerns us.
    fn count(&mut self, wanted: &Wanted) {
        let index = Index::of(&self.all);
        let roots = self.all.iter().filter(|(_, one)| one.is_wanted).map(|(id, _)| id.as_str());
        let mut concerned: BTreeSet<&str> = roots.collect();
        let by_file = wanted.needed.iter().flat_map(|name| index.called(name));
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
        lives_in: Option<String>,
    ) -> Self {
        let (project, service) = match compose::service_of(labels) {
            Some((project, service)) => (Some(project), Some(service)),
            None => (compose::project_of(labels), None),
        };
        // What is wrong with it is told where it is planned.
        let needs = wanted.dialect.needs(labels).ok().flatten();
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
            lives_in,
        }
    }

    /// The ids of the containers that it needs.
    fn needs<'a>(&'a self, index: &Index<'a>) -> impl Iterator<Item = &'a str> {
        let by_service = self.depends_on.iter().flat_map(|service| {
            let project = self.project.as_deref();
            project.map_or(&[][..], |project| index.serving(project, service))
        });
        let by_name = self.needs.iter().flat_map(|name| index.called(name));
        let holder = self.lives_in.iter().flat_map(|holder| index.holding(holder));
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

fn holder(mode: &NetworkMode) -> Option<String> {
    match mode {
        NetworkMode::Container(holder) => Some(holder.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use drowse_provider::ContainerStatus;

    use super::*;

    fn one(name: &str, labels: &[(&str, &str)]) -> Summary {
        let labels =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Summary::new(format!("id-{name}"), name, labels, ContainerStatus::Stopped)
    }

    fn of_shop(name: &str, depends_on: &str, more: &[(&str, &str)]) -> Summary {
        let own = [
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", name),
            ("com.docker.compose.depends_on", depends_on),
        ];
        one(name, &[&own, more].concat())
    }

    fn in_network_of(summary: Summary, holder: &str) -> Summary {
        summary.with_networks(NetworkMode::Container(holder.to_owned()), Vec::new())
    }

    const ENABLED: (&str, &str) = ("drowse.enable", "true");

    fn wanted(references: &[&str], needed: &[&str]) -> Wanted {
        Wanted {
            references: references.iter().map(|name| Reference::Name((*name).to_owned())).collect(),
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            dialect: Dialect::Labels,
        }
    }

    fn names(census: &Census) -> Vec<&str> {
        census.concerned().map(|(_, name, _)| name).collect()
    }

    #[test]
    fn what_is_needed_concerns_us_and_whatever_that_needs() {
        let list = [
            of_shop("web", "db:service_healthy:false", &[ENABLED]),
            of_shop("db", "disk:service_started:false", &[]),
            of_shop("disk", "", &[]),
            of_shop("other", "", &[]),
            one("app", &[ENABLED, ("drowse.needs", "cache")]),
            in_network_of(one("cache", &[]), "id-vpn"),
            one("vpn", &[]),
            one("stranger", &[("drowse.needs", "other")]),
            one("wiki", &[]),
            one("mail", &[]),
        ];
        let census = Census::of(&wanted(&["wiki"], &["mail"]), &list);
        // The stranger is not enabled, and says what it needs as well as compose's label would.
        let expected =
            ["app", "cache", "db", "disk", "mail", "other", "stranger", "vpn", "web", "wiki"];
        assert_eq!(names(&census), expected);
        assert!(census.concerned().all(|(_, name, is_in_file)| is_in_file == (name == "wiki")));
    }

    #[test]
    fn who_needs_one_that_may_sleep_concerns_us_and_not_what_it_needs_besides() {
        let list = [
            of_shop("db", "", &[ENABLED]),
            of_shop("admin", "db:service_started:false,cache:service_started:false", &[]),
            of_shop("cache", "", &[]),
            of_shop("cron", "cache:service_started:false", &[]),
            one("vpn", &[ENABLED]),
            in_network_of(one("guest", &[]), "vpn"),
        ];
        assert_eq!(names(&Census::of(&wanted(&[], &[]), &list)), ["admin", "db", "guest", "vpn"]);
    }

    #[test]
    fn who_comes_and_goes_is_counted() {
        let wanted = wanted(&[], &[]);
        let mut census = Census::of(&wanted, &[of_shop("db", "", &[])]);
        assert!(names(&census).is_empty());
        let web = of_shop("web", "db:service_started:false", &[ENABLED]);
        census.heard_of(&wanted, &web.id, &web.name, &web.labels);
        assert_eq!(names(&census), ["db", "web"]);
        // Only a read tells of its network.
        let mut guest = Details::new(
            "id-guest",
            "guest",
            drowse_provider::Observation::new(ContainerStatus::Stopped, None),
        );
        census.heard_of(&wanted, &guest.id, &guest.name, &guest.labels);
        assert!(!census.concerns_us("id-guest"));
        guest.network_mode = NetworkMode::Container("id-web".to_owned());
        census.learn(&wanted, &guest);
        assert!(census.concerns_us("id-guest"));
        census.forget("id-guest");
        assert_eq!(names(&census), ["db", "web"]);
    }
}
