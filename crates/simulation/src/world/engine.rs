//! Engines: out of reach, restarted, and how faithfully they tell what happens.

use std::time::Duration;

use drowse_provider::{ContainerStatus, ErrorKind};

use super::{
    Due, World,
    container::{ContainerDue, KILLED},
};

/// How soon an engine is read anew, whatever it told.
const REREAD: Duration = Duration::from_mins(1);
/// How long an engine is out of reach before its watches say so.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// One engine.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Out of reach since the time of this number.
    down: Option<Down>,
    deaf_until: Duration,
    echo_until: Duration,
    lag_until: Duration,
    /// How many orders of drowse's it has at this moment, and since when all that it may have.
    pub(crate) orders: usize,
    pub(crate) full_since: Option<Duration>,
    /// When it last had all that it may have.
    pub(crate) full_until: Option<(Duration, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    number: u64,
    /// It does not even refuse.
    is_silent: bool,
}

#[derive(Debug)]
pub(crate) enum EngineDue {
    Up {
        engine: usize,
        number: u64,
    },
    /// It has been out of reach for so long that its watches say so.
    ToldDown {
        engine: usize,
        number: u64,
    },
    Reread {
        engine: usize,
    },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Answers,
    Refuses,
    Silent,
}

impl World {
    pub(super) fn reach(&self, engine: usize) -> Reach {
        match self.engines[engine].down {
            None => Reach::Answers,
            Some(Down { is_silent: true, .. }) => Reach::Silent,
            Some(_) => Reach::Refuses,
        }
    }

    pub(super) fn engine_of(&self, container: usize) -> usize {
        self.plan.workloads[container].engine
    }

    pub(super) fn containers_of(&self, engine: usize) -> Vec<usize> {
        self.plan.present().filter(|container| self.engine_of(*container) == engine).collect()
    }

    pub(super) fn is_deaf(&self, engine: usize) -> bool {
        let machine = &self.engines[engine];
        machine.down.is_some() || machine.deaf_until > self.now()
    }

    pub(super) fn echoes(&self, engine: usize) -> bool {
        self.engines[engine].echo_until > self.now()
    }

    pub(super) fn lags(&self, engine: usize) -> bool {
        self.engines[engine].lag_until > self.now()
    }

    pub(crate) fn deafen(&mut self, engine: usize, lasts: Duration) {
        self.engines[engine].deaf_until = self.now() + lasts;
    }

    pub(crate) fn echo(&mut self, engine: usize, lasts: Duration) {
        self.engines[engine].echo_until = self.now() + lasts;
    }

    pub(crate) fn lag(&mut self, engine: usize, lasts: Duration) {
        self.engines[engine].lag_until = self.now() + lasts;
    }

    pub(crate) fn outage(&mut self, engine: usize, lasts: Duration, is_silent: bool) {
        let number = self.number();
        self.engines[engine].down = Some(Down { number, is_silent });
        self.plan_in(lasts, Due::Engine(EngineDue::Up { engine, number }));
        if lasts > TOLD_AFTER {
            self.plan_in(TOLD_AFTER, Due::Engine(EngineDue::ToldDown { engine, number }));
        }
    }

    pub(crate) fn restart_engine(&mut self, engine: usize, lasts: Duration, containers_die: bool) {
        self.outage(engine, lasts, false);
        self.forget_orders(engine);
        for container in self.containers_of(engine) {
            if containers_die {
                self.containers[container].is_ending = true;
                self.end_run(container, KILLED);
            }
            // Whatever restarts always comes up with its engine, also what slept.
            if self.plan.workloads[container].restarts
                && self.containers[container].status == Some(ContainerStatus::Stopped)
            {
                let run = self.containers[container].run;
                self.containers[container].status =
                    Some(ContainerStatus::Error(drowse_provider::Unusable::Restarting));
                let restarts = ContainerDue::Restarts { container, run };
                self.plan_in(lasts + Duration::from_millis(200), Due::Container(restarts));
            }
        }
    }

    pub(super) fn begin_rereads(&mut self, engine: usize) {
        self.plan_in(REREAD, Due::Engine(EngineDue::Reread { engine }));
    }

    pub(super) fn engine_due(&mut self, due: &EngineDue) {
        match *due {
            EngineDue::Up { engine, number } => {
                if self.engines[engine].down.is_some_and(|down| down.number == number) {
                    self.come_up(engine);
                }
            }
            EngineDue::ToldDown { engine, number } => {
                if self.engines[engine].down.is_some_and(|down| down.number == number) {
                    for container in self.containers_of(engine) {
                        self.tell_error(container, &unavailable());
                    }
                }
            }
            EngineDue::Reread { engine } => {
                if self.engines[engine].down.is_none() {
                    for container in self.containers_of(engine) {
                        self.tell_synced(container);
                    }
                }
                self.begin_rereads(engine);
            }
        }
    }

    fn come_up(&mut self, engine: usize) {
        self.step(format_args!("e{engine} can be reached"));
        self.engines[engine].down = None;
        for container in self.containers_of(engine) {
            self.tell_synced(container);
        }
    }

    pub(super) fn mend_engine(&mut self, engine: usize) {
        let now = self.now();
        let machine = &mut self.engines[engine];
        machine.deaf_until = now;
        machine.echo_until = now;
        machine.lag_until = now;
        if machine.down.is_some() {
            self.come_up(engine);
        }
    }
}

pub(super) fn unavailable() -> ErrorKind {
    ErrorKind::Unavailable { reason: "connection refused".to_owned() }
}
