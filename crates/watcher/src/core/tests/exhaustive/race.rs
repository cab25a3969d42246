//! Two clients, one engine, and the race between a lease and a stop.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use drowse_provider::ContainerStatus;

use crate::{
    LeaseKind, Policy,
    core::{AskId, Core, Effect, Input, Moment, Order},
    shared::Shared,
};

use super::{
    search::{Verdict, World},
    side::{Act, Message, Side, anchor},
};

const IDLE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than anything takes that may be under way when faults and wishes end.
const TAIL: Duration = Duration::from_mins(10);

#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) root: Root,
    /// How often each client may ask.
    pub(super) asks: u8,
    /// How much may go wrong in one history.
    pub(super) faults: u8,
    pub(super) bug: Option<Bug>,
}

/// Where each history begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// Ready and used by nobody, a moment before its idle time is over.
    Idle,
    Asleep,
}

/// A mistake on purpose, between the core and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// As if the gate were shut without a look at who came through it since.
    LeasesDuringTheLookAreNotCounted,
    /// A lease that was granted never reaches whoever asked.
    GrantsAreForgotten,
    /// As if a lost answer said that the order was not taken.
    LostAnswersAreRefusals,
    /// The end of a lease leaves no moment of last use.
    UseIsNotNoted,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Ask(usize),
    Leave(usize),
    Drop(usize),
    /// Something happens between the core and the engine.
    Happens(Act),
    /// Time passes until the core's next deadline.
    Pass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Away,
    /// The gate was shut: the request is on its way to the core, or waits there.
    Waiting(AskId),
    Holding,
}

#[derive(Debug)]
pub(super) struct Race {
    side: Side,
    now: Moment,
    clients: [Client; 2],
    asks_left: [u8; 2],
    faults_left: u8,
    next_ask: u64,
    /// Of those of whom the core knows.
    deadlines: BTreeMap<AskId, Moment>,
    last_drop: Option<Moment>,
    /// Somebody asked since it was last put to sleep.
    wanted: bool,
    /// Leases that nobody counted, by a bug.
    uncounted: usize,
    bug: Option<Bug>,
}

impl World for Race {
    type Setup = Setup;
    type Choice = Choice;

    fn begin(setup: &Setup) -> Self {
        let shared = Arc::new(Shared::new(anchor()));
        let now = Moment::from_millis(0);
        let core = Core::new(Arc::clone(&shared), Policy::new(IDLE), now);
        let status = match setup.root {
            Root::Idle => ContainerStatus::Running,
            Root::Asleep => ContainerStatus::Stopped,
        };
        let mut race = Self {
            side: Side::new(core, shared, status)
                .with_lost_answers_as_refusals(setup.bug == Some(Bug::LostAnswersAreRefusals)),
            now,
            clients: [Client::Away; 2],
            asks_left: [setup.asks; 2],
            faults_left: setup.faults,
            next_ask: 0,
            deadlines: BTreeMap::new(),
            last_drop: None,
            wanted: false,
            uncounted: 0,
            bug: setup.bug,
        };
        race.tell(Input::Tick).expect("nothing was asked for yet");
        let almost_idle = IDLE.checked_sub(Duration::from_millis(1)).expect("it is longer");
        race.quietly_until(now + almost_idle).expect("it comes to rest");
        race
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (who, client) in self.clients.iter().enumerate() {
            match client {
                Client::Away if self.asks_left[who] > 0 => choices.push(Choice::Ask(who)),
                Client::Away => {}
                Client::Waiting(_) => choices.push(Choice::Leave(who)),
                Client::Holding => choices.push(Choice::Drop(who)),
            }
        }
        choices.extend(self.side.acts(self.faults_left > 0).into_iter().map(Choice::Happens));
        if self.next_tick().is_some() {
            choices.push(Choice::Pass);
        }
        choices
    }

    fn choose(&mut self, choice: &Choice) -> Verdict {
        match *choice {
            Choice::Ask(who) => self.ask(who)?,
            Choice::Leave(who) => self.leave(who),
            Choice::Drop(who) => self.drop_lease(who),
            Choice::Happens(act) => {
                self.faults_left -= u8::from(act.is_fault());
                self.happen(act)?;
            }
            Choice::Pass => {
                self.now = self.next_tick().expect("it was chosen because there is one");
                self.tell(Input::Tick)?;
            }
        }
        self.check()
    }

    fn settle(&mut self) -> Verdict {
        self.faults_left = 0;
        for who in 0..self.clients.len() {
            match self.clients[who] {
                Client::Away => {}
                Client::Waiting(_) => self.leave(who),
                Client::Holding => self.drop_lease(who),
            }
        }
        self.side.sync(self.now);
        self.quietly_until(self.now + TAIL)?;
        self.must_be_asleep("after all have gone")?;
        self.asks_left = [1; 2];
        self.ask(0)?;
        self.quietly_until(self.now + PATIENCE)?;
        if self.clients[0] != Client::Holding {
            return Err(format!("it cannot be woken: {:?}", self.side.core.reason()));
        }
        self.drop_lease(0);
        self.quietly_until(self.now + TAIL)?;
        self.must_be_asleep("after it was woken once more")
    }
}

