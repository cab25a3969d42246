//! What drowse is told of its containers, and reads and probes of them: what it knows.

use std::time::Duration;

use drowse_provider::{
    ContainerStatus, Details, ErrorKind, Event, EventAction, Observation, RunId, Signal, WatchItem,
};

use crate::world::World;

impl World {
    /// Drowse begins to manage it.
    pub(crate) fn managed(&mut self, index: usize) {
        self.step(format_args!("w{index} is managed"));
        let now = self.now();
        // Who saw it ready in an earlier management may still act upon that.
        self.observes(index, None);
        let record = &mut self.records[index];
        record.managed_since = Some(now);
        record.mate_since = Some(now);
        record.observed = None;
        record.adopted = None;
        record.adopted_at = None;
        record.told_run = None;
        record.in_flight = None;
        record.unsettled = None;
        record.gate_allowed = None;
    }

    /// Its management ends: until it is managed again it is in no group, and is told nothing.
    pub(crate) fn managed_no_more(&mut self, index: usize) {
        let now = self.now();
        let record = &mut self.records[index];
        record.mate_since = None;
        record.managed_until = Some(now);
    }

    /// Drowse was killed, and all that it served ended with it.
    pub(crate) fn all_uses_end(&mut self) {
        let now = self.now();
        for machine in &mut self.engines {
            machine.orders = 0;
            machine.full_since = None;
        }
        for record in &mut self.records {
            if record.active > 0 {
                record.last_use = Some(now);
            }
            record.active = 0;
            record.passive = 0;
            record.sleeps_wanted = 0;
            record.forces_wanted = 0;
            record.managed_since = None;
            record.managed_until = None;
            record.mate_since = None;
        }
    }

    fn loses_proof(&mut self, index: usize) {
        let now = self.now();
        let record = &mut self.records[index];
        if record.proven.take().is_some() {
            record.lost_proof = Some(now);
        }
    }

    fn observes(&mut self, index: usize, seen: Option<&Observation>) {
        let now = self.now();
        let record = &mut self.records[index];
        let is_proven = record.proven.as_ref();
        let goes_on = seen.is_some_and(|seen| {
            seen.status == ContainerStatus::Running && seen.run.as_ref() == is_proven
        });
        if is_proven.is_some() && !goes_on {
            self.loses_proof(index);
        }
        let record = &mut self.records[index];
        if record.is_observed_alive() {
            record.stopped_running = Some(now);
        }
    }

    /// Its workload takes an item of its watch.
    pub(crate) fn told(&mut self, index: usize, item: &Result<WatchItem, ErrorKind>) {
        match item {
            Ok(WatchItem::Synced(seen)) => {
                self.step(format_args!("w{index} is told {} {:?}", seen.status, seen.run));
                self.observes(index, Some(seen));
                if seen.status == ContainerStatus::Running {
                    self.records[index].told_run.clone_from(&seen.run);
                }
            }
            Ok(WatchItem::Removed) => {
                self.step(format_args!("w{index} is told that it is gone"));
                self.observes(index, None);
            }
            Ok(WatchItem::Event(event)) => {
                self.step(format_args!("w{index} is told {:?}", event.action));
                if event.action == EventAction::Start {
                    self.records[index].told_run.clone_from(&event.run);
                }
                if self.speaks_against(index, event) {
                    self.loses_proof(index);
                }
            }
            Ok(_) => {}
            Err(kind) => self.step(format_args!("w{index} is told: {kind}")),
        }
    }

    fn speaks_against(&self, index: usize, event: &Event) -> bool {
        let proven = self.records[index].proven.as_ref();
        let is_of_it = event.run.is_none() || event.run.as_ref() == proven;
        let is_an_end = matches!(
            &event.action,
            EventAction::Die(_)
                | EventAction::Pause
                | EventAction::Stop
                | EventAction::Kill(Some(Signal::TERM | Signal::KILL))
        );
        is_of_it && is_an_end
    }

    /// A read of it is answered.
    pub(crate) fn read_answered(
        &mut self,
        index: usize,
        began: Duration,
        result: &Result<Details, ErrorKind>,
    ) {
        let seen = match result {
            Ok(details) => Some(details.observation.clone()),
            Err(ErrorKind::NotFound) => None,
            Err(kind) => return self.step(format_args!("w{index} is not read: {kind}")),
        };
        match &seen {
            Some(seen) => {
                self.step(format_args!("w{index} is read: {} {:?}", seen.status, seen.run));
            }
            None => self.step(format_args!("w{index} is read: not there")),
        }
        self.observes(index, seen.as_ref());
        let now = self.now();
        let record = &mut self.records[index];
        record.read_at = Some(now);
        if record.observed.is_none() && record.adopted.is_none() {
            let running = seen.as_ref().filter(|seen| seen.status == ContainerStatus::Running);
            record.adopted = running.and_then(|seen| seen.run.clone());
            record.adopted_at = Some(now);
        }
        // Of a container that is not there: it was read, and does not run.
        record.observed =
            Some(seen.unwrap_or_else(|| Observation::new(ContainerStatus::Stopped, None)));
        if record.unsettled.is_some_and(|answered| began >= answered) {
            record.unsettled = None;
        }
    }

    /// A probe of this run was not answered.
    pub(crate) fn not_probed(&mut self, index: usize, run: Option<&RunId>) {
        if self.records[index].proven.as_ref() == run {
            self.step(format_args!("w{index} does not answer a probe of {run:?} any more"));
            self.loses_proof(index);
        }
    }

    /// A probe of this run was answered.
    pub(crate) fn probed(&mut self, index: usize, run: Option<&RunId>) {
        self.step(format_args!("w{index} answers a probe of {run:?}"));
        let now = self.now();
        let record = &mut self.records[index];
        let is_present = record.is_observed_alive()
            && record.observed.as_ref().is_some_and(|seen| seen.run.as_ref() == run);
        if !is_present {
            // A late answer: drowse knows that this run is over.
            return;
        }
        if record.proven.as_ref() != run {
            record.proven_at = Some(now);
        }
        record.proven = run.cloned();
        record.was_proven = run.cloned();
    }
}
