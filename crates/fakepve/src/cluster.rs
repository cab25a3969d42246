//! A cluster, and what a test does to it.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    container::{Ct, GuestInterface, State},
    driver::Driver,
    fault::Fault,
};

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long one of the cluster's seconds is, in real ones.
const TIME_SCALE: f64 = 0.02;

/// What a cluster is like.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    nodes: Vec<String>,
    version: String,
    endpoints: usize,
}

/// A cluster at an address of its own. It is gone when this is dropped.
///
/// The token has the rights `VM.Audit` and `VM.PowerMgmt` on `/vms`, and so has the user. A virtual
/// machine is there as well (9000), as on most clusters. Methods fail the test when the stand-in
/// refuses.
#[derive(Debug)]
pub struct FakePve {
    id: u64,
    opened: Opened,
}

#[derive(Debug, Deserialize)]
struct Opened {
    urls: Vec<String>,
    fingerprint: String,
    ca_file: PathBuf,
}

/// What was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// `GET`, `POST`…
    pub method: String,
    /// Below `/api2/json`.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Its body, except that of a login.
    pub body: String,
}

/// A task, as the cluster knows it.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// Its name.
    pub upid: String,
    /// `vzstart`, `vzshutdown`…
    #[serde(rename = "type")]
    pub kind: String,
    /// Mostly a VMID.
    pub id: String,
    /// Who began it.
    pub user: String,
    /// `running` or `stopped`.
    pub status: String,
    /// How it ended.
    pub exitstatus: Option<String>,
}

/// What another client does to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Starts it.
    Start,
    /// Kills it.
    Stop,
    /// Asks it to end.
    Shutdown,
}

/// How a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// By the cluster's own authority, as each two years.
    SameAuthority,
    /// By a new one.
    NewAuthority,
}

impl Default for Options {
    /// Two nodes, `pve1` and `pve2`, of version 9, at one endpoint; a second takes 20 ms.
    fn default() -> Self {
        Self { nodes: vec!["pve1".into(), "pve2".into()], version: "9.0.10".into(), endpoints: 1 }
    }
}

impl Options {
    /// The names of its nodes.
    pub fn nodes<S: Into<String>>(mut self, nodes: impl IntoIterator<Item = S>) -> Self {
        self.nodes = nodes.into_iter().map(Into::into).collect();
        self
    }

    /// Its version: `8.0.4`. An older one lacks what it lacks.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// At how many ports it answers.
    pub fn endpoints(mut self, endpoints: usize) -> Self {
        self.endpoints = endpoints;
        self
    }
}

impl FakePve {
    /// Starts one.
    #[expect(clippy::panic, reason = "without it there is no test")]
    pub async fn start(options: Options) -> Self {
        let driver = match Driver::get() {
            Ok(driver) => driver,
            Err(error) => panic!("{error:#}"),
        };
        let id = driver.new_cluster();
        let with = json!({
            "time_scale": TIME_SCALE,
            "nodes": options.nodes,
            "version": options.version,
            "endpoints": options.endpoints,
            "user": Self::USER,
            "password": Self::PASSWORD,
            "token_id": Self::TOKEN_ID,
            "token_secret": Self::TOKEN_SECRET,
        });
        let opened = call(id, "open", with).await;
        let pve = Self { id, opened };
        pve.grant(&[("/vms", &["VM.Audit", "VM.PowerMgmt"])]).await;
        pve
    }

    /// The id of the token that it accepts.
    pub const TOKEN_ID: &str = "drowse@pve!main";
    /// The token's secret.
    pub const TOKEN_SECRET: &str = "5f1d3a40-7c3b-4f5c-9f0e-4a1b6f0e8c11";
    /// The user that it accepts.
    pub const USER: &str = "drowse@pve";
    /// The user's password.
    pub const PASSWORD: &str = "correct horse";

    /// Its first endpoint.
    pub fn url(&self) -> &str {
        &self.opened.urls[0]
    }

    /// All its endpoints.
    pub fn urls(&self) -> &[String] {
        &self.opened.urls
    }

    /// That of its certificate when it was started.
    pub fn fingerprint(&self) -> &str {
        &self.opened.fingerprint
    }

