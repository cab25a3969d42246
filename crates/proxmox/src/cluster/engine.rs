//! One cluster, as an engine.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use drowse_provider::{
    Action, Capabilities, Deadline, Engine, EngineWatch, Error, ErrorKind, Provider, Reach,
    Reference, Summary,
};

use super::{ClusterOptions, NAMES, Shared, target::Target};
use crate::{Client, ProxmoxProvider};

/// One Proxmox VE cluster, or a single node: one client and one poll for any number of providers and
/// watches.
///
/// Cheap to clone. It closes when the last clone, provider and watch is dropped, or by
/// [`close`](Engine::close).
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

impl Cluster {
    /// A handle of the cluster that `client` speaks to. `name` is what the engine is called in errors
    /// and logs. Does no I/O; the poll runs only while somebody watches.
    pub fn connect(name: impl Into<String>, client: Client, options: ClusterOptions) -> Self {
        Self { shared: Arc::new(Shared::new(name.into(), client, options)) }
    }

    /// What speaks to the cluster: closed with it.
    pub fn client(&self) -> &Client {
        self.shared.client()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("name", &self.name())
            .field("endpoints", &self.client().endpoints())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for Cluster {
    fn name(&self) -> &str {
        self.shared.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities()
    }

    fn reach(&self) -> Reach {
        Reach::Routed
    }

    async fn list(&self, deadline: Deadline) -> Result<Vec<Summary>, Error> {
        self.shared.list(deadline).await
    }

    fn provider(&self, reference: &Reference) -> Result<Arc<dyn Provider>, Error> {
        let refused = |kind| {
            let error = Error::new(self.name(), Action::Connect, kind);
            Err(error.with_container(reference.to_string()))
        };
        if self.shared.closing().is_cancelled() {
            return refused(ErrorKind::Closed);
        }
        match Target::of(reference) {
            Some(_) => {
                Ok(Arc::new(ProxmoxProvider::new(Arc::clone(&self.shared), reference.clone())))
            }
            None => refused(ErrorKind::Unsupported { why: NAMES.to_owned() }),
        }
    }

    /// Must be called within a tokio runtime.
    fn events(&self) -> EngineWatch {
        Arc::clone(&self.shared).watch_all()
    }

    async fn close(&self) {
        self.shared.close().await;
    }
}
