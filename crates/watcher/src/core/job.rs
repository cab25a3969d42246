//! What ends by itself: a job is not probed and never put to sleep. Run to its end with exit code 0 it
//! is complete, and is not run again in that container.

use std::sync::Arc;

use drowse_provider::ContainerStatus;

use crate::{ReadyRun, Role, SleepError, sabotage::sabotaged};

use super::{Belief, Core, Effect, Moment, Reason};

impl Core {
    pub(super) fn is_job(&self) -> bool {
        self.policy.role == Role::Job
    }

    /// Whether it is a job that has done what it is there for. A container that was never started has
    /// not, whatever exit code its engine shows.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_job()
            && !sabotaged!(RunCompleteJobsAgain)
            && matches!(&self.belief, Belief::Seen(details)
                if details.observation.status == ContainerStatus::Stopped
                    && details.observation.run.is_some()
                    && details.observation.exit_code == Some(0))
    }

    pub(super) fn advance_running_job(&mut self) {
        let reason = "it is a job, which ends by itself".to_owned();
        self.answer_sleepers(&SleepError::Failed { reason });
    }

    /// It has done what it is there for: whoever wanted that has it.
    pub(super) fn advance_complete(&mut self, now: Moment) {
        self.answer_sleepers_not_running();
        self.reason = Reason::Completed;
        if let Some(ordered_at) = self.wake.ordered_at {
            self.last_wake_took = Some(now.since(ordered_at));
        }
        self.end_wake();
        if self.waiters.is_empty() {
            return;
        }
        if let Belief::Seen(details) = &self.belief {
            self.shared.show(Arc::new(ReadyRun {
                epoch: self.shared.next_epoch(),
                run: details.observation.run.clone(),
                details: Arc::clone(details),
                first_ready: now,
            }));
        }
        // The gate stays shut: each of them is counted on its own.
        for id in self.waiters.take_all() {
            self.shared.word.hold();
            self.effects.push(Effect::Grant(id));
        }
    }

    /// Its run ended, and nobody is known to have ended it.
    pub(super) fn job_ended(&mut self, now: Moment, exit: Option<i64>) {
        if self.is_complete() {
            return self.failures.forget();
        }
        self.failures.job_failed(now, exit, &self.policy.circuit);
        if let Some(reason) = self.failures.reason() {
            self.reason = Reason::Failed(reason.into());
        }
    }
}
