//! Which containers are never put to sleep, whoever asks for it.

use std::collections::BTreeSet;

use drowse_provider::{
    ContainerStatus, Details, Owner, Reach, Reference, Unusable,
    compose::{self, Member},
};
use drowse_watcher::SleepMethod;

use super::{EngineView, Inventory, PlannedContainer};
use crate::{
    config::Config,
    entrance::{Asked, Sign, may_be_one_machine},
};

/// Why this container must not be put to sleep: each reason a lower-case fragment.
pub(super) fn refusals(
    config: &Config,
    view: &EngineView,
    details: &Details,
    sleep: &SleepMethod,
    may_sleep_under_ha: bool,
) -> Vec<String> {
    [
        template(details),
        way_to_us(config, view, details),
        removed_when_stopped(details, sleep),
        owned(details, may_sleep_under_ha),
    ]
    .into_iter()
    .flatten()
    .chain(ways_to_engines(view, details))
    .collect()
}

/// What is said of a workload that its user wants left alone, by its own name, by what the file calls its
/// container, or, if that could be read, by the container's name, number or compose service. That is no
/// mistake.
pub(super) fn left_alone(
    config: &Config,
    workload: &str,
    container: &PlannedContainer,
    details: Option<&Details>,
) -> Option<String> {
    let PlannedContainer::OnEngine(reference) = container else { return None };
    let called = match reference {
        Reference::Service { service, .. } => service.clone(),
        other => other.to_string(),
    };
    let mut names = BTreeSet::from([workload.to_owned(), called]);
    if let Some(details) = details {
        let service = compose::service_of(&details.labels).map(|(_, service)| service);
        let lasting_name = Member::from(details).lasting_name();
        let its = [Some(details.name.as_str()), Some(&details.id), Some(lasting_name), service];
        names.extend(its.into_iter().flatten().map(str::to_owned));
    }
    let name = config.never_sleep.iter().find(|name| names.contains(*name))?;
    Some(format!("not managed, and never put to sleep: `never_sleep` names `{name}`"))
}

fn template(details: &Details) -> Option<String> {
    let is_template = details.observation.status == ContainerStatus::Error(Unusable::Template);
    is_template.then(|| "it is a template, which never runs: make a container of it".to_owned())
}

/// A socket proxy, or the machine of an engine: without it nothing there could be woken any more, a
/// socket proxy itself included.
fn ways_to_engines(view: &EngineView, details: &Details) -> impl Iterator<Item = String> {
    let asked = match (&view.reach, &view.here.own) {
        (Reach::Routed, _) => Asked::OfMachines,
        (_, Some(_)) => Asked::BehindItFromInside,
        (_, None) => Asked::BehindIt,
    };
    view.entrances.iter().filter_map(move |entrance| {
        let sign = entrance.leads_through(details, asked)?;
        // Names and addresses of machines may be another one's elsewhere.
        let or_else = match (asked, sign) {
            (Asked::OfMachines, Sign::Name) => {
                "; if that is another machine of its name, give the engine's address instead of it"
            }
            (Asked::OfMachines, Sign::Address) => {
                "; if that is another machine in another network, reach the engine at another of its \
                 addresses"
            }
            _ => "",
        };
        Some(format!(
            "engine `{}` is reached through it ({entrance}): if it slept, nothing there could be \
             woken{or_else}",
            entrance.engine()
        ))
    })
}

/// The machine of an engine that is on the machine that drowse runs on: reached by a socket, or one in
/// a container of which drowse runs, by whatever way it is reached. Known by its name where drowse
/// itself is in a container there, and sees no address of it.
pub(super) fn hosts_our_machine(
    inventory: &Inventory,
    view: &EngineView,
    details: &Details,
) -> Option<String> {
    if view.reach != Reach::Routed {
        return None;
    }
    let is_it = |name: &String| may_be_one_machine(name, &details.name);
    let mut here = inventory.iter().filter(|(_, other)| {
        let is_here = matches!(other.reach, Reach::Local | Reach::LocalPublishedOnly)
            || other.here.own.is_some();
        is_here && other.machine.as_ref().is_some_and(is_it)
    });
    let (engine, _) = here.next()?;
    Some(format!(
        "engine `{engine}`, and drowse with it, run on a machine of its name (`{}`): if it slept, \
         nobody would be left to wake it; if that is another machine, give one of them another name",
        details.name
    ))
}

/// A reverse proxy in front of drowse that the configuration names by its address.
fn way_to_us(config: &Config, view: &EngineView, details: &Details) -> Option<String> {
    if !view.addresses_are_ours() {
        return None;
    }
    // What sleeps has those alone that are fixed.
    let networks = details.networks.iter();
    let mut addresses = networks.flat_map(|network| network.addresses.iter().chain(&network.fixed));
    let address = addresses.find(|address| config.trusted_proxies.names(**address))?;
    Some(format!(
        "requests come to drowse through it (`trusted_proxies` names its address {address}): if it \
         slept, nobody could wake it"
    ))
}

fn removed_when_stopped(details: &Details, sleep: &SleepMethod) -> Option<String> {
    let is_deleted = details.removed_when_stopped && !matches!(sleep, SleepMethod::Pause);
    is_deleted.then(|| {
        "it was made with `--rm`: a stop would delete it and its data; make it without, or let it \
         sleep by `pause`"
            .to_owned()
    })
}

fn owned(details: &Details, may_sleep_under_ha: bool) -> Option<String> {
    let owner = match details.owner.as_ref()? {
        Owner::HighAvailability(_) if may_sleep_under_ha => return None,
        Owner::HighAvailability(state) => {
            return Some(format!(
                "high availability manages it ({state}) and is to keep it running: with `ha: true` \
                 in the configuration file it may sleep, and while it sleeps its requested state there is `stopped`"
            ));
        }
        Owner::SwarmService(service) => format!("the Swarm service `{service}`"),
        Owner::SystemdUnit(unit) => format!("the systemd unit `{unit}`"),
        Owner::Pod(pod) => format!("the pod `{pod}`"),
        other => format!("{other:?}"),
    };
    Some(format!("it belongs to {owner}, which would start it again when it sleeps"))
}
