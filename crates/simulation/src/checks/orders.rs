//! What must hold when drowse gives an order.

use std::time::Duration;

use drowse_provider::{ContainerStatus, ErrorKind};
use drowse_watcher::{Condition, Role, SleepMethod};

use super::Invariant;
use crate::world::{By, Order, World};

/// The watcher counts in whole milliseconds.
const MILLISECOND: Duration = Duration::from_millis(1);
/// How soon drowse has heard of a wish.
pub(super) const NOTICED_WITHIN: Duration = Duration::from_millis(10);
/// How long an order may have waited for a slot that a sleep had before its own order: over a read, a question
/// of its gates, and another read, each with its deadline.
const SLEEP_DECIDED_WITHIN: Duration = Duration::from_millis(3 * 10_100);

impl World {
    /// Drowse gives this order now.
    pub(crate) fn check_order(&mut self, index: usize, order: Order) {
        let record = &self.records[index];
        if let Some(open) = record.in_flight {
            self.violated(
                Invariant::OneOrder,
                format_args!("w{index}: {order:?} is ordered while {open:?} is not answered"),
            );
        }
        let record = &self.records[index];
        if let Some(answered) = record.unsettled {
            self.violated(
                Invariant::OneOrder,
                format_args!(
                    "w{index}: {order:?} is ordered, and no read has shown what came of the order \
                     that was answered at {answered:?}"
                ),
            );
        }
        if self.records[index].observed.is_none() {
            self.violated(
                Invariant::Adopted,
                format_args!("w{index}: {order:?} is ordered before it was ever read"),
            );
        }
        if order.is_start() {
            self.check_start(index);
        } else {
            self.check_sleep(index, order);
        }
        self.records[index].in_flight = Some(order);
        let now = self.now();
        let engine = self.plan.workloads[index].engine;
        let slots = self.plan.engines[engine].slots;
        let of_sleeps = (slots / 2).max(1);
        let sleeps = self.sleeps_in_flight(engine);
        let machine = &mut self.engines[engine];
        machine.orders += 1;
        let orders = machine.orders;
        if machine.orders >= slots && machine.full_since.is_none() {
            // What was full a moment ago has been so all the while, for whoever waits.
            let goes_on =
                machine.full_until.filter(|(_, until)| now <= *until + SLEEP_DECIDED_WITHIN);
            machine.full_since = Some(goes_on.map_or(now, |(since, _)| since));
        }
        if orders > slots || sleeps > of_sleeps {
            self.violated(
                Invariant::InTurn,
                format_args!(
                    "w{index}: {order:?} is ordered, and e{engine} has {orders} orders of {slots}, \
                     {sleeps} of {of_sleeps} sleeps"
                ),
            );
        }
    }

    /// How many sleeps of an engine's containers drowse waits for.
    fn sleeps_in_flight(&self, engine: usize) -> usize {
        let is_its = |index: &usize| self.plan.workloads[*index].engine == engine;
        let is_put_to_sleep =
            |index: &usize| self.records[*index].in_flight.is_some_and(|order| !order.is_start());
        (0..self.records.len()).filter(is_its).filter(is_put_to_sleep).count()
    }

    /// Drowse has its answer.
    pub(crate) fn order_answered(
        &mut self,
        index: usize,
        order: Order,
        result: &Result<(), ErrorKind>,
    ) {
        match result {
            Ok(()) => self.step(format_args!("w{index}: {order:?} is done")),
            Err(kind) => self.step(format_args!("w{index}: {order:?}: {kind}")),
        }
        let now = self.now();
        let record = &mut self.records[index];
        record.in_flight = None;
        let is_open = match result {
            Ok(()) => true,
            Err(kind) => matches!(
                kind,
                ErrorKind::Timeout { .. }
                    | ErrorKind::Unavailable { .. }
                    | ErrorKind::Protocol { .. }
            ),
        };
        if is_open {
            record.unsettled = Some(now);
        }
        let machine = &mut self.engines[self.plan.workloads[index].engine];
        machine.orders = machine.orders.saturating_sub(1);
        if let Some(since) = machine.full_since.take() {
            machine.full_until = Some((since, now));
        }
    }

    /// Whether drowse waits for the answer to a start.
    pub(crate) fn is_being_started(&self, index: usize) -> bool {
        self.records[index].in_flight.is_some_and(Order::is_start)
    }

