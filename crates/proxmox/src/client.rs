//! The API of one cluster.

mod answer;
mod call;
mod cause;
mod class;
mod connection;
mod credentials;
mod endpoint;
mod endpoints;
mod error;
mod file;
mod fingerprint;
mod lanes;
mod lenient;
mod network;
mod options;
mod pool;
mod session;
mod shared;
mod task;
mod tls;
mod transport;
mod types;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use drowse_provider::Deadline;
use serde::de::DeserializeOwned;

use self::{
    call::Call,
    lanes::Lane,
    lenient::{Number, Text},
    shared::Shared,
    wire::{InterfaceRow, NodeRow, ResourceRow, StatusRow, VersionRow},
};
use crate::Upid;

pub(crate) use self::call::Sent;
pub use self::{
    credentials::{Credentials, ParseTokenIdError, Secret, TokenId},
    endpoint::{Endpoint, ParseEndpointError},
    error::{Cause, ClientError},
    fingerprint::{Fingerprint, ParseFingerprintError},
    options::{ClientOptions, OptionsError},
    tls::Trust,
    types::{
        ContainerConfig, CurrentStatus, Interface, NetworkInterface, Node, Resource, TaskOutcome,
        TaskStatus, TaskSummary, Version,
    },
};

/// A client of one cluster's API. Cheap to clone; the last one that is dropped closes.
///
/// Each call takes a deadline, and fails with [`ClientError::TimedOut`] when it passes; what was
/// waited out until then is told with it. Reads are asked again elsewhere when an endpoint fails;
/// an order ([`start`](Self::start), [`shutdown`](Self::shutdown), [`stop`](Self::stop)) only as
/// long as nothing of it was sent.
///
/// **Dropping** the future of a call gives it up. An order that was sent by then may still be
/// taken: only a read of the state tells.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Where its reads of nodes queue.
    lane: Lane,
    /// What its orders tell of themselves.
    sent: Sent,
}

impl Client {
    /// Reads neither network nor files: the secret and the CAs are read when they are needed, and
    /// again when they change or are refused.
    ///
    /// # Errors
    /// What lacks or cannot be used, see [`OptionsError`].
    pub fn new(options: ClientOptions) -> Result<Self, OptionsError> {
        let shared = Arc::new(Shared::new(options)?);
        Ok(Self { shared, lane: Lane::Reading, sent: Sent::default() })
    }

