//! Those who use it, and those who put it to sleep or hold it so.

use super::*;

impl World {
    pub(super) fn own_accord(&mut self) {
        match self.dice.roll(13) {
            0..=2 => self.ask(),
            3 if !self.asks.is_empty() => {
                let nth = self.dice.roll(self.asks.len() as u64);
                if let Some(id) = self.asks.keys().nth(usize::try_from(nth).unwrap()).copied() {
                    self.asks.remove(&id);
                    self.tell(Input::Withdraw(vec![id]));
                }
            }
            4 if self.dice.permille(self.faults.outside * 5) => self.outside(),
            5 if self.dice.permille(self.faults.outages) && self.engine_up => {
                self.log("engine down");
                self.engine_up = false;
                let outage = self.dice.millis(10, 30_000);
                self.plan(outage, Happening::EngineUp);
                if outage > Duration::from_secs(5) {
                    let told = Input::Watched(Err(unavailable()));
                    self.plan(Duration::from_secs(5), Happening::Told(told));
                }
            }
            6 if self.dice.permille(self.faults.crashes) => {
                if let Some(container) = &self.container {
                    let run = container.run;
                    self.crash(run);
                }
            }
            7 if self.leases > 0 && self.grants > 0 && self.dice.roll(20) == 0 => {
                let epoch = self.shared.ready_run().epoch;
                let number = self.shared.reports.make(epoch);
                self.tell(Input::UpstreamFailed { epoch, number });
            }
            8 if self.dice.roll(3) == 0 => self.ask_for_sleep(Force::No),
            9 if self.dice.permille(self.faults.locks) => self.lock(),
            10 if self.dice.permille(self.faults.by_hand * 2) => self.by_hand(),
            11 if self.dice.roll(10) == 0 => {
                // Something that needs it, and whose state is not known.
                self.shared.word.hold();
                self.lease_was_counted();
            }
            9 if self.faults.addresses && self.dice.roll(10) == 0 => {
                self.log("it moves");
                if let Some(container) = &mut self.container {
                    container.address = container.address % 200 + 1;
                }
            }
            _ => {
                // Time passes: sometimes a moment, sometimes longer than anything lasts.
                let pause = match self.dice.roll(4) {
                    0 => self.dice.millis(0, 10),
                    1 => self.dice.millis(10, 1_000),
                    2 => self.dice.millis(1_000, 20_000),
                    _ => Duration::ZERO,
                };
                let next = self.now + pause;
                let planned = self.agenda.peek().map_or(next, |Reverse(first)| first.at);
                let deadline = self.core.next_deadline().unwrap_or(next);
                self.now = self.now.max(next.min(planned).min(deadline));
            }
        }
    }

    pub(in crate::core::tests) fn ask(&mut self) {
        if self.shared.word.take() {
            return self.granted();
        }
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let patience = self.dice.millis(1_000, 60_000);
        let deadline = self.now + patience;
        self.asks.insert(id, deadline);
        self.wanted = true;
        self.tell(Input::Ask { id, kind: LeaseKind::Active, deadline });
    }

    pub(super) fn ask_for_sleep(&mut self, force: Force) {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let deadline = self.now + self.dice.millis(1_000, 60_000);
        self.sleepers.insert(id, (deadline, force));
        self.slept_at = None;
        self.tell(Input::SleepNow { id, deadline, force });
    }

    pub(super) fn is_forced(&self) -> bool {
        self.sleepers.values().any(|(_, force)| *force == Force::EvenInUse)
    }

    pub(super) fn by_hand(&mut self) {
        match self.dice.roll(4) {
            0 => {
                let hours = (self.dice.roll(2) == 0).then(|| self.dice.millis(1, 60_000));
                let until = hours.map(|time| self.now + time);
                self.sleeps.held = Some(Held { reason: "restore".into(), until });
                self.tell(Input::HoldAsleep(self.sleeps.held.clone()));
            }
            1 => self.release(),
            2 => self.ask_for_sleep(Force::EvenInUse),
            _ => self.tell(Input::CloseCircuit),
        }
    }

    pub(super) fn release(&mut self) {
        self.sleeps.held = None;
        self.tell(Input::HoldAsleep(None));
    }

    pub(super) fn is_held_asleep(&self) -> bool {
        let goes_on = |held: &Held| held.until.is_none_or(|until| self.now < until);
        self.sleeps.held.as_ref().is_some_and(goes_on)
    }

    /// Invariant 2: nobody is told "ready" unless this run was.
    pub(super) fn granted(&mut self) {
        assert!(!self.is_about_to_end(), "a lease on what is about to end");
        let run = self.shared.ready_run().run.clone();
        let observed = &self.told.ready;
        // What answered may be a run of which nobody has told yet: it serves all the same.
        let unheard_of = observed.as_ref().is_some_and(|run| !self.told.of.contains(run));
        assert!(
            observed.is_some() && (*observed == run || unheard_of),
            "a lease on {run:?}, while {observed:?} is what was observed ready",
        );
        let ready = self.shared.ready_run();
        if let Some(network) = ready.details.networks.first() {
            let dialled = network.addresses.first();
            assert!(
                dialled.is_some_and(|address| self.answered_at.contains(address)),
                "a lease on what is at {dialled:?}, where nobody answered",
            );
        }
        assert!(!self.is_held_asleep(), "a lease on what is held asleep");
        self.grants += 1;
        self.lease_was_counted();
    }

    pub(super) fn lease_was_counted(&mut self) {
        self.leases += 1;
        let held = self.dice.millis(1, 40_000);
        self.plan(held, Happening::LeaseEnds);
    }

    pub(super) fn drop_lease(&mut self) {
        self.leases -= 1;
        self.last_drop = Some(self.now);
        self.shared.word.drop_active(self.now.as_millis());
        self.log("lease ends");
    }
}
