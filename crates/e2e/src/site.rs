//! What most tests need: containers, drowse, and between them an engine of the test's own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::contained::ContainedSpec;
use crate::container::{ContainerSpec, TestContainer};
use crate::dockerd::Dockerd;
use crate::drowse::{Drowse, DrowseSpec};
use crate::events::EventLog;
use crate::network::TestNetwork;
use crate::relay::SocketRelay;
use crate::wait::{DEADLINE, eventually};

/// The label by which a site's containers are known.
const LABEL: &str = "e2e.site";

/// One test's part of the engine. drowse sees the containers of this site and no others, however
/// many tests run at once.
#[derive(Debug)]
pub struct Site {
    /// The engine, as a user behind drowse's back has it.
    pub engine: Dockerd,
    /// The way from drowse to the engine.
    pub relay: SocketRelay,
    /// What has happened to the site's containers.
    pub events: EventLog,
    id: String,
}

impl Site {
    /// A site without containers.
    pub async fn new() -> Self {
        Self::on(Dockerd::from_env()).await
    }

    /// The same, on this engine.
    pub async fn on(engine: Dockerd) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{count}", std::process::id());
        let label = format!("{LABEL}={id}");
        let relay = SocketRelay::scoped(engine.socket(), &label);
        let events = EventLog::follow(&engine, &label).await;
        Self { engine, relay, events, id }
    }

    /// A container that is to be made on this site, with port 80 exposed.
    pub fn container(&self, name: &str) -> ContainerSpec {
        self.engine.container(name).label(LABEL, self.id.as_str()).expose(80)
    }

    /// A bridge network of this site.
    pub async fn network(&self, name: &str) -> TestNetwork {
        TestNetwork::create(self.engine.clone(), format!("{name}-{}", self.id), None).await
    }

    /// The same with addresses of the test's own choice: `10.215.NUMBER.0/24`.
    pub async fn network_numbered(&self, name: &str, number: u8) -> TestNetwork {
        let name = format!("{name}-{}", self.id);
        TestNetwork::create(self.engine.clone(), name, Some(number)).await
    }

    /// A drowse in a container of this site, which manages what this site's labels say.
    pub async fn contained(&self) -> ContainedSpec {
        let container = self.engine.container("drowse").label(LABEL, self.id.as_str());
        ContainedSpec::new(&self.engine, container, self.relay.socket()).await
    }

    /// The label of the site's containers, and its value: for those that are made by another
    /// program.
    pub fn label(&self) -> (&'static str, &str) {
        (LABEL, &self.id)
    }

    /// A drowse that manages what this site's labels say.
    pub fn drowse_by_labels(&self) -> DrowseSpec {
        DrowseSpec::default().docker_host(&self.relay.url())
    }

    /// A drowse whose file names these workloads.
    pub fn drowse(&self, workloads: &[Workload]) -> DrowseSpec {
        DrowseSpec::default().config(&self.config(workloads))
    }

    /// The file of [`Site::drowse`].
    pub fn config(&self, workloads: &[Workload]) -> String {
        let mut yaml = format!("engines: {{ home: {{ docker: \"{}\" }} }}\n", self.relay.url());
        yaml.push_str("workloads:\n");
        for workload in workloads {
            yaml.push_str(&workload.yaml);
        }
        yaml
    }

    /// A running drowse that has read these workloads.
    pub async fn start(&self, workloads: &[Workload]) -> Drowse {
        let drowse = self.drowse(workloads).start().await;
        for workload in workloads {
            drowse.wait_until_read(&workload.name).await;
        }
        drowse
    }

    /// How often a container has been started so far, by whomever.
    pub async fn starts(&self, container: &TestContainer) -> usize {
        self.events.catch_up(container).await;
        self.events.heard(container, "start")
    }

    /// Waits until a container has ended for the `times`th time, and is at rest.
    pub async fn wait_until_stopped(&self, container: &TestContainer, times: usize) {
        self.events.wait_for(container, "die", times, DEADLINE).await;
        container.wait_for("exited", DEADLINE).await;
    }
}

/// A workload of the configuration file.
#[derive(Debug, Clone)]
pub struct Workload {
    name: String,
    yaml: String,
}

impl Workload {
    /// A container by its name, under the container's own host name; see
    /// [`TestContainer::host`].
    pub fn of(container: &TestContainer) -> Self {
        Self::named(container.name(), &[&container.host()])
    }

    /// The same, under these hosts.
    pub fn named(container: &str, hosts: &[&str]) -> Self {
        let routes: Vec<_> =
            hosts.iter().map(|host| format!("host: \"{host}\", port: 80")).collect();
        Self::with_routes(container, &routes)
    }

    /// The same, under its own host name, at this address and port instead of its own.
    pub fn at(container: &TestContainer, address: SocketAddr) -> Self {
        let (host, ip, port) = (container.host(), address.ip(), address.port());
        let route = format!("host: \"{host}\", address: \"{ip}\", port: {port}");
        Self::with_routes(container.name(), &[route])
    }

    /// The same, by these routes, each as in `tcp: 5432, port: 80`.
    pub fn by_routes(container: &TestContainer, routes: &[String]) -> Self {
        Self::with_routes(container.name(), routes)
    }

    fn with_routes(container: &str, routes: &[String]) -> Self {
        let routes = routes.join(" }, { ");
        let yaml = format!(
            "  {container}:\n    container: {{ name: \"{container}\" }}\n    routes: [{{ {routes} }}]\n"
        );
        Self { name: container.to_owned(), yaml }
    }

    /// Its lines of the file.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// How long it stays awake after its last use, as in `2s`.
    #[must_use]
    pub fn idle(self, idle: &str) -> Self {
        self.set("idle", idle)
    }

    /// Any other key of a workload.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.yaml.extend(["    ", key, ": ", value, "\n"]);
        self
    }
}

impl Drowse {
    /// What `drowse list --json` says of a workload: null where it says nothing.
    ///
    /// # Panics
    /// If the running drowse cannot be asked.
    pub async fn row(&self, workload: &str) -> serde_json::Value {
        let output = self.spec().command_output(["list", "--json"]).await;
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "list: {}: {shown}", output.status);
        let listing: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = listing["workloads"].as_array().expect("a list of workloads");
        rows.iter().find(|row| row["workload"] == workload).cloned().unwrap_or_default()
    }

    /// Waits until it knows a workload's state.
    pub async fn wait_until_read(&self, workload: &str) {
        self.wait_until(workload, |state| state != "unread", DEADLINE).await;
    }

    /// Waits until a workload's state is such a one, in the words of `list`.
    ///
    /// # Panics
    /// If it is not within the deadline.
    pub async fn wait_until(
        &self,
        workload: &str,
        such: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> serde_json::Value {
        let what = format!("{workload} to come to the state that is waited for");
        eventually(deadline, &what, || async {
            let row = self.row(workload).await;
            row["state"].as_str().is_some_and(&such).then_some(row)
        })
        .await
    }
}
