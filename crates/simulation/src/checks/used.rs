//! What those who use workloads see: leases, sleeps that they ask for, and what is asked of them.

use std::time::Duration;

use drowse_provider::{ContainerStatus, RunId};
use drowse_watcher::{Condition, Force, Role};

use super::Invariant;
use crate::{plan::Verdict, world::World};

impl World {
    /// A client has a lease, for this run.
    pub(crate) fn granted(&mut self, index: usize, is_passive: bool, run: Option<&RunId>) {
        self.step(format_args!("w{index} is given: {run:?}"));
        let now = self.now();
        let record = &mut self.records[index];
        record.given = run.cloned();
        if !is_passive && record.active == 0 {
            record.used_since = Some(now);
        }
        *(if is_passive { &mut record.passive } else { &mut record.active }) += 1;
        // Drowse may have been told of its end at this moment, after it gave the lease.
        let was_so = record.lost_proof == Some(now) && record.was_proven.as_ref() == run;
        let is_so = record.proven.is_some() && record.proven.as_ref() == run;
        if !is_so && !was_so {
            let what = format!("w{index} is given for {run:?}, and proven is {:?}", record.proven);
            self.violated(Invariant::Ready, what);
        }
        self.check_chain(index);
    }

    /// A lease was given of a job: it says that it is complete.
    pub(crate) fn job_granted(&mut self, index: usize) {
        self.step(format_args!("w{index} is given: complete"));
        // Its group counts it as use.
        self.records[index].last_use = Some(self.now());
        if !self.is_observed_complete(index) {
            self.violated(Invariant::Ready, format_args!("w{index} is said to be complete"));
        }
    }

    /// Whether drowse has seen this job at its end, with success.
    pub(crate) fn is_observed_complete(&self, index: usize) -> bool {
        self.records[index].observed.as_ref().is_some_and(|seen| {
            seen.status == ContainerStatus::Stopped && seen.exit_code == Some(0)
        })
    }

    /// What was woken when nothing goes wrong any more has all that it needs.
    fn check_chain(&mut self, index: usize) {
        let woken_in_calm =
            self.calm_since.is_some_and(|since| self.containers[index].began >= since);
        let plan = self.plan.clone();
        for (needed, condition) in &plan.workloads[index].needs {
            let container = &self.containers[*needed];
            let is_there = match condition {
                Condition::Completed => container.exit == Some(0),
                _ if plan.workloads[*needed].policy.role == Role::Job => true,
                _ => container.is_running(),
            };
            if woken_in_calm && !is_there {
                self.violated(Invariant::Needs, format_args!("w{index} serves without w{needed}"));
            }
        }
    }

    /// It gives it back.
    pub(crate) fn given_back(&mut self, index: usize, is_passive: bool) {
        if !self.is_lived_in() {
            // All uses have ended with that life; its tasks are dropped in any order.
            return;
        }
        self.step(format_args!("w{index} is given back"));
        let now = self.now();
        let record = &mut self.records[index];
        let count = if is_passive { &mut record.passive } else { &mut record.active };
        *count = count.saturating_sub(1);
        if !is_passive {
            record.last_use = Some(now);
        }
    }

    /// Somebody asks for its sleep.
    pub(crate) fn sleep_wanted(&mut self, index: usize, force: Force) {
        let record = &mut self.records[index];
        record.sleeps_wanted += 1;
        record.forces_wanted += u32::from(force == Force::EvenInUse);
    }

    /// They were answered.
    pub(crate) fn sleep_answered(&mut self, index: usize, force: Force) {
        let now = self.now();
        let record = &mut self.records[index];
        record.sleeps_wanted = record.sleeps_wanted.saturating_sub(1);
        record.slept_on_request = Some(now);
        if force == Force::EvenInUse {
            record.forces_wanted = record.forces_wanted.saturating_sub(1);
            record.forced = Some(now);
        }
    }

    pub(crate) fn gate_asked(&mut self, index: usize) -> Verdict {
        let (says, until) = self.records[index].gate;
        let verdict = if until > self.now() && !self.is_calm { says } else { Verdict::Idle };
        self.step(format_args!("w{index} is asked whether it may sleep: {verdict:?}"));
        verdict
    }

    /// A question of this moment was answered with yes.
    pub(crate) fn gate_allowed(&mut self, index: usize, asked: Duration) {
        self.records[index].gate_allowed = Some(asked);
    }
}
