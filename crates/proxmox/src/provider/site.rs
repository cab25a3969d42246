//! A cluster, as an order needs it.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use drowse_provider::{Action, Deadline, Error, ErrorKind, Reference};

use super::carrier::{Call, Site};
use crate::{
    Client, ClientError, TaskOutcome, Upid,
    client::Sent,
    cluster::{Live, Located, Shared},
};

/// The first release whose stop can end a shutdown's task.
const OVERRULES_SINCE: (u32, u32) = (8, 2);

/// Without a handle: an order ends with the last of them.
pub(super) struct OfCluster {
    shared: Weak<Shared>,
    name: String,
    client: Client,
}

impl OfCluster {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let name = shared.name().to_owned();
        Self { shared: Arc::downgrade(shared), name, client: shared.client().urgent() }
    }
}

#[async_trait]
impl Site for OfCluster {
    fn engine(&self) -> &str {
        &self.name
    }

    async fn live(&self, vmid: u32, action: Action, deadline: Deadline) -> Result<Live, Error> {
        match self.shared.upgrade() {
            Some(shared) => shared.live(&Reference::Vmid(vmid), action, deadline).await,
            None => Err(Error::new(&*self.name, action, ErrorKind::Closed)),
        }
    }

    fn forget_config(&self, vmid: u32) {
        if let Some(shared) = self.shared.upgrade() {
            shared.forget_config(vmid);
        }
    }

    fn transition(&self, vmid: u32) -> Box<dyn Send + Sync> {
        match self.shared.upgrade() {
            Some(shared) => Box::new(shared.transition(vmid)),
            None => Box::new(()),
        }
    }

    async fn give(
        &self,
        at: &Located,
        call: Call,
        sent: &Sent,
        deadline: Deadline,
    ) -> Result<Upid, ClientError> {
        let (client, node) = (self.client.telling(sent), &at.node);
        match call {
            Call::Start => client.start(node, at.vmid, deadline).await,
            Call::Shutdown { timeout } => {
                client.shutdown(node, at.vmid, timeout, true, deadline).await
            }
            Call::Stop { overrule } => client.stop(node, at.vmid, overrule, deadline).await,
        }
    }

    async fn finished(&self, upid: &Upid, deadline: Deadline) -> Result<TaskOutcome, ClientError> {
        self.client.finished(upid, deadline).await
    }

    async fn log(
        &self,
        upid: &Upid,
        lines: usize,
        deadline: Deadline,
    ) -> Result<Vec<String>, ClientError> {
        self.client.task_log(upid, lines, deadline).await
    }

    async fn active_tasks(
        &self,
        at: &Located,
        deadline: Deadline,
    ) -> Result<Vec<Upid>, ClientError> {
        let tasks = self.client.tasks(&at.node, at.vmid, true, deadline).await?;
        Ok(tasks.into_iter().map(|task| task.upid).collect())
    }

    async fn can_overrule(&self, deadline: Deadline) -> bool {
        let version = self.client.version(deadline).await;
        version.is_ok_and(|version| version.release >= OVERRULES_SINCE)
    }
}