    /// The certificate of the authority which signed it.
    pub fn ca_file(&self) -> &std::path::Path {
        &self.opened.ca_file
    }

    // === Containers ===

    /// Puts a container on it.
    pub async fn add_container(&self, ct: Ct) {
        self.order("add", json!({ "ct": ct })).await;
    }

    /// Destroys one, whatever its state.
    pub async fn delete(&self, vmid: u32) {
        self.order("remove", json!({ "vmid": vmid })).await;
    }

    /// It runs, and has run for so many seconds.
    pub async fn has_run_for(&self, vmid: u32, seconds: f64) {
        self.order("has_run_for", json!({ "vmid": vmid, "seconds": seconds })).await;
    }

    /// What it is now.
    pub async fn state(&self, vmid: u32) -> State {
        self.call("state", json!({ "vmid": vmid })).await
    }

    /// Has another client order this, and waits for the task. Says how it ended.
    pub async fn power(&self, vmid: u32, power: Power) -> String {
        let action = match power {
            Power::Start => "start",
            Power::Stop => "stop",
            Power::Shutdown => "shutdown",
        };
        self.call("power", json!({ "vmid": vmid, "action": action })).await
    }

    /// It ends by a command in it, of which no task tells.
    pub async fn power_off_inside(&self, vmid: u32) {
        self.order("power_off_inside", json!({ "vmid": vmid })).await;
    }

    /// It restarts by a command in it, of which no task tells.
    pub async fn reboot_inside(&self, vmid: u32) {
        self.order("reboot_inside", json!({ "vmid": vmid })).await;
    }

    /// Something begins to work on it: `backup`, `snapshot`…
    pub async fn lock(&self, vmid: u32, name: &str) {
        self.order("lock", json!({ "vmid": vmid, "name": name })).await;
    }

    /// … and is done.
    pub async fn unlock(&self, vmid: u32) {
        self.order("lock", json!({ "vmid": vmid, "name": null })).await;
    }

    /// Another task holds the lock of its configuration, which each task needs.
    pub async fn hold_config_lock(&self, vmid: u32) {
        self.order("hold_config_lock", json!({ "vmid": vmid, "is_held": true })).await;
    }

    /// … and lets go of it.
    pub async fn release_config_lock(&self, vmid: u32) {
        self.order("hold_config_lock", json!({ "vmid": vmid, "is_held": false })).await;
    }

    /// Its tasks do their work, and end with these warnings from now on.
    pub async fn warn(&self, vmid: u32, warnings: &[&str]) {
        self.set(vmid, "warnings", json!(warnings)).await;
    }

    /// What its `/interfaces` says while it runs, apart from `lo`.
    pub async fn set_interfaces(&self, vmid: u32, interfaces: &[GuestInterface]) {
        self.set(vmid, "interfaces", json!(interfaces)).await;
    }

    /// Its user changes an option of its configuration, or takes it out.
    pub async fn configure(&self, vmid: u32, key: &str, value: Option<&str>) {
        self.order("configure", json!({ "vmid": vmid, "key": key, "value": value })).await;
    }

    /// It is on this node now, and in another run if it runs: nothing moves alive.
    pub async fn migrate(&self, vmid: u32, to: &str) {
        self.order("move", json!({ "vmid": vmid, "to": to })).await;
    }

    /// Its high availability state; `None`: it is not managed.
    pub async fn ha(&self, vmid: u32, state: Option<&str>) {
        self.set(vmid, "ha_state", json!(state)).await;
    }

    /// How long high availability takes to act, in seconds of the cluster: 10.
    pub async fn ha_takes(&self, seconds: f64) {
        self.order("ha_delay", json!({ "seconds": seconds })).await;
    }

    /// All tasks so far.
    pub async fn tasks(&self) -> Vec<Task> {
        self.call("tasks", json!({})).await
    }

    // === The cluster ===

    /// A node goes away: what is asked of it is answered by 595.
    pub async fn node_offline(&self, node: &str) {
        self.order("node_online", json!({ "node": node, "is_online": false })).await;
    }

    /// … and comes back.
    pub async fn node_online(&self, node: &str) {
        self.order("node_online", json!({ "node": node, "is_online": true })).await;
    }

