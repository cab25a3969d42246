//! Which containers are never put to sleep, whoever asks for it.

use drowse_provider::{Details, Owner};
use drowse_watcher::SleepMethod;

use super::Inventory;
use crate::config::Config;

/// Why this container must not be put to sleep: each reason a lower-case fragment.
pub(super) fn refusals(
    config: &Config,
    inventory: &Inventory,
    workload: &str,
    details: &Details,
    sleep: &SleepMethod,
) -> Vec<String> {
    [
        named_by_the_user(config, workload, details),
        way_to_an_engine(inventory, details),
        removed_when_stopped(details, sleep),
        owned(details),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn named_by_the_user(config: &Config, workload: &str, details: &Details) -> Option<String> {
    let is_meant = |name: &String| *name == details.name || name == workload;
    let name = config.never_sleep.iter().find(|name| is_meant(name))?;
    Some(format!("`never_sleep` of the configuration names `{name}`, so it is left alone"))
}

/// A socket proxy: without it nothing could be woken any more, itself included.
fn way_to_an_engine(inventory: &Inventory, details: &Details) -> Option<String> {
    inventory.iter().find_map(|(engine, view)| {
        let from_inside = view.here.own.is_some();
        let entrance = view.entrance.as_ref();
        let entrance = entrance.filter(|entrance| entrance.is(details, from_inside))?;
        Some(format!(
            "engine `{engine}` is reached through it ({entrance}): if it slept, nothing could be \
             woken"
        ))
    })
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
