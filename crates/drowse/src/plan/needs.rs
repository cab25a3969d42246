//! What needs what. Whoever is needed and was enabled by nobody joins the plan, and so does whoever
//! needs one that sleeps: both are started when they are needed, and never stopped.

mod find;
mod implicit;
mod rules;
mod unread;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use drowse_provider::{
    Details, Reference,
    compose::{self, DependencyCondition},
};
use drowse_watcher::Condition;

pub(crate) use self::wishes::NeedTarget;
use self::{
    find::{Found, is_holder},
    wishes::Wish,
};
use super::{DefinedIn, Inventory, Plan, Planned, PlannedContainer, Services, is_named, subject};
use crate::config::{Config, Given, Problem, Settings};

/// What a planned workload needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlannedNeeds {
    Of(Vec<PlannedNeed>),
    /// It cannot be: it is not woken, and what runs of it serves on, with what it is known to need.
    InError {
        why: String,
        known: Vec<PlannedNeed>,
    },
}

/// Another workload that one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedNeed {
    /// The other one's name. It may be one that is still to come: an engine was not read yet.
    pub(crate) name: String,
    pub(crate) wanted: Wanted,
    pub(crate) because: Because,
}

/// What is needed of it before a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    Started,
    Ready,
    /// Ready, as the container's own health check has it.
    Healthy,
    Completed,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Because {
    /// It lives in the other one's network.
    Network,
    /// Compose's `depends_on`.
    Compose,
    /// The key `needs`.
    Needs,
}

impl Wanted {
    pub(crate) fn condition(self) -> Condition {
        match self {
            Self::Started => Condition::Started,
            Self::Ready | Self::Healthy => Condition::Ready,
            Self::Completed => Condition::Completed,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }

    fn of_compose(condition: DependencyCondition) -> Option<Self> {
        match condition {
            DependencyCondition::Started => Some(Self::Started),
            DependencyCondition::Healthy => Some(Self::Healthy),
            DependencyCondition::Completed => Some(Self::Completed),
            _ => None,
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Network => "it lives in its network",
            Self::Compose => "compose's `depends_on`",
            Self::Needs => "`needs`",
        })
    }
}

impl Default for PlannedNeeds {
    fn default() -> Self {
        Self::Of(Vec::new())
    }
}

impl PlannedNeeds {
    /// Each of them, as far as they are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PlannedNeed> {
        match self {
            Self::Of(needs) | Self::InError { known: needs, .. } => needs.iter(),
        }
    }

    /// Why it cannot be, if that is so.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Of(_) => None,
            Self::InError { why, .. } => Some(why),
        }
    }
}

/// What has a name and is not in the plan.
#[derive(Debug, Default)]
pub(super) struct Absent {
    /// In error, which was told, or left alone by `never_sleep`: its engine, and its container if that is
    /// there.
    workloads: BTreeMap<String, (String, Option<Arc<Details>>)>,
    /// What the file says that they need, by engine and container: also of one that another workload of the
    /// file has.
    needs: BTreeMap<(String, String), Given<Vec<String>>>,
}

impl Absent {
    pub(super) fn add(&mut self, name: String, engine: String, details: Option<Arc<Details>>) {
        // Of two that claim one name, it is neither's.
        let of_several = self.workloads.contains_key(&name);
        self.workloads.insert(name, (engine, details.filter(|_| !of_several)));
    }

    /// Notes what the file says that a container needs under a name that is not in the plan.
    pub(super) fn add_needs(&mut self, engine: &str, container: &Details, said: &Settings) {
        let Some(needs) = &said.needs else { return };
        self.needs
            .entry((engine.to_owned(), container.id.clone()))
            .and_modify(|known| known.value.extend(needs.value.iter().cloned()))
            .or_insert_with(|| needs.clone());
    }

