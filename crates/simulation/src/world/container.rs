//! A container as it really is, and its application.

use std::{collections::VecDeque, time::Duration};

use drowse_provider::{
    ContainerStatus, Details, EventAction, Observation, RestartPolicy, RunId, Signal, Unusable,
};
use drowse_watcher::Role;

use super::{Due, World};
use crate::plan::{Deed, OrderFault, ReadFault, WorkloadPlan};

/// What a shell reports for a process that was killed.
pub(super) const KILLED: i64 = 137;
/// How long an engine waits before it kills what took no notice, unless it is told.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const RUN: u64 = 2;
const END: u64 = 3;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Container {
    /// `None`: it is not there.
    pub(crate) status: Option<ContainerStatus>,
    /// How often it was made.
    pub(crate) generation: u64,
    /// How often it was started, over all generations.
    pub(crate) run: u64,
    pub(crate) run_id: Option<RunId>,
    pub(crate) began: Duration,
    /// When it was last started, ended, frozen or thawed.
    pub(crate) changed: Duration,
    /// Who began its present run.
    pub(crate) by: By,
    pub(crate) serves_from: Duration,
    /// It was asked to end, and accepts nobody any more.
    pub(crate) is_ending: bool,
    pub(crate) exit: Option<i64>,
    /// Who holds its lock.
    pub(crate) lock: Option<u64>,
    pub(super) dooms: VecDeque<(Duration, i64)>,
    pub(super) misorders: VecDeque<OrderFault>,
    pub(super) misreads: VecDeque<ReadFault>,
    /// Orders and reads so far.
    pub(crate) calls: u64,
    /// Probes so far.
    pub(crate) probes: u64,
}

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Drowse's, by an order that it gave then, and that went well.
    Drowse {
        given: Duration,
    },
    /// Of an order of drowse's with which something went wrong, or that met somebody's: nobody can tell
    /// whose it was.
    Chance,
    Somebody,
    ItsEngine,
}

#[derive(Debug)]
pub(crate) enum ContainerDue {
    /// The process of this run ends.
    Ends {
        container: usize,
        run: u64,
        exit: i64,
        is_stop: bool,
    },
    /// Its engine starts it again after this run.
    Restarts {
        container: usize,
        run: u64,
    },
    Unlocked {
        container: usize,
        lock: u64,
    },
    /// The next step of what somebody does to it.
    Deed {
        container: usize,
        deed: Deed,
    },
}

impl Container {
    pub(crate) fn new(_: &WorkloadPlan) -> Self {
        Self {
            status: Some(ContainerStatus::Stopped),
            generation: 1,
            run: 0,
            run_id: None,
            began: Duration::ZERO,
            changed: Duration::ZERO,
            by: By::Somebody,
            serves_from: Duration::ZERO,
            is_ending: false,
            exit: None,
            lock: None,
            dooms: VecDeque::new(),
            misorders: VecDeque::new(),
            misreads: VecDeque::new(),
            calls: 0,
            probes: 0,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status == Some(ContainerStatus::Running)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.status.as_ref().is_some_and(ContainerStatus::is_alive)
    }

    fn is_restarting(&self) -> bool {
        self.status == Some(ContainerStatus::Error(Unusable::Restarting))
    }

    /// What a read shows.
    pub(crate) fn observation(&self) -> Option<Observation> {
        let status = self.status.clone()?;
        let exit = self.exit.filter(|_| !status.is_alive());
        let lock = self.lock.map(|_| "backup".to_owned());
        Some(Observation::new(status, self.run_id.clone()).with_exit_code(exit).with_lock(lock))
    }
}

impl World {
    pub(crate) fn name(container: usize) -> String {
        format!("w{container}")
    }

    pub(super) fn details(&self, index: usize) -> Option<Details> {
        let container = &self.containers[index];
        let id = format!("w{index}#{}", container.generation);
        let mut details = Details::new(id, Self::name(index), container.observation()?);
        if self.plan.workloads[index].restarts {
            details.restart = RestartPolicy::Always;
        }
        Some(details)
    }

    /// Whether its application answers at this moment.
    pub(crate) fn serves(&self, index: usize) -> bool {
        let container = &self.containers[index];
        container.is_running() && !container.is_ending && container.serves_from <= self.now()
    }

