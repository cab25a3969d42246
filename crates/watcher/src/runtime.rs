//! The thin loop around the core: it carries out effects and feeds the results back.

mod calls;
mod commands;
mod log;
pub(crate) mod needs;
mod publish;
mod queue;

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use drowse_provider::{Action, Error, ErrorKind, Provider, Watch, WatchItem};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    AsleepHold, Lease, Observer, OrderSlots, Policy, Readiness, SleepError, Snapshot, StopGate,
    WakeError,
    core::{AskId, Core, Effect, Held, Input, Moment},
    group::Membership,
    reports::Told,
    sabotage::sabotaged,
    shared::{Shared, Standing},
    slots::OrderSlot,
};
use calls::{Done, Question, Turn, known};
use log::tell;
use needs::{Kept, Work};

pub(crate) use commands::{
    Ask, Command, LeaseRequest, Set, SetNeeds, Setting, SleepNow, Withdrawn,
};
pub(crate) use queue::{Receiver, Sender, queue};

/// How long the task rests after a panic, so that one which always panics does no harm.
const AFTER_PANIC: Duration = Duration::from_secs(1);

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
    pub(crate) commands: Receiver,
    pub(crate) withdrawn: Arc<Withdrawn>,
    pub(crate) snapshots: watch::Sender<Snapshot>,
    pub(crate) holders: Box<dyn Fn() -> Vec<(String, u32)> + Send + Sync>,
    pub(crate) closing: CancellationToken,
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
    turn: Turn,
    /// How it is found out whether it serves, now.
    probe: Question,
    /// What its gates are asked.
    gates: Question,
    /// Told at the end of the step that takes what was set.
    is_so: Option<oneshot::Sender<()>>,
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
    ///
    /// Boxed: a future has its arguments twice, as they were given and as they are used.
    pub(crate) async fn run(mut self: Box<Self>) {
        loop {
            let life = AssertUnwindSafe(self.live()).catch_unwind().await;
            self.shared.set_awaited(false);
            self.shared.stand(Standing::Unknown, None);
            self.shared.word.shut();
            if life.is_ok() {
                return;
            }
            // Whoever looks on must not find it ready with its gate shut.
            self.snapshots.send_modify(|told| *told = Snapshot::unread(self.instant(self.now())));
            tell!(
                error,
                self,
                "the workload's task panicked; it begins anew from the engine's state"
            );
            tokio::select! {
                biased;
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
            turn: Turn::default(),
            probe: Question::default(),
            gates: Question::default(),
            is_so: None,
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
                (slot, waited) = life.turn.come() => {
                    life.slot = slot;
                    tell!(debug, self, ?waited, "its turn to be started has come");
                    Input::TurnHasCome
                }
                done = life.probe.answered() => done.input,
                done = life.gates.answered() => life.take_result(done),
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
                ids = withdrawn.take() => life.withdraw(ids),
                command = self.commands.next() => match command {
                    Some(command) => self.take_command(&mut life, command),
                    // The last handle is gone.
                    None => break,
                },
                Told { epoch, number } = shared.reports.told() => {
                    Input::UpstreamFailed { epoch, number }
                }
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
        while self.commands.try_next().is_some() {}
        while life.orders_in_flight > 0 {
            tokio::select! {
                biased;
                Some(done) = life.running.next() => drop(life.take_result(done)),
                Some(command) = self.commands.next() => drop(command),
                else => break,
            }
            // A slot that nobody needs any more.
            life.slot = None;
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
        life.probe.keep_only(life.core.awaited_probe());
        life.gates.keep_only(life.core.awaited_answer());
        if let Some(is_so) = life.is_so.take() {
            // Whoever has gone does not need to know.
            is_so.send(()).ok();
        }
    }

    fn take(&mut self, life: &mut Life, input: Input) {
        let effects = life.core.step(self.now(), input);
        // Before anybody is answered: who is told "ready" or "asleep" finds it so when looking. A herd
        // of requests of which nothing follows is told of with the last of those that are here.
        if !effects.is_empty() || life.is_so.is_some() || self.commands.is_empty() {
            self.publish(&life.core);
        }
        for effect in effects {
            self.perform(life, effect);
        }
    }

    fn perform(&mut self, life: &mut Life, effect: Effect) {
        match effect {
            Effect::Order { id, order, within } => self.order(life, id, order, within),
            Effect::Read { id, with_slot } => {
                let slot = life.slot.take_if(|slot| with_slot && slot.is_for_a_sleep());
                life.running.push(self.read(id, with_slot, slot));
            }
            Effect::Probe { id, details, elapsed } => {
                life.probe.ask(id, self.probe(id, details, elapsed), None);
            }
            Effect::WakeBegins => self.membership.iter().for_each(Membership::wake_others),
            Effect::ReadyForMates => self.membership.iter().for_each(Membership::tell_others),
            Effect::LookAtMates => {
                self.membership.iter().for_each(Membership::wake_with_those_in_use);
            }
            Effect::FellAsleep => self.membership.iter().for_each(Membership::look_again),
            Effect::HoldNeeds => life.needs = self.hold_needs(),
            Effect::LetNeedsGo => self.let_needs_go(life),
            Effect::UseThrough { need } => {
                self.needs.iter().for_each(|kept| kept.use_through(need));
            }
            Effect::WakeNeed { id, need, deadline } => self.wake_need(life, id, need, deadline),
            Effect::AskGates { id, details, within } => {
                // Asked again, if there is one: their leave was over when the turn to sleep came. It is not
                // given away meanwhile, or a long queue would be asked again each time that it moves.
                let slot = life.slot.take_if(|slot| slot.is_for_a_sleep());
                life.gates.ask(id, self.ask_gates(id, details, within), slot);
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
            Effect::LostAsleep => self.tell_lost_asleep(),
            Effect::StaysAwake { anew } => self.tell_stays_awake(life, anew),
            Effect::StaysAwakeLocked { by } => self.tell_stays_awake_locked(&by),
            Effect::StaysAwakeBusy(busy) => self.tell_stays_awake_busy(&busy),
            Effect::HeldAsleep(reason) => self.tell_held_asleep(reason.as_deref()),
            Effect::CutShort { uses } => self.tell_cut_short(uses),
            Effect::WakeWaitsForLock { by } => self.tell_wake_waits(&by),
            Effect::Trouble { what, error, next_attempt } => {
                self.tell_trouble(what, &error, next_attempt);
            }
        }
    }

    /// The core at the beginning of a life: it holds all that it needs, since nothing is known.
    fn core(&self, now: Moment) -> Core {
        let core = Core::new(Arc::clone(&self.shared), self.policy.clone(), now)
            .at_passing_address(self.readiness.is_at_passing_address())
            .with_gates(!self.gates.is_empty())
            .with_mates(self.membership.is_some())
            .with_failures(self.shared.record.failures())
            .held_asleep_by(self.held_asleep.as_deref().map(|hold| self.held(hold)));
        self.needs.iter().flat_map(|kept| kept.now()).fold(core, Core::needing)
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

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
