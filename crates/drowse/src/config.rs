//! What the user wants, as read from the configuration file. Reading has no side effects: it opens
//! that one file and nothing else.

mod access;
mod duration;
mod file;
mod limits;
mod listen;
mod ports;
mod problem;
mod settings;
mod spoken;
mod suggest;
mod tree;
mod usage;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use drowse_docker::{SshFiles, TlsFiles};
use drowse_gateway::{HostPattern, PageOptions, TrustedProxies};
use drowse_provider::Reference;
use drowse_proxmox::{Credentials, Endpoint, Trust};

pub(crate) use access::AccessSettings;
pub(crate) use duration::{parse as parse_duration, show as show_duration};
pub(crate) use file::{Loaded, TRUST_ANYONE, load, parse_listen, read};
#[cfg(test)]
pub(crate) use file::{PROXMOX_KEYS, from_text};
pub(crate) use limits::Limits;
pub(crate) use listen::{Listen, TlsConfig};
pub(crate) use ports::{LabelPorts, ListenAt};
pub(crate) use problem::{Problem, Problems, Severity, Source};
pub(crate) use settings::{
    Definition, Given, Origin, ROUTE_KEYS, Ready, RouteSettings, Settings, Sleep, VETO_COMMAND,
    WORKLOAD_KEYS, unknown,
};
pub(crate) use spoken::{
    HEADER_KEYS, HeaderKey, SpokenSettings, TRUST_ANYONE as TRUST_ANY_UPSTREAM,
};
pub(crate) use suggest::did_you_mean;
pub(crate) use tree::Place;
pub(crate) use usage::{Limit, Rate, Share};

use crate::schedule::Zone;

/// The name under which processes appear where other workloads have an engine.
pub(crate) const PROCESS_ENGINE: &str = "processes";

/// The name of the engine that is used when the configuration names none.
pub(crate) const DEFAULT_ENGINE: &str = "docker";

/// Everything that a configuration file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen; empty: the default.
    pub(crate) listen: Vec<Listen>,
    /// How long requests in flight may go on after the order to end.
    pub(crate) shutdown_grace: Duration,
    /// The reverse proxies in front that are believed about their clients.
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) engines: Vec<EngineConfig>,
    /// What is decided once, when drowse starts.
    pub(crate) lasting: Lasting,
    /// Containers and workloads that nobody may put to sleep, by name.
    pub(crate) never_sleep: Vec<String>,
    /// By whose clock schedules go that do not say; `None`: nobody does.
    pub(crate) time_zone: Option<Zone>,
    /// For every workload that does not say otherwise.
    pub(crate) defaults: Settings,
    pub(crate) workloads: Vec<WorkloadConfig>,
    /// What TLS is spoken with, if it is anywhere.
    pub(crate) tls: Option<TlsConfig>,
    /// The ports that labels may have listened on.
    pub(crate) label_ports: LabelPorts,
    /// How the waiting page looks and speaks.
    pub(crate) page: PageOptions,
    /// What bounds clients.
    pub(crate) limits: Limits,
}

impl Config {
    /// What counts without a file: the labelled containers of one Docker engine.
    pub(crate) fn without_file() -> Self {
        Self {
            listen: Vec::new(),
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
            trusted_proxies: TrustedProxies::none(),
            engines: vec![EngineConfig::default_docker()],
            lasting: Lasting::default(),
            never_sleep: Vec::new(),
            time_zone: None,
            defaults: Settings::default(),
            workloads: Vec::new(),
            tls: None,
            label_ports: LabelPorts::default(),
            page: PageOptions::new(),
            limits: Limits::default(),
        }
    }

    /// Where to listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listen.iter().map(|listen| listen.address).collect()
    }
}

/// Stands for the text about what is decided once, when drowse starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lasting {
    pub(crate) engines: u64,
    pub(crate) listen: u64,
    pub(crate) tls: u64,
    pub(crate) shutdown_grace: u64,
}

impl Lasting {
    /// The keys of which another says something else.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let each = [
            ("engines", self.engines == other.engines),
            ("listen", self.listen == other.listen),
            ("tls", self.tls == other.tls),
            ("shutdown_grace", self.shutdown_grace == other.shutdown_grace),
        ];
        each.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key).collect()
    }
}

/// Enough for most answers under way; systemd waits 90 s before it kills.
pub(crate) const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// An engine to connect to.
#[derive(Clone, Debug)]
pub(crate) struct EngineConfig {
    pub(crate) name: String,
    pub(crate) kind: EngineKind,
    /// Where it is configured; `None`: it is the default.
    pub(crate) place: Option<Place>,
}

/// What an engine is, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) enum EngineKind {
    Docker(DockerConfig),
    Proxmox(Box<ProxmoxConfig>),
}

/// Where a Docker or Podman engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DockerConfig {
    pub(crate) endpoint: DockerEndpoint,
    /// The files for TLS, beside a URL: a context has its own.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) ssh: SshFiles,
}

/// What names a Docker engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DockerEndpoint {
    /// The environment, as for Docker's own client.
    Environment,
    Url(String),
    /// A Docker context, by its name.
    Context(String),
}

/// Where a Proxmox cluster is, who drowse is to it, and what its containers may ask for.
#[derive(Clone, Debug)]
pub(crate) struct ProxmoxConfig {
    /// Its nodes; never empty.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) credentials: Credentials,
    pub(crate) trust: Trust,
    /// How often it is asked what there is; `None`: the engine's own default.
    pub(crate) interval: Option<Duration>,
    /// The hosts that the notes of its containers may claim.
    pub(crate) discover_hosts: Vec<HostPattern>,
}

impl EngineConfig {
    fn default_docker() -> Self {
        let kind = EngineKind::Docker(DockerConfig::of(DockerEndpoint::Environment));
        Self { name: DEFAULT_ENGINE.to_owned(), kind, place: None }
    }
}

impl DockerConfig {
    /// Without files.
    pub(crate) fn of(endpoint: DockerEndpoint) -> Self {
        Self { endpoint, tls: None, ssh: SshFiles::new() }
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
