//! The engine, its containers, and the drowse in front of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drowse_e2e::{Drowse, DrowseSpec, SecondEngine, SocketRelay, TestContainer, Workload};
use tokio::time::Instant;

use super::ledger::{Ledger, Order, Plot, Trouble};

/// Of each workload.
pub(super) const IDLE: Duration = Duration::from_secs(2);
/// As long as all may take to fall asleep on a slow machine, after the last request.
const ASLEEP_WITHIN: Duration = Duration::from_mins(2);
/// Ports of the engine's machine, where nothing else is.
const FIRST_PORT: u16 = 8101;

/// Which container, and what it needs.
const NAMES: [(&str, Option<usize>); 5] =
    [("web", None), ("files", None), ("chat", None), ("db", None), ("app", Some(3))];

pub(super) struct Town {
    pub(super) ledger: Arc<Ledger>,
    // Dropped before the engine that they are on.
    pub(super) drowse: Drowse,
    pub(super) containers: Vec<TestContainer>,
    /// All that each container was ever called by.
    ids: Vec<Vec<String>>,
    relay: SocketRelay,
    pub(super) engine: SecondEngine,
}

impl Town {
    pub(super) async fn build(ledger: Arc<Ledger>) -> Self {
        let engine = SecondEngine::start_with_live_restore().await;
        let relay = SocketRelay::to(engine.socket());
        let mut containers = Vec::new();
        let mut workloads = Vec::new();
        for ((name, needs), port) in NAMES.into_iter().zip(FIRST_PORT..) {
            // The same at each start: drowse is told where it is.
            let at = SocketAddr::new(engine.address(), port);
            let published = SocketAddr::from(([0, 0, 0, 0], port));
            let container = engine.container(name).publish_at(80, published).create().await;
            let workload = Workload::at(&container, at).idle(&format!("{}s", IDLE.as_secs()));
            workloads.push(match needs {
                None => workload,
                Some(needed) => {
                    let needed: &TestContainer = &containers[needed];
                    workload.set("needs", &format!("[{}]", needed.name()))
                }
            });
            containers.push(container);
        }
        let config =
            format!("engines: {{ home: {{ docker: \"{}\" }} }}\nworkloads:\n", relay.url());
        let config = workloads.iter().fold(config, |yaml, workload| yaml + workload.yaml());
        ledger.begins(Instant::now());
        let drowse = DrowseSpec::default().config(&config).start().await;
        let ids = containers.iter().map(names_of).collect();
        let town = Self { ledger, drowse, containers, ids, relay, engine };
        town.wait_until_all_is_read().await;
        town
    }

    async fn wait_until_all_is_read(&self) {
        for container in &self.containers {
            self.drowse.wait_until_read(container.name()).await;
        }
    }

    /// SIGKILL for drowse, and another at once.
    pub(super) async fn kill_drowse(&mut self) {
        let began = Instant::now();
        self.drowse.kill().await;
        let ledger = Arc::clone(&self.ledger);
        ledger.begins(Instant::now());
        self.drowse.start_again().await;
        self.wait_until_all_is_read().await;
        ledger.note(Trouble::Killed, began, Instant::now());
    }

    /// Never in the middle of a start: a dockerd that is ended there leaves a task behind with which it
    /// refuses any other start, until the container is made anew.
    pub(super) async fn restart_engine(&mut self, is_told: bool) {
        let began = Instant::now();
        self.relay.stall();
        for container in &self.containers {
            // It is not told of before a start of it is over.
            container.state().await;
        }
        if is_told {
            self.engine.terminate().await;
        } else {
            self.engine.kill().await;
        }
        self.engine.start_again().await;
        self.relay.resume();
        self.ledger.note(Trouble::Engine, began, Instant::now());
    }

    pub(super) async fn stop(&self, which: usize) {
        let began = Instant::now();
        self.containers[which].stop().await;
        self.ledger.note(Trouble::Of(which), began, Instant::now());
    }

    pub(super) async fn start(&self, which: usize) {
        let began = Instant::now();
        self.containers[which].start().await;
        self.ledger.note(Trouble::Of(which), began, Instant::now());
    }

    pub(super) async fn recreate(&mut self, which: usize) {
        let began = Instant::now();
        self.containers[which].recreate(|spec| spec).await;
        self.ids[which].extend(names_of(&self.containers[which]));
        self.ledger.note(Trouble::Of(which), began, Instant::now());
    }

    /// Nobody wants anything any more: each of them sleeps, and stays so.
    pub(super) async fn wait_until_all_is_asleep(&self) {
        for container in &self.containers {
            let is_asleep = |state: &str| state == "asleep";
            self.drowse.wait_until(container.name(), is_asleep, ASLEEP_WITHIN).await;
            let state = container.state().await;
            assert!(["exited", "created"].contains(&state.status.as_str()), "{state:?}");
        }
    }

    /// What drowse has ordered, as the engine was told.
    pub(super) fn orders(&self) -> Vec<Order> {
        let of = |name: &str| self.ids.iter().position(|ids| ids.iter().any(|id| id == name));
        let order = |request: &drowse_e2e::Recorded| {
            let which = of(request.container()?)?;
            let is_start = request.is_order("start") || request.is_order("unpause");
            let is_sleep = ["stop", "kill", "pause"].iter().any(|order| request.is_order(order));
            (is_start || is_sleep).then_some(Order { which, is_start, at: request.at })
        };
        self.relay.requests().iter().filter_map(order).collect()
    }
}

/// What is on it.
pub(super) fn plots() -> Vec<Plot> {
    NAMES.iter().map(|(name, needs)| Plot { name, needs: *needs }).collect()
}

fn names_of(container: &TestContainer) -> Vec<String> {
    vec![container.id().to_owned(), container.name().to_owned()]
}
