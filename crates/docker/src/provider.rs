//! One container.

mod operations;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::{models::ContainerStatsResponse, query_parameters::StatsOptions};
use drowse_provider::{
    Action, Capabilities, Deadline, Details, Error, ErrorKind, KillOutcome, NetworkHolder,
    NetworkMode, Observation, Provider, Reference, Signal, Stats, StopOptions, Watch,
};
use tokio::time::Instant;

use crate::{
    client::{Call, Client, encode},
    details::{details_of, network_mode_of, pod_of},
    engine::Handle,
    state::observation_of,
    target::Target,
    watch::{ContainerWatch, OVERTAKEN_ON_PODMAN, SETTLING},
    wire::Inspected,
};

/// How many containers may live in each other's network in a row. More would be a circle.
const HOLDERS_MAX: usize = 8;

/// What the figures of one container may take.
const STATS_MAX: usize = 1024 * 1024;

/// One container on one engine, by id, by name, or as what serves a compose service.
pub(crate) struct DockerProvider {
    handle: Arc<Handle>,
    reference: Reference,
    target: Target,
}

impl DockerProvider {
    pub(crate) fn new(handle: Arc<Handle>, reference: Reference, target: Target) -> Self {
        Self { handle, reference, target }
    }

    fn client(&self) -> &Client {
        &self.handle.client
    }

    fn call(&self, action: Action, deadline: Deadline) -> Call<'_> {
        Call::about(action, &self.target, deadline)
    }

    /// The networks' kinds and the container whose network this one lives in are read only where
    /// they can be: neither is a reason to fail.
    async fn read_details(&self, deadline: Deadline) -> Result<Details, Error> {
        let client = self.client();
        let call = self.call(Action::Inspect, deadline);
        let (inspected, ()) =
            tokio::join!(client.inspect(call, &self.target), client.learn_reach(deadline));
        let inspected = inspected?;
        self.hear_the_word_before_the_deed(&inspected, deadline).await;
        let mut details = client.with_drivers(inspected, deadline).await;
        if let Some(holder) = client.holder_of(&details, deadline).await {
            if details.owner.is_none() {
                details.owner = pod_of(&holder);
            }
            let holder = client.with_drivers(holder, deadline).await;
            details.holder = Some(Box::new(NetworkHolder::of(holder)));
        }
        Ok(details)
    }

    /// Podman tells of an end up to some 300 ms after everybody can read it. Whose doing it was is
    /// told with it; so whoever watches, and reads since a connection broke, say, is not told of the
    /// end before that.
    async fn hear_the_word_before_the_deed(&self, inspected: &Inspected, deadline: Deadline) {
        let Observation { status, run: Some(run), .. } = observation_of(&inspected.state) else {
            return;
        };
        if status.is_alive() || !self.client().facts.is_podman() {
            return;
        }
        let until = (Instant::now() + OVERTAKEN_ON_PODMAN).min(deadline.at());
        let heard = async {
            if self.handle.registry.end_told(&self.target, &run).await {
                // Until whoever watches has taken it in.
                tokio::time::sleep(SETTLING).await;
            }
        };
        // If it was lost, the deed must do.
        let heard = tokio::time::timeout_at(until, heard);
        _ = self.client().closing.run_until_cancelled(heard).await;
    }

    async fn read_stats(&self, deadline: Deadline) -> Result<Stats, Error> {
        let client = self.client();
        let call = self.call(Action::Stats, deadline);
        // The engine has figures of what is stopped too: zeros.
        let inspected = client.inspect(call, &self.target).await?;
        let status = observation_of(&inspected.state).status;
        if !status.is_alive() {
            return Err(client.conflict(call, status));
        }
        let query = encode(StatsOptions { stream: false, one_shot: true });
        let path = format!("/containers/{}/stats?{query}", inspected.id);
        let told: ContainerStatsResponse = client.read(call, &path, STATS_MAX).await?;
        Ok(stats_of(&told))
    }
}

