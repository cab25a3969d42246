//! The engines that the configuration names.

use std::sync::Arc;

use drowse_docker::{DockerEngine, DockerOptions, Location, LocationError};
use drowse_gateway::{Standpoint, Vantage};
use drowse_process::{ProcessEngine, ProcessSpec};
use drowse_provider::{Engine, Error, Port, Reference};
use drowse_watcher::OrderSlots;

use crate::{
    config::{
        Config, ContainerConfig, DockerConfig, DockerEndpoint, EngineConfig, PROCESS_ENGINE,
        Problem, Problems, unknown,
    },
    entrance::Entrance,
    plan::PlannedContainer,
    state::{Lock, StateFolder},
};

/// All engines, by name.
#[derive(Debug)]
pub(crate) struct Engines {
    list: Vec<Configured>,
    processes: Option<ProcessEngine>,
    process_slots: OrderSlots,
}

/// A configured engine.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) engine: Arc<dyn Engine>,
    /// What it is reached by: what its lock is about.
    pub(crate) endpoint: String,
    /// Where it is entered, if by a port.
    pub(crate) entrance: Option<Entrance>,
    pub(crate) slots: OrderSlots,
    /// From where its containers are dialled; kept true by whoever reads the engine.
    pub(crate) standpoint: Standpoint,
    /// What the file's workloads name on it.
    pub(crate) wanted: Arc<[Reference]>,
}

impl Engines {
    /// Handles of all engines. No engine is spoken to.
    ///
    /// # Errors
    /// What cannot be an engine, or names a container as its engine never can, with its place.
    pub(crate) fn new(config: &Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut list = Vec::new();
        for engine in &config.engines {
            match configured(engine, config) {
                Ok(configured) => {
                    refuse_unknown_references(&configured, config, &mut problems);
                    list.push(configured);
                }
                Err(error) => problems.push(Problem {
                    place: engine.place.clone(),
                    is_line_secret: true,
                    ..Problem::error(format!("engine `{}`: {error}", engine.name))
                }),
            }
        }
        let has_processes = config
            .workloads
            .iter()
            .any(|workload| matches!(workload.container, ContainerConfig::Process(_)));
        let processes = match has_processes.then(|| ProcessEngine::new(PROCESS_ENGINE)).transpose()
        {
            Ok(processes) => processes,
            Err(error) => {
                problems.push(Problem::error(error.to_string()));
                None
            }
        };
        if problems.has_errors() {
            return Err(problems);
        }
        Ok(Self { list, processes, process_slots: OrderSlots::default() })
    }

    /// One engine, for the tests of those who use engines.
    #[cfg(test)]
    pub(crate) fn of(engine: Arc<dyn Engine>) -> Self {
        let endpoint = "unix:///run/test.sock".to_owned();
        let slots = OrderSlots::default();
        let (entrance, standpoint) = (None, Vantage::Host.into());
        let wanted = Arc::new([]);
        let list = vec![Configured { engine, endpoint, entrance, slots, standpoint, wanted }];
        Self { list, processes: None, process_slots: OrderSlots::default() }
    }

    /// The engines that are discovered: all but the processes, which are what the file says.
    pub(crate) fn discovered(&self) -> impl Iterator<Item = &Configured> {
        self.list.iter()
    }

    /// The engine of this name, with its bound on orders.
    pub(crate) fn find(&self, name: &str) -> Option<(Arc<dyn Engine>, OrderSlots)> {
        if name == PROCESS_ENGINE {
            let processes: Arc<dyn Engine> = Arc::new(self.processes.clone()?);
            return Some((processes, self.process_slots.clone()));
        }
        let configured = self.list.iter().find(|configured| configured.engine.name() == name)?;
        Some((configured.engine.clone(), configured.slots.clone()))
    }

    /// From where the containers of this engine are dialled.
    pub(crate) fn standpoint(&self, name: &str) -> Standpoint {
        let configured = self.list.iter().find(|configured| configured.engine.name() == name);
        configured.map_or_else(|| Vantage::Host.into(), |found| found.standpoint.clone())
    }

    /// How the engine of a planned workload names its container. A process is defined by the way.
    ///
    /// # Errors
    /// What the process engine says.
    pub(crate) fn reference(
        &self,
        workload: &str,
        container: &PlannedContainer,
        port: Option<u16>,
    ) -> Result<Reference, Error> {
        let process = match container {
            PlannedContainer::OnEngine(reference) => return Ok(reference.clone()),
            PlannedContainer::Process(process) => process,
        };
        if let (Some(engine), [program, arguments @ ..]) =
            (&self.processes, process.command.as_slice())
        {
            let mut spec = ProcessSpec::new(workload, program).args(arguments);
            if let Some(directory) = &process.directory {
                spec = spec.cwd(directory);
            }
            for (name, value) in &process.environment {
                spec = spec.env(name, value);
            }
            if let Some(port) = port {
                spec = spec.port(Port::tcp(port));
            }
            engine.define(spec)?;
        }
        Ok(Reference::Name(workload.to_owned()))
    }

