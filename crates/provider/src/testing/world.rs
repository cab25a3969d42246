//! The containers of a scripted engine, and what is told of them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::script::{Call, Script, Step};
use crate::{
    Action, Actor, ContainerStatus, Details, ErrorKind, Event, EventAction, Health, KillOutcome,
    Observation, Reference, RunId, Signal, Stats, Summary,
    feed::{Change, Feed, Truth},
};

/// What a shell reports for a process that was killed.
const KILLED: i64 = 137;

/// How faithfully events are told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) is_broken: bool,
    pub(super) lose: usize,
    pub(super) repeat: usize,
}

#[derive(Debug)]
pub(super) struct World {
    began: Instant,
    /// By id.
    containers: BTreeMap<String, Container>,
    /// For ids and runs: never given twice.
    next_number: u64,
    pub(super) feed: Feed,
    pub(super) telling: Telling,
    down: Option<String>,
    pub(super) list_script: Script,
    pub(super) calls: Vec<Call>,
}

#[derive(Debug)]
pub(super) struct Container {
    /// Addresses included: they are shown while it is alive.
    pub(super) details: Details,
    /// The signals that end it, and with which codes. It handles all others but KILL.
    pub(super) ends_at: HashMap<Signal, i64>,
    /// It ends by itself with this code when it is started.
    pub(super) exits_with: Option<i64>,
    pub(super) scripts: HashMap<Action, Script>,
    /// What `stats` tells, one per read; the last one stays.
    pub(super) stats: VecDeque<Stats>,
}

impl Container {
    fn observation(&self) -> &Observation {
        &self.details.observation
    }

    fn conflict(&self) -> ErrorKind {
        ErrorKind::Conflict { status: self.observation().status.clone() }
    }

    /// What it uses, at the next read of that.
    pub(super) fn next_stats(&mut self) -> Stats {
        let next = if self.stats.len() > 1 { self.stats.pop_front() } else { None };
        next.or(self.stats.front().copied()).unwrap_or_default()
    }

    /// The details as a read shows them.
    pub(super) fn shown(&self) -> Details {
        let mut details = self.details.clone();
        if !details.observation.status.is_alive() {
            for network in &mut details.networks {
                network.addresses.clear();
            }
        }
        details
    }
}

impl Truth for World {
    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn observe(&self, reference: &Reference) -> Result<Option<Observation>, ErrorKind> {
        match (self.down(), self.find(reference)) {
            (Some(down), _) => Err(down),
            (None, id) => Ok(id.map(|id| self.containers[&id].observation().clone())),
        }
    }

    fn list(&self) -> Result<Vec<Summary>, ErrorKind> {
        self.down().map_or_else(|| Ok(self.summaries()), Err)
    }
}

/// How far a stop came with its signal.
pub(super) enum StopBegun {
    /// It is stopped.
    Done,
    /// The process took no notice; this run is to be killed after the timeout.
    Waits(RunId),
}

impl World {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            containers: BTreeMap::new(),
            next_number: 0,
            feed: Feed::default(),
            telling: Telling::default(),
            down: None,
            list_script: Script::default(),
            calls: Vec::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    // === Reads ===

    /// The id of the container that `reference` names now.
    pub(super) fn find(&self, reference: &Reference) -> Option<String> {
        let found = match reference {
            Reference::Id(id) => self.containers.get(id),
            Reference::Name(name) => {
                self.containers.values().find(|container| container.details.name == *name)
            }
            Reference::Service { .. } | Reference::Vmid(_) => None,
        };
        found.map(|container| container.details.id.clone())
    }

