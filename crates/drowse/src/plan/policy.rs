//! How a workload sleeps, from what is said of it, what its engine can do and what its container
//! allows.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use drowse_gateway::PassiveRule;
use drowse_provider::{Capabilities, Details, RestartPolicy, Signal, StopOptions, Support};
use drowse_watcher::{Circuit, Policy, SleepMethod};

use crate::{
    config::{Config, Given, Origin, Ready, Settings, Sleep},
    schedule::{Schedule, Zone},
};

/// The number of SIGPWR, which asks the init of a system container to end.
const POWER_FAILURE: u8 = 30;

/// How long a workload stays awake after its last use, unless it says otherwise.
const DEFAULT_IDLE: Duration = Duration::from_mins(15);

/// How long after its pause a workload is stopped, unless it says otherwise.
const DEFAULT_STOP_AFTER: Duration = Duration::from_hours(1);

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
    // What its user says of its own idle time counts for whoever uses it.
    let lingers = own.idle.is_some();
    let own_stop_after = own.stop_after.as_ref().map(key_of("stop_after"));
    let settings = own.or(defaults);
    let sleep = settings.sleep.as_ref().map_or(Sleep::Stop, |sleep| sleep.value);
    if sleep != Sleep::PauseThenStop
        && let Some(key) = own_stop_after
    {
        mistakes.push(format!(
            "{key} means nothing where `{}` puts it to sleep: it goes with `sleep: pause_then_stop`",
            sleep.as_str()
        ));
    }
    if matches!(sleep, Sleep::Pause | Sleep::Kill) {
        // A default may be meant for others; what is said of this one must mean something.
        for key in own_stop_keys.into_iter().flatten() {
            mistakes
                .push(format!("{key} means nothing where `{}` puts it to sleep", sleep.as_str()));
        }
    }
    if let (Sleep::Pause | Sleep::PauseThenStop, Support::No(why)) = (sleep, &capabilities.pause) {
        mistakes.push(format!("it cannot be paused: {why}"));
    }
    let method = match sleep {
        Sleep::Pause => SleepMethod::Pause,
        Sleep::Kill => SleepMethod::Kill,
        Sleep::Stop => SleepMethod::Stop(stop_options(&settings, capabilities, details, mistakes)),
        Sleep::PauseThenStop => SleepMethod::PauseThenStop {
            after: settings.stop_after.as_ref().map_or(DEFAULT_STOP_AFTER, |after| after.value),
            stop: stop_options(&settings, capabilities, details, mistakes),
        },
    };
    let idle = settings.idle.map_or(DEFAULT_IDLE, |idle| idle.value);
    let mut policy = Policy::new(idle)
        .with_sleep(method)
        .with_adoption_jitter(adoption_jitter(name, idle))
        .with_lingering(lingers);
    if let Some(wake_timeout) = settings.wake_timeout {
        policy = policy.with_wake_timeout(wake_timeout.value);
    }
    if let Some(start_grace) = settings.start_grace {
        policy = policy.with_start_grace(start_grace.value);
    }
    if let Some(min_awake) = settings.min_awake {
        policy = policy.with_min_awake(min_awake.value);
    }
    let mut circuit = Circuit::new();
    circuit.opens_at = settings.circuit_after.map_or(circuit.opens_at, |after| after.value);
    circuit.rest = settings.circuit_for.map_or(circuit.rest, |rest| rest.value);
    policy.with_circuit(circuit)
}

/// How it is asked to end, and what of it cannot be.
fn stop_options(
    settings: &Settings,
    capabilities: &Capabilities,
    details: Option<&Details>,
    mistakes: &mut Vec<String>,
) -> StopOptions {
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
            (Support::Yes, Support::No(why)) => {
                details.is_some_and(|details| !is_harmless(signal.value, details)).then_some(why)
            }
        };
        if let Some(why) = refused {
            mistakes.push(format!("it cannot be stopped with {}: {why}", signal.value));
        }
        options = options.with_signal(signal.value);
    }
    if let Some(timeout) = &settings.stop_timeout {
        options = options.with_timeout(timeout.value);
    }
    options
}

/// When it is kept awake and woken, if that is planned.
pub(super) fn schedule(
    own: &Settings,
    config: &Config,
    mistakes: &mut Vec<String>,
) -> Option<Schedule> {
    let settings = own.clone().or(&config.defaults);
    let first_key = settings
        .awake
        .as_ref()
        .map(key_of("awake"))
        .or_else(|| settings.wake_at.as_ref().map(key_of("wake_at")))?;
    let zone = settings.time_zone.map(|zone| zone.value).or_else(|| config.time_zone.clone());
    let Some(zone) = zone else {
        mistakes.push(format!(
            "{first_key} goes by a clock, and {}: set `time_zone`, such as `time_zone: Europe/Berlin`",
            Zone::why_there_is_none()
        ));
        return None;
    };
    let awake = settings.awake.map_or_else(Vec::new, |awake| awake.value);
    let wake_at = settings.wake_at.map_or_else(Vec::new, |wake_at| wake_at.value);
    Some(Schedule { zone, awake, wake_at })
}

/// How what nobody enabled is woken; it is never put to sleep.
pub(super) fn never_asleep(defaults: &Settings) -> Policy {
    let mut policy = Policy::new(DEFAULT_IDLE).with_sleep(SleepMethod::Never);
    if let Some(wake_timeout) = &defaults.wake_timeout {
        policy = policy.with_wake_timeout(wake_timeout.value);
    }
    if let Some(start_grace) = &defaults.start_grace {
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

/// When it counts as ready, if that is said. A default may be meant for others: it counts where the
/// container has a health check.
pub(super) fn ready(
    own: &Settings,
    defaults: &Settings,
    capabilities: &Capabilities,
    details: Option<&Details>,
    mistakes: &mut Vec<String>,
) -> Option<Ready> {
    let has_none = details.is_some_and(|details| !details.has_health_check);
    let Some(said) = &own.ready else {
        let default = defaults.ready.as_ref()?.value;
        let means_nothing = has_none || matches!(capabilities.health, Support::No(_));
        return (default == Ready::Running || !means_nothing).then_some(default);
    };
    if said.value == Ready::Healthy {
        let why = match &capabilities.health {
            Support::No(why) => Some(why.to_string()),
            Support::Yes if has_none => Some("it has no health check of its own".to_owned()),
            Support::Yes => None,
        };
        let key = key_of("ready")(said);
        mistakes.extend(why.map(|why| format!("{key} cannot be `healthy`: {why}")));
    }
    Some(said.value)
}

/// What neither wakes nor keeps awake, on every route of the workload.
pub(super) fn passive(own: &Settings, defaults: &Settings) -> PassiveRule {
    let settings = own.clone().or(defaults);
    let mut rule = PassiveRule::none();
    rule.user_agents = settings.passive_user_agents.map_or_else(Vec::new, |agents| agents.value);
    rule.paths = settings.passive_paths.map_or_else(Vec::new, |paths| paths.value);
    rule.methods = settings.passive_methods.map_or_else(Vec::new, |methods| methods.value);
    rule.networks = settings.passive_networks.map_or_else(Vec::new, |networks| networks.value);
    rule.answer = settings.passive_status.map(|status| status.value);
    rule
}

/// How long an upgraded connection may be quiet and still count, on every route of the workload.
pub(super) fn quiet_after(own: &Settings, defaults: &Settings) -> Option<Duration> {
    own.quiet_after.as_ref().or(defaults.quiet_after.as_ref()).map(|quiet| quiet.value)
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
pub(super) fn key_of<T>(name: &'static str) -> impl Fn(&Given<T>) -> String {
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
