//! The container as it really is, and its engine.

use super::*;

/// The container as it really is.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) status: ContainerStatus,
    pub(super) run: u64,
    pub(super) exit: Option<i64>,
    pub(super) serves_from: Moment,
    pub(super) lock: Option<u64>,
    pub(super) address: u8,
    pub(super) address_from: Moment,
}

impl Container {
    pub(super) fn stopped(run: u64, now: Moment) -> Self {
        Self {
            status: ContainerStatus::Stopped,
            run,
            exit: None,
            serves_from: now,
            lock: None,
            address: 1,
            address_from: now,
        }
    }
}

impl World {
    /// A backup, a snapshot: for a moment, or for longer than anybody waits.
    pub(super) fn lock(&mut self) {
        let Some(container) = self.container.as_mut().filter(|one| one.lock.is_none()) else {
            return;
        };
        self.locks += 1;
        let lock = self.locks;
        container.lock = Some(lock);
        self.log("locked");
        self.happened(EventAction::Lock(Some("backup".to_owned())));
        let longest = if self.dice.roll(2) == 0 { 5_000 } else { 300_000 };
        let held = self.dice.millis(1, longest);
        self.plan(held, Happening::Unlocked(lock));
    }

    pub(super) fn is_about_to_end(&self) -> bool {
        let is_there = |run| self.container.as_ref().is_some_and(|container| container.run == run);
        self.to_sleep.is_some_and(|(run, thaws)| {
            is_there(run) && thaws.is_none_or(|thaws| thaws == self.thaws)
        })
    }

    pub(super) fn give(&mut self, id: EffectId, order: Order, within: Duration) {
        let failed = |kind| Err(Error::new("sim", Action::Start, kind));
        let mut applied = self.dice.millis(1, 3_000);
        let answered = applied + self.dice.millis(0, 20);
        if !self.engine_up {
            self.plan(
                Duration::from_millis(5),
                Happening::Told(Input::OrderDone { id, result: Err(unavailable()) }),
            );
            return;
        }
        let fails = self.dice.permille(self.faults.order_fails);
        let (is_applied, answer_after, result) = match self.dice.roll(6) {
            // The engine refuses: at once, or after it has looked for a while.
            0 if fails => {
                let looked = if self.dice.roll(2) == 0 { 3 } else { self.dice.roll(4_000) };
                let locked = failed(ErrorKind::Locked { by: "backup".to_owned() });
                (false, Duration::from_millis(looked), locked)
            }
            1 if fails => {
                (false, applied, failed(ErrorKind::Failed { exit: None, message: "no".to_owned() }))
            }
            // It takes it, and its answer is lost; before or after it was carried out.
            2 if fails => (true, self.dice.millis(0, 4_000), Err(unavailable())),
            // It neither does it nor answers.
            3 if fails => (false, within, failed(ErrorKind::Timeout { after: within, last: None })),
            // It takes it, and carries it out when nobody waits any more.
            4 if fails && !order.is_start() => {
                applied = within + self.dice.millis(0, 110_000);
                (true, within, failed(ErrorKind::Timeout { after: within, last: None }))
            }
            // The connection breaks before it was taken.
            5 if fails => (false, Duration::from_millis(1), Err(unavailable())),
            _ if self.container.as_ref().is_some_and(|container| container.lock.is_some()) => {
                let looked = self.dice.millis(0, 2_000);
                (false, looked, failed(ErrorKind::Locked { by: "backup".to_owned() }))
            }
            _ => (true, answered, Ok(())),
        };
        if is_applied {
            if !order.is_start() {
                let thaws = (order == Order::Pause).then_some(self.thaws);
                self.to_sleep = self.container.as_ref().map(|container| (container.run, thaws));
            }
            self.plan(applied, Happening::Applied(order));
        }
        self.plan(answer_after, Happening::Told(Input::OrderDone { id, result }));
    }

    pub(super) fn apply(&mut self, order: &Order) {
        let Some(container) = &mut self.container else { return };
        match (order, &container.status) {
            (Order::Start, ContainerStatus::Stopped) => {
                self.begin_run();
                if self.dice.permille(self.faults.crashes)
                    && let Some(container) = &self.container
                {
                    let run = container.run;
                    let soon = self.dice.millis(0, 2_000);
                    self.plan(soon, Happening::Crash(run));
                }
            }
            (Order::Start, ContainerStatus::Paused) => {
                self.thaws += 1;
                container.status = ContainerStatus::Running;
                self.slept_at = None;
                self.happened(EventAction::Unpause);
            }
            (
                Order::Stop(_) | Order::Kill,
                ContainerStatus::Running
                | ContainerStatus::Paused
                | ContainerStatus::Error(Unusable::Restarting),
            ) => {
                container.status = ContainerStatus::Stopped;
                container.exit = Some(0);
                self.happened(EventAction::Kill(Some(Signal::TERM)));
                self.happened(EventAction::Die(Some(0)));
                self.happened(EventAction::Stop);
            }
            (Order::Pause, ContainerStatus::Running) => {
                container.status = ContainerStatus::Paused;
                self.happened(EventAction::Pause);
            }
            _ => {}
        }
    }

