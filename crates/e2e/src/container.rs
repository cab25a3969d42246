//! Containers of the tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use crate::dockerd::Dockerd;
use crate::network::TestNetwork;
use crate::wait::{DEADLINE, eventually};

/// How a container is to be made.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    engine: Dockerd,
    name: String,
    env: Vec<String>,
    labels: Map<String, Value>,
    exposed: Map<String, Value>,
    published: Map<String, Value>,
    host_config: Map<String, Value>,
    config: Map<String, Value>,
}

impl ContainerSpec {
    pub(crate) fn new(engine: Dockerd, name: String) -> Self {
        Self {
            engine,
            name,
            env: Vec::new(),
            labels: Map::new(),
            exposed: Map::new(),
            published: Map::new(),
            host_config: Map::new(),
            config: Map::new(),
        }
    }

    /// This very name, without a suffix.
    #[must_use]
    pub fn exact_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// One variable of the environment; the test application's help lists what it knows.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// One label.
    #[must_use]
    pub fn label(mut self, name: &str, value: impl Into<String>) -> Self {
        self.labels.insert(name.to_owned(), Value::String(value.into()));
        self
    }

    /// Exposes a TCP port.
    #[must_use]
    pub fn expose(mut self, port: u16) -> Self {
        self.exposed.insert(format!("{port}/tcp"), json!({}));
        self
    }

    /// Exposes nothing: in another container's network it may not.
    #[must_use]
    pub fn exposing_nothing(mut self) -> Self {
        self.exposed.clear();
        self
    }

