//! Docker's JSON, as far as it is read.
//!
//! Whole answers are structs of our own around bollard's leaves: bollard's whole-answer models
//! refuse an answer for one unknown word in a field that nobody looks at. What an enum of bollard
//! reads is taken as text here and parsed where it is understood.

use std::collections::BTreeMap;

use bollard::models::{EventActor, PortMap};
use serde::{Deserialize, Deserializer};

/// `null` for a missing map or list is the engine's habit.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) created: String,
    pub(crate) state: State,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Config,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_settings: NetworkSettings,
    /// Podman's own, where its Docker API shows it.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) pod: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct State {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) started_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) finished_at: String,
    #[serde(default)]
    pub(crate) exit_code: Option<i64>,
    #[serde(default)]
    pub(crate) health: Option<HealthState>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthState {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) stop_signal: String,
    /// Seconds; -1 is "without end".
    #[serde(default)]
    pub(crate) stop_timeout: Option<i64>,
    #[serde(default)]
    pub(crate) healthcheck: Option<HealthCheck>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthCheck {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) test: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_mode: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) port_bindings: PortMap,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) publish_all_ports: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) auto_remove: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) restart_policy: RestartPolicyName,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RestartPolicyName {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ports: PortMap,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) networks: BTreeMap<String, Endpoint>,
}

/// A container's place on a network, in `inspect` and in `list`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Endpoint {
    #[serde(default, rename = "EndpointID", deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(default, rename = "IPAddress", deserialize_with = "or_default")]
    pub(crate) ipv4: String,
    #[serde(default, rename = "GlobalIPv6Address", deserialize_with = "or_default")]
    pub(crate) ipv6: String,
    #[serde(default, rename = "Gateway", deserialize_with = "or_default")]
    pub(crate) gateway: String,
    #[serde(default, rename = "IPv6Gateway", deserialize_with = "or_default")]
    pub(crate) ipv6_gateway: String,
}

/// One line of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) state: String,
    /// For people: "Up 3 minutes (healthy)", "Exited (137) 5 hours ago".
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_settings: NetworkSettings,
    /// Nothing of it but the network mode.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_config: HostConfig,
}

/// One line of `GET /events`.
#[derive(Debug, Deserialize)]
pub(crate) struct EventLine {
    #[serde(default, rename = "Type")]
    pub(crate) kind: Option<String>,
    #[serde(default, rename = "Action")]
    pub(crate) action: Option<String>,
    #[serde(default, rename = "Actor")]
    pub(crate) actor: Option<EventActor>,
    #[serde(default)]
    pub(crate) time: Option<i64>,
    #[serde(default, rename = "timeNano")]
    pub(crate) time_nano: Option<i64>,
    /// Podman 4 tells here, and not in the action, what a health check found.
    #[serde(default, rename = "HealthStatus")]
    pub(crate) health_status: Option<String>,
}

/// One line of `GET /networks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkLine {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) driver: String,
}

/// `GET /info`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    /// The host name of its machine.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) security_options: Vec<String>,
    /// Podman's own: it is no security option there.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) rootless: bool,
}

/// Any refusal.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) message: String,
}

#[cfg(test)]
mod fuzz;