impl Race {
    /// Lets all that is under way come to its end, in its order, and time pass.
    fn quietly_until(&mut self, end: Moment) -> Verdict {
        loop {
            if let Some(act) = self.side.next_act() {
                self.happen(act)?;
            } else if let Some(at) = self.side.core.next_deadline().filter(|at| *at <= end) {
                self.now = at;
                self.tell(Input::Tick)?;
            } else {
                break;
            }
            self.check()?;
        }
        self.now = end;
        Ok(())
    }

    /// The core's next deadline, unless something is there before.
    fn next_tick(&self) -> Option<Moment> {
        let first = self.side.by();
        self.side.core.next_deadline().filter(|at| first.is_none_or(|first| *at <= first))
    }

    fn ask(&mut self, who: usize) -> Verdict {
        self.asks_left[who] -= 1;
        let word = &self.side.shared.word;
        if self.bug == Some(Bug::LeasesDuringTheLookAreNotCounted)
            && word.look().is_open()
            && self.side.next_act().is_some()
        {
            self.uncounted += 1;
            return self.granted(who);
        }
        if word.take() {
            return self.granted(who);
        }
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        self.clients[who] = Client::Waiting(id);
        self.wanted = true;
        let deadline = self.now + PATIENCE;
        self.side.send(self.now, Message::Ask(id, LeaseKind::Active, deadline));
        Ok(())
    }

    fn leave(&mut self, who: usize) {
        let Client::Waiting(id) = self.clients[who] else { return };
        self.clients[who] = Client::Away;
        self.deadlines.remove(&id);
        self.side.withdraw(self.now, id);
    }

    fn drop_lease(&mut self, who: usize) {
        self.clients[who] = Client::Away;
        self.last_drop = Some(self.now);
        let word = &self.side.shared.word;
        if self.uncounted > 0 {
            self.uncounted -= 1;
        } else if self.bug == Some(Bug::UseIsNotNoted) {
            word.drop_passive();
        } else {
            word.drop_active(self.now.as_millis());
        }
    }

    fn granted(&mut self, who: usize) -> Verdict {
        self.clients[who] = Client::Holding;
        self.side.check_grant()
    }

    fn happen(&mut self, act: Act) -> Verdict {
        match self.side.act(self.now, act) {
            Some(input) => {
                if let Input::Ask { id, deadline, .. } = &input {
                    self.deadlines.insert(*id, *deadline);
                }
                self.tell(input)
            }
            None => Ok(()),
        }
    }

    fn tell(&mut self, input: Input) -> Verdict {
        for effect in self.side.tell(self.now, input) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Verdict {
        match effect {
            Effect::Order { id, order, within } => {
                self.check_order(&order)?;
                if !order.is_start() {
                    self.wanted = self.clients.iter().any(|one| matches!(one, Client::Waiting(_)));
                }
                self.side.take_order(self.now, id, order, within)?;
            }
            Effect::Grant(id) => {
                self.deadlines.remove(&id);
                match self.clients.iter().position(|client| *client == Client::Waiting(id)) {
                    Some(_) if self.bug == Some(Bug::GrantsAreForgotten) => {}
                    Some(who) => self.granted(who)?,
                    // Its answer comes back to nobody, and the lease is given back.
                    None => {
                        self.last_drop = Some(self.now);
                        self.side.shared.word.drop_active(self.now.as_millis());
                    }
                }
            }
            Effect::Refuse(id, _) => {
                self.deadlines.remove(&id);
                for client in &mut self.clients {
                    if *client == Client::Waiting(id) {
                        *client = Client::Away;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn leases(&self) -> usize {
        self.clients.iter().filter(|client| **client == Client::Holding).count()
    }

    /// Invariant 1.
    fn check_order(&self, order: &Order) -> Verdict {
        if order.is_start() {
            return if self.wanted {
                Ok(())
            } else {
                Err("a start is ordered and nobody asked for it".to_owned())
            };
        }
        if self.leases() > 0 {
            return Err(format!("{order:?} is ordered while leases are held"));
        }
        if !self.deadlines.is_empty() {
            return Err(format!("{order:?} is ordered while somebody waits"));
        }
        match self.last_drop.map(|at| self.now.since(at)) {
            // The word counts in whole milliseconds.
            Some(idle) if idle + Duration::from_millis(1) < IDLE => {
                Err(format!("{order:?} is ordered {idle:?} after the last lease ended"))
            }
            _ => Ok(()),
        }
    }

    /// What holds whenever a step is over: invariant 4, and that all agree.
    fn check(&self) -> Verdict {
        self.side.check(self.leases() - self.uncounted)?;
        match self.deadlines.iter().find(|(_, deadline)| **deadline < self.now) {
            Some((id, _)) => Err(format!("{id:?} was not answered in time")),
            None => Ok(()),
        }
    }

    fn must_be_asleep(&self, when: &str) -> Verdict {
        self.side.must_be_asleep(when)?;
        match self.clients.iter().find(|client| **client != Client::Away) {
            Some(client) => Err(format!("{client:?} {when}")),
            None => Ok(()),
        }
    }
}
