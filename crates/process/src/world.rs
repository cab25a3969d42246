//! The containers of an engine, what they are doing, and the telling of it.
//!
//! Changed only on the engine's thread, except that definitions may come from any; read from
//! anywhere. Whatever changes a state tells of it under the same lock.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use drowse_provider::{
    Actor, ContainerStatus, Details, ErrorKind, Event, EventAction, NetworkMode, Observation,
    Reference, RunId, Summary,
    feed::{Change, Feed, Truth},
};

use crate::{
    run::{Phase, Run},
    spec::ProcessSpec,
};

/// How long a process may take to end, unless its definition or the caller says otherwise: the same
/// as Docker's.
pub(crate) const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct World {
    /// By id.
    processes: BTreeMap<String, Process>,
    /// Ids are never given twice.
    next_id: u64,
    feed: Feed,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) spec: Arc<ProcessSpec>,
    created: SystemTime,
    pub(crate) state: State,
    /// Held by whoever starts, freezes or thaws it: one at a time.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
pub(crate) enum State {
    /// It never ran.
    New,
    Alive(Arc<Run>),
    Ended {
        run: RunId,
        exit_code: Option<i64>,
    },
}

impl Process {
    fn observation(&self) -> Observation {
        match &self.state {
            State::New => Observation::new(ContainerStatus::Stopped, None),
            State::Ended { run, exit_code } => {
                Observation::new(ContainerStatus::Stopped, Some(run.clone()))
                    .with_exit_code(*exit_code)
            }
            State::Alive(run) => {
                let status = match run.phase() {
                    Phase::Frozen => ContainerStatus::Paused,
                    // A run that is over is told so a moment later, under this lock.
                    Phase::Running | Phase::Ended(_) => ContainerStatus::Running,
                };
                Observation::new(status, Some(run.id.clone()))
            }
        }
    }

    pub(crate) fn run(&self) -> Option<&Arc<Run>> {
        match &self.state {
            State::Alive(run) => Some(run),
            State::New | State::Ended { .. } => None,
        }
    }
}

impl World {
    pub(crate) fn find(&self, reference: &Reference) -> Option<&str> {
        let found = match reference {
            Reference::Id(id) => self.processes.get_key_value(id),
            Reference::Name(name) => {
                self.processes.iter().find(|(_, process)| process.spec.name == *name)
            }
            _ => None,
        };
        found.map(|(id, _)| id.as_str())
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Process, ErrorKind> {
        self.processes.get(id).ok_or(ErrorKind::NotFound)
    }

    pub(crate) fn details(&self, id: &str) -> Result<Details, ErrorKind> {
        let process = self.get(id)?;
        let Process { spec, created, .. } = process;
        let mut details = Details::new(id, &spec.name, process.observation());
        details.labels.clone_from(&spec.labels);
        details.created = Some(*created);
        details.network_mode = NetworkMode::Host;
        details.exposed.clone_from(&spec.ports);
        details.stop_signal = spec.stop_signal;
        details.stop_timeout = spec.stop_timeout;
        Ok(details)
    }

    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let line = |(id, process): (&String, &Process)| {
            let ProcessSpec { name, labels, .. } = &*process.spec;
            Summary::new(id, name, labels.clone(), process.observation().status)
                .with_networks(NetworkMode::Host, Vec::new())
        };
        self.processes.iter().map(line).collect()
    }

    /// Every container that is alive, by id.
    pub(crate) fn alive(&self) -> Vec<(String, Arc<Run>)> {
        let run = |(id, process): (&String, &Process)| Some((id.clone(), process.run()?.clone()));
        self.processes.iter().filter_map(run).collect()
    }

    // === Changes ===

    /// A new container, or the new definition of one that is there.
    pub(crate) fn define(&mut self, spec: ProcessSpec) {
        let name = Reference::Name(spec.name.clone());
        if let Some(id) = self.find(&name).map(ToOwned::to_owned) {
            if let Some(process) = self.processes.get_mut(&id) {
                process.spec = Arc::new(spec);
            }
            self.tell(&id, EventAction::Update);
            return;
        }
        self.next_id += 1;
        let id = format!("{}#{}", spec.name, self.next_id);
        let process = Process {
            spec: Arc::new(spec),
            created: SystemTime::now(),
            state: State::New,
            turn: Arc::default(),
        };
        self.processes.insert(id.clone(), process);
        self.tell_change(&id, EventAction::Create);
    }

    /// Takes away a container that is not alive.
    pub(crate) fn remove(&mut self, id: &str) {
        let Some(process) = self.processes.remove(id) else { return };
        self.feed.tell(event(id, &process, EventAction::Destroy), Change::Removed);
    }

    pub(crate) fn began(&mut self, id: &str, run: Arc<Run>) {
        self.change(id, State::Alive(run), EventAction::Start);
    }

    pub(crate) fn ended(&mut self, id: &str, run: &Run, exit_code: Option<i64>) {
        let state = State::Ended { run: run.id.clone(), exit_code };
        self.change(id, state, EventAction::Die(exit_code));
        run.set_phase(Phase::Ended(exit_code));
    }

    pub(crate) fn froze(&mut self, id: &str, run: &Run) {
        if run.phase() == Phase::Running {
            run.set_phase(Phase::Frozen);
            self.tell_change(id, EventAction::Pause);
        }
    }

    pub(crate) fn thawed(&mut self, id: &str, run: &Run) {
        if run.phase() == Phase::Frozen {
            run.set_phase(Phase::Running);
            self.tell_change(id, EventAction::Unpause);
        }
    }

    fn change(&mut self, id: &str, state: State, action: EventAction) {
        if let Some(process) = self.processes.get_mut(id) {
            process.state = state;
            self.tell_change(id, action);
        }
    }

    // === Telling ===

    /// Tells of something that left state and run as they were.
    pub(crate) fn tell(&self, id: &str, action: EventAction) {
        if let Some(process) = self.processes.get(id) {
            self.feed.tell(event(id, process, action), Change::None);
        }
    }

    fn tell_change(&self, id: &str, action: EventAction) {
        if let Some(process) = self.processes.get(id) {
            self.feed.tell(event(id, process, action), Change::Now(process.observation()));
        }
    }

    /// Ends all watches.
    pub(crate) fn hush(&mut self) {
        self.feed.close();
    }
}

fn event(id: &str, process: &Process, action: EventAction) -> Event {
    let actor = Actor::new(id, &process.spec.name, process.spec.labels.clone());
    let run = process.observation().run;
    Event::container(actor, action, SystemTime::now()).of_run(run)
}

impl Truth for World {
    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn observe(&self, reference: &Reference) -> Result<Option<Observation>, ErrorKind> {
        Ok(self.find(reference).map(|id| self.processes[id].observation()))
    }

    fn list(&self) -> Result<Vec<Summary>, ErrorKind> {
        Ok(self.summaries())
    }
}