    pub(super) fn begin_run(&mut self, index: usize, by: By) {
        let now = self.now();
        let plan = self.plan.workloads[index].clone();
        let run = self.containers[index].run + 1;
        let mut dice = self.dice(&[RUN, index as u64, run]);
        let slowest = if self.is_calm { plan.slowest_start.min(4_000) } else { plan.slowest_start };
        let serves_from = now + dice.millis(0, slowest);
        let job_takes = dice.spread(10, 20_000);
        let code = i64::from(!self.is_calm && dice.percent(plan.fails));
        let container = &mut self.containers[index];
        container.status = Some(ContainerStatus::Running);
        container.run = run;
        container.run_id = Some(RunId::new(format!("w{index}.{run}")));
        container.began = now;
        container.changed = now;
        container.by = by;
        container.serves_from = serves_from;
        container.is_ending = false;
        container.exit = None;
        let doom = container.dooms.pop_front();
        self.step(format_args!("w{index} runs: run {run}, by {by:?}"));
        self.tell(index, EventAction::Start);
        let end = match (doom, plan.policy.role) {
            (Some(doom), _) => Some(doom),
            (None, Role::Job) => Some((job_takes, code)),
            (None, _) => None,
        };
        if let Some((after, exit)) = end {
            let ends = ContainerDue::Ends { container: index, run, exit, is_stop: false };
            self.plan_in(after, Due::Container(ends));
        }
    }

    /// Its process ends.
    pub(super) fn end_run(&mut self, index: usize, exit: i64) {
        if !self.containers[index].is_alive() {
            return;
        }
        let run = self.containers[index].run;
        let is_crash = !self.containers[index].is_ending;
        let restarts = self.plan.workloads[index].restarts && is_crash;
        let now = self.now();
        let container = &mut self.containers[index];
        container.changed = now;
        container.exit = Some(exit);
        container.status = Some(if restarts {
            ContainerStatus::Error(Unusable::Restarting)
        } else {
            ContainerStatus::Stopped
        });
        self.step(format_args!("w{index} ended: run {run}, code {exit}"));
        self.tell(index, EventAction::Die(Some(exit)));
        if restarts {
            let pause = self.dice(&[END, index as u64, run]).millis(100, 3_000);
            self.plan_in(pause, Due::Container(ContainerDue::Restarts { container: index, run }));
        }
    }

    /// It is asked to end, and killed if it does not in time; how long that takes.
    pub(super) fn ask_to_end(&mut self, index: usize, timeout: Duration) -> Duration {
        let run = self.containers[index].run;
        let mut dice = self.dice(&[END, index as u64, run, 1]);
        let takes = dice.spread(1, 4_000);
        let is_deaf = self.plan.workloads[index].is_deaf;
        let (takes, exit) = if is_deaf || takes > timeout { (timeout, KILLED) } else { (takes, 0) };
        if self.containers[index].is_restarting() {
            self.containers[index].status = Some(ContainerStatus::Stopped);
            self.tell(index, EventAction::Stop);
            return Duration::ZERO;
        }
        if !self.containers[index].is_alive() {
            return Duration::ZERO;
        }
        self.containers[index].is_ending = true;
        self.tell(index, EventAction::Kill(Some(Signal::TERM)));
        let ends = ContainerDue::Ends { container: index, run, exit, is_stop: true };
        self.plan_in(takes, Due::Container(ends));
        takes
    }

    pub(super) fn kill(&mut self, index: usize) {
        if self.containers[index].is_restarting() {
            self.containers[index].status = Some(ContainerStatus::Stopped);
        } else if self.containers[index].is_alive() {
            self.containers[index].is_ending = true;
            self.tell(index, EventAction::Kill(Some(Signal::KILL)));
            self.end_run(index, KILLED);
        }
    }

    pub(super) fn freeze(&mut self, index: usize, from: &ContainerStatus, to: ContainerStatus) {
        if self.containers[index].status.as_ref() == Some(from) {
            let action = match to {
                ContainerStatus::Paused => EventAction::Pause,
                _ => EventAction::Unpause,
            };
            self.step(format_args!("w{index} is {to}"));
            self.containers[index].changed = self.now();
            self.containers[index].status = Some(to);
            self.tell(index, action);
        }
    }

