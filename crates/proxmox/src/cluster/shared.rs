//! What the engine, its providers and its watches hold: the last one that is dropped closes.

use std::{collections::BTreeMap, sync::Arc};

use drowse_provider::{
    Action, Capabilities, Deadline, Error, ErrorKind, Observation, Reference, Summary,
};
use tokio_util::sync::CancellationToken;

use super::{
    ClusterOptions, NAMES,
    api::Api,
    core::{Core, within},
    labels::labels_of,
    reads::Urgency,
    row::Row,
    target::Target,
};
use crate::{Client, ContainerConfig, CurrentStatus, provider::Orders};

/// A cluster, as its handles see it. Tasks hold only what is in `core`: they end with the last
/// handle.
#[derive(Debug)]
pub(crate) struct Shared {
    client: Client,
    pub(super) core: Arc<Core>,
    orders: Orders,
}

/// Where a container is.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) node: Arc<str>,
    pub(crate) vmid: u32,
    /// What high availability says of it, if it is managed.
    pub(crate) ha_state: Option<String>,
}

/// A container as it was read live.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) at: Located,
    pub(crate) status: CurrentStatus,
    /// With run and lock.
    pub(crate) observation: Observation,
}

/// While this is held a container that is watched is read live each second.
#[derive(Debug)]
pub(crate) struct Transition {
    core: Arc<Core>,
    vmid: u32,
}

impl Drop for Transition {
    fn drop(&mut self) {
        self.core.registry.release(self.vmid);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.shut();
    }
}

impl Shared {
    pub(super) fn new(name: String, client: Client, options: ClusterOptions) -> Self {
        let api = Arc::new(client.clone());
        Self::with_api(name, client, api, options)
    }

    /// The reads that the cluster makes of itself go to `api`.
    pub(super) fn with_api(
        name: String,
        client: Client,
        api: Arc<dyn Api>,
        options: ClusterOptions,
    ) -> Self {
        Self { client, core: Core::new(name, api, options), orders: Orders::default() }
    }

    /// The engine's name, as configured.
    pub(crate) fn name(&self) -> &str {
        &self.core.name
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Those that are under way.
    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// As far as the cluster's version is known.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.core.capabilities()
    }

