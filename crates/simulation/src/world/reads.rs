//! Reads of a container: what they show was true at one moment between the question and the answer.

use std::time::Duration;

use drowse_provider::{Details, ErrorKind};
use tokio::sync::oneshot;

use super::{
    Due, World,
    engine::{Reach, unavailable},
};
use crate::plan::ReadFault;

const READ: u64 = 5;

type Answer = Result<Details, ErrorKind>;

#[derive(Debug)]
pub(crate) struct ReadCall {
    container: usize,
    /// From the moment of which it is true to the answer.
    latency: Duration,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
pub(crate) enum ReadDue {
    Sampled(u64),
    Answered(u64, Box<Answer>),
}

impl World {
    /// A read is asked for.
    pub(crate) fn read(&mut self, container: usize) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        self.containers[container].calls += 1;
        self.engine_called(container);
        let call = self.containers[container].calls;
        let mut dice = self.dice(&[READ, container as u64, call]);
        let (sampled, mut latency) = (dice.millis(0, 10), dice.millis(0, 10));
        let id = self.number();
        self.step(format_args!("w{container} is read"));
        let fault = match self.reach(self.engine_of(container)) {
            Reach::Answers => self.containers[container].misreads.pop_front(),
            Reach::Refuses => Some(ReadFault::Fails),
            Reach::Silent => Some(ReadFault::Hangs),
        };
        match fault {
            Some(ReadFault::Hangs) => {}
            Some(ReadFault::Fails) => {
                self.plan_in(
                    latency,
                    Due::Read(ReadDue::Answered(id, Box::new(Err(unavailable())))),
                );
            }
            Some(ReadFault::Late) | None => {
                if fault.is_some() {
                    latency = dice.spread(100, 9_000);
                }
                self.plan_in(sampled, Due::Read(ReadDue::Sampled(id)));
            }
        }
        self.reads.insert(id, ReadCall { container, latency, answer });
        answered
    }

    pub(super) fn read_due(&mut self, due: ReadDue) {
        match due {
            ReadDue::Sampled(id) => {
                let Some(call) = self.reads.get(&id) else { return };
                let latency = call.latency;
                let result = self.details(call.container).ok_or(ErrorKind::NotFound);
                self.plan_in(latency, Due::Read(ReadDue::Answered(id, Box::new(result))));
            }
            ReadDue::Answered(id, result) => {
                if let Some(call) = self.reads.remove(&id) {
                    // Whoever asked may have gone.
                    drop(call.answer.send(*result));
                }
            }
        }
    }
}
