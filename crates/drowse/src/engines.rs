//! The engines that the configuration names.

mod claims;
mod docker;
mod proxmox;
mod rights;

use std::sync::Arc;

pub(crate) use claims::Claim;
pub(crate) use proxmox::client;
#[cfg(test)]
pub(crate) use rights::{NEEDED, ROLE};
pub(crate) use rights::{Rights, SEEING};

use drowse_gateway::{Standpoint, Vantage};
use drowse_process::{ProcessEngine, ProcessSpec};
use drowse_provider::{Engine, Error, Port, Reach, Reference};
use drowse_proxmox::Cluster;
use drowse_watcher::OrderSlots;
use tokio::sync::watch;

use crate::{
    config::{
        Config, ContainerConfig, EngineConfig, EngineKind, PROCESS_ENGINE, Problem, Problems,
        WorkloadConfig,
    },
    engines::claims::Claims,
    entrance::Entrance,
    labels::Dialect,
    plan::{EngineView, PlannedContainer},
    state::{Lock, StateFolder},
};

/// All engines, by name.
#[derive(Debug)]
pub(crate) struct Engines {
    list: Vec<Configured>,
    /// Of each of them.
    in_file: Vec<watch::Sender<InFile>>,
    processes: Option<ProcessEngine>,
    process_slots: OrderSlots,
}

/// A configured engine.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) engine: Arc<dyn Engine>,
    /// What it is reached by, each way: what its locks are about.
    pub(crate) endpoints: Vec<String>,
    /// The ways to engines that may lead through one of its containers.
    pub(crate) entrances: Vec<Entrance>,
    /// How its containers say what they want.
    pub(crate) dialect: Dialect,
    pub(crate) slots: OrderSlots,
    /// From where its containers are dialled; kept true by whoever reads the engine.
    pub(crate) standpoint: Standpoint,
    /// What the file says of its containers: follows the configuration.
    pub(crate) in_file: watch::Receiver<InFile>,
    /// Its cluster, if it is one, to be claimed before anything of it is managed.
    pub(crate) claim: Option<Claim>,
    /// What drowse may do on that cluster.
    pub(crate) rights: Option<Rights>,
}

/// What the configuration's workloads say of one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InFile {
    /// The containers that they name.
    pub(crate) references: Arc<[Reference]>,
    /// What these need, by names: containers of it, perhaps.
    pub(crate) needed: Arc<[String]>,
}

impl InFile {
    fn of(engine: &str, config: &Config) -> Self {
        let (mut references, mut needed) = (Vec::new(), Vec::new());
        for workload in &config.workloads {
            if let ContainerConfig::OnEngine { engine: on, reference } = &workload.container
                && on == engine
            {
                references.push(reference.clone());
                needed.extend(workload.settings.needs.iter().flat_map(|it| it.value.clone()));
            }
        }
        Self { references: references.into(), needed: needed.into() }
    }
}

/// An engine of some kind.
struct Made {
    engine: Arc<dyn Engine>,
    /// As its locks are about.
    endpoints: Vec<String>,
    /// Where it is reached, each with its scheme.
    urls: Vec<String>,
    dialect: Dialect,
    cluster: Option<(Cluster, Rights)>,
}

impl Configured {
    /// A Docker engine with these containers in the file, for tests.
    #[cfg(test)]
    pub(crate) fn of(engine: Arc<dyn Engine>, wanted: &[Reference]) -> Self {
        Self {
            engine,
            endpoints: vec!["unix:///run/test.sock".to_owned()],
            entrances: Vec::new(),
            dialect: Dialect::Labels,
            slots: OrderSlots::default(),
            standpoint: Vantage::Host.into(),
            in_file: watch::channel(InFile { references: wanted.into(), ..InFile::default() }).1,
            claim: None,
            rights: None,
        }
    }

    /// Its part of the inventory before it is read. Where it is entered is nobody's route already.
    pub(crate) fn unread(&self) -> EngineView {
        EngineView {
            entrances: self.entrances.clone(),
            dialect: self.dialect.clone(),
            ..EngineView::unread(self.engine.capabilities(), self.engine.reach())
        }
    }
}

