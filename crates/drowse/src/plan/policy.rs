//! How a workload sleeps, from what is said of it, what its engine can do and what its container
//! allows.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use drowse_gateway::PassiveRule;
use drowse_provider::{Capabilities, Details, RestartPolicy, Signal, StopOptions, Support};
use drowse_watcher::{Policy, SleepMethod};

use crate::config::{Given, Origin, Settings, Sleep};

/// The number of SIGPWR, which asks the init of a system container to end.
const POWER_FAILURE: u8 = 30;

/// How long a workload stays awake after its last use, unless it says otherwise.
const DEFAULT_IDLE: Duration = Duration::from_mins(15);

/// After an adoption idle times are stretched by up to a tenth, and no more than this.
const LARGEST_JITTER: Duration = Duration::from_mins(1);

/// The policy that comes of what is said, and what of it cannot be.
pub(super) fn policy(
    name: &str,
    own: Settings,
    defaults: &Settings,
    capabilities: &Capabilities,
    details: Option<&Details>,
    mistakes: &mut Vec<String>,
) -> Policy {
    let own_stop_keys = [
        own.stop_signal.as_ref().map(key_of("stop_signal")),
        own.stop_timeout.as_ref().map(key_of("stop_timeout")),
    ];
    let settings = own.or(defaults);
    let sleep = settings.sleep.map_or(Sleep::Stop, |sleep| sleep.value);
    if sleep != Sleep::Stop {
        // A default may be meant for others; what is said of this one must mean something.
        for key in own_stop_keys.into_iter().flatten() {
            mistakes
                .push(format!("{key} means nothing where `{}` puts it to sleep", sleep.as_str()));
        }
    }
    let method = match sleep {
        Sleep::Pause => {
            if let Support::No(why) = &capabilities.pause {
                mistakes.push(format!("it cannot be paused: {why}"));
            }
            SleepMethod::Pause
        }
        Sleep::Kill => SleepMethod::Kill,
        Sleep::Stop => {
            let mut options = StopOptions::new();
            if let Some(signal) = &settings.stop_signal {
                let refused = match (&capabilities.signals, &capabilities.stop_signal) {
                    (_, Support::Yes) => None,
                    // Nothing but what it is asked to end by anyhow.
                    (Support::No(_), Support::No(why)) => {
                        let is_usual = matches!(signal.value, Signal::TERM | Signal::KILL)
                            || signal.value.number() == POWER_FAILURE;
                        (!is_usual).then_some(why)
                    }
                    (Support::Yes, Support::No(why)) => details
                        .is_some_and(|details| !is_harmless(signal.value, details))
                        .then_some(why),
                };
                if let Some(why) = refused {
                    mistakes.push(format!("it cannot be stopped with {}: {why}", signal.value));
                }
                options = options.with_signal(signal.value);
            }
            if let Some(timeout) = &settings.stop_timeout {
                options = options.with_timeout(timeout.value);
            }
            SleepMethod::Stop(options)
        }
    };
    let idle = settings.idle.map_or(DEFAULT_IDLE, |idle| idle.value);
    let mut policy =
        Policy::new(idle).with_sleep(method).with_adoption_jitter(adoption_jitter(name, idle));
    if let Some(wake_timeout) = settings.wake_timeout {
        policy = policy.with_wake_timeout(wake_timeout.value);
    }
    if let Some(start_grace) = settings.start_grace {
        policy = policy.with_start_grace(start_grace.value);
    }
    policy
}

/// Whether it may sleep although high availability manages it.
pub(super) fn may_sleep_under_ha(own: &Settings, defaults: &Settings) -> bool {
    own.ha.as_ref().or(defaults.ha.as_ref()).is_some_and(|ha| ha.value)
}

/// Why nothing can be said of high availability where an engine has none. A default may be meant for
/// others.
pub(super) fn no_high_availability(own: &Settings) -> Option<String> {
    let key = own.ha.as_ref().map(key_of("ha"))?;
    Some(format!(
        "{key} means nothing here: only a Proxmox cluster has high availability; leave it out"
    ))
}

/// What neither wakes nor keeps awake, on every route of the workload.
pub(super) fn passive(own: &Settings, defaults: &Settings) -> PassiveRule {
    let settings = own.clone().or(defaults);
    let mut rule = PassiveRule::none();
    rule.user_agents = settings.passive_user_agents.map_or_else(Vec::new, |agents| agents.value);
    rule.paths = settings.passive_paths.map_or_else(Vec::new, |paths| paths.value);
    rule
}

/// On which of its networks a container is dialled. A default may be meant for others: it counts
/// where the container is on that network.
pub(super) fn network(
    own: &Settings,
    defaults: &Settings,
    details: Option<&Details>,
) -> Option<String> {
    if let Some(own) = &own.network {
        return Some(own.value.clone());
    }
    let default = &defaults.network.as_ref()?.value;
    let details = details?;
    let networks = details.holder.as_ref().map_or(&details.networks, |holder| &holder.networks);
    networks.iter().any(|network| network.name == *default).then(|| default.clone())
}

/// Names a key as it was given: as a label, or as in the file.
fn key_of<T>(name: &'static str) -> impl Fn(&Given<T>) -> String {
    move |given| match &given.origin {
        Origin::Label(label) => format!("label `{label}`"),
        Origin::Note(label) => format!("`{label}` in its notes"),
        Origin::File(_) => format!("`{name}`"),
    }
}

/// Spreads what was adopted together, the same way at each start.
fn adoption_jitter(name: &str, idle: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 1_000).unwrap_or(0);
    (idle / 10).min(LARGEST_JITTER) * thousandths / 1_000
}

/// Whether an engine that knows no stop signals of one's own choice can send this one all the same:
/// it is the container's own, or the engine would not restart the container after it.
fn is_harmless(signal: Signal, details: &Details) -> bool {
    signal == details.stop_signal.unwrap_or(Signal::TERM)
        || matches!(details.restart, RestartPolicy::No | RestartPolicy::UnlessStopped)
}