    /// What was noted of this container.
    fn needs_of(&self, engine: &str, container: &Details) -> Option<&Given<Vec<String>>> {
        self.needs.get(&(engine.to_owned(), container.id.clone()))
    }

    /// Its engine and container, if that is there.
    fn container_of(&self, name: &str) -> Option<(&str, &Arc<Details>)> {
        let (engine, details) = self.workloads.get(name)?;
        Some((engine, details.as_ref()?))
    }
}

/// Gives each workload of the plan what it needs, and adds to the plan what joins it.
pub(super) fn settle(
    plan: &mut Plan,
    absent: &Absent,
    config: &Config,
    inventory: &Inventory,
    services: &Services<'_>,
) {
    let workloads = std::mem::take(&mut plan.workloads);
    let waiting = plan.waiting.iter().map(|waiting| waiting.name.clone()).collect();
    let enabled = workloads.len();
    let by_name = (0..).zip(&workloads).map(|(at, planned)| (planned.name.clone(), at)).collect();
    let mut settling = Settling {
        config,
        inventory,
        services,
        absent,
        waiting,
        enabled,
        needs: vec![Vec::new(); enabled],
        errors: vec![Vec::new(); enabled],
        workloads,
        by_name,
        warnings: Vec::new(),
    };
    // Whoever joins may need more, which joins behind it.
    let mut next = 0;
    while next < settling.workloads.len() {
        settling.find_needs(next);
        settling.find_needs_said_elsewhere(next);
        next += 1;
    }
    settling.add_dependents();
    settling.settle_roles();
    settling.settle_health();
    settling.find_cycles();
    settling.finish(plan);
}

struct Settling<'a> {
    config: &'a Config,
    inventory: &'a Inventory,
    services: &'a Services<'a>,
    absent: &'a Absent,
    /// The workloads of the file whose engines were not read.
    waiting: BTreeSet<String>,
    /// How many of the workloads their user has enabled: the first ones.
    enabled: usize,
    workloads: Vec<Planned>,
    by_name: BTreeMap<String, usize>,
    /// Of each workload, what it needs.
    needs: Vec<Vec<PlannedNeed>>,
    /// Of each workload, why it cannot be.
    errors: Vec<Vec<String>>,
    warnings: Vec<Problem>,
}

