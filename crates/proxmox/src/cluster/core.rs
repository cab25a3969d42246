//! What the engine, its providers, its watches and its tasks share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use drowse_provider::{Action, Capabilities, Deadline, Error, ErrorKind, Observation, Support};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ClusterOptions,
    api::Api,
    beat::Beat,
    beats::Beats,
    configs::Configs,
    reads::{Reads, SINGLY, Urgency},
    registry::Registry,
    rights::Rights,
    row::{Doing, Row, Span},
    target::{Found, Target, ambiguity},
};
use crate::{Cause, ClientError, ContainerConfig, CurrentStatus, Version};

/// The first version that tells a container's addresses.
const TELLS_ADDRESSES: (u32, u32) = (8, 1);
/// What reading the version may take: a beat waits for it.
const VERSION_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is tried where it cannot be read.
const VERSION_EVERY: Duration = Duration::from_mins(1);

/// Held by tasks as well: its handles are what closes it.
pub(super) struct Core {
    pub(super) name: String,
    pub(super) api: Arc<dyn Api>,
    /// The same for what an order waits for: reads that hang do not hold it up.
    pub(super) urgent: Arc<dyn Api>,
    pub(super) options: ClusterOptions,
    pub(super) beats: Beats,
    pub(super) reads: Reads,
    pub(super) configs: Configs,
    pub(super) registry: Registry,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    version: Mutex<KnownVersion>,
    rights: Rights,
    /// How many containers are being looked for that no beat has.
    looking: AtomicUsize,
}

/// One that is being looked for.
struct Looking<'a>(&'a AtomicUsize);