    /// Publishes a TCP port at 127.0.0.1, at a port of the engine's choice; see
    /// [`TestContainer::published`].
    #[must_use]
    pub fn publish(self, port: u16) -> Self {
        self.publish_at(port, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Publishes a TCP port at this address.
    #[must_use]
    pub fn publish_at(mut self, port: u16, at: SocketAddr) -> Self {
        let host_port = if at.port() == 0 { String::new() } else { at.port().to_string() };
        let binding = json!([{ "HostIp": at.ip().to_string(), "HostPort": host_port }]);
        self.published.insert(format!("{port}/tcp"), binding);
        self.expose(port)
    }

    /// `no`, `always`, `unless-stopped` or `on-failure`.
    #[must_use]
    pub fn restart(self, policy: &str) -> Self {
        self.host_config("RestartPolicy", json!({ "Name": policy }))
    }

    /// `docker run --rm`.
    #[must_use]
    pub fn auto_remove(self) -> Self {
        self.host_config("AutoRemove", json!(true))
    }

    /// A network mode: `bridge`, `host`, `none`, `container:NAME` or a network's name.
    #[must_use]
    pub fn network(self, mode: &str) -> Self {
        self.host_config("NetworkMode", json!(mode))
    }

    /// This very address on the network that it is made on: see [`ContainerSpec::network`].
    #[must_use]
    pub fn address_on(self, network: &TestNetwork, address: IpAddr) -> Self {
        let endpoint = json!({ "IPAMConfig": { "IPv4Address": address.to_string() } });
        let endpoints = json!({ "EndpointsConfig": { network.name(): endpoint } });
        self.network(network.name()).config("NetworkingConfig", endpoints)
    }

    /// The signal that ends it.
    #[must_use]
    pub fn stop_signal(self, signal: &str) -> Self {
        self.config("StopSignal", json!(signal))
    }

    /// Its own grace period, in seconds.
    #[must_use]
    pub fn stop_timeout(self, seconds: u32) -> Self {
        self.config("StopTimeout", json!(seconds))
    }

    /// A HEALTHCHECK by the test application, every `interval`.
    #[must_use]
    pub fn healthcheck(self, interval: Duration) -> Self {
        let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let test = json!(["CMD", "/drowse-testapp", "health"]);
        self.config("Healthcheck", json!({ "Test": test, "Interval": nanoseconds, "Retries": 1 }))
    }

    /// Any key of the API's `HostConfig`.
    #[must_use]
    pub fn host_config(mut self, key: &str, value: Value) -> Self {
        self.host_config.insert(key.to_owned(), value);
        self
    }

    /// Any other key of the API's request.
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// Makes the container, without starting it.
    pub async fn create(self) -> TestContainer {
        let id = self.create_on_engine().await;
        TestContainer { spec: self, id }
    }

    /// Makes it a member of a Podman pod, which takes Podman's own API: of all that it is to have,
    /// only its name and its labels.
    pub async fn create_in_pod(self, pod: &str) -> TestContainer {
        let body = json!({
            "name": self.name, "pod": pod, "image": "drowse-testapp:1", "labels": self.labels,
        });
        let path = "/v4.0.0/libpod/containers/create";
        let answer = self.engine.call(Method::POST, path, Some(&body)).await;
        let id = answer["Id"].as_str().expect("the new container's id").to_owned();
        TestContainer { spec: self, id }
    }

    /// Makes the container and starts it.
    pub async fn run(self) -> TestContainer {
        let container = self.create().await;
        container.start().await;
        container
    }

    async fn create_on_engine(&self) -> String {
        let mut host_config = self.host_config.clone();
        host_config.insert("PortBindings".to_owned(), Value::Object(self.published.clone()));
        let mut body = self.config.clone();
        body.entry("Image").or_insert_with(|| json!("drowse-testapp:1"));
        body.insert("Env".to_owned(), json!(self.env));
        body.insert("Labels".to_owned(), Value::Object(self.labels.clone()));
        body.insert("ExposedPorts".to_owned(), Value::Object(self.exposed.clone()));
        body.insert("HostConfig".to_owned(), Value::Object(host_config));
        let path = format!("/containers/create?name={}", self.name);
        let answer = self.engine.call(Method::POST, &path, Some(&Value::Object(body))).await;
        answer["Id"].as_str().expect("the new container's id").to_owned()
    }
}

/// What inspect says of a container's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// Of the last run.
    pub exit_code: i64,
    /// When the present or last run began; what Docker's `RunId` is made of.
    pub started_at: String,
    /// `starting`, `healthy` or `unhealthy`, where there is a HEALTHCHECK.
    pub health: Option<String>,
    /// By the engine itself, after crashes.
    pub restarts: u64,
}

/// A container, removed on drop whatever its state. Its methods do what a user or an updater does
/// behind drowse's back.
#[derive(Debug)]
pub struct TestContainer {
    spec: ContainerSpec,
    id: String,
}

impl TestContainer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its id; another one after [`TestContainer::recreate`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The host name under which tests reach it through drowse.
    pub fn host(&self) -> String {
        format!("{}.test", self.spec.name)
    }

    /// Reads a folder of its file system, whether it runs or not.
    pub(crate) async fn read_folder(&self, path: &str) {
        let path = format!("/containers/{}/archive?path={path}", self.id);
        self.spec.engine.successful(Method::GET, &path, None).await;
    }

    /// All that inspect says; `None` if it is gone.
    pub async fn inspect(&self) -> Option<Value> {
        let path = format!("/containers/{}/json", self.id);
        let answer = self.spec.engine.request(Method::GET, &path, None).await;
        answer.status.is_success().then(|| answer.json())
    }

    /// Its state; `None` if it is gone.
    pub async fn try_state(&self) -> Option<State> {
        let inspect = self.inspect().await?;
        let state = &inspect["State"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(State {
            status: text(&state["Status"]),
            exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
            started_at: text(&state["StartedAt"]),
            health: state["Health"]["Status"].as_str().map(str::to_owned),
            restarts: inspect["RestartCount"].as_u64().unwrap_or_default(),
        })
    }

    /// Its state.
    ///
    /// # Panics
    /// If it is gone.
    pub async fn state(&self) -> State {
        self.try_state().await.expect("the container to be there")
    }

    /// Waits until its status is this one; see [`State::status`].
    ///
    /// # Panics
    /// If it is not within the deadline.
    pub async fn wait_for(&self, status: &str, deadline: Duration) -> State {
        let what = format!("{} to be {status}", self.spec.name);
        eventually(deadline, &what, || async {
            self.try_state().await.filter(|state| state.status == status)
        })
        .await
    }

    /// Waits until there is no such container any more.
    ///
    /// # Panics
    /// If there still is within the deadline.
    pub async fn wait_until_gone(&self, deadline: Duration) {
        let what = format!("{} to be gone", self.spec.name);
        eventually(deadline, &what, || async { self.try_state().await.is_none().then_some(()) })
            .await;
    }

    /// Where a published port is to be reached in the present run.
    ///
    /// # Panics
    /// If it is not published, or the container not running.
    pub async fn published(&self, port: u16) -> SocketAddr {
        let inspect = self.inspect().await.expect("the container to be there");
        let binding = &inspect["NetworkSettings"]["Ports"][format!("{port}/tcp")][0];
        let ip = binding["HostIp"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok());
        let host_port = binding["HostPort"].as_str().and_then(|port| port.parse::<u16>().ok());
        match (ip, host_port) {
            (Some(ip), Some(port)) => SocketAddr::from((ip, port)),
            _ => panic!("port {port} of {} is not published: {binding}", self.spec.name),
        }
    }

    /// Its address on the network `bridge` in the present run.
    ///
    /// # Panics
    /// If it has none.
    pub async fn ip(&self) -> IpAddr {
        self.ip_on("bridge").await
    }

    /// Its address on a network in the present run.
    ///
    /// # Panics
    /// If it has none.
    pub async fn ip_on(&self, network: &str) -> IpAddr {
        let inspect = self.inspect().await.expect("the container to be there");
        let ip = &inspect["NetworkSettings"]["Networks"][network]["IPAddress"];
        let ip = ip.as_str().and_then(|ip| ip.parse().ok());
        ip.unwrap_or_else(|| panic!("{} has no address on {network}", self.spec.name))
    }

    /// All that it has written, over all its runs.
    pub async fn log(&self) -> String {
        self.written("stdout=1&stderr=1").await
    }

    /// What it has written to its standard output. The engine keeps the order within a stream only:
    /// lines of the other one may stand between those of one document.
    pub async fn stdout(&self) -> String {
        self.written("stdout=1").await
    }

    async fn written(&self, streams: &str) -> String {
        let path = format!("/containers/{}/logs?{streams}", self.id);
        let answer = self.spec.engine.successful(Method::GET, &path, None).await;
        // Each piece begins with its stream and its length.
        let mut rest = answer.body.as_ref();
        let mut written = Vec::new();
        while let Some(([_, _, _, _, a, b, c, d], after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let (piece, next) = after.split_at(length.min(after.len()));
            written.extend_from_slice(piece);
            rest = next;
        }
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Starts it, or does nothing if it runs.
    pub async fn start(&self) {
        self.order("start").await;
    }

    /// Stops it, with its own grace period.
    pub async fn stop(&self) {
        self.order("stop").await;
    }

    /// Stops it, with this grace period.
    pub async fn stop_within(&self, seconds: u32) {
        self.order(&format!("stop?t={seconds}")).await;
    }

    /// Stops and starts it.
    pub async fn restart(&self) {
        self.order("restart").await;
    }

    /// Sends a signal, by its name.
    pub async fn kill(&self, signal: &str) {
        self.order(&format!("kill?signal={signal}")).await;
    }

    /// Freezes it.
    pub async fn pause(&self) {
        self.order("pause").await;
    }

    /// Thaws it.
    pub async fn unpause(&self) {
        self.order("unpause").await;
    }

    /// Gives it another name.
    pub async fn rename(&mut self, name: &str) {
        self.order(&format!("rename?name={name}")).await;
        name.clone_into(&mut self.spec.name);
    }

    /// Removes it, whatever its state.
    pub async fn remove(&self) {
        let path = format!("/containers/{}?force=1&v=1", self.id);
        self.spec.engine.call(Method::DELETE, &path, None).await;
    }

    /// Removes it and makes it again under the same name, as compose and updaters do: its id is
    /// another one then, and it is not started. `change` may change how it is made.
    pub async fn recreate(&mut self, change: impl FnOnce(ContainerSpec) -> ContainerSpec) {
        self.remove().await;
        self.spec = change(self.spec.clone());
        self.id = self.spec.create_on_engine().await;
    }

    /// Waits until the application behind a published port has answered with a success.
    ///
    /// # Panics
    /// If it has not within the usual deadline.
    pub async fn wait_until_it_answers(&self, port: u16) {
        let address = self.published(port).await;
        let what = format!("{} to answer at {address}", self.spec.name);
        eventually(DEADLINE, &what, || async {
            let answer = crate::http::get(address, "/").try_send().await.ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
    }

    async fn order(&self, order: &str) {
        let path = format!("/containers/{}/{order}", self.id);
        self.spec.engine.call(Method::POST, &path, None).await;
    }
}

impl Drop for TestContainer {
    fn drop(&mut self) {
        if let Err(error) = self.spec.engine.remove_blocking(&self.id)
            && !std::thread::panicking()
        {
            panic!("removing {}: {error}", self.spec.name);
        }
    }
}
