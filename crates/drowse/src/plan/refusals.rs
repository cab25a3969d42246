//! Which containers are never put to sleep, whoever asks for it.

use drowse_provider::{
    Details, Owner,
    compose::{self, Member},
};
use drowse_watcher::SleepMethod;

use super::EngineView;
use crate::config::Config;

/// Why this container must not be put to sleep: each reason a lower-case fragment.
pub(super) fn refusals(
    config: &Config,
    view: &EngineView,
    details: &Details,
    sleep: &SleepMethod,
) -> Vec<String> {
    [
        way_to_its_engine(view, details),
        way_to_us(config, view, details),
        removed_when_stopped(details, sleep),
        owned(details),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is said of a container that its user wants left alone, by its own name, its workload's or its
/// compose service's. That is no mistake.
pub(super) fn left_alone(config: &Config, workload: &str, details: &Details) -> Option<String> {
    let service = compose::service_of(&details.labels).map(|(_, service)| service);
    let lasting_name = Member::from(details).lasting_name();
    let names = [Some(workload), Some(&details.name), Some(lasting_name), service];
    let name = config.never_sleep.iter().find(|name| names.contains(&Some(name)))?;
    Some(format!("not managed, and never put to sleep: `never_sleep` names `{name}`"))
}

/// A socket proxy: without it nothing could be woken any more, itself included.
fn way_to_its_engine(view: &EngineView, details: &Details) -> Option<String> {
    let entrance = view.entrance.as_ref()?;
    entrance.is(details, view.here.own.is_some()).then(|| {
        format!(
            "its engine is reached through it ({entrance}): if it slept, nothing could be woken"
        )
    })
}

/// A reverse proxy in front of drowse that the configuration names by its address.
fn way_to_us(config: &Config, view: &EngineView, details: &Details) -> Option<String> {
    if !view.addresses_are_ours() {
        return None;
    }
    let addresses = details.networks.iter().flat_map(|network| &network.addresses);
    let address = addresses.copied().find(|address| config.trusted_proxies.names(*address))?;
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

fn owned(details: &Details) -> Option<String> {
    let owner = match details.owner.as_ref()? {
        Owner::SwarmService(service) => format!("the Swarm service `{service}`"),
        Owner::SystemdUnit(unit) => format!("the systemd unit `{unit}`"),
        Owner::Pod(pod) => format!("the pod `{pod}`"),
        Owner::HighAvailability(state) => format!("high availability management ({state})"),
        other => format!("{other:?}"),
    };
    Some(format!("it belongs to {owner}, which would start it again when it sleeps"))
}