impl Engines {
    /// Handles of all engines. No engine is spoken to.
    ///
    /// # Errors
    /// What cannot be an engine, or names a container as its engine never can, with its place.
    pub(crate) fn new(config: &Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut list: Vec<Configured> = Vec::new();
        let mut in_file = Vec::new();
        let claims = Claims::default();
        for engine in &config.engines {
            let configured = configured(engine, config, &claims)
                .and_then(|(configured, follow)| Ok((refuse_twins(configured, &list)?, follow)));
            match configured {
                Ok((configured, follow)) => {
                    refuse_unknown_references(&configured, config, &mut problems);
                    list.push(configured);
                    in_file.push(follow);
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
        let all: Vec<Entrance> =
            list.iter().flat_map(|one: &Configured| one.entrances.clone()).collect();
        for configured in &mut list {
            let own = configured.engine.name().to_owned();
            configured.entrances = match configured.engine.reach() {
                // Its containers are machines, which may host any engine.
                Reach::Routed => all.clone(),
                _ => all
                    .iter()
                    .filter(|it| it.engine() == own && it.is_the_engines_own())
                    .cloned()
                    .collect(),
            };
        }
        Ok(Self { list, in_file, processes, process_slots: OrderSlots::default() })
    }

    /// Takes in what another configuration, of the same engines, says of their containers. No engine is
    /// spoken to; those who follow them look again.
    ///
    /// # Errors
    /// What names a container as its engine never can, with its place, or needs an engine that is not
    /// there. Then nothing has changed.
    pub(crate) fn follow(&self, config: &Config) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for configured in &self.list {
            refuse_unknown_references(configured, config, &mut problems);
        }
        let is_process =
            |workload: &&WorkloadConfig| matches!(workload.container, ContainerConfig::Process(_));
        if self.processes.is_none()
            && let Some(workload) = config.workloads.iter().find(is_process)
        {
            let why = "drowse began without processes of its own: the first one needs a restart";
            let message = format!("workload `{}`: {why}", workload.name);
            problems.push(Problem::error(message).at(&workload.place));
        }
        if problems.has_errors() {
            return Err(problems);
        }
        for (configured, in_file) in self.list.iter().zip(&self.in_file) {
            let now = InFile::of(configured.engine.name(), config);
            in_file.send_if_modified(|before| {
                let has_changed = *before != now;
                *before = now;
                has_changed
            });
        }
        Ok(())
    }

    /// One engine, for the tests of those who use engines.
    #[cfg(test)]
    pub(crate) fn of(engine: Arc<dyn Engine>) -> Self {
        let list = vec![Configured::of(engine, &[])];
        Self { list, in_file: Vec::new(), processes: None, process_slots: OrderSlots::default() }
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
            .flat_map(|one| one.endpoints.iter().map(|endpoint| (one.engine.name(), endpoint)))
            .map(|(name, endpoint)| {
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
fn configured(
    config: &EngineConfig,
    all: &Config,
    claims: &Claims,
) -> Result<(Configured, watch::Sender<InFile>), String> {
    let Made { engine, endpoints, urls, dialect, cluster } = match &config.kind {
        EngineKind::Docker(docker) => docker::make(&config.name, docker)?,
        EngineKind::Proxmox(proxmox) => proxmox::make(&config.name, proxmox)?,
    };
    let (follow, in_file) = watch::channel(InFile::of(&config.name, all));
    let configured = Configured {
        entrances: urls.iter().filter_map(|url| Entrance::of(&config.name, url)).collect(),
        endpoints,
        engine,
        dialect,
        slots: OrderSlots::default(),
        standpoint: Vantage::Host.into(),
        in_file,
        claim: cluster.as_ref().map(|(cluster, _)| claims.about(&config.name, cluster)),
        rights: cluster.map(|(_, rights)| rights),
    };
    Ok((configured, follow))
}

/// One cluster is one engine. That two names of nodes lead to one is found out when it answers.
fn refuse_twins(configured: Configured, others: &[Configured]) -> Result<Configured, String> {
    let is_shared = |other: &&Configured| {
        configured.claim.is_some()
            && other.endpoints.iter().any(|one| configured.endpoints.contains(one))
    };
    match others.iter().find(is_shared) {
        Some(other) => Err(format!(
            "its `url` is of engine `{}` already: a cluster is one engine, with all its nodes in \
             one `url`",
            other.engine.name()
        )),
        None => Ok(configured),
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
