//! One container.

mod addresses;
mod carrier;
mod details;
mod goal;
mod orders;
mod site;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_provider::{
    Action, Capabilities, ContainerStatus, Deadline, Details, Error, ErrorKind, KillOutcome,
    Observation, Provider, Reference, Signal, Stats, StopOptions, Support, Watch,
};

pub(crate) use self::orders::Orders;
use self::{
    addresses::are_all_fixed,
    carrier::Carrier,
    details::{details_of, stats_of},
    goal::{DEFAULT_STOP_TIMEOUT, Goal, StopPlan, plan_stop, shutdown_within, unsendable},
    orders::{Entry, OpenOrder},
    site::OfCluster,
};
use crate::{
    ClientError, ContainerConfig, Interface,
    cluster::{Live, Located, Shared},
};

/// What a node answers that does not know a call.
const NOT_IMPLEMENTED: u16 = 501;

/// The lifecycle API of one container of a [`Cluster`](crate::Cluster), wherever in the cluster it is.
///
/// An order belongs to the cluster: whoever waits for it may go away. Two who want the same of one
/// container wait for the same order, and a start waits for the end of a stop. What the container's
/// own lock keeps from it is refused at once with `Locked`, before anything is ordered.
///
/// The guest's configuration is read, never written. After a kill there is no exit code, since
/// Proxmox has none; a stop without a timeout allows what the container's start-up options say
/// (`down=`), else the 60 s of Proxmox's own shutdown.
#[derive(Clone)]
pub struct ProxmoxProvider {
    shared: Arc<Shared>,
    reference: Reference,
}

impl ProxmoxProvider {
    pub(crate) fn new(shared: Arc<Shared>, reference: Reference) -> Self {
        Self { shared, reference }
    }

    fn error(&self, action: Action, kind: ErrorKind) -> Error {
        Error::new(self.shared.name(), action, kind).with_container(self.reference.to_string())
    }

    /// What comes before everything else: a handle that is closed, a deadline that has passed.
    fn admit(&self, action: Action, deadline: Deadline) -> Result<(), Error> {
        if self.shared.closing().is_cancelled() {
            return Err(self.error(action, ErrorKind::Closed));
        }
        if deadline.has_passed() {
            let after = deadline.duration();
            return Err(self.error(action, ErrorKind::Timeout { after, last: None }));
        }
        Ok(())
    }

    // === orders ===

    /// Returns when the container is as wanted. Cancel safe: an order that was given is carried out,
    /// one that was not is not begun when nobody waits for it any more.
    async fn reach(&self, goal: Goal, action: Action, deadline: Deadline) -> Result<(), Error> {
        loop {
            self.admit(action, deadline)?;
            let at = self.place(action, deadline).await?;
            match self.shared.orders().enter(at.vmid, goal, deadline) {
                Entry::Begin(turn, order) => {
                    let carrier = Carrier {
                        site: Arc::new(OfCluster::new(&self.shared)),
                        vmid: at.vmid,
                        found_on: at.node,
                        reference: self.reference.clone(),
                        action,
                        goal,
                        deadline: Deadline::after(goal.within()),
                        turn,
                    };
                    self.shared.spawn(carrier.run());
                    return self.end_of(&order, action, deadline).await;
                }
                Entry::Join(order) => return self.end_of(&order, action, deadline).await,
                Entry::After(order) => {
                    // However it ends, it is no longer in the way.
                    _ = self.until(order.ended(), &order, action, deadline).await?;
                }
            }
        }
    }

    /// Where the container is. Whose name it is, its node tells: a beat may be older than a rename,
    /// and an order must not meet the one that had the name before.
    async fn place(&self, action: Action, deadline: Deadline) -> Result<Located, Error> {
        let Reference::Name(name) = &self.reference else {
            return self.shared.locate(&self.reference, action, deadline).await;
        };
        let live = self.shared.live(&self.reference, action, deadline).await?;
        if live.status.name == *name {
            return Ok(live.at);
        }
        let reason = format!(
            "container {} was renamed to `{}` a moment ago, and the cluster does not tell yet whose \
             name it is now",
            live.at.vmid, live.status.name
        );
        Err(self.error(action, ErrorKind::Unavailable { reason }))
    }

    async fn end_of(
        &self,
        order: &OpenOrder,
        action: Action,
        deadline: Deadline,
    ) -> Result<(), Error> {
        match self.until(order.ended(), order, action, deadline).await? {
            Some(outcome) => outcome.map_err(|error| self.own(error, action)),
            None if self.shared.closing().is_cancelled() => {
                Err(self.error(action, ErrorKind::Closed))
            }
            // Its task panicked: whether the order was taken, only a read tells.
            None => {
                let reason = "nobody follows the order any more".to_owned();
                Err(self.error(action, ErrorKind::Unavailable { reason }))
            }
        }
    }

    async fn until<T>(
        &self,
        wait: impl Future<Output = T>,
        order: &OpenOrder,
        action: Action,
        deadline: Deadline,
    ) -> Result<T, Error> {
        tokio::time::timeout_at(deadline.at(), wait).await.map_err(|_| {
            let last = order.waits_out().map(|last| Box::new(self.own(last, action)));
            self.error(action, ErrorKind::Timeout { after: deadline.duration(), last })
        })
    }

    /// An order's error, as one of whoever joined it.
    fn own(&self, error: Error, action: Action) -> Error {
        if error.action() == action {
            return error.with_container(self.reference.to_string());
        }
        self.error(action, error.kind().clone()).with_source(error)
    }