    pub(super) fn begin_run(&mut self) {
        let delay = match self.dice.roll(20) {
            0 => self.dice.millis(10_000, 100_000),
            _ => self.dice.millis(0, 2_000),
        };
        let serves_from = self.now + delay;
        let address_from = match self.dice.roll(4) {
            0 => serves_from + self.dice.millis(0, 10_000),
            _ => self.now,
        };
        self.slept_at = None;
        if let Some(container) = &mut self.container {
            container.status = ContainerStatus::Running;
            container.run += 1;
            container.exit = None;
            container.serves_from = serves_from;
            container.address_from = address_from;
        }
        self.happened(EventAction::Start);
    }

    pub(super) fn crash(&mut self, run: u64) {
        let Some(container) = &mut self.container else { return };
        if container.run != run || !container.status.is_alive() {
            return;
        }
        container.exit = Some(3);
        if self.faults.restart_always {
            container.status = ContainerStatus::Error(Unusable::Restarting);
            let pause = self.dice.millis(100, 3_000);
            self.plan(pause, Happening::EngineRestarts(run));
        } else {
            container.status = ContainerStatus::Stopped;
        }
        self.happened(EventAction::Die(Some(3)));
    }

    /// Somebody else does something.
    pub(super) fn outside(&mut self) {
        let deed = self.dice.roll(8);
        self.sleeps.woken_at = None;
        self.log(&format!("outside: {deed}"));
        match deed {
            0 => self.apply(&Order::Start),
            1 => self.apply(&Order::Kill),
            2 => self.apply(&Order::Pause),
            3 => self.happened(EventAction::Kill(Some(Signal::HUP))),
            4 => {
                if self.container.take().is_some() {
                    self.happened(EventAction::Destroy);
                }
            }
            5 => self.apply(&Order::Stop(drowse_provider::StopOptions::new())),
            6 => {
                // A stop of a program that takes its time.
                if let Some(container) = &self.container
                    && container.status == ContainerStatus::Running
                {
                    let run = container.run;
                    self.happened(EventAction::Kill(Some(Signal::TERM)));
                    let its_time = self.dice.millis(0, 9_000);
                    self.plan(its_time, Happening::Ended(run));
                }
            }
            _ => {
                if self.container.is_none() {
                    let run = 1_000_000 + self.dice.roll(1_000_000);
                    self.container = Some(Container::stopped(run, self.now));
                    self.happened(EventAction::Create);
                }
            }
        }
    }

    /// Tells the watch: the event, late, twice or never; then a read of the truth, which a lost
    /// event only makes late.
    pub(super) fn happened(&mut self, action: EventAction) {
        let lost = self.dice.permille(self.faults.event_lost) || !self.engine_up;
        if !lost {
            let actor = Actor::new("id", "app", BTreeMap::new());
            let event = Event::container(actor, action, SystemTime::UNIX_EPOCH);
            let copies = if self.dice.permille(self.faults.event_lost) { 2 } else { 1 };
            for _ in 0..copies {
                let latency = self.dice.millis(0, 50);
                let told = Input::Watched(Ok(WatchItem::Event(event.clone())));
                self.plan(latency, Happening::Told(told));
            }
        }
        let latency = if lost { REREAD } else { self.dice.millis(50, 80) };
        self.plan(latency, Happening::Watch);
    }

    pub(super) fn read(&mut self) -> Result<Details, Error> {
        if !self.engine_up || self.dice.permille(self.faults.read_fails) {
            return Err(unavailable());
        }
        match &self.container {
            Some(container) => {
                let mut details = Details::new("id", "app", observation(container));
                if self.faults.addresses {
                    let is_there = container.status == ContainerStatus::Running
                        && container.address_from <= self.now;
                    let addresses = is_there.then(|| address(container)).into_iter().collect();
                    details.networks = vec![Network::new("net0", None, addresses)];
                }
                Ok(details)
            }
            None => Err(Error::new("sim", Action::Inspect, ErrorKind::NotFound)),
        }
    }

    pub(super) fn probe(&mut self, id: EffectId, dialled: Option<IpAddr>) -> Result<(), NotReady> {
        if self.faults.addresses {
            let Some(dialled) = dialled else {
                return Err(NotReady::new("no address yet").without_address());
            };
            if self.container.as_ref().is_none_or(|container| address(container) != dialled) {
                return Err(NotReady::new("no route to host").at_passing_address());
            }
            self.answered_at.insert(dialled);
        }
        match &self.container {
            Some(container)
                if container.status == ContainerStatus::Running
                    && container.serves_from <= self.now =>
            {
                self.told.probed.insert(id, run_id(container.run));
                Ok(())
            }
            _ => Err(NotReady::new("connection refused")),
        }
    }

    pub(in crate::core::tests) fn real_status(&self) -> Option<&ContainerStatus> {
        self.container.as_ref().map(|container| &container.status)
    }

    pub(in crate::core::tests) fn remake_container(&mut self) {
        if self.container.is_none() {
            self.container = Some(Container::stopped(5_000_000, self.now));
            self.happened(EventAction::Create);
        }
    }
}

pub(super) fn observation(container: &Container) -> Observation {
    let exit = container.exit.filter(|_| !container.status.is_alive());
    Observation::new(container.status.clone(), Some(run_id(container.run)))
        .with_exit_code(exit)
        .with_lock(container.lock.map(|_| "backup".to_owned()))
}

pub(super) fn address(container: &Container) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, container.address).into()
}

pub(super) fn run_id(run: u64) -> RunId {
    RunId::new(format!("run {run}"))
}

pub(super) fn unavailable() -> Error {
    let reason = "connection refused".to_owned();
    Error::new("sim", Action::Inspect, ErrorKind::Unavailable { reason })
}
