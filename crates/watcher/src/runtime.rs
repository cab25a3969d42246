//! The thin loop around the core: it carries out effects and feeds the results back.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use drowse_provider::{
    Action, ContainerStatus, Deadline, Details, Error, ErrorKind, Observation, Provider, Signal,
    Unusable, Watch, WatchItem,
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Attempt, Holder, Lease, LeaseKind, OrderSlots, Policy, Readiness, SleepError, Snapshot,
    WakeError,
    core::{AskId, Core, Effect, EffectId, Input, Moment, Order, Transition},
    shared::Shared,
    slots::OrderSlot,
};

/// How long a read may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long the task rests after a panic, so that one which always panics does no harm.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// What a handle sends to its task. A channel keeps room for 32 of them whatever its capacity, and
/// there is one for each workload: hence the boxes.
#[derive(Debug)]
pub(crate) enum Command {
    Ask(Box<Ask>),
    SleepNow(Box<SleepNow>),
    SetPolicy(Box<Policy>),
}

/// A request for a lease, to be answered by `deadline`.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) id: AskId,
    pub(crate) deadline: Instant,
    pub(crate) request: LeaseRequest,
}

/// A request for sleep, to be answered by `deadline`.
#[derive(Debug)]
pub(crate) struct SleepNow {
    pub(crate) id: AskId,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<(), SleepError>>,
}

/// For whom a lease is, with the way to answer.
#[derive(Debug)]
pub(crate) struct LeaseRequest {
    pub(crate) holder: Holder,
    pub(crate) kind: LeaseKind,
    pub(crate) answer: oneshot::Sender<Result<Lease, WakeError>>,
}

/// Those who asked and have gone. Not a command: a future that is dropped cannot wait for a place.
#[derive(Debug, Default)]
pub(crate) struct Withdrawn {
    ids: Mutex<Vec<AskId>>,
    news: Notify,
}

impl Withdrawn {
    pub(crate) fn add(&self, id: AskId) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.news.notify_one();
    }

    async fn take(&self) -> Vec<AskId> {
        self.news.notified().await;
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The task of one workload.
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) policy: Policy,
    pub(crate) slots: OrderSlots,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) withdrawn: Arc<Withdrawn>,
    pub(crate) upstream_failed: Arc<Notify>,
    pub(crate) snapshots: watch::Sender<Snapshot>,
    pub(crate) holders: Box<dyn Fn() -> Vec<(String, u32)> + Send + Sync>,
    pub(crate) closing: CancellationToken,
}

/// What came of an effect. A slot that a read waited for lives until the end of the step.
struct Done {
    input: Input,
    slot: Option<OrderSlot>,
}

/// One life of the loop: from an empty core to a close or a panic.
struct Life {
    core: Core,
    watch: Watch,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    orders_in_flight: usize,
    asks: HashMap<AskId, LeaseRequest>,
    sleeps: HashMap<AskId, oneshot::Sender<Result<(), SleepError>>>,
    slot: Option<OrderSlot>,
    /// Who was told to keep it awake, since its idle time was last over.
    told_holders: Vec<String>,
}

impl Life {
    fn take_result(&mut self, done: Done) -> Input {
        self.slot = done.slot;
        if matches!(done.input, Input::OrderDone { .. }) {
            self.orders_in_flight -= 1;
        }
        done.input
    }
}

