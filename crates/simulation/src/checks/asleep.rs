//! By when a workload must be asleep that nobody uses, where nothing goes wrong.

use std::time::Duration;

use drowse_provider::ContainerStatus;
use drowse_watcher::{Role, SleepMethod};

use crate::world::{STOP_TIMEOUT, World};

/// How soon drowse has heard of what happened, has asked what is to be asked, and has looked once more.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How long an application takes to end that takes notice, at most.
const ENDS_WITHIN: Duration = Duration::from_secs(4);
/// How soon what was in use when it was last looked at is looked at again: after a part of its idle time.
const SHORTEST_RECHECK: Duration = Duration::from_millis(250);
const LONGEST_RECHECK: Duration = Duration::from_secs(30);
/// How soon a member of a group is asked again: after its idle time, within these.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

impl World {
    /// By when it is asleep, as far as is known now. `None`: it sleeps, or never does, or those who need
    /// it are awake and come first.
    pub(crate) fn asleep_by(&self, index: usize) -> Option<Duration> {
        let record = &self.records[index];
        let (policy, container) = (&record.policy, &self.containers[index]);
        if policy.role == Role::Job {
            return None;
        }
        let due = match (&policy.sleep, container.status.as_ref()?) {
            (SleepMethod::Never, _) => return None,
            (SleepMethod::PauseThenStop { after, .. }, ContainerStatus::Paused)
                if self.calm_since.is_some_and(|since| container.changed >= since) =>
            {
                (container.changed + *after).max(self.idle_over(index))
            }
            (_, ContainerStatus::Running) if self.is_needed_now(index) => return None,
            (_, ContainerStatus::Running) => self.idle_over(index).max(self.mates_agree(index)),
            _ => return None,
        };
        Some(due + self.sleep_takes(index))
    }

    fn dependents(&self, index: usize) -> impl Iterator<Item = usize> {
        let needs_it = move |other: &usize| {
            self.plan.workloads[*other].needs.iter().any(|(needed, _)| *needed == index)
        };
        self.plan.present().filter(needs_it)
    }

    fn is_needed_now(&self, index: usize) -> bool {
        self.dependents(index).any(|other| self.containers[other].is_running())
    }

    /// When its own idle time is over, and all that keeps it awake beside it.
    fn idle_over(&self, index: usize) -> Duration {
        let record = &self.records[index];
        let policy = &record.policy;
        let let_go = self.let_go(index);
        let grace = match record.proven_at.filter(|at| *at >= self.containers[index].began) {
            Some(proven_at) => proven_at + policy.min_awake,
            None => self.containers[index].began + policy.start_grace,
        };
        (self.own_use_over(index)).max(grace).max(let_go)
    }

    /// When the last of those who need it was asleep.
    fn let_go(&self, index: usize) -> Duration {
        let of_dependent = |other: usize| {
            self.containers[other]
                .changed
                .max(self.records[other].managed_since.unwrap_or_default())
        };
        self.dependents(index).map(of_dependent).max().unwrap_or_default()
    }

    /// When it no longer is in use itself: what counts as use is over, and its idle time after that.
    fn own_use_over(&self, index: usize) -> Duration {
        let record = &self.records[index];
        let used = if record.active > 0 { Some(self.now()) } else { record.last_use };
        let woken_with = self.plan.mates(index).map(|mate| self.containers[mate].began).max();
        let let_go = record.policy.lingers.then(|| self.let_go(index));
        let last = [
            used,
            record.managed_since,
            record.proven_at,
            self.calm_since,
            Some(self.containers[index].began),
            woken_with,
            let_go,
        ];
        last.into_iter().flatten().max().unwrap_or_default() + record.policy.idle
    }

    /// When the others of its group let it sleep: it may have been asked again just before that.
    fn mates_agree(&self, index: usize) -> Duration {
        let over = self.plan.mates(index).map(|mate| self.own_use_over(mate)).max();
        let pause = self.records[index].policy.idle.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        over.filter(|over| *over > self.idle_over(index))
            .map_or(Duration::ZERO, |over| over + pause)
    }

    /// From the decision on: its engine may have others to put to sleep first.
    fn sleep_takes(&self, index: usize) -> Duration {
        let engine = self.plan.workloads[index].engine;
        let is_beside = |other: &usize| self.plan.workloads[*other].engine == engine;
        let beside: Vec<usize> = self.plan.present().filter(is_beside).collect();
        // Sleeps have half of its slots.
        let slots = (self.plan.engines[engine].slots / 2).max(1);
        let queue = if beside.len() > slots {
            beside.into_iter().map(|other| self.order_takes(other)).sum()
        } else {
            self.order_takes(index)
        };
        let idle = self.records[index].policy.idle;
        HEARD_WITHIN + (idle / 16).clamp(SHORTEST_RECHECK, LONGEST_RECHECK) + queue
    }

    fn order_takes(&self, index: usize) -> Duration {
        let stop = match &self.records[index].policy.sleep {
            SleepMethod::Stop(stop) | SleepMethod::PauseThenStop { stop, .. } => {
                stop.timeout.unwrap_or(STOP_TIMEOUT)
            }
            _ => Duration::ZERO,
        };
        let is_deaf = self.plan.workloads[index].is_deaf;
        let ends = if is_deaf { stop } else { stop.min(ENDS_WITHIN) };
        Duration::from_millis(self.plan.engines[self.plan.workloads[index].engine].slowest) + ends
    }
}