    pub(super) fn container_due(&mut self, due: &ContainerDue) {
        match *due {
            ContainerDue::Ends { container, run, exit, is_stop } => {
                let is_it = self.containers[container].run == run;
                if is_it && self.containers[container].is_alive() {
                    self.end_run(container, exit);
                    if is_stop {
                        self.tell(container, EventAction::Stop);
                    }
                }
            }
            ContainerDue::Restarts { container, run } => {
                let one = &self.containers[container];
                if one.run == run && one.is_restarting() {
                    self.begin_run(container, By::ItsEngine);
                }
            }
            ContainerDue::Unlocked { container, lock } => {
                if self.containers[container].lock == Some(lock) {
                    self.unlock(container);
                }
            }
            ContainerDue::Deed { container, deed } => self.deed(container, deed),
        }
    }

    pub(crate) fn lock_container(&mut self, index: usize, lasts: Duration) {
        if self.containers[index].lock.is_none() {
            let lock = self.number();
            self.containers[index].lock = Some(lock);
            self.tell(index, EventAction::Lock(Some("backup".to_owned())));
            let unlocked = ContainerDue::Unlocked { container: index, lock };
            self.plan_in(lasts, Due::Container(unlocked));
        }
    }

    fn unlock(&mut self, index: usize) {
        self.step(format_args!("w{index} is not locked any more"));
        self.containers[index].lock = None;
        self.tell(index, EventAction::Lock(None));
    }

    pub(crate) fn crash(&mut self, index: usize, exit: i64) {
        if self.containers[index].is_running() && !self.containers[index].is_ending {
            self.end_run(index, exit);
        }
    }

    pub(crate) fn doom(&mut self, index: usize, after: Duration, exit: i64) {
        self.containers[index].dooms.push_back((after, exit));
    }

    pub(crate) fn misorder(&mut self, index: usize, fault: OrderFault) {
        self.containers[index].misorders.push_back(fault);
    }

    pub(crate) fn misread(&mut self, index: usize, fault: ReadFault) {
        self.containers[index].misreads.push_back(fault);
    }

    pub(crate) fn deed(&mut self, index: usize, deed: Deed) {
        let soon = self.dice(&[END, index as u64, self.containers[index].run, 2]).spread(20, 8_000);
        let later = |world: &mut Self, deed| {
            world.plan_in(soon, Due::Container(ContainerDue::Deed { container: index, deed }));
        };
        match deed {
            Deed::Start if self.containers[index].status == Some(ContainerStatus::Stopped) => {
                // Events name nobody: of a start amid drowse's own, or its engine's, it cannot tell whose it was.
                let is_lost_among_others =
                    self.is_being_started(index) || self.is_restarted_unseen(index);
                let by = if is_lost_among_others { By::Chance } else { By::Somebody };
                self.begin_run(index, by);
            }
            Deed::Start | Deed::Unpause => {
                self.freeze(index, &ContainerStatus::Paused, ContainerStatus::Running);
            }
            Deed::Stop => {
                self.ask_to_end(index, STOP_TIMEOUT);
            }
            Deed::Kill => self.kill(index),
            Deed::Pause => self.freeze(index, &ContainerStatus::Running, ContainerStatus::Paused),
            Deed::Reload if self.containers[index].is_running() => {
                self.tell(index, EventAction::Kill(Some(Signal::HUP)));
            }
            Deed::Reload => {}
            Deed::Remove => {
                self.kill(index);
                if self.containers[index].status.take().is_some() {
                    self.step(format_args!("w{index} is removed"));
                    self.tell(index, EventAction::Destroy);
                }
            }
            Deed::Update if self.containers[index].is_alive() => {
                let takes = self.ask_to_end(index, STOP_TIMEOUT);
                let again = ContainerDue::Deed { container: index, deed };
                self.plan_in(takes + soon, Due::Container(again));
            }
            Deed::Update => {
                if self.containers[index].status.is_some() {
                    self.deed(index, Deed::Remove);
                    later(self, Deed::Update);
                } else {
                    self.deed(index, Deed::Create);
                    later(self, Deed::Start);
                }
            }
            Deed::Create => {
                if self.containers[index].status.is_none() {
                    let container = &mut self.containers[index];
                    container.status = Some(ContainerStatus::Stopped);
                    container.generation += 1;
                    container.run_id = None;
                    container.exit = None;
                    container.lock = None;
                    self.step(format_args!("w{index} is made again"));
                    self.tell(index, EventAction::Create);
                }
            }
        }
    }

    pub(super) fn mend_container(&mut self, index: usize) {
        let container = &mut self.containers[index];
        container.dooms.clear();
        container.misorders.clear();
        container.misreads.clear();
        if container.lock.is_some() {
            self.unlock(index);
        }
    }
}
