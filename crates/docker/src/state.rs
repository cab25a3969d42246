//! What the engine's words for a container's state mean.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    time::{Duration, SystemTime},
};

use bollard::models::{ContainerStateStatusEnum as Word, HealthStatusEnum};
use drowse_provider::{ContainerStatus, Health, Observation, RunId, Unusable};
use jiff::Timestamp;

use crate::wire::{Endpoint, Listed, State};

/// Go's zero time: "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The table: each word that Docker and Podman have for a state, and what it means.
pub(crate) fn status_of(word: &str) -> ContainerStatus {
    match Word::from_str(word) {
        Ok(Word::CREATED | Word::EXITED) => ContainerStatus::Stopped,
        // Podman's "stopping": the process is asked to end and still runs.
        Ok(Word::RUNNING | Word::STOPPING) => ContainerStatus::Running,
        Ok(Word::PAUSED) => ContainerStatus::Paused,
        Ok(Word::RESTARTING) => ContainerStatus::Error(Unusable::Restarting),
        Ok(Word::REMOVING) => ContainerStatus::Error(Unusable::Removing),
        Ok(Word::DEAD) => ContainerStatus::Error(Unusable::Dead),
        Ok(Word::EMPTY) => ContainerStatus::Error(Unusable::Other("in no state".to_owned())),
        Err(_) => match word {
            // Podman's own words, which its Docker API does not always translate.
            "configured" | "initialized" | "stopped" => ContainerStatus::Stopped,
            _ => ContainerStatus::Error(Unusable::Other(format!("in the state `{word}`"))),
        },
    }
}

pub(crate) fn health_of(word: &str) -> Option<Health> {
    match HealthStatusEnum::from_str(word) {
        Ok(HealthStatusEnum::STARTING) => Some(Health::Starting),
        Ok(HealthStatusEnum::HEALTHY) => Some(Health::Healthy),
        Ok(HealthStatusEnum::UNHEALTHY) => Some(Health::Unhealthy),
        Ok(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | Err(_) => None,
    }
}

/// What `inspect` says of state, run, health and exit code.
pub(crate) fn observation_of(state: &State) -> Observation {
    let status = status_of(&state.status);
    let was_started = !state.started_at.is_empty() && state.started_at != NEVER;
    let has_ended = was_started && !status.is_alive();
    Observation::new(status, was_started.then(|| RunId::new(&state.started_at)))
        .with_health(state.health.as_ref().and_then(|health| health_of(&health.status)))
        .with_exit_code(state.exit_code.filter(|_| has_ended))
}

/// A time of the engine's as the standard library has it; `None` before 1970.
pub(crate) fn system_time(time: Timestamp) -> Option<SystemTime> {
    let since_1970 = u64::try_from(time.as_nanosecond()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(since_1970))
}

/// The time at which the run that `inspect` tells of began, in nanoseconds since 1970 on the
/// engine's clock, and the one at which it ended.
pub(crate) fn span_of(state: &State) -> Option<(i128, Option<i128>)> {
    let parse = |time: &str| Some(time.parse::<Timestamp>().ok()?.as_nanosecond());
    let began = parse(&state.started_at).filter(|_| state.started_at != NEVER)?;
    let ended = (!status_of(&state.status).is_alive()).then(|| parse(&state.finished_at)).flatten();
    Some((began, ended))
}

/// Everything that one line of a list can tell about state and run, so that two lines can be
/// compared: a network endpoint is made anew at each start, so that a restart shows even where the
/// state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    hash: u64,
    /// Whether a restart between two reads would show.
    pub(crate) shows_restarts: bool,
}

impl Fingerprint {
    pub(crate) fn of_list(line: &Listed) -> Self {
        let status = status_of(&line.state);
        // Podman says "Exited (0) …" of some containers that were never started.
        let exit = line
            .status
            .strip_prefix("Exited (")
            .and_then(|rest| rest.split_once(')'))
            .and_then(|(code, _)| code.parse().ok())
            .filter(|_| !status.is_alive());
        let health = match line.status.rsplit_once('(').map(|(_, verdict)| verdict) {
            Some("healthy)") => Some(Health::Healthy),
            Some("unhealthy)") => Some(Health::Unhealthy),
            Some("health: starting)") => Some(Health::Starting),
            _ => None,
        };
        Self::new(&status, health, exit, line.network_settings.networks.values())
    }

    /// The same of an `inspect`: as the list would have it, as far as that can be said.
    pub(crate) fn of_inspect<'a>(
        observation: &Observation,
        endpoints: impl Iterator<Item = &'a Endpoint>,
    ) -> Self {
        let is_stopped = observation.status == ContainerStatus::Stopped;
        let health = observation.health.filter(|_| observation.status == ContainerStatus::Running);
        let exit = observation.exit_code.filter(|_| is_stopped);
        Self::new(&observation.status, health, exit, endpoints)
    }

    fn new<'a>(
        status: &ContainerStatus,
        health: Option<Health>,
        exit: Option<i64>,
        endpoints: impl Iterator<Item = &'a Endpoint>,
    ) -> Self {
        let mut ids: Vec<&str> =
            endpoints.map(|endpoint| endpoint.id.as_str()).filter(|id| !id.is_empty()).collect();
        ids.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (status, health, exit, &ids).hash(&mut hasher);
        let shows_restarts = !ids.is_empty() || !status.is_alive();
        Self { hash: hasher.finish(), shows_restarts }
    }
}

#[cfg(test)]
mod tests;