    pub(super) fn get(&self, id: &str) -> Option<&Container> {
        self.containers.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Container> {
        self.containers.get_mut(id)
    }

    pub(super) fn summaries(&self) -> Vec<Summary> {
        let line = |Container { details, .. }: &Container| {
            let status = details.observation.status.clone();
            let networks = details.networks.iter().map(|network| network.name.clone()).collect();
            let mut line = Summary::new(&details.id, &details.name, details.labels.clone(), status)
                .with_networks(details.network_mode.clone(), networks)
                .owned_by(details.owner.clone());
            line.node.clone_from(&details.node);
            line
        };
        self.containers.values().map(line).collect()
    }

    pub(super) fn down(&self) -> Option<ErrorKind> {
        let reason = self.down.clone()?;
        Some(ErrorKind::Unavailable { reason })
    }

    // === Calls ===

    /// Records a call and says what becomes of it; the container's id beside it.
    pub(super) fn admit(
        &mut self,
        reference: &Reference,
        action: Action,
    ) -> Result<(String, Step), ErrorKind> {
        let id = self.find(reference);
        let name = id
            .as_ref()
            .map_or_else(|| reference.to_string(), |id| self.containers[id].details.name.clone());
        self.calls.push(Call { container: Some(name), action });
        if let Some(down) = self.down() {
            return Err(down);
        }
        let id = id.ok_or(ErrorKind::NotFound)?;
        let container = self.containers.get_mut(&id).ok_or(ErrorKind::NotFound)?;
        let step = container.scripts.entry(action).or_default().next();
        Ok((id, step))
    }

    pub(super) fn admit_list(&mut self) -> Result<Step, ErrorKind> {
        self.calls.push(Call { container: None, action: Action::List });
        match self.down() {
            Some(down) => Err(down),
            None => Ok(self.list_script.next()),
        }
    }

    // === Telling ===

    /// Tells of something that left state and run as they were.
    pub(super) fn tell(&mut self, id: &str, action: EventAction) {
        self.tell_with(id, action, Change::None);
    }

    /// Tells of a change of state or run.
    fn tell_change(&mut self, id: &str, action: EventAction) {
        let change = match self.containers.get(id) {
            Some(container) => Change::Now(container.observation().clone()),
            None => Change::Removed,
        };
        self.tell_with(id, action, change);
    }

    fn tell_with(&mut self, id: &str, action: EventAction, change: Change) {
        let Some(container) = self.containers.get(id) else { return };
        let details = &container.details;
        let actor = Actor::new(id, &details.name, details.labels.clone());
        let run = details.observation.run.clone();
        let event = Event::container(actor, action, self.now()).of_run(run);
        self.tell_event(event, change);
    }

    fn tell_event(&mut self, event: Event, change: Change) {
        if self.telling.is_broken || self.down.is_some() {
            return;
        }
        if self.telling.lose > 0 {
            self.telling.lose -= 1;
            return;
        }
        if self.telling.repeat > 0 {
            self.telling.repeat -= 1;
            self.feed.tell(event.clone(), change.clone());
        }
        self.feed.tell(event, change);
    }

    /// The engine's clock: tokio's, so that a test may pause it.
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.began.elapsed() + Duration::from_hours(20_000 * 24)
    }

    pub(super) fn break_events(&mut self) {
        self.telling.is_broken = true;
    }

    pub(super) fn mend_events(&mut self) {
        self.telling.is_broken = false;
        self.feed.resync();
    }

    pub(super) fn go_down(&mut self, reason: String) {
        self.feed.fail(ErrorKind::Unavailable { reason: reason.clone() });
        self.down = Some(reason);
    }

    pub(super) fn come_back(&mut self) {
        self.down = None;
        self.feed.resync();
    }

    // === Changes ===

    pub(super) fn create(&mut self, name: String) -> String {
        let taken = self.find(&Reference::Name(name.clone()));
        assert!(taken.is_none(), "there is a container `{name}` already");
        let id = format!("id-{}", self.number());
        let details = Details::new(&id, name, Observation::new(ContainerStatus::Stopped, None));
        let ends_at = HashMap::from([(Signal::TERM, 0)]);
        let container = Container {
            details,
            ends_at,
            exits_with: None,
            scripts: HashMap::new(),
            stats: VecDeque::new(),
        };
        self.containers.insert(id.clone(), container);
        self.tell_change(&id, EventAction::Create);
        id
    }

    pub(super) fn rename(&mut self, id: &str, name: String) {
        let taken = self.find(&Reference::Name(name.clone()));
        assert!(taken.is_none(), "there is a container `{name}` already");
        let Some(container) = self.containers.get_mut(id) else { return };
        let before = std::mem::replace(&mut container.details.name, name);
        self.tell_change(id, EventAction::Rename(before));
        // Whoever watches the name of before learns that nothing has it now.
        if !self.telling.is_broken && self.down.is_none() {
            self.feed.resync();
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.end(id, KILLED);
        let Some(container) = self.containers.remove(id) else { return };
        let Details { name, labels, observation, .. } = container.details;
        let event =
            Event::container(Actor::new(id, name, labels), EventAction::Destroy, self.now());
        self.tell_event(event.of_run(observation.run), Change::Removed);
    }

    pub(super) fn set_error(&mut self, id: &str, reason: crate::Unusable) {
        self.end(id, KILLED);
        let Some(container) = self.containers.get_mut(id) else { return };
        container.details.observation.status = ContainerStatus::Error(reason);
        self.tell_change(id, EventAction::Other("error".to_owned()));
    }

    pub(super) fn set_health(&mut self, id: &str, health: Health) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.details.has_health_check = true;
        container.details.observation.health = Some(health);
        self.tell_change(id, EventAction::Health(health));
    }

