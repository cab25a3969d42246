//! Containers through which requests come to drowse, such as a reverse proxy in front of it: kept
//! awake, since nobody could wake them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use drowse_gateway::Vantage;
use drowse_provider::Reach;
use drowse_watcher::{Hold, LeaseKind, PhaseName, Workload};
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::{engines::Engines, view::Entry};

/// How often what runs is compared with who forwards, once anybody does: a proxy that was started
/// anew may have the address of the last one, which is no news.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Who forwards, and what of it is managed.
pub(super) struct Forwarders {
    peers: watch::Receiver<BTreeMap<IpAddr, Instant>>,
    /// Engine and container of those that were recognised: for as long as drowse runs.
    known: BTreeSet<(String, String)>,
    look_at: Option<Instant>,
}

impl Forwarders {
    pub(super) fn new(peers: watch::Receiver<BTreeMap<IpAddr, Instant>>) -> Self {
        Self { peers, known: BTreeSet::new(), look_at: None }
    }

    /// Returns when it is time to look. Cancel safe.
    pub(super) async fn due(&mut self) {
        match self.look_at {
            Some(moment) => tokio::select! {
                () = tokio::time::sleep_until(moment) => {}
                Ok(()) = self.peers.changed() => {}
            },
            None => {
                // The gateway, which has the sender, outlives us.
                if self.peers.wait_for(|peers| !peers.is_empty()).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
        self.look_at = Some(Instant::now() + LOOK_AGAIN);
    }

    /// Of what runs, the workloads that have just been recognised.
    pub(super) fn recognise(
        &mut self,
        running: &BTreeMap<String, Arc<Entry>>,
        engines: &Engines,
    ) -> Vec<Workload> {
        let peers = self.peers.borrow_and_update();
        let mut recognised = Vec::new();
        for Entry { planned, workload, .. } in running.values().map(Arc::as_ref) {
            let Some(run) = workload.ready_run() else { continue };
            // Another machine's container may have the address of a stranger here.
            let is_local = engines.find(&planned.engine).is_some_and(|(engine, _)| {
                matches!(engine.reach(), Reach::Local | Reach::Routed)
                    || matches!(*engines.standpoint(engine.name()).vantage(), Vantage::Inside(_))
            });
            if !is_local {
                continue;
            }
            let holder = run.details.holder.as_ref();
            let networks = holder.map_or(&run.details.networks, |holder| &holder.networks);
            let addresses = networks.iter().flat_map(|network| &network.addresses);
            // Before this run another one may have had its address.
            let began = workload.snapshot().since;
            let forwards = |address: &IpAddr| peers.get(address).is_some_and(|last| *last >= began);
            let Some(peer) = addresses.copied().find(forwards) else { continue };
            let container = planned.container_name();
            if self.known.insert((planned.engine.clone(), container.clone())) {
                warn!(
                    workload = planned.name,
                    engine = planned.engine,
                    container,
                    %peer,
                    "requests come to drowse through this container, so it is kept awake: if it slept, \
                     nobody could wake it; take its label `drowse.enable` (or its tag) away, or name \
                     it in `never_sleep`"
                );
                recognised.push(workload.clone());
            }
        }
        recognised
    }

    /// Whether a container was recognised before its management began anew.
    pub(super) fn knows(&self, engine: &str, container: String) -> bool {
        self.known.contains(&(engine.to_owned(), container))
    }
}

/// Holds a lease whenever the workload is ready. Ends with its management.
pub(super) async fn keep_awake(workload: Workload) {
    let holder = workload.holder("the requests that come to drowse through it");
    let mut news = workload.watch();
    loop {
        let is_ready = news.wait_for(|snapshot| snapshot.phase == PhaseName::Ready).await.is_ok();
        if !is_ready {
            return;
        }
        let _lease = workload.try_lease(&holder, LeaseKind::Active).map(Hold::from);
        if news.wait_for(|snapshot| snapshot.phase != PhaseName::Ready).await.is_err() {
            return;
        }
    }
}