impl Runtime {
    /// Runs until it is closed. A panic of the loop is told, and the loop begins anew from the
    /// engine's state; requests that waited ask again by themselves.
    pub(crate) async fn run(mut self) {
        loop {
            let life = AssertUnwindSafe(self.live()).catch_unwind().await;
            self.shared.word.shut();
            if life.is_ok() {
                return;
            }
            tracing::error!(
                workload = self.name,
                engine = self.provider.engine(),
                container = %self.provider.reference(),
                "the workload's task panicked; it begins anew from the engine's state",
            );
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(AFTER_PANIC) => {}
            }
        }
    }

    async fn live(&mut self) {
        let now = self.now();
        // Boxed: it would be part of this future, and of the one that ends it, in each workload.
        let mut life = Box::new(Life {
            core: Core::new(Arc::clone(&self.shared), self.policy.clone(), now)
                .at_passing_address(self.readiness.is_at_passing_address()),
            watch: self.provider.watch(),
            running: FuturesUnordered::new(),
            orders_in_flight: 0,
            asks: HashMap::new(),
            sleeps: HashMap::new(),
            slot: None,
            told_holders: Vec::new(),
        });
        self.step(&mut life, Input::Tick);
        let mut watch_is_open = true;
        // Level-triggered, so that a notification that comes at any time is seen.
        let upstream_failed = Arc::clone(&self.upstream_failed);
        let withdrawn = Arc::clone(&self.withdrawn);
        loop {
            let next = life.core.next_deadline().map(|at| self.instant(at));
            let input = tokio::select! {
                // In this order: results before news, news before wishes. Nothing starves: a step
                // sees to everything that is due, whatever its input.
                biased;
                () = self.closing.cancelled() => break,
                Some(done) = life.running.next() => life.take_result(done),
                item = life.watch.next(), if watch_is_open => {
                    watch_is_open = item.is_some();
                    // Ended: bound to an id and removed, or its engine was closed. Reads tell which.
                    let item = item.unwrap_or_else(|| Err(self.watch_ended()));
                    Input::Watched(item.and_then(|item| match item {
                        WatchItem::Synced(observation) => {
                            known(&*self.provider, Action::Watch, &observation)?;
                            Ok(WatchItem::Synced(observation))
                        }
                        other => Ok(other),
                    }))
                }
                ids = withdrawn.take() => withdraw(&mut life, ids),
                command = self.commands.recv() => match command {
                    Some(command) => self.take_command(&mut life, command),
                    // The last handle is gone.
                    None => break,
                },
                () = upstream_failed.notified() => Input::UpstreamFailed {
                    epoch: self.shared.failed_epoch(),
                },
                () = sleep_until(next) => Input::Tick,
            };
            self.step(&mut life, input);
        }
        self.finish(life).await;
    }

    /// The engine has taken what it was ordered: see it through, so that nobody who follows us
    /// finds an order under way. What still waits for its turn is not ordered any more. Everybody
    /// who waits, or comes now, is told at once.
    async fn finish(&mut self, mut life: Box<Life>) {
        self.closing.cancel();
        self.commands.close();
        self.shared.word.shut();
        for (_, request) in life.asks.drain() {
            drop(request.answer.send(Err(WakeError::Closed)));
        }
        for (_, answer) in life.sleeps.drain() {
            drop(answer.send(Err(SleepError::Closed)));
        }
        // What it asks for is dropped, and that is an answer.
        while self.commands.try_recv().is_ok() {}
        while life.orders_in_flight > 0 {
            tokio::select! {
                Some(done) = life.running.next() => drop(life.take_result(done)),
                Some(command) = self.commands.recv() => drop(command),
                else => break,
            }
            // A slot that nobody needs any more.
            life.slot = None;
        }
    }

    fn take_command(&mut self, life: &mut Life, command: Command) -> Input {
        match command {
            // Its withdrawal has overtaken it.
            Command::Ask(ask) if ask.request.answer.is_closed() => Input::Tick,
            Command::SleepNow(sleep) if sleep.answer.is_closed() => Input::Tick,
            Command::Ask(ask) => {
                let Ask { id, deadline, request } = *ask;
                life.asks.insert(id, request);
                Input::Ask { id, deadline: self.moment(deadline) }
            }
            Command::SleepNow(sleep) => {
                let SleepNow { id, deadline, answer } = *sleep;
                life.sleeps.insert(id, answer);
                Input::SleepNow { id, deadline: self.moment(deadline) }
            }
            Command::SetPolicy(policy) => {
                self.policy = (*policy).clone();
                Input::PolicyChanged(*policy)
            }
        }
    }

    fn step(&mut self, life: &mut Life, input: Input) {
        let effects = life.core.step(self.now(), input);
        // Before anybody is answered: who is told "ready" or "asleep" finds it so when looking.
        self.publish(&life.core);
        for effect in effects {
            self.perform(life, effect);
        }
        // A slot that no order has taken in this step is given back.
        life.slot = None;
    }

    fn perform(&self, life: &mut Life, effect: Effect) {
        match effect {
            Effect::Order { id, order, within } => {
                life.orders_in_flight += 1;
                life.running.push(self.order(id, order, within, life.slot.take()));
            }
            Effect::Read { id, with_slot } => life.running.push(self.read(id, with_slot)),
            Effect::Probe { id, details, elapsed } => {
                life.running.push(self.probe(id, details, elapsed));
            }
            Effect::Grant(id) => {
                // Already counted in the word: dropping the lease undoes that, if nobody is left.
                if let Some(request) = life.asks.remove(&id) {
                    let lease =
                        Lease::counted(Arc::clone(&self.shared), request.holder, request.kind);
                    drop(request.answer.send(Ok(lease)));
                } else {
                    self.shared.word.drop_passive();
                }
            }
            Effect::Refuse(id, error) => {
                if let Some(request) = life.asks.remove(&id) {
                    drop(request.answer.send(Err(error)));
                }
            }
            Effect::SleepAnswer(id, answer) => {
                if let Some(sender) = life.sleeps.remove(&id) {
                    drop(sender.send(answer.map_err(|error| self.name_holders(error))));
                }
            }
            Effect::Changed(transition) => self.log_change(&transition),
            Effect::LostAsleep => self.log_lost_asleep(),
            Effect::StaysAwake { anew } => self.log_stays_awake(life, anew),
            Effect::StaysAwakeLocked { by } => self.log_stays_awake_locked(&by),
            Effect::WakeWaitsForLock { by } => self.log_wake_waits(&by),
            Effect::Trouble { what, error, next_attempt } => {
                self.log_trouble(what, &error, next_attempt);
            }
        }
    }

    fn order(
        &self,
        id: EffectId,
        order: Order,
        within: Duration,
        slot: Option<OrderSlot>,
    ) -> BoxFuture<'static, Done> {
        let provider = Arc::clone(&self.provider);
        let slots = self.slots.clone();
        let workload = self.name.clone();
        let closing = self.closing.clone();
        async move {
            let queued = Instant::now();
            let slot = match slot {
                Some(slot) => Some(slot),
                None if order.is_start() => {
                    closing.run_until_cancelled(slots.for_a_start()).await.flatten()
                }
                None => closing.run_until_cancelled(slots.for_a_sleep()).await.flatten(),
            };
            if slot.is_none() {
                let closed = Error::new(provider.engine(), action(&order), ErrorKind::Closed);
                return Done { input: Input::OrderDone { id, result: Err(closed) }, slot: None };
            }
            let began = Instant::now();
            tracing::debug!(
                workload,
                engine = provider.engine(),
                container = %provider.reference(),
                ?order,
                queued = ?began - queued,
                "order",
            );
            let deadline = Deadline::after(within);
            let result = match &order {
                Order::Start => provider.start(deadline).await,
                Order::Stop(options) => provider.stop(options, deadline).await,
                Order::Pause => provider.pause(deadline).await,
                Order::Kill => provider.kill(Signal::KILL, deadline).await.map(drop),
            };
            tracing::debug!(
                workload,
                engine = provider.engine(),
                container = %provider.reference(),
                ?order,
                ?result,
                elapsed = ?began.elapsed(),
                "order answered",
            );
            // Given back before the result is taken: the next order need not wait for us.
            drop(slot);
            Done { input: Input::OrderDone { id, result }, slot: None }
        }
        .boxed()
    }

    fn read(&self, id: EffectId, with_slot: bool) -> BoxFuture<'static, Done> {
        let provider = Arc::clone(&self.provider);
        let slots = self.slots.clone();
        async move {
            let slot = if with_slot { slots.for_a_sleep().await } else { None };
            let mut result = provider.inspect(Deadline::after(READ_WITHIN)).await;
            if let Ok(details) = &result
                && let Err(unknown) = known(&*provider, Action::Inspect, &details.observation)
            {
                result = Err(unknown);
            }
            if let Ok(details) = &mut result {
                // Most of the memory of a workload that sleeps, and nobody needs them here.
                details.labels.clear();
            }
            Done { input: Input::ReadDone { id, result: result.map(Arc::new) }, slot }
        }
        .boxed()
    }

    fn probe(
        &self,
        id: EffectId,
        details: Arc<Details>,
        elapsed: Duration,
    ) -> BoxFuture<'static, Done> {
        let readiness = Arc::clone(&self.readiness);
        async move {
            let result = readiness.probe(&details, Attempt::new(elapsed)).await;
            Done { input: Input::ProbeDone { id, result }, slot: None }
        }
        .boxed()
    }

    fn name_holders(&self, error: SleepError) -> SleepError {
        match error {
            SleepError::InUse { leases, .. } => SleepError::InUse {
                leases,
                holders: (self.holders)().into_iter().map(|(name, _)| name).collect(),
            },
            other => other,
        }
    }

    fn log_change(&self, change: &Transition) {
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            from = %change.from,
            to = %change.to,
            reason = change.reason,
            took = ?round(change.took),
            "{}",
            change.to,
        );
    }

    fn log_lost_asleep(&self) {
        tracing::error!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            "its container was removed while it slept, so no request can wake it: if that was a prune \
             (`docker container prune` and `docker system prune` remove whatever does not run), make \
             it again, as with `docker compose up -d`, and prune with `--filter \
             label!=drowse.enable=true` from now on",
        );
    }

    /// WARN if it may succeed without anybody doing anything, else ERROR.
    fn log_trouble(&self, what: &'static str, error: &Error, next_attempt: Duration) {
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    workload = self.name,
                    engine = self.provider.engine(),
                    container = %self.provider.reference(),
                    action = %error.action(),
                    error = error as &dyn std::error::Error,
                    ?next_attempt,
                    "{what}",
                )
            };
        }
        if error.is_retryable() { log!(warn) } else { log!(error) }
    }

    /// Once for each holder, not at each look.
    fn log_stays_awake(&self, life: &mut Life, anew: bool) {
        if anew {
            life.told_holders.clear();
        }
        let holders = (self.holders)();
        let known = life.told_holders.len();
        for (name, _) in &holders {
            if !life.told_holders.contains(name) {
                life.told_holders.push(name.clone());
            }
        }
        if life.told_holders.len() == known {
            return;
        }
        let holders: Vec<String> =
            holders.into_iter().map(|(name, held)| format!("{name} ({held})")).collect();
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            holders = holders.join(", "),
            "stays awake: its idle time is over, and it is in use",
        );
    }

    fn log_stays_awake_locked(&self, by: &str) {
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            locked_by = by,
            "stays awake: its idle time is over, and it is locked; it sleeps when the lock is gone",
        );
    }

    fn log_wake_waits(&self, by: &str) {
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            locked_by = by,
            "cannot be woken yet: it is locked; it is woken when the lock is gone",
        );
    }

    fn publish(&self, core: &Core) {
        let snapshot = Snapshot {
            phase: core.phase(),
            since: self.instant(core.since()),
            reason: core.reason().to_owned(),
            run: core.run().cloned(),
            engine_lost_since: core.lost_since().map(|at| self.instant(at)),
            is_forbidden: core.is_forbidden(),
            waiting: core.waiting(),
            last_error: core.last_error(),
            lacks_right: core.lacks_right(),
            last_wake_took: core.last_wake_took(),
            next_idle_check: core.next_idle_check().map(|at| self.instant(at)),
        };
        self.snapshots.send_if_modified(|current| {
            let changed = *current != snapshot;
            if changed {
                *current = snapshot;
            }
            changed
        });
    }

    fn watch_ended(&self) -> Error {
        let reason = "its watch has ended".to_owned();
        Error::new(self.provider.engine(), Action::Watch, ErrorKind::Unavailable { reason })
            .with_container(self.provider.reference().to_string())
    }

    fn now(&self) -> Moment {
        Moment::at(self.shared.elapsed())
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.shared.instant(moment.since_anchor())
    }

    fn moment(&self, instant: Instant) -> Moment {
        Moment::at(self.shared.since_anchor(instant))
    }
}

/// Of a container on a machine that cannot be reached nobody knows what it is doing: that it runs is
/// as likely as before, and it must not be taken for stopped.
fn known(provider: &dyn Provider, action: Action, observation: &Observation) -> Result<(), Error> {
    if observation.status != ContainerStatus::Error(Unusable::Unreachable) {
        return Ok(());
    }
    let reason = format!("it is {}", Unusable::Unreachable);
    Err(Error::new(provider.engine(), action, ErrorKind::Unavailable { reason })
        .with_container(provider.reference().to_string()))
}

fn withdraw(life: &mut Life, ids: Vec<AskId>) -> Input {
    for id in &ids {
        life.asks.remove(id);
        life.sleeps.remove(id);
    }
    Input::Withdraw(ids)
}

fn action(order: &Order) -> Action {
    match order {
        Order::Start => Action::Start,
        Order::Stop(_) => Action::Stop,
        Order::Pause => Action::Pause,
        Order::Kill => Action::Kill,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// For people: milliseconds are enough.
fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
