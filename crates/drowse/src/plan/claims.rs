//! Who claims a name or a host first, and so keeps it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use drowse_gateway::{HostPattern, PathPrefix};
use drowse_provider::Details;

use super::{DefinedIn, EngineView, Inventory, Planned, is_named, subject};
use crate::{
    config::{Config, ContainerConfig},
    labels::{self, Reading},
};

/// The hosts that the file or a label gives to somebody, and to whom. Notes can claim none of them,
/// under no path: who edits them would get what is meant for the rest of the host, such as passwords
/// and cookies.
pub(super) struct Reserved(Vec<(HostPattern, String)>);

impl Reserved {
    pub(super) fn of(config: &Config, inventory: &Inventory) -> Self {
        let mut reserved = Vec::new();
        for workload in &config.workloads {
            for host in workload.routes.iter().flatten().flat_map(|route| &route.hosts) {
                let whose = format!("workload `{}`", workload.name);
                reserved.extend(host.value.iter().map(|host| (host.clone(), whose.clone())));
            }
        }
        for (engine, view) in inventory.iter().filter(|(_, view)| !view.is_numbered()) {
            for details in view.containers.iter().flatten() {
                // What is in error now gets its hosts when it is mended.
                let (Reading::Enabled(labelled) | Reading::Wrong { rest: labelled, .. }) =
                    view.dialect.read(&details.labels)
                else {
                    continue;
                };
                if labelled.routes.is_empty() || has_routes_of_the_file(config, engine, details) {
                    continue;
                }
                let whose = format!("container `{}` on engine `{engine}`", details.name);
                let hosts = labelled.routes.into_iter().filter_map(|route| route.hosts);
                let hosts = hosts.flat_map(|hosts| hosts.value);
                reserved.extend(hosts.map(|host| (host, whose.clone())));
            }
        }
        Self(reserved)
    }

    /// Why notes cannot claim this, if they cannot.
    pub(super) fn refuse(&self, host: &HostPattern, path: &PathPrefix) -> Option<String> {
        let (theirs, whose) = self.0.iter().find(|(theirs, _)| labels::covers(theirs, host))?;
        Some(format!(
            "notes cannot claim `{host}{path}`: {whose} has `{theirs}`, and who edits notes must not \
             get a part of it: claim another host, or say it of a workload in the configuration file"
        ))
    }
}

/// Whether the file says other routes than the container's labels.
fn has_routes_of_the_file(config: &Config, on: &str, details: &Details) -> bool {
    config.workloads.iter().filter(|workload| workload.routes.is_some()).any(|workload| {
        match &workload.container {
            ContainerConfig::OnEngine { engine, reference } => {
                engine == on && is_named(&details.id, &details.name, &details.labels, reference)
            }
            ContainerConfig::Process(_) => false,
        }
    })
}

/// What one workload alone can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Name(String),
    Route(HostPattern, PathPrefix),
}

impl Claim {
    fn all_of(planned: &Planned) -> impl Iterator<Item = Self> {
        let routes = planned.routes.iter().flat_map(|route| {
            route.hosts.iter().map(|host| Self::Route(host.clone(), route.path.clone()))
        });
        std::iter::once(Self::Name(planned.name.clone())).chain(routes)
    }

    /// What is said to who claims what `owner` has.
    fn is_taken_by(&self, owner: &Planned) -> String {
        match self {
            Self::Name(_) => name_is_taken_by(owner),
            Self::Route(host, path) => route_is_taken_by(host, path, &owner.name),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(formatter, "the name `{name}`"),
            Self::Route(host, path) => write!(formatter, "`{host}{path}`"),
        }
    }
}

pub(super) fn name_is_taken_by(owner: &Planned) -> String {
    format!(
        "container `{}` on engine `{}` is the workload `{}` already: give this one another name with \
         `drowse.name`",
        owner.container_name(),
        owner.engine,
        owner.name,
    )
}