impl Client {
    /// What is known of a container, with the kinds of its networks as far as they may be read.
    async fn with_drivers(&self, inspected: Inspected, deadline: Deadline) -> Details {
        let networks = inspected.network_settings.networks.keys();
        let names: Vec<&str> = networks.map(String::as_str).collect();
        let drivers = self.drivers_of(&names, deadline).await;
        details_of(inspected, &drivers)
    }

    /// The container whose network this one lives in, at the end of however many live in each
    /// other's. `None` if there is none, or one of them cannot be read.
    async fn holder_of(&self, details: &Details, deadline: Deadline) -> Option<Inspected> {
        let mut mode = details.network_mode.clone();
        let mut last = None;
        for _ in 0..HOLDERS_MAX {
            let NetworkMode::Container(holder) = mode else { return last };
            let holder = Target::of_word(holder);
            let call = Call::about(Action::Inspect, &holder, deadline);
            let inspected = self.inspect(call, &holder).await.ok()?;
            mode = network_mode_of(&inspected.host_config.network_mode);
            last = Some(inspected);
        }
        None
    }
}

fn stats_of(told: &ContainerStatsResponse) -> Stats {
    let mut stats = Stats::default();
    let cpu = told.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    stats.cpu = cpu.map(Duration::from_nanos);
    if let Some(memory) = &told.memory_stats {
        // The page cache that the kernel would give back is not what the container needs.
        let cache = memory.stats.as_ref().and_then(|stats| {
            stats.get("inactive_file").or_else(|| stats.get("total_inactive_file")).copied()
        });
        let usage = memory.usage.unwrap_or_default();
        stats.memory_bytes = usage.saturating_sub(cache.unwrap_or_default());
    }
    for network in told.networks.iter().flat_map(|networks| networks.values()) {
        stats.received_bytes += network.rx_bytes.unwrap_or_default();
        stats.sent_bytes += network.tx_bytes.unwrap_or_default();
    }
    stats
}

impl fmt::Debug for DockerProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DockerProvider")
            .field("engine", &self.engine())
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for DockerProvider {
    fn engine(&self) -> &str {
        &self.client().name
    }

    fn reference(&self) -> &Reference {
        &self.reference
    }

    fn capabilities(&self) -> Capabilities {
        self.client().facts.capabilities()
    }

    async fn start(&self, deadline: Deadline) -> Result<(), Error> {
        self.order_start(deadline).await
    }

    /// A chosen signal needs Docker 23, or a container whose own stop signal or restart policy
    /// makes it harmless: anything else is refused with `Unsupported`.
    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error> {
        self.order_stop(options, deadline).await
    }

    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error> {
        if signal == Signal::KILL {
            self.order_kill(deadline).await
        } else {
            self.order_signal(signal, deadline).await
        }
    }

    async fn pause(&self, deadline: Deadline) -> Result<(), Error> {
        self.order_pause(deadline).await
    }

    async fn unpause(&self, deadline: Deadline) -> Result<(), Error> {
        self.order_unpause(self.call(Action::Unpause, deadline)).await
    }

    async fn observe(&self, deadline: Deadline) -> Result<Observation, Error> {
        let call = self.call(Action::Status, deadline);
        let inspected = self.client().inspect(call, &self.target).await?;
        self.hear_the_word_before_the_deed(&inspected, deadline).await;
        Ok(observation_of(&inspected.state))
    }

    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error> {
        self.read_details(deadline).await
    }

    async fn stats(&self, deadline: Deadline) -> Result<Stats, Error> {
        self.read_stats(deadline).await
    }

    /// Must be called within a tokio runtime.
    fn watch(&self) -> Watch {
        Box::pin(ContainerWatch::begin(Arc::clone(&self.handle), self.target.clone()))
    }
}

/// What the engine said to an order, where it was no yes.
fn refusal(client: &Client, call: Call<'_>, exit: Option<i64>, message: String) -> Error {
    client.error(call, ErrorKind::Failed { exit, message })
}