    /// Takes each engine's lock, so that no two drowses manage one.
    ///
    /// # Errors
    /// Who holds it.
    pub(crate) fn lock(&self, state: &StateFolder) -> anyhow::Result<Vec<Lock>> {
        self.list
            .iter()
            .map(|configured| {
                let (name, endpoint) = (configured.engine.name(), &configured.endpoint);
                state.lock_engine(endpoint).map_err(|error| {
                    error.describe(&format!(
                        "manages engine `{name}` ({endpoint}) already: stop it first"
                    ))
                })
            })
            .collect()
    }

    /// Closes all of them; processes end.
    pub(crate) async fn close(&self) {
        let engines = self.list.iter().map(|configured| configured.engine.clone());
        let processes = self.processes.clone().map(|engine| Arc::new(engine) as Arc<dyn Engine>);
        let closing = engines.chain(processes).map(|engine| async move { engine.close().await });
        futures::future::join_all(closing).await;
    }
}

/// The error is a lower-case fragment.
fn configured(config: &EngineConfig, all: &Config) -> Result<Configured, String> {
    let location = location(&config.docker)?;
    let engine = DockerEngine::connect(&config.name, location, DockerOptions::new())
        .map_err(|error| error.kind().to_string())?;
    let wanted = all.workloads.iter().filter_map(|workload| match &workload.container {
        ContainerConfig::OnEngine { engine, reference } if *engine == config.name => {
            Some(reference.clone())
        }
        _ => None,
    });
    Ok(Configured {
        entrance: Entrance::of(&engine.url()),
        endpoint: one_spelling(&engine.url()),
        engine: Arc::new(engine),
        slots: OrderSlots::default(),
        standpoint: Vantage::Host.into(),
        wanted: wanted.collect(),
    })
}

/// Where an engine is. The error is a lower-case fragment.
fn location(config: &DockerConfig) -> Result<Location, String> {
    let named = match &config.endpoint {
        DockerEndpoint::Environment => Location::of_environment(),
        DockerEndpoint::Url(url) => Ok(Location::new(url)),
        DockerEndpoint::Context(name) => Location::of_context(name),
    };
    let location = named.map_err(|error| match &error {
        LocationError::UnknownContext { name, folder, known } if !known.is_empty() => {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            format!("{} (in `{}`)", unknown("Docker context", name, &known), folder.display())
        }
        _ => format!("{:#}", anyhow::anyhow!(error)),
    })?;
    let location = location.with_ssh(config.ssh.clone());
    Ok(match &config.tls {
        Some(files) => location.with_tls(files.clone()),
        None => location,
    })
}

/// One socket has many spellings: `/var/run` is mostly a link to `/run`, and whoever logs in to a
/// machine by ssh finds the same one.
fn one_spelling(url: &str) -> String {
    match url.split_once("://") {
        Some(("unix", path)) => {
            // A socket that is not there yet keeps the name that it was given.
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
            format!("unix://{}", path.display())
        }
        Some(("ssh", rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            let host = host.strip_suffix(":22").unwrap_or(host).to_lowercase();
            format!("ssh://{host}{path}")
        }
        _ => url.to_lowercase(),
    }
}

/// An engine that names its containers in other ways says so without being spoken to.
fn refuse_unknown_references(configured: &Configured, config: &Config, problems: &mut Problems) {
    for workload in &config.workloads {
        if let ContainerConfig::OnEngine { engine, reference } = &workload.container
            && engine == configured.engine.name()
            && let Err(error) = configured.engine.provider(reference)
        {
            let message = format!("workload `{}`: {}", workload.name, error.kind());
            problems.push(Problem::error(message).at(&workload.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_is_one_engine_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, link) = (folder.path().join("docker.sock"), folder.path().join("link"));
        std::fs::write(&socket, "").unwrap();
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let spelt = |url: &str| {
            let engine = DockerEngine::connect("home", url, DockerOptions::new()).unwrap();
            one_spelling(&engine.url())
        };
        let plain = spelt(&socket.display().to_string());
        assert_eq!(spelt(&format!("unix://{}", socket.display())), plain);
        assert_eq!(spelt(&link.join("docker.sock").display().to_string()), plain);
        assert_eq!(spelt("tcp://NAS"), "tcp://nas:2375");
        assert_eq!(spelt("http://nas:2375/"), "tcp://nas:2375");
        for url in ["ssh://nas", "ssh://me@Nas:22/", "ssh://root@nas/var/run/docker.sock"] {
            assert_eq!(spelt(url), "ssh://nas/var/run/docker.sock");
        }
        assert_eq!(spelt("ssh://me@[::1]:2222/d"), "ssh://[::1]:2222/d");
    }
}
