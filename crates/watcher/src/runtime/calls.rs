//! What the task of a workload waits for: its engine, its application, its gates.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use drowse_provider::{
    Action, ContainerStatus, Deadline, Details, Error, ErrorKind, Observation, Provider, Signal,
    Unusable,
};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, timeout};

use crate::{
    Attempt, NotReady, Readiness,
    core::{EffectId, Input, Order},
    gate,
    sabotage::sabotaged,
    slots::OrderSlot,
};

use super::{Life, Runtime, log::tell};

/// How long a read may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take that is waited for with a slot in hand. Others wait for that.
const KEEPS_ITS_TURN: Duration = Duration::from_secs(10);
/// How long a probe may take, which bounds its own time.
const PROBE_WITHIN: Duration = Duration::from_secs(30);

/// What came of an effect. A slot that was waited for lives until the end of the step.
pub(super) struct Done {
    pub(super) input: Input,
    pub(super) slot: Option<OrderSlot>,
}

/// What is asked and matters until something else does: dropped with that.
#[derive(Default)]
pub(super) struct Question(Option<(EffectId, BoxFuture<'static, Done>)>);

impl Question {
    /// `slot`: one that was waited for, and is kept over the answer if that comes soon.
    pub(super) fn ask(
        &mut self,
        id: EffectId,
        answer: impl Future<Output = Input> + Send + 'static,
        slot: Option<OrderSlot>,
    ) {
        let done = async move {
            let mut answer = pin!(answer);
            if let Ok(input) = timeout(KEEPS_ITS_TURN, answer.as_mut()).await {
                return Done { input, slot };
            }
            drop(slot);
            Done { input: answer.await, slot: None }
        };
        self.0 = Some((id, done.boxed()));
    }

    /// It is of interest only if it is this one.
    pub(super) fn keep_only(&mut self, id: Option<EffectId>) {
        self.0.take_if(|(asked, _)| Some(*asked) != id);
    }

    /// The answer, if something is asked. Cancel safe.
    pub(super) async fn answered(&mut self) -> Done {
        let Some((_, answer)) = &mut self.0 else { return std::future::pending().await };
        let done = answer.await;
        self.0 = None;
        done
    }
}

/// A place among those whose starts wait for a slot of their engine.
#[derive(Default)]
pub(super) struct Turn(Option<BoxFuture<'static, (Option<OrderSlot>, Duration)>>);

impl Turn {
    /// When its turn has come: the slot, and how long that took. Cancel safe.
    pub(super) async fn come(&mut self) -> (Option<OrderSlot>, Duration) {
        let Some(turn) = &mut self.0 else { return std::future::pending().await };
        let come = turn.await;
        self.0 = None;
        come
    }
}

/// A workload as its orders are told of.
struct Named {
    name: String,
    provider: Arc<dyn Provider>,
}

impl Runtime {
    /// Gives an order, if the engine has a slot for it. Else the core decides anew about a start when its
    /// turn comes: a workload has one place in that line, which it keeps whatever becomes of the wake. A
    /// sleep comes with the slot of the look before it.
    pub(super) fn order(&mut self, life: &mut Life, id: EffectId, order: Order, within: Duration) {
        let mut slot = life.slot.take();
        if order.is_start() && slot.is_none() {
            slot = self.slots.try_for_a_start();
            if slot.is_none() {
                return self.wait_for_a_turn(life, id);
            }
        }
        life.orders_in_flight += 1;
        life.running.push(self.give(id, order, within, slot));
    }

    fn wait_for_a_turn(&mut self, life: &mut Life, id: EffectId) {
        let (slots, since) = (self.slots.clone(), Instant::now());
        let turn = || async move { (slots.for_a_start().await, since.elapsed()) }.boxed();
        life.turn.0.get_or_insert_with(turn);
        self.take(life, Input::OrderQueued { id });
    }

    fn give(
        &self,
        id: EffectId,
        order: Order,
        within: Duration,
        slot: Option<OrderSlot>,
    ) -> BoxFuture<'static, Done> {
        let of = Named { name: self.name.clone(), provider: Arc::clone(&self.provider) };
        async move {
            let began = Instant::now();
            tell!(debug, of, ?order, "order");
            let deadline = Deadline::after(within);
            let result = match &order {
                Order::Start => of.provider.start(deadline).await,
                Order::Stop(options) => of.provider.stop(options, deadline).await,
                Order::Pause => of.provider.pause(deadline).await,
                Order::Kill => of.provider.kill(Signal::KILL, deadline).await.map(drop),
            };
            tell!(debug, of, ?order, ?result, elapsed = ?began.elapsed(), "order answered");
            // Given back before the result is taken: the next order need not wait for us.
            drop(slot);
            Done { input: Input::OrderDone { id, result }, slot: None }
        }
        .boxed()
    }

    /// `slot`: one that was waited for already.
    pub(super) fn read(
        &self,
        id: EffectId,
        with_slot: bool,
        slot: Option<OrderSlot>,
    ) -> BoxFuture<'static, Done> {
        let provider = Arc::clone(&self.provider);
        let slots = self.slots.clone();
        let is_out_of_turn = sabotaged!(SleepOutOfTurn);
        async move {
            let slot = match slot {
                None if with_slot && !is_out_of_turn => slots.for_a_sleep().await,
                slot => slot,
            };
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

    pub(super) fn probe(
        &self,
        id: EffectId,
        details: Arc<Details>,
        elapsed: Duration,
    ) -> impl Future<Output = Input> + Send + use<> {
        let readiness = Arc::clone(&self.readiness);
        async move {
            let result = probe(&*readiness, &details, Attempt::new(elapsed)).await;
            Input::ProbeDone { id, result }
        }
    }

    pub(super) fn ask_gates(
        &self,
        id: EffectId,
        details: Arc<Details>,
        within: Duration,
    ) -> impl Future<Output = Input> + Send + use<> {
        let gates = Arc::clone(&self.gates);
        async move {
            let result = gate::ask(&gates, &details, within).await;
            Input::GatesAnswered { id, result }
        }
    }
}

/// One attempt. What hangs or panics has found out nothing.
async fn probe(
    readiness: &dyn Readiness,
    details: &Details,
    attempt: Attempt,
) -> Result<(), NotReady> {
    let attempt = AssertUnwindSafe(readiness.probe(details, attempt)).catch_unwind();
    match timeout(PROBE_WITHIN, attempt).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(NotReady::new("its probe panicked")),
        Err(_) => Err(NotReady::new(format!("its probe did not end within {PROBE_WITHIN:?}"))),
    }
}

/// Of a container on a machine that cannot be reached nobody knows what it is doing: that it runs is
/// as likely as before, and it must not be taken for stopped.
pub(super) fn known(
    provider: &dyn Provider,
    action: Action,
    observation: &Observation,
) -> Result<(), Error> {
    if observation.status != ContainerStatus::Error(Unusable::Unreachable) {
        return Ok(());
    }
    let reason = format!("it is {}", Unusable::Unreachable);
    Err(Error::new(provider.engine(), action, ErrorKind::Unavailable { reason })
        .with_container(provider.reference().to_string()))
}