impl Settling<'_> {
    fn find_needs(&mut self, at: usize) {
        let planned = &self.workloads[at];
        let (engine, details) = (planned.engine.clone(), planned.details.clone());
        let said = planned.needs_said.as_ref().map(|said| said.value.clone());
        let mut wishes = wishes::by_names(said.unwrap_or_default());
        if let Some(details) = &details {
            let (of_container, unread) = wishes::of_container(details);
            wishes.extend(of_container);
            let told = unread.into_iter().map(|why| {
                let why = format!("left out of compose's `depends_on`: {why}");
                Problem::warning(why).about(subject(&engine, &details.name))
            });
            self.warnings.extend(told);
        }
        for wish in wishes {
            match self.find(at, &engine, &wish) {
                Found::Workload(other) => {
                    let name = self.workloads[other].name.clone();
                    self.need(at, name, &wish);
                }
                Found::MayCome(name) => self.need(at, name, &wish),
                Found::Fulfilled => {}
                Found::Nothing(why) if wish.because == Because::Needs => self.errors[at].push(why),
                Found::Nothing(why) => {
                    let about = subject(&engine, &self.workloads[at].own_name());
                    self.warnings.push(Problem::warning(why).about(about));
                }
            }
        }
    }

    /// Adds what the file says of its container under another name: that is in error, and no reason for
    /// another error, and what runs may need it all the same.
    fn find_needs_said_elsewhere(&mut self, at: usize) {
        let planned = &self.workloads[at];
        let Some(details) = planned.details.as_ref().filter(|_| !planned.is_implicit()) else {
            return;
        };
        let engine = planned.engine.clone();
        let said = self.absent.needs_of(&engine, details).map(|said| said.value.clone());
        for wish in wishes::by_names(said.unwrap_or_default()) {
            match self.find(at, &engine, &wish) {
                Found::Workload(other) if other != at => {
                    let name = self.workloads[other].name.clone();
                    self.need(at, name, &wish);
                }
                Found::MayCome(name) => self.need(at, name, &wish),
                Found::Workload(_) | Found::Fulfilled | Found::Nothing(_) => {}
            }
        }
    }

    /// Adds a need to what one workload needs.
    fn need(&mut self, at: usize, name: String, wish: &Wish) {
        let Some(known) = self.needs[at].iter_mut().find(|known| known.name == name) else {
            let (wanted, because) = (wish.wanted, wish.because);
            self.needs[at].push(PlannedNeed { name, wanted, because });
            return;
        };
        if wish.because == Because::Network && known.wanted == Wanted::Completed {
            self.errors[at].push(format!(
                "it needs `{name}` to complete, and lives in its network, which is gone then"
            ));
        }
        // Whoever names a job says that it is needed, and not as what.
        known.wanted = known.wanted.max(wish.wanted);
        known.because = known.because.max(wish.because);
    }

    /// Hands it all to the plan, which keeps its order: who joins comes last.
    fn finish(self, plan: &mut Plan) {
        let awaited = self.awaited();
        let Self { config, mut workloads, needs, errors, warnings, .. } = self;
        for ((planned, needs), errors) in workloads.iter_mut().zip(needs).zip(errors) {
            planned.needs = if errors.is_empty() {
                PlannedNeeds::Of(needs)
            } else {
                plan.problems.extend(errors.iter().map(|why| problem(config, planned, why)));
                PlannedNeeds::InError { why: errors.join("; "), known: needs }
            };
        }
        plan.workloads = workloads;
        plan.awaited = awaited;
        plan.problems.extend(warnings);
    }
}

/// What is wrong with what a workload needs, where that is said.
fn problem(config: &Config, planned: &Planned, why: &str) -> Problem {
    let in_file = config.workloads.iter().find(|it| it.name == planned.name);
    match in_file.filter(|_| planned.from == DefinedIn::File) {
        Some(workload) => {
            let place = planned.needs_said.as_ref().and_then(|said| said.origin.place());
            Problem::error(format!("workload `{}`: {why}", planned.name))
                .at(place.unwrap_or(&workload.place))
        }
        None => Problem::error(why).about(subject(&planned.engine, &planned.own_name())),
    }
}

impl Planned {
    /// Whether its user did not enable it: others need it, or it needs others.
    pub(crate) fn is_implicit(&self) -> bool {
        self.from == DefinedIn::Needs
    }

    /// The names of what it needs.
    pub(crate) fn needed(&self) -> impl Iterator<Item = &str> {
        self.needs.iter().map(|need| &*need.name)
    }

    /// What its container is called, where it is there.
    fn own_name(&self) -> String {
        let details = self.details.as_ref();
        details.map_or_else(|| self.container_name(), |details| details.name.clone())
    }

    /// Whether it manages this container.
    fn is_about(&self, engine: &str, details: &Details) -> bool {
        self.engine == engine
            && (self.details.as_ref().is_some_and(|own| own.id == details.id)
                || match &self.container {
                    // While an update replaces it, a service has two.
                    PlannedContainer::OnEngine(reference) => {
                        is_named(&details.id, &details.name, &details.labels, reference)
                    }
                    PlannedContainer::Process(_) => false,
                })
    }

    fn is_of_service(&self, project: &str, service: &str) -> bool {
        let wanted = Some((project, service));
        let own = self.details.as_ref();
        own.is_some_and(|own| compose::service_of(&own.labels) == wanted)
            || matches!(
                &self.container,
                PlannedContainer::OnEngine(Reference::Service { project: p, service: s })
                    if p == project && s == service
            )
    }
}

#[cfg(test)]
mod tests;
