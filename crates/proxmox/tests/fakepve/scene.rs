//! A container on a cluster, its provider, and what they are asked.

use std::{sync::Arc, time::Duration};

use drowse_fakepve::{Ct, FakePve, Options};
use drowse_provider::{
    ContainerStatus, Engine as _, Error, Observation, Provider, Reference, Watch, WatchItem,
};
use drowse_proxmox::{Cluster, ClusterOptions};
use futures::{FutureExt as _, StreamExt as _};

use crate::support::{PATIENCE, client, eventually, patience};

/// How often the cluster is asked in these tests.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Quicker than anybody may have it in earnest.
pub(crate) fn cluster_options() -> ClusterOptions {
    let mut options = ClusterOptions::new();
    options.interval = INTERVAL;
    options
}

/// A cluster with one container, 201, and everything between its provider and it.
pub(crate) struct Scene {
    pub(crate) pve: FakePve,
    pub(crate) engine: Cluster,
    pub(crate) provider: Arc<dyn Provider>,
}

pub(crate) const VMID: u32 = 201;

impl Scene {
    pub(crate) async fn of(ct: Ct) -> Self {
        Self::with(Options::default(), ct).await
    }

    pub(crate) async fn with(options: Options, ct: Ct) -> Self {
        let pve = FakePve::start(options).await;
        pve.add_container(ct).await;
        let engine = Cluster::connect("pve", client(&pve), cluster_options());
        let provider = engine.provider(&Reference::Vmid(VMID)).unwrap();
        Self { pve, engine, provider }
    }

    pub(crate) async fn status(&self) -> ContainerStatus {
        self.provider.status(patience()).await.unwrap()
    }

    /// How often an order of this kind was taken by the cluster.
    pub(crate) async fn taken(&self, kind: &str) -> usize {
        self.pve.tasks().await.iter().filter(|task| task.kind == kind).count()
    }

    /// Returns when an order of this kind is under way.
    pub(crate) async fn under_way(&self, kind: &str) {
        eventually(&format!("a {kind} is under way"), async || {
            let tasks = self.pve.tasks().await;
            tasks.iter().any(|task| task.kind == kind && task.status == "running").then_some(())
        })
        .await;
    }

    /// Returns when so many more beats have been answered.
    pub(crate) async fn beats(&self, beats: usize) {
        let path = "/cluster/resources";
        // One more: the first one may have been under way.
        let enough = self.pve.count("GET", path).await + beats + 1;
        eventually("further beats", async || {
            (self.pve.count("GET", path).await >= enough).then_some(())
        })
        .await;
    }

    /// Nothing but reads and power calls was asked, and the container is as its user made it.
    pub(crate) async fn close(self) {
        self.engine.close().await;
        for request in self.pve.requests().await {
            let is_power = request.path.contains("/status/") || request.path == "/access/ticket";
            let may_be = request.method == "GET" || (request.method == "POST" && is_power);
            assert!(may_be, "{} {}", request.method, request.path);
            assert!(!request.path.ends_with("/reboot"), "it does not look at locks first");
        }
    }
}

/// A watch that is read.
pub(crate) struct Watching(Watch);

impl Watching {
    pub(crate) fn begin(provider: &Arc<dyn Provider>) -> Self {
        Self(provider.watch())
    }

    /// The next item.
    pub(crate) async fn next(&mut self, what: &str) -> Result<WatchItem, Error> {
        let Ok(item) = tokio::time::timeout(PATIENCE, self.0.next()).await else {
            panic!("waited {PATIENCE:?} for {what}");
        };
        item.unwrap_or_else(|| panic!("the watch ended before {what}"))
    }

    /// What `wanted` takes first, passing over the rest.
    pub(crate) async fn find<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(Result<WatchItem, Error>) -> Option<T>,
    ) -> T {
        loop {
            if let Some(found) = wanted(self.next(what).await) {
                return found;
            }
        }
    }

    /// The next read that says this.
    pub(crate) async fn synced(&mut self, expected: &ContainerStatus) -> Observation {
        self.find(&format!("`{expected}`"), |item| match item {
            Ok(WatchItem::Synced(seen)) if seen.status == *expected => Some(seen),
            _ => None,
        })
        .await
    }

    /// The next error item, passing over the rest.
    pub(crate) async fn error(&mut self) -> Error {
        self.find("an error", Result::err).await
    }

    pub(crate) async fn removed(&mut self) {
        self.find("`Removed`", |item| matches!(item, Ok(WatchItem::Removed)).then_some(())).await;
    }

    /// All that was told by now.
    pub(crate) fn told(&mut self) -> Vec<Result<WatchItem, Error>> {
        let mut items = Vec::new();
        while let Some(Some(item)) = self.0.next().now_or_never() {
            items.push(item);
        }
        items
    }
}