pub(super) fn route_is_taken_by(host: &HostPattern, path: &PathPrefix, owner: &str) -> String {
    format!("`{host}{path}` is taken by workload `{owner}`")
}

/// Who has what until now: each container by its engine's name and its id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incumbents(BTreeMap<Claim, (String, String)>);

impl Incumbents {
    /// Those of these plans; of several that had the same, the first.
    pub(crate) fn of<'a>(managed: impl Iterator<Item = &'a Planned>) -> Self {
        let mut owners = BTreeMap::new();
        for planned in managed {
            let Some(details) = &planned.details else { continue };
            for claim in Claim::all_of(planned) {
                let owner = || (planned.engine.clone(), details.id.clone());
                owners.entry(claim).or_insert_with(owner);
            }
        }
        Self(owners)
    }

    fn has(&self, planned: &Planned, claim: &Claim) -> bool {
        self.0.get(claim).is_some_and(|(engine, id)| {
            *engine == planned.engine && planned.details.as_ref().is_some_and(|it| it.id == *id)
        })
    }
}

/// Decides between those of no known age, as on Proxmox. A clone says whatever its original says: who
/// has something already keeps it. Where nobody has it, nothing tells the original, and a clone that is
/// woken and served in its place gets what is written from then on: none of them is managed, until all
/// but one let go. With each, what is wrong with its claims.
pub(super) fn settle(
    candidates: Vec<Planned>,
    incumbents: &Incumbents,
) -> Vec<(Planned, Vec<String>)> {
    let mut claimants: BTreeMap<Claim, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for claim in Claim::all_of(candidate) {
            claimants.entry(claim).or_default().push(index);
        }
    }
    let mut mistakes = vec![Vec::new(); candidates.len()];
    claimants.retain(|claim, all| {
        let owner = all.iter().find(|one| incumbents.has(&candidates[**one], claim));
        let Some(owner) = owner else { return true };
        for other in all.iter().filter(|other| *other != owner) {
            mistakes[*other].push(claim.is_taken_by(&candidates[*owner]));
        }
        false
    });
    let is_out: Vec<bool> = mistakes.iter().map(|mistakes| !mistakes.is_empty()).collect();
    for (claim, mut rivals) in claimants {
        rivals.retain(|one| !is_out[*one]);
        for one in &rivals {
            let others = rivals.iter().filter(|other| *other != one).map(|other| {
                let other = &candidates[*other];
                subject(&other.engine, &other.container_name())
            });
            let others: Vec<String> = others.collect();
            if !others.is_empty() {
                mistakes[*one].push(format!(
                    "{claim} is claimed by {} as well, and nothing tells whose it is: name one in the \
                     configuration file, or take {} off the clone",
                    others.join(", "),
                    match candidates[*one].from {
                        DefinedIn::Tag => "the tag `drowse`",
                        DefinedIn::File | DefinedIn::Labels | DefinedIn::Needs => "the label `drowse.enable`",
                    },
                ));
            }
        }
    }
    candidates.into_iter().zip(mistakes).collect()
}

/// All containers, in the order in which they claim: the oldest first.
pub(super) fn in_order(inventory: &Inventory) -> Vec<(&str, &EngineView, &Arc<Details>)> {
    let mut all: Vec<_> = inventory
        .iter()
        .flat_map(|(engine, view)| {
            let containers = view.containers.as_deref().unwrap_or_default();
            containers.iter().map(move |details| (engine.as_str(), view, details))
        })
        .collect();
    all.sort_by_cached_key(|(_, _, details)| (age(details), number(&details.id)));
    all
}

/// An unknown age counts as young.
fn age(details: &Details) -> (bool, Option<SystemTime>) {
    (details.created.is_none(), details.created)
}

/// So that numbers are compared by their values.
fn number(id: &str) -> (Option<u32>, String) {
    (id.parse().ok(), id.to_owned())
}