    /// The same client for reads that an order waits for: all its calls have the share of requests
    /// in flight that is kept free for orders, so they do not queue behind polling. What the cluster
    /// itself is asked ([`version`](Self::version), [`nodes`](Self::nodes),
    /// [`resources`](Self::resources)) queues behind neither.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self { lane: Lane::Urgent, ..self.clone() }
    }

    /// The same client for one order, which tells at each moment whether it may have arrived: until
    /// then it can be given up, by dropping its future, and nothing comes of it.
    pub(crate) fn telling(&self, sent: &Sent) -> Self {
        Self { sent: sent.clone(), ..self.clone() }
    }

    /// The endpoints that it was made with.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.shared.endpoints()
    }

    /// `GET /version`: of the node that answers. Needs no right.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn version(&self, deadline: Deadline) -> Result<Version, ClientError> {
        let row: VersionRow =
            self.ask(Call::get("/version".to_owned()).kept_alive(), deadline).await?;
        row.read().ok_or_else(|| garbled("a version without a number"))
    }

    /// `GET /nodes`: the cluster's nodes. Needs no right.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn nodes(&self, deadline: Deadline) -> Result<Vec<Node>, ClientError> {
        let call = Call::get("/nodes".to_owned()).kept_alive();
        let rows: Vec<NodeRow> = self.ask(call, deadline).await?;
        Ok(rows.into_iter().filter_map(NodeRow::read).collect())
    }

    /// `GET /cluster/resources?type=vm`: the cluster's containers, without its virtual machines, as
    /// they were up to 12 s ago. What the credential may not see (`VM.Audit`) is not in it.
    ///
    /// # Errors
    /// As of every call: [`ClientError`]. A right that lacks is no error here.
    pub async fn resources(&self, deadline: Deadline) -> Result<Vec<Resource>, ClientError> {
        let call = Call::get("/cluster/resources?type=vm".to_owned()).kept_alive().long();
        let rows: Vec<ResourceRow> = self.ask(call, deadline).await?;
        Ok(rows.into_iter().filter_map(ResourceRow::read).collect())
    }

    /// `GET /nodes/{node}/lxc`: the containers of a node, live. What the credential may not see
    /// (`VM.Audit`) is not in it.
    ///
    /// # Errors
    /// As of every call: [`ClientError`]. A right that lacks is no error here.
    pub async fn containers_of(
        &self,
        node: &str,
        deadline: Deadline,
    ) -> Result<Vec<CurrentStatus>, ClientError> {
        let call = Call::get(format!("/nodes/{}/lxc", encoded(node))).of_node(node).long();
        let rows: Vec<StatusRow> = self.ask(call, deadline).await?;
        Ok(rows.into_iter().filter_map(|row| row.read(None)).collect())
    }

    /// `GET …/status/current`: one container, live. Needs `VM.Audit`. One that is not on this node
    /// is [`Cause::NoSuchContainer`].
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn status(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<CurrentStatus, ClientError> {
        let call = Call::get(container(node, vmid, "status/current")).of_node(node);
        let row: StatusRow = self.ask(call, deadline).await?;
        row.read(Some(vmid)).ok_or_else(|| garbled("a container without a status"))
    }

    /// `GET …/config`: its configuration. Needs `VM.Audit`.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn config(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<ContainerConfig, ClientError> {
        let call = Call::get(container(node, vmid, "config")).of_node(node);
        let rows: BTreeMap<String, Text> = self.ask(call, deadline).await?;
        Ok(network::config(rows))
    }

    /// `GET …/interfaces`: what its own kernel view has; empty while it does not run. Needs
    /// `VM.Audit`, and PVE 8.1: an older one refuses with status 501.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn interfaces(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<Vec<Interface>, ClientError> {
        let call = Call::get(container(node, vmid, "interfaces")).of_node(node);
        let rows: Option<Vec<InterfaceRow>> = self.ask(call, deadline).await?;
        Ok(rows.unwrap_or_default().into_iter().filter_map(InterfaceRow::read).collect())
    }

    /// `GET /access/permissions`: what this credential may do, by path.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn permissions(
        &self,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, ClientError> {
        let rows: BTreeMap<String, BTreeMap<String, Number>> =
            self.ask(Call::get("/access/permissions".to_owned()), deadline).await?;
        Ok(wire::permissions(rows))
    }

    /// `GET /access/permissions?path=…`: what this credential may do there, by its own rights and by
    /// those that are handed down to that path. Of a token with separated privileges: what both it
    /// and its user may.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn permissions_on(
        &self,
        path: &str,
        deadline: Deadline,
    ) -> Result<BTreeSet<String>, ClientError> {
        let call = Call::get(format!("/access/permissions?path={}", encoded(path)));
        let rows: BTreeMap<String, BTreeMap<String, Number>> = self.ask(call, deadline).await?;
        Ok(wire::permissions_on(rows, path))
    }

    /// `POST …/status/start`. Needs `VM.PowerMgmt`. The task that it names tells how it went: a
    /// container that is unknown or locked is refused there, and not here. One that runs is
    /// [`Cause::AlreadyRunning`].
    ///
    /// # Errors
    /// As of every call: [`ClientError`]. [`ClientError::is_outcome_unknown`] tells whether it may
    /// have been taken all the same.
    pub async fn start(
        &self,
        node: &str,
        vmid: u32,
        deadline: Deadline,
    ) -> Result<Upid, ClientError> {
        self.order(node, vmid, "start", &[], deadline).await
    }

    /// `POST …/status/shutdown`: asks its init to end, and waits for `timeout`, in whole seconds,
    /// rounded up and at least one (with zero Proxmox waits for ever). Then it is killed if
    /// `force_stop`, else the task fails with [`Cause::DidNotStop`], after twice the time and 5 s.
    /// Needs `VM.PowerMgmt`. One that does not run is [`Cause::NotRunning`].
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn shutdown(
        &self,
        node: &str,
        vmid: u32,
        timeout: Duration,
        force_stop: bool,
        deadline: Deadline,
    ) -> Result<Upid, ClientError> {
        let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
        let parameters =
            [("timeout", &*seconds.max(1).to_string()), ("forceStop", flag(force_stop))];
        self.order(node, vmid, "shutdown", &parameters, deadline).await
    }

    /// `POST …/status/stop`: kills it. With `overrule_shutdown`, a shutdown of ours that is under
    /// way is ended first (PVE 8.2; not for what high availability manages, which is refused with
    /// status 400). Needs `VM.PowerMgmt`. One that does not run is [`Cause::NotRunning`].
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn stop(
        &self,
        node: &str,
        vmid: u32,
        overrule_shutdown: bool,
        deadline: Deadline,
    ) -> Result<Upid, ClientError> {
        let overrule = [("overrule-shutdown", "1")];
        let parameters = if overrule_shutdown { &overrule[..] } else { &[] };
        self.order(node, vmid, "stop", parameters, deadline).await
    }

    async fn order(
        &self,
        node: &str,
        vmid: u32,
        order: &str,
        parameters: &[(&str, &str)],
        deadline: Deadline,
    ) -> Result<Upid, ClientError> {
        let path = container(node, vmid, &format!("status/{order}"));
        let call = Call::post(path, parameters).of_node(node).telling(self.sent.clone());
        let upid: Text = self.shared.call(&call, deadline).await?.data;
        upid.or_empty().parse().map_err(|error| ClientError::Garbled {
            message: format!("an order is answered without a task: {error}"),
            was_sent: true,
        })
    }

    /// Closes: calls in flight and further ones end with [`ClientError::Closed`]. Returns when
    /// there is no connection any more.
    pub async fn close(&self) {
        self.shared.close().await;
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        deadline: Deadline,
    ) -> Result<T, ClientError> {
        let lane = if call.is_kept_alive() { Lane::Cluster } else { self.lane };
        Ok(self.shared.call(&call.in_lane(lane), deadline).await?.data)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

fn container(node: &str, vmid: u32, what: &str) -> String {
    format!("/nodes/{}/lxc/{vmid}/{what}", encoded(node))
}

/// As a part of a path: names of nodes and tasks have no space, which alone would be encoded
/// otherwise there.
fn encoded(part: &str) -> String {
    form_urlencoded::byte_serialize(part.as_bytes()).collect()
}

/// Proxmox's forms know no other truth.
fn flag(is_set: bool) -> &'static str {
    if is_set { "1" } else { "0" }
}

/// A read was answered so.
fn garbled(message: &str) -> ClientError {
    ClientError::Garbled { message: format!("the API answers {message}"), was_sent: false }
}
