//! A cluster in memory whose beats lag as real ones do, under a clock that the test moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use drowse_provider::Deadline;
use tokio::time::{Instant, sleep};

use crate::{
    ClientError, ContainerConfig, CurrentStatus, Node, Resource, Version, cluster::api::Api,
};

/// How often nodes tell the cluster what their containers are doing.
const PUBLISHED_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) struct World(Arc<Mutex<State>>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) containers: BTreeMap<u32, Container>,
    pub(super) nodes_away: BTreeSet<String>,
    /// Those that answer, and tell the cluster nothing.
    pub(super) nodes_mute: BTreeSet<String>,
    /// What may not be seen.
    pub(super) hidden: BTreeSet<u32>,
    /// What is read never answers, nor does a list that has it.
    pub(super) hanging: BTreeSet<u32>,
    /// What is asked so makes whoever asks panic.
    pub(super) panics_at: Option<&'static str>,
    pub(super) api_error: Option<ClientError>,
    /// Whether beats show at once what containers do.
    pub(super) is_prompt: bool,
    published: BTreeMap<u32, Told>,
    publish_at: Instant,
    next_pid: u64,
    pub(super) asked: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) node: String,
    pub(super) name: String,
    pub(super) tags: Vec<String>,
    pub(super) lock: Option<String>,
    pub(super) ha_state: Option<String>,
    /// Whether it is managed, and management has not looked at it yet.
    pub(super) is_new_to_ha: bool,
    pub(super) is_template: bool,
    pub(super) notes: String,
    /// Its process and when that began.
    pub(super) process: Option<(u64, Instant)>,
}

/// What nodes tell, and the cluster does not know by itself.
#[derive(Clone, Debug)]
struct Told {
    name: String,
    process: Option<(u64, Instant)>,
    at: Instant,
}

impl Container {
    pub(super) fn stopped(vmid: u32, node: &str) -> Self {
        Self {
            node: node.to_owned(),
            name: format!("ct{vmid}"),
            tags: Vec::new(),
            lock: None,
            ha_state: None,
            is_new_to_ha: false,
            is_template: false,
            notes: String::new(),
            process: None,
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            containers: BTreeMap::new(),
            nodes_away: BTreeSet::new(),
            nodes_mute: BTreeSet::new(),
            hidden: BTreeSet::new(),
            hanging: BTreeSet::new(),
            panics_at: None,
            api_error: None,
            is_prompt: false,
            published: BTreeMap::new(),
            publish_at: Instant::now() + PUBLISHED_EVERY,
            next_pid: 1000,
            asked: Vec::new(),
        })))
    }

    /// Changes something, as of now.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.publish();
        let changed = change(&mut state);
        // What is new is told at once.
        let vmids: Vec<u32> = state.containers.keys().copied().collect();
        for vmid in vmids {
            if !state.published.contains_key(&vmid) || state.is_prompt {
                state.tell(vmid);
            }
        }
        changed
    }

    /// Adds a stopped container.
    pub(super) fn add(&self, vmid: u32, node: &str) {
        self.change(|state| {
            state.containers.insert(vmid, Container::stopped(vmid, node));
        });
    }

    pub(super) fn with(&self, vmid: u32, change: impl FnOnce(&mut Container)) {
        self.change(|state| change(state.containers.get_mut(&vmid).unwrap()));
    }

    pub(super) fn start(&self, vmid: u32) {
        self.change(|state| {
            state.next_pid += 1;
            let process = (state.next_pid, Instant::now());
            state.containers.get_mut(&vmid).unwrap().process = Some(process);
        });
    }

    pub(super) fn stop(&self, vmid: u32) {
        self.with(vmid, |container| container.process = None);
    }

    pub(super) fn remove(&self, vmid: u32) {
        self.change(|state| {
            state.containers.remove(&vmid);
            state.published.remove(&vmid);
        });
    }

    /// What was asked since this was last called.
    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A request that is not answered.
    async fn hang<T>(&self, what: String, deadline: Deadline) -> Result<T, ClientError> {
        self.state().asked.push(what);
        tokio::time::sleep_until(deadline.at()).await;
        Err(ClientError::TimedOut { after: deadline.duration(), last: None, was_sent: false })
    }

    /// A request that takes so long.
    async fn answer<T>(
        &self,
        what: String,
        takes: Duration,
        answer: impl FnOnce(&State) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let panics_at = self.state().panics_at;
        assert!(panics_at.is_none_or(|at| !what.starts_with(at)), "as the test wants");
        self.state().asked.push(what);
        sleep(takes / 2).await;
        let answer = {
            let mut state = self.state();
            state.publish();
            match &state.api_error {
                Some(error) => Err(error.clone()),
                None => answer(&state),
            }
        };
        sleep(takes / 2).await;
        answer
    }
}

impl State {
    /// What nodes told until now.
    fn publish(&mut self) {
        let now = Instant::now();
        if self.publish_at > now && !self.is_prompt {
            return;
        }
        while self.publish_at <= now {
            self.publish_at += PUBLISHED_EVERY;
        }
        let here = |container: &Container| !self.tells_nothing(&container.node);
        let told = self.containers.iter().filter(|(_, container)| here(container));
        let vmids: Vec<u32> = told.map(|(vmid, _)| *vmid).collect();
        for vmid in vmids {
            self.tell(vmid);
        }
    }

    fn tell(&mut self, vmid: u32) {
        let Container { name, process, .. } = self.containers[&vmid].clone();
        self.published.insert(vmid, Told { name, process, at: Instant::now() });
    }

    fn tells_nothing(&self, node: &str) -> bool {
        self.nodes_away.contains(node) || self.nodes_mute.contains(node)
    }