    /// Cancelled when the engine is closed.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.core.closing
    }

    /// Runs a task that `close` ends and waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.core.closing.clone();
        self.core.tasks.spawn(async move { _ = closing.run_until_cancelled(task).await });
    }

    /// A container's labels: its tags, and what its notes say.
    pub(crate) fn labels(&self, tags: &[String], notes: &str) -> BTreeMap<String, String> {
        labels_of(tags, notes, &self.core.options.notes_prefix)
    }

    /// Where a container is: by the last beat, else by a fresh one.
    ///
    /// # Errors
    /// `NotFound` if its node says so; `Forbidden` if it may not be seen; `Unavailable`;
    /// `Unsupported` for a name that several have; `Timeout`, `Closed`.
    pub(crate) async fn locate(
        &self,
        reference: &Reference,
        action: Action,
        deadline: Deadline,
    ) -> Result<Located, Error> {
        let target = self.target(reference, action)?;
        within(&self.core, (action, &target), deadline, async {
            let located = self.core.locate(&target, Urgency::of(action)).await;
            let row = located.map_err(|miss| self.core.error(miss, action, &target))?;
            Ok(Located::of(&row))
        })
        .await
    }

    /// Reads a container where it is now, after a migration too. A read begins after it was asked for;
    /// many at a time are one list of their node. Whoever watches the container is told what changed.
    ///
    /// # Errors
    /// As for [`locate`](Self::locate); `Unavailable` names the node that is away.
    pub(crate) async fn live(
        &self,
        reference: &Reference,
        action: Action,
        deadline: Deadline,
    ) -> Result<Live, Error> {
        let target = self.target(reference, action)?;
        within(&self.core, (action, &target), deadline, async {
            let read = self.core.live(&target, Urgency::of(action)).await;
            let read = read.map_err(|miss| self.core.error(miss, action, &target))?;
            let at = Located::of(&read.row);
            Ok(Live { at, status: read.status, observation: read.observation })
        })
        .await
    }

    /// A container's configuration: what was read last, until a beat shows that something happened to
    /// the container, or [`forget_config`](Self::forget_config).
    ///
    /// # Errors
    /// As any read's. `NotFound`: it is not on that node (any more).
    pub(crate) async fn config(
        &self,
        at: &Located,
        action: Action,
        deadline: Deadline,
    ) -> Result<Arc<ContainerConfig>, Error> {
        let target = Target::Vmid(at.vmid);
        within(&self.core, (action, &target), deadline, async {
            let config = self.core.config(&at.node, at.vmid, Urgency::of(action), deadline).await;
            let container = at.vmid.to_string();
            config.map_err(|error| error.into_error(&self.core.name, action, Some(&container)))
        })
        .await
    }

    /// Has a configuration read again when it is next needed: at a wake, say.
    pub(crate) fn forget_config(&self, vmid: u32) {
        self.core.configs.forget(vmid);
    }

    /// While it is held, this container is read live each second, if it is watched.
    pub(crate) fn transition(&self, vmid: u32) -> Transition {
        self.core.registry.hold(vmid);
        Transition { core: Arc::clone(&self.core), vmid }
    }

    /// Every container there is, by a fresh beat.
    pub(super) async fn list(&self, deadline: Deadline) -> Result<Vec<Summary>, Error> {
        let refused = |kind| Error::new(self.name(), Action::List, kind);
        if self.closing().is_cancelled() {
            return Err(refused(ErrorKind::Closed));
        }
        let work = async {
            let beat = self.core.beats.fresh(&self.core).await;
            let beat = beat.map_err(|error| error.into_error(self.name(), Action::List, None))?;
            self.core.prepare_list(&beat).await;
            Ok(self.core.registry.list(&beat, |row| self.core.summary_of(row)))
        };
        tokio::select! {
            biased;
            () = self.core.closing.cancelled() => Err(refused(ErrorKind::Closed)),
            () = tokio::time::sleep_until(deadline.at()) => {
                Err(refused(ErrorKind::Timeout { after: deadline.duration(), last: None }))
            }
            list = work => list,
        }
    }

    /// Ends every watch and every read, and returns when no task and no connection is left.
    pub(super) async fn close(&self) {
        self.core.shut();
        self.client.close().await;
        self.core.tasks.wait().await;
    }

    fn target(&self, reference: &Reference, action: Action) -> Result<Target, Error> {
        Target::of(reference).ok_or_else(|| {
            let kind = ErrorKind::Unsupported { why: NAMES.to_owned() };
            Error::new(self.name(), action, kind).with_container(reference.to_string())
        })
    }
}

impl Located {
    fn of(row: &Row) -> Self {
        Self {
            node: Arc::clone(&row.node),
            vmid: row.vmid,
            ha_state: row.ha_state.as_deref().map(str::to_owned),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    /// A live read of one that is managed if it has a state of high availability.
    pub(crate) fn live_of(
        vmid: u32,
        node: &str,
        ha_state: Option<&str>,
        observation: Observation,
    ) -> Live {
        let ha_state = ha_state.map(str::to_owned);
        let status = CurrentStatus {
            vmid,
            name: "web".to_owned(),
            status: "running".to_owned(),
            pid: None,
            uptime: Duration::ZERO,
            lock: None,
            tags: Vec::new(),
            is_template: false,
            is_ha_managed: ha_state.is_some(),
            ha_state: ha_state.clone(),
            cpu: 0.0,
            memory: 0,
            received: 0,
            sent: 0,
        };
        Live { at: Located { node: node.into(), vmid, ha_state }, status, observation }
    }
}