    /// Whether its engine restarts what ends, and drowse has not read that it has ended.
    pub(crate) fn is_restarted_unseen(&self, index: usize) -> bool {
        self.plan.workloads[index].restarts && self.records[index].is_observed_alive()
    }

    /// What was so since then was told to drowse by this time: nothing is in a sleep of the machine.
    fn told_by(&self, decided: Duration) -> Duration {
        if self.now() <= self.resumed_at + NOTICED_WITHIN {
            return Duration::ZERO;
        }
        decided.saturating_sub(NOTICED_WITHIN)
    }

    /// Before when an order that is given now was decided: it may have waited for its turn.
    fn decided_after(&self, engine: usize) -> Duration {
        let now = self.now();
        let machine = &self.engines[engine];
        let was_full = machine
            .full_until
            .filter(|(_, until)| now <= *until + SLEEP_DECIDED_WITHIN)
            .map(|(since, _)| since)
            .or(machine.full_since);
        was_full.unwrap_or(now).saturating_sub(SLEEP_DECIDED_WITHIN)
    }

    fn check_start(&mut self, index: usize) {
        if self.is_winding_down {
            self.violated(Invariant::Asleep, format_args!("w{index} is started, and for nobody"));
        }
        let plan = self.plan.clone();
        if plan.workloads[index].policy.role == Role::Job && self.is_observed_complete(index) {
            self.violated(Invariant::Once, format_args!("w{index}: it is complete, and started"));
        }
        let container = &mut self.containers[index];
        if container.is_running()
            && container.by == By::Somebody
            && self.records[index].told_run != container.run_id
        {
            // Its start was not told yet: drowse cannot tell that this one came too late.
            container.by = By::Chance;
        }
        let decided = self.decided_after(plan.workloads[index].engine);
        self.check_not_held(index, Order::Start, decided, false);
        for (needed, condition) in &plan.workloads[index].needs {
            if !self.was_needed(index, *needed, self.told_by(decided)) {
                continue;
            }
            let other = &self.records[*needed];
            let was_so = |lost: Option<Duration>| lost.is_some_and(|lost| lost >= decided);
            let is_met = match condition {
                _ if plan.workloads[*needed].policy.role == Role::Job
                    && self.is_observed_complete(*needed) =>
                {
                    true
                }
                Condition::Started => other.is_observed_alive() || was_so(other.stopped_running),
                Condition::Completed => other
                    .observed
                    .as_ref()
                    .is_some_and(|seen| seen.exit_code == Some(0) && !seen.status.is_alive()),
                _ => other.proven.is_some() || was_so(other.lost_proof),
            };
            if !is_met {
                self.violated(
                    Invariant::Needs,
                    format_args!("w{index} is started, and w{needed} is not {condition:?}"),
                );
            }
        }
    }

    fn check_sleep(&mut self, index: usize, order: Order) {
        let plan = self.plan.clone();
        let now = self.now();
        let record = &self.records[index];
        let (active, passive) = (record.active, record.passive);
        let soon_after = |at: Option<Duration>| at.is_some_and(|at| now <= at + NOTICED_WITHIN);
        let is_forced = record.forces_wanted > 0 || soon_after(record.forced);
        if active + passive > 0 && !is_forced {
            self.violated(
                Invariant::InUse,
                format_args!("w{index}: {order:?} is ordered under {active}+{passive} leases"),
            );
        }
        if self.records[index].read_at != Some(now) {
            self.violated(
                Invariant::InUse,
                format_args!("w{index}: {order:?} is ordered without a look at it just before"),
            );
        }
        let policy = &self.records[index].policy;
        if policy.sleep == SleepMethod::Never || policy.role == Role::Job {
            self.violated(Invariant::InUse, format_args!("w{index}: it never sleeps"));
        }
        for dependent in plan.present() {
            let needs_it = plan.workloads[dependent].needs.iter().any(|(one, _)| *one == index);
            let told = self.told_by(now).min(self.records[dependent].told_until(now));
            let is_told = self.was_needed(dependent, index, told);
            if needs_it && is_told && !is_forced {
                self.check_dependent(index, dependent);
            }
        }
        let record = &self.records[index];
        let is_on_request = record.sleeps_wanted > 0 || soon_after(record.slept_on_request);
        if !is_on_request {
            self.check_idle(index, order);
            self.check_not_held(index, order, now, false);
        }
        if !is_forced {
            self.check_not_held(index, order, now, true);
            let decided = self.decided_after(plan.workloads[index].engine);
            self.check_mates(index, order, decided);
        }
    }