    fn resource(&self, vmid: u32, container: &Container) -> Resource {
        let told = &self.published[&vmid];
        let is_away = self.tells_nothing(&container.node);
        let uptime = told.process.map_or(Duration::ZERO, |(_, began)| told.at - began);
        let word = if told.process.is_some() { "running" } else { "stopped" };
        Resource {
            vmid,
            node: container.node.clone(),
            name: (!is_away).then(|| told.name.clone()),
            status: if is_away { "unknown" } else { word }.to_owned(),
            uptime: if is_away { Duration::ZERO } else { uptime },
            lock: container.lock.clone(),
            tags: container.tags.clone(),
            ha_state: container.ha_state.clone(),
            is_template: container.is_template,
        }
    }

    fn status(&self, vmid: u32, is_listed: bool) -> CurrentStatus {
        let container = &self.containers[&vmid];
        CurrentStatus {
            vmid,
            name: container.name.clone(),
            status: if container.process.is_some() { "running" } else { "stopped" }.to_owned(),
            pid: container.process.map(|(pid, _)| pid),
            uptime: container.process.map_or(Duration::ZERO, |(_, began)| began.elapsed()),
            lock: container.lock.clone(),
            tags: container.tags.clone(),
            is_template: container.is_template,
            is_ha_managed: !is_listed && (container.ha_state.is_some() || container.is_new_to_ha),
            ha_state: container.ha_state.clone().filter(|_| !is_listed),
            cpu: 0.0,
            memory: 0,
            received: 0,
            sent: 0,
        }
    }

    /// What is in the way of asking a node about a container.
    fn check(&self, node: &str, vmid: u32) -> Result<&Container, ClientError> {
        if self.hidden.contains(&vmid) {
            return Err(ClientError::Forbidden {
                privilege: Some("VM.Audit".to_owned()),
                path: Some(format!("/vms/{vmid}")),
                message: format!("Permission check failed (/vms/{vmid}, VM.Audit)"),
            });
        }
        self.check_node(node)?;
        match self.containers.get(&vmid) {
            Some(container) if container.node == node => Ok(container),
            _ => Err(ClientError::Refused {
                status: 500,
                message: format!(
                    "Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist"
                ),
            }),
        }
    }

    fn check_node(&self, node: &str) -> Result<(), ClientError> {
        if self.nodes_away.contains(node) {
            return Err(ClientError::NodeUnreachable {
                node: node.to_owned(),
                message: "No route to host".to_owned(),
                was_sent: false,
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Api for World {
    async fn version(&self, _: Deadline) -> Result<Version, ClientError> {
        self.answer("version".to_owned(), Duration::from_millis(10), |_| {
            Ok(Version { text: "8.0.4".to_owned(), release: (8, 0) })
        })
        .await
    }

    async fn nodes(&self, _: Deadline) -> Result<Vec<Node>, ClientError> {
        self.answer("nodes".to_owned(), Duration::from_millis(10), |state| {
            let node = |name: &str| Node {
                name: name.to_owned(),
                is_online: !state.nodes_away.contains(name),
                fingerprint: None,
            };
            Ok(["pve1", "pve2"].map(node).into())
        })
        .await
    }

    async fn resources(&self, _: Deadline) -> Result<Vec<Resource>, ClientError> {
        self.answer("resources".to_owned(), Duration::from_millis(10), |state| {
            let seen = state.containers.iter().filter(|(vmid, _)| !state.hidden.contains(vmid));
            Ok(seen.map(|(vmid, container)| state.resource(*vmid, container)).collect())
        })
        .await
    }

    async fn permissions(
        &self,
        _: Deadline,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, ClientError> {
        self.answer("permissions".to_owned(), Duration::from_millis(10), |state| {
            let audit = || BTreeSet::from(["VM.Audit".to_owned()]);
            let seen = state.containers.keys().filter(|vmid| !state.hidden.contains(vmid));
            Ok(seen.map(|vmid| (format!("/vms/{vmid}"), audit())).collect())
        })
        .await
    }

    async fn containers_of(
        &self,
        node: &str,
        deadline: Deadline,
    ) -> Result<Vec<CurrentStatus>, ClientError> {
        let what = format!("list of {node}");
        let hangs = |state: &State| {
            let here = |vmid| state.containers.get(vmid).is_some_and(|one| one.node == *node);
            state.hanging.iter().any(here)
        };
        if hangs(&self.state()) {
            return self.hang(what, deadline).await;
        }
        self.answer(what, Duration::from_millis(100), |state| {
            state.check_node(node)?;
            let here = state
                .containers
                .iter()
                .filter(|(vmid, container)| container.node == node && !state.hidden.contains(vmid));
            Ok(here.map(|(vmid, _)| state.status(*vmid, true)).collect())
        })
        .await
    }

    async fn status(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<CurrentStatus, ClientError> {
        let what = format!("status of {vmid} on {node}");
        if self.state().hanging.contains(&vmid) {
            return self.hang(what, deadline).await;
        }
        self.answer(what, Duration::from_millis(50), |state| {
            state.check(node, vmid)?;
            Ok(state.status(vmid, false))
        })
        .await
    }

    async fn config(
        &self,
        node: &str,
        vmid: u32,
        _: Deadline,
    ) -> Result<ContainerConfig, ClientError> {
        let what = format!("config of {vmid}");
        self.answer(what, Duration::from_millis(20), |state| {
            let container = state.check(node, vmid)?;
            Ok(ContainerConfig {
                digest: None,
                hostname: Some(container.name.clone()),
                description: container.notes.clone(),
                tags: container.tags.clone(),
                lock: container.lock.clone(),
                starts_at_boot: false,
                stop_timeout: None,
                is_template: container.is_template,
                networks: BTreeMap::new(),
            })
        })
        .await
    }
}