    pub(super) fn start(&mut self, id: &str) -> Result<(), ErrorKind> {
        let number = self.number();
        let container = self.containers.get_mut(id).ok_or(ErrorKind::NotFound)?;
        match container.observation().status {
            ContainerStatus::Running => Ok(()),
            ContainerStatus::Paused => self.unpause(id),
            ContainerStatus::Error(_) => Err(container.conflict()),
            ContainerStatus::Stopped => {
                let run = RunId::new(format!("run-{number}"));
                container.details.observation =
                    Observation::new(ContainerStatus::Running, Some(run));
                let exits_with = container.exits_with;
                self.tell_change(id, EventAction::Start);
                if let Some(code) = exits_with {
                    self.end(id, code);
                }
                Ok(())
            }
        }
    }

    /// The end of a run, if there is one.
    pub(super) fn end(&mut self, id: &str, code: i64) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let observation = &mut container.details.observation;
        if observation.status.is_alive() {
            observation.status = ContainerStatus::Stopped;
            observation.exit_code = Some(code);
            observation.health = None;
            self.tell_change(id, EventAction::Die(Some(code)));
        }
    }

    pub(super) fn kill(&mut self, id: &str, signal: Signal) -> Result<KillOutcome, ErrorKind> {
        let container = self.containers.get(id).ok_or(ErrorKind::NotFound)?;
        match container.observation().status {
            ContainerStatus::Running => {}
            ContainerStatus::Stopped if signal == Signal::KILL => {
                return Ok(KillOutcome::Exited(container.observation().exit_code));
            }
            ContainerStatus::Paused if signal == Signal::KILL => {}
            _ => return Err(container.conflict()),
        }
        let ends_with = container.ends_at.get(&signal).copied();
        self.tell(id, EventAction::Kill(Some(signal)));
        if signal == Signal::KILL {
            self.end(id, KILLED);
            return Ok(KillOutcome::Exited(Some(KILLED)));
        }
        if let Some(code) = ends_with {
            self.end(id, code);
        }
        Ok(KillOutcome::StillRunning)
    }

    /// The first half of a stop: its signal.
    pub(super) fn begin_stop(&mut self, id: &str, signal: Signal) -> Result<StopBegun, ErrorKind> {
        let container = self.containers.get(id).ok_or(ErrorKind::NotFound)?;
        let observation = container.observation();
        let Some(run) = observation.run.clone().filter(|_| observation.status.is_alive()) else {
            return match observation.status {
                ContainerStatus::Stopped => Ok(StopBegun::Done),
                _ => Err(container.conflict()),
            };
        };
        let ends_with = container.ends_at.get(&signal).copied();
        self.tell(id, EventAction::Kill(Some(signal)));
        match ends_with {
            Some(code) => {
                self.end(id, code);
                self.tell(id, EventAction::Stop);
                Ok(StopBegun::Done)
            }
            None => Ok(StopBegun::Waits(run)),
        }
    }

    /// The second half: KILL, unless that run ended meanwhile.
    pub(super) fn finish_stop(&mut self, id: &str, run: &RunId) {
        if self.is_alive(id, run) {
            self.tell(id, EventAction::Kill(Some(Signal::KILL)));
            self.end(id, KILLED);
        }
        self.tell(id, EventAction::Stop);
    }

    pub(super) fn is_alive(&self, id: &str, run: &RunId) -> bool {
        self.containers.get(id).is_some_and(|container| {
            let observation = container.observation();
            observation.status.is_alive() && observation.run.as_ref() == Some(run)
        })
    }

    pub(super) fn pause(&mut self, id: &str) -> Result<(), ErrorKind> {
        self.freeze(id, &ContainerStatus::Running, ContainerStatus::Paused, EventAction::Pause)
    }

    pub(super) fn unpause(&mut self, id: &str) -> Result<(), ErrorKind> {
        self.freeze(id, &ContainerStatus::Paused, ContainerStatus::Running, EventAction::Unpause)
    }

    fn freeze(
        &mut self,
        id: &str,
        from: &ContainerStatus,
        to: ContainerStatus,
        action: EventAction,
    ) -> Result<(), ErrorKind> {
        let container = self.containers.get_mut(id).ok_or(ErrorKind::NotFound)?;
        let status = &mut container.details.observation.status;
        if *status == to {
            Ok(())
        } else if status == from {
            *status = to;
            self.tell_change(id, action);
            Ok(())
        } else {
            Err(container.conflict())
        }
    }
}
