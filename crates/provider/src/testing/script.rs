//! What a test decides about a call, and what it learns of it.

use std::{collections::VecDeque, time::Duration};

use crate::{Action, ErrorKind};

/// What becomes of one call.
#[derive(Clone, Debug)]
pub struct Step {
    pub(super) late_by: Duration,
    pub(super) is_taken: bool,
    pub(super) answer: Answer,
}

/// What the caller is told.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// What came of it.
    Outcome,
    /// This error, whatever came of it.
    Error(ErrorKind),
    /// Nothing.
    Silence,
}

impl Step {
    /// Carried out and answered, as the contract's table says.
    pub fn ok() -> Self {
        Self { late_by: Duration::ZERO, is_taken: true, answer: Answer::Outcome }
    }

    /// Not carried out; answered with this error.
    pub fn refuse(kind: ErrorKind) -> Self {
        Self { late_by: Duration::ZERO, is_taken: false, answer: Answer::Error(kind) }
    }

    /// Not carried out and never answered: the caller's deadline ends it.
    pub fn hang() -> Self {
        Self { late_by: Duration::ZERO, is_taken: false, answer: Answer::Silence }
    }

    /// Carried out, and answered with this error all the same: the answer was lost on its way.
    pub fn lose_answer(kind: ErrorKind) -> Self {
        Self { late_by: Duration::ZERO, is_taken: true, answer: Answer::Error(kind) }
    }

    /// Carried out and never answered: the caller's deadline ends the wait.
    pub fn take_and_hang() -> Self {
        Self { late_by: Duration::ZERO, is_taken: true, answer: Answer::Silence }
    }

    /// The same, so much later. An order that is carried out is so even if nobody waits any more.
    #[must_use]
    pub fn late_by(mut self, delay: Duration) -> Self {
        self.late_by = delay;
        self
    }
}

/// The steps of one operation: a queue, then what always happens.
#[derive(Debug)]
pub(super) struct Script {
    queue: VecDeque<Step>,
    always: Step,
}

impl Default for Script {
    fn default() -> Self {
        Self { queue: VecDeque::new(), always: Step::ok() }
    }
}

impl Script {
    pub(super) fn extend(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.queue.extend(steps);
    }

    pub(super) fn always(&mut self, step: Step) {
        self.always = step;
    }

    pub(super) fn next(&mut self) -> Step {
        self.queue.pop_front().unwrap_or_else(|| self.always.clone())
    }
}

/// A call that reached the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The container's name; `None` for `list`.
    pub container: Option<String>,
    /// What was asked for: `observe` and `status` are `Status`.
    pub action: Action,
}