    /// What somebody held awake, or asleep, when this was decided, is left so.
    fn check_not_held(&mut self, index: usize, order: Order, decided: Duration, is_awake: bool) {
        let since = self.held(index, is_awake).map(|held| held.since + NOTICED_WITHIN);
        if since.is_some_and(|since| decided >= since) {
            let how = if is_awake { "awake" } else { "asleep" };
            self.violated(
                Invariant::Held,
                format_args!("w{index}: {order:?} is ordered while somebody holds it {how}"),
            );
        }
    }

    fn check_dependent(&mut self, index: usize, dependent: usize) {
        let other = &self.records[dependent];
        if self.is_misconfigured(dependent) {
            // Nobody knows what it needs.
            return;
        }
        let is_asleep = other.observed.is_some()
            && !other.is_observed_alive()
            && !other.in_flight.is_some_and(Order::is_start);
        if !is_asleep {
            self.violated(
                Invariant::Needs,
                format_args!("w{index} is put to sleep, and w{dependent} was not seen asleep"),
            );
        }
    }

    /// When what was frozen may be stopped at the earliest, by how it is put to sleep.
    fn frozen_until(&self, index: usize) -> Option<Duration> {
        let SleepMethod::PauseThenStop { after, .. } = &self.records[index].policy.sleep else {
            return None;
        };
        let container = &self.containers[index];
        let is_frozen = container.status == Some(ContainerStatus::Paused);
        // Drowse need not have seen that somebody thawed it for a moment.
        let last_seen_running = self.records[index].stopped_running;
        let frozen = last_seen_running.map_or(container.changed, |at| at.min(container.changed));
        is_frozen.then_some(frozen + *after)
    }

    fn check_idle(&mut self, index: usize, order: Order) {
        let now = self.now();
        let container = &self.containers[index];
        let record = &self.records[index];
        let idle = record.least_idle;
        let too_soon = |since: Option<Duration>, pause: Duration| {
            since.is_some_and(|since| now + MILLISECOND < since + pause)
        };
        let is_this_run = record.observed.as_ref().is_some_and(|seen| seen.run == container.run_id);
        let managed = record.managed_since;
        // What was frozen and thawed since has been asleep since.
        let is_unchanged = record.adopted_at.is_some_and(|adopted| container.changed <= adopted);
        let is_adopted =
            is_unchanged && record.adopted.is_some() && record.adopted == container.run_id;
        let began_here = managed.is_some_and(|managed| container.began >= managed);
        let is_same_wake = container.changed == container.began;
        let began = Some(container.began).filter(|_| is_this_run && began_here && is_same_wake);
        let by_somebody = began.filter(|_| container.by == By::Somebody);
        let by_drowse = began.filter(|_| match container.by {
            By::Drowse { given } => {
                managed.is_some_and(|managed| given >= managed)
                    && record.slept_on_request.is_none_or(|at| at < given)
                    && record.was_proven == container.run_id
                    && record.given == container.run_id
            }
            _ => false,
        });
        // Of a use before this management nobody may know any more: what ran since is adopted.
        let last_use = record.last_use.filter(|at| managed.is_some_and(|managed| *at > managed));
        let complaint = if too_soon(last_use, idle) {
            Some((Invariant::InUse, "within the idle time after its last use"))
        } else if is_adopted && too_soon(managed, idle) {
            Some((Invariant::Adopted, "within the idle time after its adoption"))
        } else if too_soon(by_somebody, idle) {
            Some((Invariant::InUse, "within the idle time after a start from outside"))
        } else if too_soon(by_drowse, record.policy.min_awake) {
            Some((Invariant::InUse, "within its minimum time awake"))
        } else if self.frozen_until(index).is_some_and(|until| now + MILLISECOND < until) {
            Some((Invariant::InUse, "before it was frozen for as long as was said"))
        } else if self.plan.workloads[index].has_gate
            && record.is_observed_alive()
            && record.gate_allowed.is_none_or(|asked| Some(asked) < record.last_use)
        {
            Some((Invariant::InUse, "and whoever is to be asked did not allow it"))
        } else {
            None
        };
        if let Some((invariant, complaint)) = complaint {
            self.violated(invariant, format_args!("w{index}: {order:?} is ordered {complaint}"));
        }
    }
}
