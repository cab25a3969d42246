//! What the handles of a workload send to its task.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{
    AsleepHold, Force, Hold, Holder, Lease, LeaseKind, Needs, Policy, SleepError, WakeError,
    core::{AskId, Input, NeedsNow},
};

use super::{Life, Runtime, needs::Kept};

/// What a handle sends to its task. A queue keeps the room that it once had, and there is one for each
/// workload: hence the boxes.
#[derive(Debug)]
pub(crate) enum Command {
    Ask(Box<Ask>),
    SleepNow(Box<SleepNow>),
    Set(Box<Set>),
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

/// Something that is otherwise from now on.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) what: Setting,
    /// Told when it is so, or dropped when it never will.
    pub(crate) is_so: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(crate) enum Setting {
    Policy(Policy),
    Needs(SetNeeds),
    HeldAsleep(Option<AsleepHold>),
    FailuresForgotten,
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

    pub(super) async fn take(&self) -> Vec<AskId> {
        self.news.notified().await;
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Life {
    pub(super) fn withdraw(&mut self, ids: Vec<AskId>) -> Input {
        for id in &ids {
            self.asks.remove(id);
            self.sleeps.remove(id);
        }
        Input::Withdraw(ids)
    }
}

impl Runtime {
    pub(super) fn take_command(&mut self, life: &mut Life, command: Command) -> Input {
        match command {
            // Its withdrawal has overtaken it.
            Command::Ask(ask) if ask.request.answer.is_closed() => Input::Tick,
            Command::SleepNow(sleep) if sleep.answer.is_closed() => Input::Tick,
            Command::Ask(ask) => {
                let Ask { id, deadline, request } = *ask;
                let kind = request.kind;
                life.core.will_be_asked_by(request.holder.name());
                life.asks.insert(id, request);
                Input::Ask { id, kind, deadline: self.moment(deadline) }
            }
            Command::SleepNow(sleep) => {
                let SleepNow { id, deadline, force, answer } = *sleep;
                life.sleeps.insert(id, answer);
                Input::SleepNow { id, deadline: self.moment(deadline), force }
            }
            Command::Set(set) => {
                life.is_so = Some(set.is_so);
                self.set(life, set.what)
            }
        }
    }

    /// What is set is kept here, too: it outlasts a panic.
    fn set(&mut self, life: &mut Life, what: Setting) -> Input {
        match what {
            Setting::Policy(policy) => {
                self.policy = policy.clone();
                Input::PolicyChanged(policy)
            }
            Setting::Needs(set) => self.set_needs(life, set),
            Setting::HeldAsleep(hold) => {
                self.held_asleep = hold.map(Box::new);
                Input::HoldAsleep(self.held_asleep.as_deref().map(|hold| self.held(hold)))
            }
            Setting::FailuresForgotten => Input::CloseCircuit,
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
}
