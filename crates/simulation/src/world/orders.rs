//! Orders, and what becomes of them.

use std::time::Duration;

use drowse_provider::{ContainerStatus, ErrorKind, Unusable};
use tokio::sync::oneshot;

use super::{
    Due, World,
    container::{By, STOP_TIMEOUT},
    engine::{Reach, unavailable},
};
use crate::plan::OrderFault;

const ORDER: u64 = 6;

/// What drowse may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Start,
    Stop(Option<Duration>),
    Pause,
    Kill,
}

impl Order {
    pub(crate) fn is_start(self) -> bool {
        matches!(self, Self::Start)
    }
}

type Answer = Result<(), ErrorKind>;

#[derive(Debug)]
pub(crate) struct OrderCall {
    container: usize,
    order: Order,
    /// The run that it was given for.
    run: u64,
    given: Duration,
    /// Nothing goes wrong with it.
    is_sound: bool,
    /// When it is answered, after it was carried out.
    latency: Duration,
    /// What is answered.
    result: Answer,
    answer: Option<oneshot::Sender<Answer>>,
}

#[derive(Debug)]
pub(crate) enum OrderDue {
    /// The engine does what it was told.
    CarriedOut(u64),
    /// It answers.
    Answered(u64, Answer),
}

impl World {
    /// An order is given, with this long to carry it out.
    pub(crate) fn order(
        &mut self,
        container: usize,
        order: Order,
        within: Duration,
    ) -> oneshot::Receiver<Answer> {
        self.step(format_args!("w{container} is ordered: {order:?}"));
        self.check_order(container, order);
        let (answer, answered) = oneshot::channel();
        self.containers[container].calls += 1;
        self.engine_called(container);
        let call = self.containers[container].calls;
        let engine = self.engine_of(container);
        let slowest = self.plan.engines[engine].slowest;
        let mut dice = self.dice(&[ORDER, container as u64, call]);
        let takes = dice.millis(0, slowest);
        let latency = dice.millis(0, 20);
        let soon = dice.millis(1, 4_000);
        let late = dice.millis(0, 110_000);
        let id = self.number();
        let run = self.containers[container].run;
        let fault = match self.reach(engine) {
            Reach::Answers => self.containers[container].misorders.pop_front(),
            Reach::Refuses => Some(OrderFault::NotTaken),
            Reach::Silent => Some(OrderFault::Hangs),
        };
        let refusal = self.refusal(container, order);
        let mut call = OrderCall {
            container,
            order,
            run,
            given: self.now(),
            is_sound: fault.is_none(),
            latency,
            result: Ok(()),
            answer: None,
        };
        let carried_out = match (fault, refusal) {
            (Some(OrderFault::Hangs), _) => None,
            (Some(OrderFault::NotTaken), _) => {
                call.result = Err(unavailable());
                self.plan_answer(id, latency, Err(unavailable()));
                None
            }
            (_, Some(refusal)) => {
                self.plan_answer(id, soon.min(takes), Err(refusal));
                None
            }
            (Some(OrderFault::Refused), _) => {
                let refused = ErrorKind::Failed { exit: None, message: "no".to_owned() };
                self.plan_answer(id, takes, Err(refused));
                None
            }
            (Some(OrderFault::Locked), _) => {
                self.plan_answer(id, soon, Err(ErrorKind::Locked { by: "backup".to_owned() }));
                None
            }
            (Some(OrderFault::AnswerLost), _) => {
                self.plan_answer(id, soon, Err(unavailable()));
                Some(takes)
            }
            (Some(OrderFault::TooLate), _) => Some(within + late),
            (Some(OrderFault::AnsweredNotDone), _) => {
                self.plan_answer(id, takes, Ok(()));
                None
            }
            (Some(OrderFault::AnsweredLate), _) => {
                call.latency = late.min(Duration::from_mins(1));
                Some(takes)
            }
            (None, None) => Some(takes),
        };
        if let Some(after) = carried_out {
            self.plan_in(after, Due::Order(OrderDue::CarriedOut(id)));
        }
        call.answer = Some(answer);
        self.orders.insert(id, call);
        answered
    }

    fn plan_answer(&mut self, id: u64, after: Duration, result: Answer) {
        self.plan_in(after, Due::Order(OrderDue::Answered(id, result)));
    }

    /// What the contract's table says, if that is no.
    fn refusal(&self, container: usize, order: Order) -> Option<ErrorKind> {
        let one = &self.containers[container];
        let Some(status) = &one.status else { return Some(ErrorKind::NotFound) };
        if one.lock.is_some() {
            return Some(ErrorKind::Locked { by: "backup".to_owned() });
        }
        let conflict = || Some(ErrorKind::Conflict { status: status.clone() });
        match (order, status) {
            (Order::Pause, ContainerStatus::Stopped | ContainerStatus::Error(_)) => conflict(),
            (_, ContainerStatus::Error(Unusable::Restarting)) => None,
            (_, ContainerStatus::Error(_)) => conflict(),
            _ => None,
        }
    }

    pub(super) fn order_due(&mut self, due: OrderDue) {
        match due {
            OrderDue::CarriedOut(id) => {
                let Some(call) = self.orders.get(&id) else { return };
                let (container, order, run) = (call.container, call.order, call.run);
                let (latency, result) = (call.latency, call.result.clone());
                let by = if call.is_sound { By::Drowse { given: call.given } } else { By::Chance };
                let takes = self.carry_out_order(container, order, run, by);
                self.plan_answer(id, takes + latency, result);
            }
            OrderDue::Answered(id, result) => {
                // One that was carried out too late has been answered before, perhaps.
                if let Some(call) = self.orders.get_mut(&id)
                    && let Some(answer) = call.answer.take()
                {
                    drop(answer.send(result));
                }
            }
        }
    }

    /// Does what was ordered; how long it takes until that is done.
    fn carry_out_order(&mut self, index: usize, order: Order, run: u64, by: By) -> Duration {
        self.step(format_args!("w{index}: the engine carries out {order:?}"));
        let is_of_this_run = self.containers[index].run == run;
        match (order, self.containers[index].status.clone()) {
            (Order::Start, Some(ContainerStatus::Stopped)) => {
                self.begin_run(index, by);
            }
            (Order::Start, Some(ContainerStatus::Paused)) => {
                self.freeze(index, &ContainerStatus::Paused, ContainerStatus::Running);
            }
            (Order::Stop(timeout), Some(_)) if is_of_this_run => {
                return self.ask_to_end(index, timeout.unwrap_or(STOP_TIMEOUT));
            }
            (Order::Pause, Some(_)) if is_of_this_run => {
                self.freeze(index, &ContainerStatus::Running, ContainerStatus::Paused);
            }
            (Order::Kill, Some(_)) if is_of_this_run => self.kill(index),
            _ => {}
        }
        Duration::ZERO
    }

    /// The engine restarts: of what it was carrying out it knows nothing any more.
    pub(super) fn forget_orders(&mut self, engine: usize) {
        let of_it: Vec<u64> = self
            .orders
            .iter()
            .filter(|(_, call)| self.engine_of(call.container) == engine)
            .map(|(id, _)| *id)
            .collect();
        for id in of_it {
            if let Some(mut call) = self.orders.remove(&id)
                && let Some(answer) = call.answer.take()
            {
                drop(answer.send(Err(unavailable())));
            }
        }
    }
}