    /// How long the container's own definition allows it to end in.
    async fn own_stop_timeout(&self, deadline: Deadline) -> Result<Duration, Error> {
        let at = self.place(Action::Stop, deadline).await?;
        match self.shared.config(&at, Action::Stop, deadline).await {
            Ok(config) => Ok(config.stop_timeout.unwrap_or(DEFAULT_STOP_TIMEOUT)),
            // It is on another node by now, or gone: the order finds out.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => Ok(DEFAULT_STOP_TIMEOUT),
            Err(error) => Err(error),
        }
    }

    /// Pausing is refused before anything else is looked at.
    fn cannot_pause<T>(&self, action: Action) -> Result<T, Error> {
        let why = match self.capabilities().pause {
            Support::No(why) => why.into_owned(),
            Support::Yes => String::new(),
        };
        Err(self.error(action, ErrorKind::Unsupported { why }))
    }

    // === reads ===

    async fn live(&self, action: Action, deadline: Deadline) -> Result<Live, Error> {
        self.admit(action, deadline)?;
        self.shared.live(&self.reference, action, deadline).await
    }

    /// What the container has for interfaces, where that is worth a call and can be told.
    async fn interfaces(
        &self,
        live: &Live,
        config: &ContainerConfig,
        deadline: Deadline,
    ) -> Result<Vec<Interface>, Error> {
        if live.observation.status != ContainerStatus::Running || are_all_fixed(config) {
            return Ok(Vec::new());
        }
        let read = self.shared.client().interfaces(&live.at.node, live.at.vmid, deadline).await;
        match read {
            // Before 8.1; or its node looked into a container that is about to run, or to end.
            Err(ClientError::Refused { status, message }) => {
                tracing::debug!(
                    engine = self.shared.name(),
                    container = %self.reference,
                    vmid = live.at.vmid,
                    action = %Action::Inspect,
                    is_old = status == NOT_IMPLEMENTED,
                    message,
                    "its interfaces are not known"
                );
                Ok(Vec::new())
            }
            read => read.map_err(|error| {
                let container = self.reference.to_string();
                error.into_error(self.shared.name(), Action::Inspect, Some(&container))
            }),
        }
    }
}

impl fmt::Debug for ProxmoxProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProxmoxProvider")
            .field("engine", &self.engine())
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for ProxmoxProvider {
    fn engine(&self) -> &str {
        self.shared.name()
    }

    fn reference(&self) -> &Reference {
        &self.reference
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities()
    }

    /// Of a container that high availability manages: waits until that has started it, wherever.
    async fn start(&self, deadline: Deadline) -> Result<(), Error> {
        self.reach(Goal::Start, Action::Start, deadline).await
    }

    /// TERM, PWR and no signal all mean a shutdown, whatever signal its init understands by that; a
    /// timeout of zero, or KILL, means a kill; anything else is `Unsupported`.
    async fn stop(&self, options: &StopOptions, deadline: Deadline) -> Result<(), Error> {
        let plan = plan_stop(options)
            .map_err(|why| self.error(Action::Stop, ErrorKind::Unsupported { why }))?;
        self.admit(Action::Stop, deadline)?;
        let goal = match plan {
            StopPlan::Kill => Goal::Kill,
            StopPlan::Shutdown(timeout) => shutdown_within(timeout),
            StopPlan::ShutdownAsDefined => shutdown_within(self.own_stop_timeout(deadline).await?),
        };
        self.reach(goal, Action::Stop, deadline).await
    }

    /// KILL only, and without an exit code. It overrules a shutdown that is under way where Proxmox
    /// can (since 8.2, and never for high availability), and waits for its end elsewhere.
    async fn kill(&self, signal: Signal, deadline: Deadline) -> Result<KillOutcome, Error> {
        if signal != Signal::KILL {
            let why = unsendable(signal);
            return Err(self.error(Action::Kill, ErrorKind::Unsupported { why }));
        }
        self.reach(Goal::Kill, Action::Kill, deadline).await?;
        Ok(KillOutcome::Exited(None))
    }

    async fn pause(&self, _: Deadline) -> Result<(), Error> {
        self.cannot_pause(Action::Pause)
    }

    async fn unpause(&self, _: Deadline) -> Result<(), Error> {
        self.cannot_pause(Action::Unpause)
    }

    async fn observe(&self, deadline: Deadline) -> Result<Observation, Error> {
        Ok(self.live(Action::Status, deadline).await?.observation)
    }

    /// Addresses are what the container has at this moment: one that comes late (DHCP) is missing
    /// until it is there.
    async fn inspect(&self, deadline: Deadline) -> Result<Details, Error> {
        let live = self.live(Action::Inspect, deadline).await?;
        let config = self.shared.config(&live.at, Action::Inspect, deadline).await?;
        let seen = self.interfaces(&live, &config, deadline).await?;
        let labels = self.shared.labels(&live.status.tags, &config.description);
        Ok(details_of(&live, &config, labels, &seen))
    }

    async fn stats(&self, deadline: Deadline) -> Result<Stats, Error> {
        let live = self.live(Action::Stats, deadline).await?;
        match live.observation.status {
            ContainerStatus::Running => Ok(stats_of(&live.status)),
            status => Err(self.error(Action::Stats, ErrorKind::Conflict { status })),
        }
    }

    /// Must be called within a tokio runtime.
    fn watch(&self) -> Watch {
        Arc::clone(&self.shared).watch(&self.reference)
    }
}
