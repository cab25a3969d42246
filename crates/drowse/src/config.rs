//! What the user wants, as read from the configuration file. Reading has no side effects: it opens
//! that one file and nothing else.

mod duration;
mod file;
mod problem;
mod settings;
mod suggest;
mod tree;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use drowse_gateway::TrustedProxies;
use drowse_provider::Reference;

pub(crate) use duration::{parse as parse_duration, show as show_duration};
#[cfg(test)]
pub(crate) use file::from_text;
pub(crate) use file::{load, parse_listen};
pub(crate) use problem::{Problem, Problems, Severity, Source};
pub(crate) use settings::{
    Definition, Given, Origin, ROUTE_KEYS, RouteSettings, Settings, Sleep, WORKLOAD_KEYS, unknown,
};
pub(crate) use suggest::did_you_mean;
pub(crate) use tree::Place;

/// The name under which processes appear where other workloads have an engine.
pub(crate) const PROCESS_ENGINE: &str = "processes";

/// The name of the engine that is used when the configuration names none.
pub(crate) const DEFAULT_ENGINE: &str = "docker";

/// Everything that a configuration file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen; empty: the default.
    pub(crate) listen: Vec<SocketAddr>,
    /// How long requests in flight may go on after the order to end.
    pub(crate) shutdown_grace: Duration,
    /// The reverse proxies in front that are believed about their clients.
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) engines: Vec<EngineConfig>,
    /// Containers and workloads that nobody may put to sleep, by name.
    pub(crate) never_sleep: Vec<String>,
    /// For every workload that does not say otherwise.
    pub(crate) defaults: Settings,
    pub(crate) workloads: Vec<WorkloadConfig>,
}

impl Config {
    /// What counts without a file: the labelled containers of one Docker engine.
    pub(crate) fn without_file() -> Self {
        Self {
            listen: Vec::new(),
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
            trusted_proxies: TrustedProxies::none(),
            engines: vec![EngineConfig::default_docker()],
            never_sleep: Vec::new(),
            defaults: Settings::default(),
            workloads: Vec::new(),
        }
    }
}

/// Enough for most answers under way; systemd waits 90 s before it kills.
pub(crate) const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// An engine to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineConfig {
    pub(crate) name: String,
    /// The Docker or Podman endpoint; `None`: what `DOCKER_HOST` says, else the local socket.
    pub(crate) url: Option<String>,
    /// Where it is configured; `None`: it is the default.
    pub(crate) place: Option<Place>,
}

impl EngineConfig {
    fn default_docker() -> Self {
        Self { name: DEFAULT_ENGINE.to_owned(), url: None, place: None }
    }
}

/// A workload of the file.
#[derive(Debug)]
pub(crate) struct WorkloadConfig {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) container: ContainerConfig,
    pub(crate) settings: Settings,
    /// `None`: the file says nothing about routes, so that labels may.
    pub(crate) routes: Option<Vec<RouteSettings>>,
}

/// What a workload of the file puts to sleep and wakes.
#[derive(Debug)]
pub(crate) enum ContainerConfig {
    /// A container of a configured engine.
    OnEngine { engine: String, reference: Reference },
    /// A process of this machine, which drowse itself starts and ends.
    Process(ProcessConfig),
}

/// How a process is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessConfig {
    /// The program and its arguments; never empty.
    pub(crate) command: Vec<String>,
    pub(crate) directory: Option<PathBuf>,
    /// Added to drowse's own environment.
    pub(crate) environment: Vec<(String, String)>,
}
