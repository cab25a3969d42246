//! The TCP and UDP ports on which drowse listens for routes. They come and go with the plan; one that
//! cannot be had is told, and tried again, and is no trouble of the others.

mod keeper;
mod routes;
mod unclaimed;
mod wanted;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use drowse_gateway::{Drained, Gateway};
use drowse_provider::Transport;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{keeper::Keeper, unclaimed::Unclaimed, wanted::Wanted};
pub(crate) use self::{
    routes::{PortRoute, route, upstream},
    wanted::name_of,
};
use crate::{config::Problem, handed::HandedSockets, view::Entry};

/// A port of an address.
type At = (Transport, SocketAddr);

/// Those that cannot be had, and why.
type Troubles = BTreeMap<At, Problem>;

/// Shows where connections and packets go. A cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    wanted: Arc<watch::Sender<Wanted>>,
    unclaimed: Arc<Unclaimed>,
    troubles: watch::Receiver<Troubles>,
    shutdown: CancellationToken,
    drained: watch::Receiver<Option<Drained>>,
}

impl Ports {
    /// None so far. `handed`: what is bound for them already. Must be called within a tokio runtime.
    pub(crate) fn new(gateway: Gateway, handed: Arc<HandedSockets>) -> Self {
        let (wanted, follows) = watch::channel(Wanted::default());
        let (telling, troubles) = watch::channel(Troubles::new());
        let (done, drained) = watch::channel(None);
        let shutdown = CancellationToken::new();
        let unclaimed = Arc::new(Unclaimed::new(handed.clone()));
        let keeper = Keeper::new(gateway, handed, telling, shutdown.clone());
        tokio::spawn(async move { done.send_replace(Some(keeper.follow(follows).await)) });
        Self { wanted: Arc::new(wanted), unclaimed, troubles, shutdown, drained }
    }

    /// Serves these from now on. `in_between`: what is about to be managed anew, whose routes stay as
    /// they were unless somebody else has their ports now. `is_discovering`: there may be more that are not
    /// known yet.
    pub(crate) fn show(
        &self,
        entries: &[Arc<Entry>],
        in_between: &[Arc<Entry>],
        is_discovering: bool,
    ) {
        let wanted = Wanted::of(entries, in_between);
        if !is_discovering {
            self.unclaimed.tell(&wanted);
        }
        self.wanted.send_replace(wanted);
    }

    /// The ports that cannot be had now, and why.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.troubles.borrow().values().cloned().collect()
    }

    /// Stops accepting and lets what is in flight end; `false` if the grace period was not enough.
    pub(crate) async fn drain(&mut self) -> bool {
        self.shutdown.cancel();
        // An error says that the keeper has panicked, which has been told.
        let drained = self.drained.wait_for(Option::is_some).await;
        drained.is_ok_and(|drained| *drained == Some(Drained::Whole))
    }
}

#[cfg(test)]
mod tests;