impl<'a> Looking<'a> {
    fn begin(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Read once in each epoch of the connection: a cluster may be upgraded behind an outage.
#[derive(Default)]
struct KnownVersion {
    version: Option<Version>,
    is_of_this_epoch: bool,
    /// Until when it is not asked for again.
    not_before: Option<Instant>,
}

/// Why there is no read of a container.
#[derive(Clone, Debug)]
pub(super) enum Miss {
    /// Its node says so, and it is on no other one.
    NotFound,
    /// Several have the name.
    Ambiguous(String),
    /// The node that was asked does not have it.
    Elsewhere,
    /// It has another name than the one that it was looked for by.
    Renamed,
    /// It is on its way from one node to another, or about to be gone.
    Moving,
    Failed(ClientError),
}

impl From<ClientError> for Miss {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

/// A live read: where it is, and what it is doing.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) row: Row,
    pub(super) status: CurrentStatus,
    pub(super) observation: Observation,
}

impl Core {
    pub(super) fn new(name: String, api: Arc<dyn Api>, options: ClusterOptions) -> Arc<Self> {
        Arc::new(Self {
            name,
            urgent: api.urgent().unwrap_or_else(|| Arc::clone(&api)),
            api,
            options,
            beats: Beats::default(),
            reads: Reads::default(),
            registry: Registry::default(),
            configs: Configs::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            version: Mutex::default(),
            rights: Rights::default(),
            looking: AtomicUsize::new(0),
        })
    }

    /// Ends every watch and task, and every read with `Closed`.
    pub(super) fn shut(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.registry.close();
    }

    pub(super) fn error(&self, miss: Miss, action: Action, target: &Target) -> Error {
        let container = target.word();
        let kind = match miss {
            Miss::Failed(error) => return error.into_error(&self.name, action, Some(&container)),
            Miss::NotFound | Miss::Renamed => ErrorKind::NotFound,
            Miss::Ambiguous(why) => ErrorKind::Unsupported { why },
            Miss::Moving | Miss::Elsewhere => ErrorKind::Unavailable {
                reason:
                    "the cluster and its node disagree on whether it is there: it is being moved \
                         or deleted"
                        .to_owned(),
            },
        };
        Error::new(&*self.name, action, kind).with_container(container)
    }

    /// Whom to ask for what is needed so urgently.
    pub(super) fn api_for(&self, urgency: Urgency) -> &dyn Api {
        match urgency {
            Urgency::Usual => &*self.api,
            Urgency::ForOrder => &*self.urgent,
        }
    }

    // === The version ===

    pub(super) fn capabilities(&self) -> Capabilities {
        capabilities(self.version().version.as_ref())
    }

    fn version(&self) -> MutexGuard<'_, KnownVersion> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the version, if that was not done since the connection was last lost. Takes 2 s at most,
    /// and once a minute.
    pub(super) async fn learn_version(&self) {
        let now = Instant::now();
        {
            let mut known = self.version();
            if known.is_of_this_epoch || known.not_before.is_some_and(|moment| now < moment) {
                return;
            }
            known.not_before = Some(now + VERSION_EVERY);
        }
        match self.api.version(Deadline::after(VERSION_TIMEOUT)).await {
            Ok(version) => {
                let mut known = self.version();
                (known.version, known.is_of_this_epoch) = (Some(version), true);
            }
            Err(error) => tracing::debug!(
                engine = self.name,
                error = &error as &dyn std::error::Error,
                "the version cannot be read"
            ),
        }
    }

    /// The connection was lost: who answers next may be another version.
    pub(super) fn forget_version(&self) {
        let mut known = self.version();
        (known.is_of_this_epoch, known.not_before) = (false, None);
    }

    // === Where a container is ===

    /// The last beat, unless it is so old that nobody seems to have asked for one since.
    fn recent_beat(&self) -> Option<Arc<Beat>> {
        let old = (self.options.interval * 3).max(Duration::from_secs(10));
        self.beats.latest().filter(|beat| beat.span.began.elapsed() < old)
    }

    /// Where a container is, by the last beat, else by a fresh one. `None`: it is not to be seen.
    async fn place(self: &Arc<Self>, target: &Target) -> Result<Option<Row>, Miss> {
        if let Some(beat) = self.recent_beat()
            && let Found::One(row) = target.find(&beat)
        {
            return Ok(Some(row.clone()));
        }
        self.fresh_place(target).await
    }

    async fn fresh_place(self: &Arc<Self>, target: &Target) -> Result<Option<Row>, Miss> {
        let beat = self.beats.fresh(self).await?;
        match target.find(&beat) {
            Found::One(row) => Ok(Some(row.clone())),
            Found::None => Ok(None),
            Found::Several(all) => Err(Miss::Ambiguous(ambiguity(&target.word(), &all))),
        }
    }

    /// Where a container is. One that is nowhere to be seen is looked for on its last node; whose name
    /// it is only a live read tells.
    pub(super) async fn locate(
        self: &Arc<Self>,
        target: &Target,
        urgency: Urgency,
    ) -> Result<Row, Miss> {
        if target.vmid().is_none() {
            return Ok(self.live(target, urgency).await?.row);
        }
        match self.place(target).await? {
            Some(row) => Ok(row),
            None => Ok(self.unseen(target, urgency).await?.row),
        }
    }

    // === What it is doing ===

    /// Reads a container where it is now. Whoever watches it is told of what changed.
    pub(super) async fn live(
        self: &Arc<Self>,
        target: &Target,
        urgency: Urgency,
    ) -> Result<Read, Miss> {
        let Some(place) = self.place(target).await? else {
            return self.unseen(target, urgency).await;
        };
        let is_renamed = match self.read_at(target, &place, urgency).await {
            Err(Miss::Elsewhere) => false,
            Err(Miss::Renamed) => true,
            outcome => return outcome,
        };
        // It moved since the beat, has another name, or is gone.
        let Some(now) = self.fresh_place(target).await? else {
            return self.unseen(target, urgency).await;
        };
        if is_renamed && now.vmid == place.vmid {
            // Beats are late with names, and know of no other one.
            return Err(Miss::NotFound);
        }
        match self.read_at(target, &now, urgency).await {
            Err(Miss::Elsewhere) => Err(Miss::Moving),
            Err(Miss::Renamed) => Err(Miss::NotFound),
            outcome => outcome,
        }
    }

    async fn read_at(
        self: &Arc<Self>,
        target: &Target,
        place: &Row,
        urgency: Urgency,
    ) -> Result<Read, Miss> {
        self.registry.bind(target, place.vmid);
        match self.reads.read(self, &place.node, place.vmid, urgency).await {
            Ok(read) if !target.is_named_by(&read.row) => Err(Miss::Renamed),
            Err(error) if is_elsewhere(&error) => Err(Miss::Elsewhere),
            outcome => Ok(outcome?),
        }
    }

    /// Takes in a live read, once, and tells whoever watches the container.
    ///
    /// # Errors
    /// `Garbled`, where the node does not say whether it runs.
    pub(super) fn took(
        &self,
        mut status: CurrentStatus,
        node: &Arc<str>,
        span: Span,
        is_of_list: bool,
    ) -> Result<Read, ClientError> {
        if Doing::of(&status.status) == Doing::Unknown {
            let message = format!("container {} is said to be `{}`", status.vmid, status.status);
            return Err(ClientError::Garbled { message, was_sent: false });
        }
        // Lists have nothing of high availability, and a single read has its state not always.
        if is_of_list || (status.is_ha_managed && status.ha_state.is_none()) {
            let beat = self.beats.latest();
            let shown = beat.as_ref().map(|beat| {
                (beat.find(status.vmid).and_then(|row| row.ha_state.clone()), beat.span)
            });
            let (is_managed, state) = self.registry.high_availability(status.vmid, shown);
            status.is_ha_managed |= is_managed;
            status.ha_state = state.as_deref().map(str::to_owned);
        }
        let row = Row::of_status(&status, node);
        let observation = self.registry.took(&row, &status, span);
        Ok(Read { row, status, observation })
    }

    /// No beat has it: it is gone, or the right to see it is. Its node tells which; any node does,
    /// where its own one is not known or away.
    pub(super) async fn unseen(
        self: &Arc<Self>,
        target: &Target,
        urgency: Urgency,
    ) -> Result<Read, Miss> {
        // A name that nobody has (any more) was given up, or never there.
        let bound = target.vmid().or_else(|| self.registry.bound(target));
        let is_seen = |vmid| self.beats.latest().is_some_and(|beat| beat.find(vmid).is_some());
        let Some(vmid) = bound.filter(|vmid| target.vmid().is_some() || !is_seen(*vmid)) else {
            return Err(Miss::NotFound);
        };
        // Many at once are a right that lacks, and are not asked for one by one.
        let _looking = Looking::begin(&self.looking);
        let looking = self.looking.load(Ordering::Relaxed);
        let is_crowd = self.registry.vanished_lately().max(looking) > SINGLY;
        if is_crowd && !self.rights.let_see(self, vmid).await {
            return Err(Miss::Failed(not_permitted(vmid)));
        }
        let last = self.registry.last_node(vmid);
        let error = match &last {
            Some(node) => match self.reads.read(self, node, vmid, urgency).await {
                Ok(read) => return Ok(read),
                Err(error) if is_elsewhere(&error) => {
                    self.gone(vmid);
                    return Err(Miss::NotFound);
                }
                Err(error) => Some(error),
            },
            None => None,
        };
        match error {
            None | Some(ClientError::NodeUnreachable { .. }) => {}
            Some(error) => return Err(refused(vmid, error)),
        }
        let node = self.any_node_but(last.as_ref(), urgency).await?;
        match self.reads.read(self, &node, vmid, urgency).await {
            Ok(read) => Ok(read),
            // It may have come up elsewhere meanwhile: this one never had it.
            Err(error) if is_elsewhere(&error) => {
                if self.fresh_place(target).await?.is_some() {
                    return Err(Miss::Moving);
                }
                self.gone(vmid);
                Err(Miss::NotFound)
            }
            Err(error) => Err(refused(vmid, error)),
        }
    }

    /// A container is gone for good: its node says so.
    fn gone(&self, vmid: u32) {
        self.registry.gone(vmid);
        self.configs.remove(vmid);
    }

    async fn any_node_but(
        &self,
        other: Option<&Arc<str>>,
        urgency: Urgency,
    ) -> Result<Arc<str>, ClientError> {
        let nodes = self.api_for(urgency).nodes(Deadline::after(Duration::from_secs(10))).await?;
        let online = nodes.iter().filter(|node| node.is_online).chain(&nodes);
        let mut others = online.filter(|node| other.is_none_or(|other| **other != *node.name));
        match others.next() {
            Some(node) => Ok(node.name.as_str().into()),
            None => Err(ClientError::NodeUnreachable {
                node: other.map_or_else(String::new, ToString::to_string),
                message: "no other node can be asked for it".to_owned(),
                was_sent: false,
            }),
        }
    }

    // === Configurations ===

    /// A container's configuration: from the cache while beats tell that nothing happened to it.
    pub(super) async fn config(
        &self,
        node: &str,
        vmid: u32,
        urgency: Urgency,
        deadline: Deadline,
    ) -> Result<Arc<ContainerConfig>, ClientError> {
        let beat = self.recent_beat();
        let row = beat.as_ref().and_then(|beat| beat.find(vmid)).filter(|row| *row.node == *node);
        if row.is_some()
            && let Some(config) = self.configs.current(vmid)
        {
            return Ok(config);
        }
        let config = Arc::new(self.api_for(urgency).config(node, vmid, deadline).await?);
        self.configs.took(vmid, row, Arc::clone(&config));
        Ok(config)
    }
}

/// A task of ours panicked. What it did may be done again.
pub(super) fn broke_off() -> ClientError {
    let message = "drowse itself failed while it read, and has written where: please report it";
    ClientError::Garbled { message: message.to_owned(), was_sent: false }
}

/// What a node said of a container that no beat has.
fn refused(vmid: u32, error: ClientError) -> Miss {
    Miss::Failed(match error {
        ClientError::Forbidden { privilege: None, .. } => not_permitted(vmid),
        other => other,
    })
}

/// A container that cannot be seen.
fn not_permitted(vmid: u32) -> ClientError {
    let path = format!("/vms/{vmid}");
    ClientError::Forbidden {
        message: format!("Permission check failed ({path}, VM.Audit)"),
        privilege: Some("VM.Audit".to_owned()),
        path: Some(path),
    }
}

/// Whether a node says that it has no such container.
fn is_elsewhere(error: &ClientError) -> bool {
    error.cause() == Some(Cause::NoSuchContainer)
}

impl fmt::Debug for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Core").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What containers of a cluster can be asked for. Unknown versions are taken for new ones.
pub(super) fn capabilities(version: Option<&Version>) -> Capabilities {
    let no = |why: &'static str| Support::No(why.into());
    let mut capabilities = Capabilities::all();
    capabilities.pause = no(
        "Proxmox's API can only suspend an LXC container to disk, which is experimental and fails on \
         many: use `sleep: stop`",
    );
    capabilities.signals = no(
        "Proxmox's API can shut an LXC container down or kill it, and send no other signal: use \
         `sleep: stop`",
    );
    capabilities.stop_signal =
        no("Proxmox's API shuts an LXC container down by the signal that is configured in it \
         (`lxc.signal.halt`): leave the stop signal out");
    capabilities.health = no(
        "an LXC container has no health check of its own: leave it out, and the application itself is \
         asked",
    );
    capabilities.exit_code =
        no("Proxmox keeps no exit code of an LXC container: look into the container's own log");
    if let Some(Version { text, release }) = version
        && *release < TELLS_ADDRESSES
    {
        capabilities.dynamic_addresses = Support::No(
            format!(
                "Proxmox VE {text} does not tell the addresses that containers get by DHCP (8.1 and \
                 later do): give the container a fixed address, or its route an `address`"
            )
            .into(),
        );
    }
    capabilities
}

/// Ends with `Closed` when the engine is closed and with `Timeout` when the deadline passes.
pub(super) async fn within<T>(
    core: &Core,
    (action, target): (Action, &Target),
    deadline: Deadline,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let refused = |kind| Err(Error::new(&*core.name, action, kind).with_container(target.word()));
    // What every read waits for, if it is that.
    let last = || {
        let error = core.beats.failure()?;
        Some(Box::new(error.into_error(&core.name, action, Some(&target.word()))))
    };
    if core.closing.is_cancelled() {
        return refused(ErrorKind::Closed);
    }
    tokio::select! {
        biased;
        () = core.closing.cancelled() => refused(ErrorKind::Closed),
        () = tokio::time::sleep_until(deadline.at()) => {
            refused(ErrorKind::Timeout { after: deadline.duration(), last: last() })
        }
        outcome = work => outcome,
    }
}
