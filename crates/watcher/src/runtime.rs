//! The thin loop around the core: it carries out effects and feeds the results back.

pub(crate) mod needs;

use std::{
    collections::BTreeMap,
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
    AsleepHold, Attempt, Busy, Change, Force, Hold, Holder, Lease, LeaseKind, Needs, Observer,
    OrderSlots, PhaseName, Policy, Readiness, SleepError, Snapshot, StopGate, WakeError,
    core::{AskId, Core, Effect, EffectId, Held, Input, Moment, NeedsNow, Order, Transition},
    gate,
    group::Membership,
    sabotage::sabotaged,
    shared::{Shared, Standing},
    slots::OrderSlot,
};
use needs::{Kept, Work};

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
    SetNeeds(Box<SetNeeds>),
    HoldAsleep(Option<Box<AsleepHold>>),
    CloseCircuit,
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
    pub(crate) force: Force,
    pub(crate) answer: oneshot::Sender<Result<(), SleepError>>,
}

/// What it needs from now on, held already.
#[derive(Debug)]
pub(crate) struct SetNeeds {
    pub(crate) needs: Needs,
    pub(crate) holds: Vec<Hold>,
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
    pub(crate) needs: Option<Box<Kept>>,
    pub(crate) membership: Option<Membership>,
    pub(crate) gates: Arc<[Arc<dyn StopGate>]>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// Who holds it asleep: here, since it outlasts a panic.
    pub(crate) held_asleep: Option<Box<AsleepHold>>,
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
    asks: BTreeMap<AskId, LeaseRequest>,
    sleeps: BTreeMap<AskId, oneshot::Sender<Result<(), SleepError>>>,
    slot: Option<OrderSlot>,
    /// What is under way for what it needs, while it holds that.
    needs: Option<Box<Work>>,
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
            self.shared.stand(Standing::Unknown, None);
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
            core: self.core(now),
            watch: self.provider.watch(),
            running: FuturesUnordered::new(),
            orders_in_flight: 0,
            asks: BTreeMap::new(),
            sleeps: BTreeMap::new(),
            slot: None,
            needs: if sabotaged!(HoldNothingAtAdoption) {
                self.needs.as_ref().map(|_| Box::default())
            } else {
                self.hold_needs()
            },
            told_holders: Vec::new(),
        });
        self.step(&mut life, Input::Tick);
        let mut watch_is_open = true;
        // Level-triggered, so that a notification that comes at any time is seen.
        let upstream_failed = Arc::clone(&self.upstream_failed);
        let withdrawn = Arc::clone(&self.withdrawn);
        let shared = Arc::clone(&self.shared);
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
                () = shared.let_go.notified() => {
                    if shared.take_mate_wakes() { Input::MateWakes } else { Input::LetGo }
                }
                input = needs::next(life.needs.as_mut(), self.needs.as_deref()) => input,
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
        self.shared.needs.store(None);
        self.membership = None;
        self.commands.close();
        self.shared.word.shut();
        while let Some((_, request)) = life.asks.pop_first() {
            drop(request.answer.send(Err(WakeError::Closed)));
        }
        while let Some((_, answer)) = life.sleeps.pop_first() {
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
                let kind = request.kind;
                life.asks.insert(id, request);
                Input::Ask { id, kind, deadline: self.moment(deadline) }
            }
            Command::SleepNow(sleep) => {
                let SleepNow { id, deadline, force, answer } = *sleep;
                life.sleeps.insert(id, answer);
                Input::SleepNow { id, deadline: self.moment(deadline), force }
            }
            Command::SetNeeds(set) => self.set_needs(life, *set),
            Command::HoldAsleep(hold) => {
                self.held_asleep = hold;
                Input::HoldAsleep(self.held_asleep.as_deref().map(|hold| self.held(hold)))
            }
            Command::CloseCircuit => Input::CloseCircuit,
            Command::SetPolicy(policy) => {
                self.policy = (*policy).clone();
                Input::PolicyChanged(*policy)
            }
        }
    }

    /// Takes an input. What it needs is looked at before, so that nothing is decided on what was; and
    /// after, if it is held only since then. Other needs than before are looked at only once the core
    /// knows that they are others.
    fn step(&mut self, life: &mut Life, input: Input) {
        if !matches!(input, Input::NeedsChanged(_)) {
            self.look_at_needs(life);
        }
        self.take(life, input);
        self.look_at_needs(life);
        // A slot that no order has taken in this step is given back.
        life.slot = None;
    }

    fn take(&mut self, life: &mut Life, input: Input) {
        let effects = life.core.step(self.now(), input);
        // Before anybody is answered: who is told "ready" or "asleep" finds it so when looking.
        self.publish(&life.core);
        for effect in effects {
            self.perform(life, effect);
        }
    }

    fn perform(&mut self, life: &mut Life, effect: Effect) {
        match effect {
            Effect::Order { id, order, within } => {
                life.orders_in_flight += 1;
                life.running.push(self.order(id, order, within, life.slot.take()));
            }
            Effect::Read { id, with_slot } => life.running.push(self.read(id, with_slot)),
            Effect::Probe { id, details, elapsed } => {
                life.running.push(self.probe(id, details, elapsed));
            }
            Effect::WakeBegins => self.membership.iter().for_each(Membership::wake_others),
            Effect::FellAsleep => self.membership.iter().for_each(Membership::look_again),
            Effect::HoldNeeds => life.needs = self.hold_needs(),
            Effect::LetNeedsGo => self.let_needs_go(life),
            Effect::UseThrough { need } => {
                self.needs.iter().for_each(|kept| kept.use_through(need));
            }
            Effect::WakeNeed { id, need, deadline } => self.wake_need(life, id, need, deadline),
            Effect::AskGates { id, details, within } => {
                life.running.push(self.ask_gates(id, details, within));
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
            Effect::Changed(transition) => self.changed(&life.core, &transition),
            Effect::LostAsleep => self.log_lost_asleep(),
            Effect::StaysAwake { anew } => self.log_stays_awake(life, anew),
            Effect::StaysAwakeLocked { by } => self.log_stays_awake_locked(&by),
            Effect::StaysAwakeBusy(busy) => self.log_stays_awake_busy(&busy),
            Effect::HeldAsleep(reason) => self.log_held_asleep(reason.as_deref()),
            Effect::CutShort { uses } => self.log_cut_short(uses),
            Effect::WakeWaitsForLock { by } => self.log_wake_waits(&by),
            Effect::Trouble { what, error, next_attempt } => {
                self.log_trouble(what, &error, next_attempt);
            }
        }
    }

    /// The core at the beginning of a life: it holds all that it needs, since nothing is known.
    fn core(&self, now: Moment) -> Core {
        let core = Core::new(Arc::clone(&self.shared), self.policy.clone(), now)
            .at_passing_address(self.readiness.is_at_passing_address())
            .with_gates(!self.gates.is_empty())
            .with_failures(self.shared.record.failures())
            .held_asleep_by(self.held_asleep.as_deref().map(|hold| self.held(hold)));
        self.needs.iter().flat_map(|kept| kept.now()).fold(core, Core::needing)
    }

    fn hold_needs(&mut self) -> Option<Box<Work>> {
        let kept = self.needs.as_mut()?;
        kept.hold(&self.name);
        Some(Box::default())
    }

    fn let_needs_go(&mut self, life: &mut Life) {
        life.needs = None;
        if let Some(kept) = &mut self.needs {
            kept.let_go();
        }
    }

    fn wake_need(&self, life: &mut Life, id: EffectId, need: usize, deadline: Moment) {
        if let (Some(work), Some(kept)) = (&mut life.needs, &self.needs) {
            work.wake(kept, &self.name, need, id, self.instant(deadline));
        }
    }

    fn look_at_needs(&mut self, life: &mut Life) {
        let news = match (&mut life.needs, &self.needs) {
            (Some(work), Some(kept)) => work.look(kept),
            _ => None,
        };
        if let Some(news) = news {
            self.take(life, news);
        }
    }

    /// The new ones are held before the old ones are let go of: some may be in both.
    fn set_needs(&mut self, life: &mut Life, set: SetNeeds) -> Input {
        let SetNeeds { needs, holds } = set;
        let now = match needs {
            Needs::InError(reason) => {
                let now = NeedsNow::InError((*reason).into());
                self.needs = Kept::in_error(self.needs.take(), reason);
                now
            }
            needs @ Needs::Of(_) => {
                let before = std::mem::replace(&mut self.needs, Kept::new(needs, holds));
                life.needs = self.needs.as_ref().map(|_| Box::default());
                if let Some(mut before) = before {
                    before.let_go();
                }
                let none = || NeedsNow::Of(Vec::new());
                self.needs.as_ref().and_then(|kept| kept.now().next()).unwrap_or_else(none)
            }
        };
        self.shared.needs.store(self.needs.as_ref().map(|kept| Arc::clone(kept.needs())));
        Input::NeedsChanged(now)
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

    fn ask_gates(
        &self,
        id: EffectId,
        details: Arc<Details>,
        within: Duration,
    ) -> BoxFuture<'static, Done> {
        let gates = Arc::clone(&self.gates);
        async move {
            let result = gate::ask(&gates, &details, within).await;
            Done { input: Input::GatesAnswered { id, result }, slot: None }
        }
        .boxed()
    }

    fn name_holders(&self, error: SleepError) -> SleepError {
        match error {
            SleepError::InUse { leases, .. } if leases > 0 => SleepError::InUse {
                leases,
                holders: (self.holders)().into_iter().map(|(name, _)| name).collect(),
            },
            other => other,
        }
    }

    fn changed(&self, core: &Core, change: &Transition) {
        self.log_change(core, change);
        let now = self.now();
        self.shared.record.keep(now, change);
        if let Some(observer) = &self.observer {
            let Transition { from, to, reason, took, .. } = change;
            let (at, reason) = (self.instant(now), reason.to_string());
            let change = Change { at, from: *from, to: *to, reason, took: *took };
            observer.changed(&self.name, &change);
        }
    }

    /// What `list` shows, too: who uses it, and what it met if it cannot be used.
    fn log_change(&self, core: &Core, change: &Transition) {
        let hint = if change.is_ended_from_outside && change.to == PhaseName::Asleep {
            format!(": a request wakes it again, unless `drowse hold {} --asleep`", self.name)
        } else {
            String::new()
        };
        let reason = change.reason.to_string();
        let error = core.last_error().filter(|error| !reason.contains(error.as_str()));
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            from = %change.from,
            to = %change.to,
            reason,
            took = ?round(change.took),
            leases = self.shared.word.look().leases(),
            waiting = core.waiting(),
            error,
            "{}{hint}",
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
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            holders = named(holders),
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

    fn log_stays_awake_busy(&self, busy: &Busy) {
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            by = busy.holder,
            reason = busy.reason,
            "stays awake: its idle time is over, and it is busy",
        );
    }

    fn log_held_asleep(&self, reason: Option<&str>) {
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            reason,
            "{}",
            match reason {
                Some(_) => "held asleep: nothing wakes it until it is released",
                None => "no longer held asleep",
            },
        );
    }

    fn log_cut_short(&self, uses: u32) {
        tracing::info!(
            workload = self.name,
            engine = self.provider.engine(),
            container = %self.provider.reference(),
            holders = named((self.holders)()),
            uses,
            "put to sleep on request, though it is in use: whoever uses it is cut off",
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
        self.shared.plan_sleep(core.sleep_plan());
        self.shared.record.keep_failures(core.failures());
        let snapshot = Snapshot {
            phase: core.phase(),
            since: self.instant(core.since()),
            reason: core.reason(),
            run: core.run().cloned(),
            engine_lost_since: core.lost_since().map(|at| self.instant(at)),
            is_forbidden: core.is_forbidden(),
            waiting: core.waiting(),
            last_error: core.last_error(),
            lacks_right: core.lacks_right(),
            last_wake_took: core.last_wake_took(),
            next_idle_check: core.next_idle_check().map(|at| self.instant(at)),
            next_sleep: self.shared.next_sleep(),
            waiting_for: core.waiting_for(),
            is_complete: core.is_complete(),
            standing: self.shared.standing(),
            awaits_use_since: self.shared.awaits_use_since(),
            vetoed_by: core.vetoed_by(),
            blocked_until: core.blocked_until().map(|at| self.instant(at)),
            held_asleep: core.held_asleep().map(str::to_owned),
            is_ended_from_outside: core.is_ended_from_outside(),
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

    fn held(&self, hold: &AsleepHold) -> Held {
        let until = hold.until.map(|until| self.moment(until));
        Held { reason: hold.reason.as_str().into(), until }
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

/// Holders, with how many leases each holds.
fn named(holders: Vec<(String, u32)>) -> String {
    let holders: Vec<String> =
        holders.into_iter().map(|(name, held)| format!("{name} ({held})")).collect();
    holders.join(", ")
}

/// For people: milliseconds are enough.
fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