    /// Whether it has a quorum.
    pub async fn quorum(&self, is_quorate: bool) {
        self.order("quorum", json!({ "is_quorate": is_quorate })).await;
    }

    /// From here on `/cluster/resources` says of states and uptimes what is so now, as if the next
    /// broadcast were late; or it says the truth again.
    pub async fn hold_broadcast(&self, is_held: bool) {
        self.order("hold_broadcast", json!({ "is_held": is_held })).await;
    }

    /// All that the token and the user may do: paths with privileges.
    pub async fn grant(&self, rights: &[(&str, &[&str])]) {
        for who in [Self::TOKEN_ID, Self::USER] {
            self.order("rights", json!({ "who": who, "rights": rights })).await;
        }
    }

    /// Whether the token is known.
    pub async fn token_valid(&self, is_valid: bool) {
        self.order("token_valid", json!({ "is_valid": is_valid })).await;
    }

    /// All tickets end.
    pub async fn end_tickets(&self) {
        self.order("end_tickets", json!({})).await;
    }

    /// Whether a login needs a second factor.
    pub async fn second_factor(&self, is_needed: bool) {
        self.order("second_factor", json!({ "is_needed": is_needed })).await;
    }

    // === The way to it ===

    /// All that was asked since the start, or since they were forgotten.
    pub async fn requests(&self) -> Vec<Request> {
        self.call("requests", json!({})).await
    }

    /// How many of these there were.
    pub async fn count(&self, method: &str, path: &str) -> usize {
        let requests = self.requests().await;
        requests.iter().filter(|each| each.method == method && each.path == path).count()
    }

    /// Counts from here.
    pub async fn forget_requests(&self) {
        self.order("forget_requests", json!({})).await;
    }

    /// Something goes wrong. Of several that match a request the first one counts.
    pub async fn fault(&self, fault: Fault) {
        self.order("fault", json!({ "fault": fault })).await;
    }

    /// Nothing goes wrong any more.
    pub async fn clear_faults(&self) {
        self.order("clear_faults", json!({})).await;
    }

    /// Each answer comes so late.
    pub async fn latency(&self, latency: Duration) {
        self.order("latency", json!({ "seconds": latency.as_secs_f64() })).await;
    }

    /// An endpoint refuses connections, and those that there are break; or it answers again.
    pub async fn reachable(&self, endpoint: usize, is_reachable: bool) {
        let with = json!({ "endpoint": endpoint, "is_reachable": is_reachable });
        self.order("reachable", with).await;
    }

    /// Gives it a new certificate, whose fingerprint is returned, and restarts its servers.
    pub async fn renew_certificate(&self, renewal: Renewal) -> String {
        let with = json!({ "has_new_authority": renewal == Renewal::NewAuthority });
        self.call("renew_certificate", with).await
    }

    /// Its clock is so many seconds ahead, or behind.
    pub async fn clock_skew(&self, seconds: i64) {
        self.order("clock_skew", json!({ "seconds": seconds })).await;
    }

    // === Plumbing ===

    async fn set(&self, vmid: u32, name: &str, value: Value) {
        self.order("set", json!({ "vmid": vmid, "name": name, "value": value })).await;
    }

    async fn order(&self, name: &str, with: Value) {
        self.call::<Value>(name, with).await;
    }

    async fn call<T: DeserializeOwned>(&self, name: &str, with: Value) -> T {
        call(self.id, name, with).await
    }
}

impl Drop for FakePve {
    fn drop(&mut self) {
        if let Ok(driver) = Driver::get() {
            // If the process has ended, so has the cluster.
            driver.send(self.id, "close", &json!({})).ok();
        }
    }
}

#[expect(clippy::panic, reason = "a stand-in that fails is a failed test")]
async fn call<T: DeserializeOwned>(id: u64, name: &str, with: Value) -> T {
    let answered = async {
        let answer = Driver::get()?.call(id, name, with).await?;
        Ok::<_, anyhow::Error>(serde_json::from_value(answer)?)
    };
    let Ok(answer) = tokio::time::timeout(DEADLINE, answered).await else {
        panic!("{name}: no answer within {DEADLINE:?}");
    };
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("{name}: {error:#}"),
    }
}
