//! What the cluster is asked for. Everything here is a read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use drowse_provider::Deadline;

use crate::{Client, ClientError, ContainerConfig, CurrentStatus, Node, Resource, Version};

/// The reads that the cluster makes of itself: a trait, so that tests bring a cluster whose clock
/// stands still.
#[async_trait]
pub(super) trait Api: fmt::Debug + Send + Sync + 'static {
    /// The same for reads that an order waits for, where that makes a difference.
    fn urgent(&self) -> Option<Arc<dyn Api>> {
        None
    }

    async fn version(&self, deadline: Deadline) -> Result<Version, ClientError>;
    async fn nodes(&self, deadline: Deadline) -> Result<Vec<Node>, ClientError>;
    async fn resources(&self, deadline: Deadline) -> Result<Vec<Resource>, ClientError>;
    async fn permissions(
        &self,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, ClientError>;
    async fn containers_of(
        &self,
        node: &str,
        deadline: Deadline,
    ) -> Result<Vec<CurrentStatus>, ClientError>;
    async fn status(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<CurrentStatus, ClientError>;
    async fn config(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<ContainerConfig, ClientError>;
}

#[async_trait]
impl Api for Client {
    fn urgent(&self) -> Option<Arc<dyn Api>> {
        Some(Arc::new(self.urgent()))
    }

    async fn version(&self, deadline: Deadline) -> Result<Version, ClientError> {
        self.version(deadline).await
    }

    async fn nodes(&self, deadline: Deadline) -> Result<Vec<Node>, ClientError> {
        self.nodes(deadline).await
    }

    async fn resources(&self, deadline: Deadline) -> Result<Vec<Resource>, ClientError> {
        self.resources(deadline).await
    }

    async fn permissions(
        &self,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, ClientError> {
        self.permissions(deadline).await
    }

    async fn containers_of(
        &self,
        node: &str,
        deadline: Deadline,
    ) -> Result<Vec<CurrentStatus>, ClientError> {
        self.containers_of(node, deadline).await
    }

    async fn status(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<CurrentStatus, ClientError> {
        self.status(node, vmid, deadline).await
    }

    async fn config(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<ContainerConfig, ClientError> {
        self.config(node, vmid, deadline).await
    }
}
