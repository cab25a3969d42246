//! Upgraded connections (WebSocket): bytes in both directions until either side ends.

pub(crate) mod pump;
pub(crate) mod splice;

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use drowse_watcher::{Holder, Lease, LeaseKind, PhaseName, ReadyRun, Workload};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout};

use self::pump::{Pump, Side};
use crate::{
    InFlightStage, body::Usage, handler::Exchange, in_flight::Place, pool::Connection,
    woken::WhenWoken,
};

/// How long the handshake's last bytes may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connects the two sides. The lease moves into the tunnel before the client hears of the upgrade,
/// and ends with it; before, if the tunnel is quiet for as long as its route says.
pub(crate) fn start(
    exchange: Exchange,
    run: Arc<ReadyRun>,
    client: OnUpgrade,
    upstream: OnUpgrade,
    connection: Connection,
    usage: Usage,
) {
    let context = Arc::clone(exchange.context());
    context.is_upgraded.store(true, Ordering::Relaxed);
    context.tasks.clone().spawn(async move {
        exchange.flight.is_at(InFlightStage::Upgraded);
        let joined = async {
            let sides = async { tokio::try_join!(client, upstream) };
            let sides = timeout(HANDSHAKE, sides).await.map_err(io::Error::from)?;
            let (client, upstream) = sides.map_err(io::Error::other)?;
            drop(connection);
            let place = exchange.flight.place();
            let pump = Pump::new(TokioIo::new(client), TokioIo::new(upstream), place);
            let claim = Claim {
                workload: exchange.workload(),
                holder: &exchange.route().0.holder,
                kind: exchange.kind,
                run,
                quiet_after: exchange.spec().quiet_after,
                stage: InFlightStage::Upgraded,
            };
            claim.hold_while_used(pump, usage, place).await
        };
        let expired = pin!(context.phases.expired.cancelled());
        let ended = tokio::select! {
            biased;
            ended = joined => ended,
            () = WhenWoken::new(expired) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "a tunnel ended");
        }
    });
}

/// The use that a tunnel has of its workload, while it has any.
pub(crate) struct Claim<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) holder: &'a Holder,
    pub(crate) kind: LeaseKind,
    /// The run that it is connected to.
    pub(crate) run: Arc<ReadyRun>,
    /// For how long it may be quiet and still count; `None`: for ever.
    pub(crate) quiet_after: Option<Duration>,
    /// What it is shown as while it counts.
    pub(crate) stage: InFlightStage,
}

/// What became of a tunnel without a lease.
enum Next {
    Ended(io::Result<()>),
    /// Its workload has left ready, or what it is connected to is no more.
    Left,
    /// Bytes have passed, and this counts for them.
    Used(Lease),
}

impl Claim<'_> {
    /// Lets bytes pass until the end: under a lease (the first is `usage`'s), but for the times when
    /// none do.
    pub(crate) async fn hold_while_used<C: Side, U: Side>(
        &self,
        mut pump: Pump<'_, C, U>,
        usage: impl Sized,
        place: &Place,
    ) -> io::Result<()> {
        let Some(quiet_after) = self.quiet_after else {
            return poll_fn(|context| pump.poll(context)).await;
        };
        if let Some(ended) = until_quiet(&mut pump, quiet_after).await {
            return ended;
        }
        drop(usage);
        loop {
            place.is_at(InFlightStage::Quiet);
            let lease = match self.until_used(&mut pump).await {
                Next::Used(lease) => lease,
                Next::Ended(ended) => return ended,
                Next::Left => {
                    let workload = self.workload.name();
                    tracing::debug!(workload, "a quiet connection is closed: its workload sleeps");
                    return Ok(());
                }
            };
            place.is_at(self.stage);
            if let Some(ended) = until_quiet(&mut pump, quiet_after).await {
                return ended;
            }
            drop(lease);
        }
    }

    /// Waits for the next byte. It passes under a passive lease, which holds off a stop and counts for
    /// nothing: so none is lost, and none is sent to what is being stopped.
    async fn until_used<C: Side, U: Side>(&self, pump: &mut Pump<'_, C, U>) -> Next {
        let mut news = self.workload.watch();
        let mut left = pin!(news.wait_for(|now| has_left(now.phase)));
        poll_fn(|context| {
            // An error says that it is no longer managed.
            if left.as_mut().poll(context).is_ready() {
                return Poll::Ready(Next::Left);
            }
            // While it is in doubt, bytes wait: the next news is that it is ready again, or is not.
            let Some(passing) = self.workload.try_lease(self.holder, LeaseKind::Passive) else {
                return Poll::Pending;
            };
            if !self.is_of(&passing.run()) {
                return Poll::Ready(Next::Left);
            }
            let before = pump.moved();
            if let Poll::Ready(ended) = pump.poll(context) {
                return Poll::Ready(Next::Ended(ended));
            }
            if pump.moved() == before {
                return Poll::Pending;
            }
            // It is refused if the run has just come into doubt.
            let lease = self.workload.try_lease(self.holder, self.kind);
            Poll::Ready(lease.map_or(Next::Left, Next::Used))
        })
        .await
    }

    /// Whether this is the run that it is connected to.
    fn is_of(&self, run: &ReadyRun) -> bool {
        is_same_run(run, &self.run)
    }
}

/// Whether they are one run, which may have been ready several times.
pub(crate) fn is_same_run(one: &ReadyRun, other: &ReadyRun) -> bool {
    one.epoch == other.epoch || (one.run.is_some() && one.run == other.run)
}

/// Lets bytes pass until none have for this long (`None`), or until the end.
async fn until_quiet<C: Side, U: Side>(
    pump: &mut Pump<'_, C, U>,
    quiet_after: Duration,
) -> Option<io::Result<()>> {
    let mut last = Instant::now();
    let mut timer = pin!(sleep(quiet_after));
    poll_fn(|context| {
        let before = pump.moved();
        if let Poll::Ready(ended) = pump.poll(context) {
            return Poll::Ready(Some(ended));
        }
        if pump.moved() != before {
            last = Instant::now();
        }
        // The timer is not set anew for each byte: it is late, and then looks how late.
        while timer.as_mut().poll(context).is_ready() {
            let due = last + quiet_after;
            if due <= Instant::now() {
                return Poll::Ready(None);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    })
    .await
}

/// Whether a workload in this phase sleeps, or is about to, or is on its way back.
pub(crate) fn has_left(phase: PhaseName) -> bool {
    !matches!(phase, PhaseName::Ready | PhaseName::Probing | PhaseName::Unread)
}

#[cfg(test)]
mod tests;
