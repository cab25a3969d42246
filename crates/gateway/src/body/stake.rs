//! What an exchange has to do with its workload: its lease, as long as anything passes.
//!
//! Where a silence may last, somebody looks: over HTTP/2, where a client may take nothing and answer each
//! ping, and where the route says `quiet_after`. What has been silent for too long gives its lease back,
//! takes one again with the next piece, and is cut when its workload sleeps: as a tunnel is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use drowse_watcher::{Lease, LeaseKind, ReadyRun, Workload};
use futures::future::AbortHandle;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    InFlightStage, Route,
    handler::Exchange,
    in_flight::Counter,
    tunnel::{has_left, is_same_run},
};

/// When it is looked again at what is passing at this very moment.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The lease of one exchange, which both its bodies pass under.
pub(crate) struct Stake {
    route: Route,
    kind: LeaseKind,
    /// The run that it is about.
    run: Arc<ReadyRun>,
    counter: Counter,
    /// How long its client may take nothing of the answer until that is no use any more; `None`: it is
    /// looked after elsewhere.
    client_patience: Option<Duration>,
    state: Mutex<State>,
    /// Told when it has taken its lease again.
    used: Notify,
}

struct State {
    /// `None`: nothing has passed for too long.
    lease: Option<Lease>,
    /// When anything passed last.
    passed: Instant,
    /// How many are about to pass something.
    passing: u8,
    /// Whether the next piece of the answer is awaited. If it is not, its client has not taken the last.
    is_awaited: bool,
    /// Who waits for the workload to be out of doubt: one of each way.
    waiting: [Option<Waker>; 2],
}

/// Which way something passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Stake {
    pub(super) fn new(exchange: &Exchange, lease: Lease) -> Arc<Self> {
        let flight = &exchange.flight;
        let quiet_after = exchange.spec().quiet_after;
        let client_patience = quiet_after.or_else(|| {
            flight.is_of_stream().then(|| flight.context.gateway.options().user_timeout)
        });
        Arc::new(Self {
            route: flight.route.clone(),
            kind: exchange.kind,
            run: lease.run(),
            counter: flight.counter(),
            client_patience,
            state: Mutex::new(State {
                lease: Some(lease),
                passed: Instant::now(),
                passing: 0,
                is_awaited: false,
                waiting: [None, None],
            }),
            used: Notify::new(),
        })
    }

    /// Whether the answer of such an exchange may be silent for longer than its connection notices.
    pub(super) fn is_needed(exchange: &Exchange) -> bool {
        exchange.spec().quiet_after.is_some() || exchange.flight.is_of_stream()
    }

    /// When anything passed last.
    pub(super) fn passed(&self) -> Instant {
        self.state().passed
    }

    /// Gives the lease back for good.
    pub(super) fn release(&self) {
        self.state().lease = None;
    }

    /// Lets pass what there is, under the lease. If that was given back, a passive one holds off a stop
    /// while it is looked whether there is anything: so nothing is lost, and nothing is sent to what is
    /// being stopped. `is_use`: whether what has come is worth a lease again.
    pub(super) fn pass<T>(
        &self,
        way: Way,
        context: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
        is_use: impl FnOnce(&T) -> bool,
    ) -> Poll<T> {
        let mut state = self.state();
        let mut passive = None;
        if state.lease.is_none() {
            passive = self.workload().try_lease(&self.route.0.holder, LeaseKind::Passive);
            let is_its = |lease: &Lease| is_same_run(&lease.run(), &self.run);
            // In doubt it waits. If it comes to nothing it is cut.
            if !passive.as_ref().is_some_and(is_its) {
                state.waiting[way as usize] = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        state.passing += 1;
        // What is polled may be a connection on which the other way is polled as well.
        drop(state);
        let polled = poll(context);
        let mut state = self.state();
        state.passing -= 1;
        if let Poll::Ready(come) = &polled {
            state.passed = Instant::now();
            if let (None, Some(passive)) = (&state.lease, passive.filter(|_| is_use(come))) {
                let lease = self.workload().try_lease(&self.route.0.holder, self.kind);
                // It is refused if the run has just come into doubt.
                state.lease = Some(lease.unwrap_or(passive));
                self.counter.is_at(InFlightStage::served(self.kind));
                self.used.notify_one();
            }
        }
        if way == Way::Down {
            state.is_awaited = polled.is_pending();
        }
        polled
    }

    /// Looks, until it is dropped, whether anything passes; `cut` ends the exchange. `None` where somebody
    /// else does.
    pub(super) fn watch(self: &Arc<Self>, cut: AbortHandle) -> Option<Watch> {
        let client_patience = self.client_patience?;
        let stake = Arc::clone(self);
        let task = tokio::spawn(async move {
            loop {
                stake.until_quiet(client_patience).await;
                if stake.until_used().await.is_err() {
                    let workload = stake.workload().name();
                    tracing::debug!(workload, "a silent answer is cut: its workload sleeps");
                    cut.abort();
                    return;
                }
            }
        });
        Some(Watch(task.abort_handle()))
    }

    /// Gives the lease back when nothing has passed for long enough, and returns.
    async fn until_quiet(&self, client_patience: Duration) {
        loop {
            let now = Instant::now();
            let due = {
                let mut state = self.state();
                // An upstream that is silent in the middle of its answer is at work, unless the route
                // says for how long.
                let patience = if state.is_awaited {
                    self.route.spec().quiet_after
                } else {
                    Some(client_patience)
                };
                match patience.map(|patience| state.passed + patience) {
                    None => now + client_patience,
                    Some(due) if due > now => due,
                    Some(_) if state.passing > 0 => now + LOOK_AGAIN,
                    Some(_) => {
                        state.lease = None;
                        self.counter.is_at(InFlightStage::Quiet);
                        return;
                    }
                }
            };
            sleep_until(due).await;
        }
    }

    /// Waits for the next piece; an error says that there will be none, since the workload sleeps or is
    /// in its next run.
    async fn until_used(&self) -> Result<(), ()> {
        let mut news = self.workload().watch();
        loop {
            // Whoever gave it back has seen it used.
            if self.state().lease.is_some() {
                return Ok(());
            }
            let phase = news.borrow_and_update().phase;
            let is_other = |run: Arc<ReadyRun>| !is_same_run(&run, &self.run);
            if has_left(phase) || self.workload().ready_run().is_some_and(is_other) {
                return Err(());
            }
            for waiting in self.state().waiting.iter_mut().filter_map(Option::take) {
                waiting.wake();
            }
            tokio::select! {
                () = self.used.notified() => {}
                // An error says that it is no longer managed.
                changed = news.changed() => changed.map_err(|_| ())?,
            }
        }
    }

    fn workload(&self) -> &Workload {
        &self.route.spec().workload
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the looking when it is dropped.
pub(super) struct Watch(tokio::task::AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
