//! One workload that needs another, both as their tasks carry them out, and one client.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use drowse_provider::ContainerStatus;

use crate::{
    Condition, LeaseKind, PhaseName, Policy,
    core::{AskId, Core, Effect, EffectId, Input, Moment, NeedOf, NeedsNow, Order},
    need::NeedSeen,
    shared::{Shared, Standing},
};

use super::{
    search::{Verdict, World},
    side::{Act, Message, Side, anchor},
};

const IDLE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_mins(2);
/// Longer than anything takes that may be under way when faults and wishes end.
const TAIL: Duration = Duration::from_mins(15);
/// Within this what has died under a dependent in use is there again.
const MENDED_WITHIN: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) root: Root,
    pub(super) asks: u8,
    pub(super) faults: u8,
    /// How often drowse is killed and begins anew.
    pub(super) restarts: u8,
    pub(super) bug: Option<Bug>,
}

/// Where each history begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    Asleep,
    /// Both are ready, and the client uses the one that needs the other.
    InUse,
    /// Both are ready, and the dependent's idle time is over in a moment.
    Idle,
}

/// A mistake on purpose, in what the dependent's task does for its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// What is needed is not held.
    NeedsAreNotHeld,
    /// At a start of drowse nothing is held until the first step.
    NothingIsHeldAtTheStart,
    /// What is needed is looked at as if it were there.
    NeedsAlwaysLookMet,
    /// Nobody is told that a hold has ended.
    HoldsAreNeverGivenBack,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Ask,
    Leave,
    Drop,
    OfDependent(Act),
    OfNeed(Act),
    /// The dependent's task hears that the one it needs has changed.
    Notice,
    Pass,
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Away,
    Waiting(AskId),
    Holding,
}

/// What the dependent's task does for its core while what is needed is held.
#[derive(Debug, Default)]
struct Work {
    seen: Option<NeedSeen>,
    /// The wakes that wait for their answers.
    wakes: Vec<(EffectId, AskId)>,
}

#[derive(Debug)]
pub(super) struct Pair {
    dependent: Side,
    need: Side,
    now: Moment,
    client: Client,
    asks_left: u8,
    faults_left: u8,
    restarts_left: u8,
    next_ask: u64,
    /// The dependent's, of the one that it needs.
    holds: bool,
    work: Option<Work>,
    /// What the dependent's task would hear of a change.
    shown: (PhaseName, Moment, usize),
    /// It has changed, and the dependent's task has not heard of it.
    is_news: bool,
    /// When the dependent was last used, or drowse began.
    last_use: Option<Moment>,
    bug: Option<Bug>,
}

impl World for Pair {
    type Setup = Setup;
    type Choice = Choice;

    fn begin(setup: &Setup) -> Self {
        let now = Moment::from_millis(0);
        let (need, dependent) = (Arc::new(Shared::new(anchor())), Arc::new(Shared::new(anchor())));
        let status = match setup.root {
            Root::Asleep => ContainerStatus::Stopped,
            Root::InUse | Root::Idle => ContainerStatus::Running,
        };
        let mut pair = Self {
            need: Side::new(core_of_need(&need, now), need, status.clone()),
            dependent: Side::new(core_of_dependent(&dependent, now), dependent, status),
            now,
            client: Client::Away,
            asks_left: setup.asks + 1,
            faults_left: setup.faults,
            restarts_left: setup.restarts,
            next_ask: 0,
            holds: false,
            work: None,
            shown: (PhaseName::Unread, now, 0),
            is_news: false,
            last_use: None,
            bug: setup.bug.filter(|bug| *bug != Bug::NothingIsHeldAtTheStart),
        };
        pair.first_steps().expect("nothing was asked for yet");
        let almost_idle = IDLE.checked_sub(Duration::from_millis(1)).expect("it is longer");
        pair.quietly_until(now + almost_idle).expect("it comes to rest");
        if matches!(setup.root, Root::InUse) {
            pair.ask().expect("it is ready");
        }
        pair.asks_left = setup.asks;
        pair.bug = setup.bug;
        pair
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        match self.client {
            Client::Away if self.asks_left > 0 => choices.push(Choice::Ask),
            Client::Away => {}
            Client::Waiting(_) => choices.push(Choice::Leave),
            Client::Holding => choices.push(Choice::Drop),
        }
        let may_fail = self.faults_left > 0;
        choices.extend(self.dependent.acts(may_fail).into_iter().map(Choice::OfDependent));
        choices.extend(self.need.acts(may_fail).into_iter().map(Choice::OfNeed));
        if self.is_news && self.work.is_some() {
            choices.push(Choice::Notice);
        }
        if self.next_tick().is_some() {
            choices.push(Choice::Pass);
        }
        if self.restarts_left > 0 {
            choices.push(Choice::Restart);
        }
        choices
    }

    fn choose(&mut self, choice: &Choice) -> Verdict {
        match *choice {
            Choice::Ask => self.ask()?,
            Choice::Leave => self.leave(),
            Choice::Drop => self.drop_lease(),
            Choice::OfDependent(act) => {
                self.faults_left -= u8::from(act.is_fault());
                self.of_dependent(act)?;
            }
            Choice::OfNeed(act) => {
                self.faults_left -= u8::from(act.is_fault());
                self.of_need(act)?;
            }
            Choice::Notice => self.tell_dependent(Input::Tick)?,
            Choice::Pass => {
                self.now = self.next_tick().expect("it was chosen because there is one");
                self.tick()?;
            }
            Choice::Restart => {
                self.restarts_left -= 1;
                self.restart()?;
            }
        }
        self.check()
    }

    fn settle(&mut self) -> Verdict {
        (self.faults_left, self.restarts_left) = (0, 0);
        self.dependent.sync(self.now);
        self.need.sync(self.now);
        if self.client == Client::Holding {
            self.quietly_until(self.now + MENDED_WITHIN)?;
            let runs = self.dependent.core.phase() == PhaseName::Ready;
            let is_there = self.need.core.phase() == PhaseName::Ready;
            if runs && !is_there && !self.is_left_to_somebodys_will() {
                let reason = self.need.core.reason();
                return Err(format!("what is needed is not mended under its dependent: {reason}"));
            }
        }
        match self.client {
            Client::Away => {}
            Client::Waiting(_) => self.leave(),
            Client::Holding => self.drop_lease(),
        }
        self.quietly_until(self.now + TAIL)?;
        self.must_be_asleep("after all have gone")?;
        self.asks_left = 1;
        self.ask()?;
        self.quietly_until(self.now + PATIENCE)?;
        if self.client != Client::Holding || self.need.core.phase() != PhaseName::Ready {
            let reason = self.dependent.core.reason();
            return Err(format!("{} and {reason} after it was asked for", self.need.core.phase()));
        }
        self.drop_lease();
        self.quietly_until(self.now + TAIL)?;
        self.must_be_asleep("after it was woken once more")
    }
}

impl Pair {
    /// As drowse begins to manage both: what is needed first, and its dependent holds it from the
    /// moment that it is there.
    fn first_steps(&mut self) -> Verdict {
        self.holds = false;
        if self.bug != Some(Bug::NothingIsHeldAtTheStart) {
            self.hold();
        }
        self.work = Some(Work::default());
        self.tell_need(Input::Tick)?;
        self.tell_dependent(Input::Tick)
    }

    /// drowse is killed with all its connections, and begins anew.
    fn restart(&mut self) -> Verdict {
        let (need, dependent) = (Arc::new(Shared::new(anchor())), Arc::new(Shared::new(anchor())));
        self.need.begin_anew(core_of_need(&need, self.now), need);
        self.dependent.begin_anew(core_of_dependent(&dependent, self.now), dependent);
        self.client = Client::Away;
        self.last_use = Some(self.now);
        self.first_steps()
    }

    fn hold(&mut self) {
        if self.bug != Some(Bug::NeedsAreNotHeld) && !self.holds {
            self.holds = true;
            self.need.shared.word.hold();
            self.need.shared.dependents.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn let_go(&mut self) {
        if let Some(work) = self.work.take() {
            for (_, ask) in work.wakes {
                self.need.withdraw(self.now, ask);
            }
        }
        if self.holds && self.bug != Some(Bug::HoldsAreNeverGivenBack) {
            self.holds = false;
            self.need.shared.drop_dependent();
            self.need.send(self.now, Message::LetGo);
        }
    }

    fn quietly_until(&mut self, end: Moment) -> Verdict {
        loop {
            let deadline = self.next_deadline().filter(|at| *at <= end);
            if let Some(act) = self.need.next_act() {
                self.of_need(act)?;
            } else if let Some(act) = self.dependent.next_act() {
                self.of_dependent(act)?;
            } else if self.is_news && self.work.is_some() {
                self.tell_dependent(Input::Tick)?;
            } else if let Some(at) = deadline {
                self.now = at;
                self.tick()?;
            } else {
                break;
            }
            self.check()?;
        }
        self.now = end;
        Ok(())
    }

    fn next_deadline(&self) -> Option<Moment> {
        let deadlines = [self.dependent.core.next_deadline(), self.need.core.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn next_tick(&self) -> Option<Moment> {
        let first = [self.dependent.by(), self.need.by()].into_iter().flatten().min();
        // News travel no slower than anything else.
        let first = if self.is_news && self.work.is_some() { Some(self.now) } else { first };
        self.next_deadline().filter(|at| first.is_none_or(|first| *at <= first))
    }

    /// Whose deadline has come.
    fn tick(&mut self) -> Verdict {
        let is_due = |core: &Core| core.next_deadline().is_some_and(|at| at <= self.now);
        let (need, dependent) = (is_due(&self.need.core), is_due(&self.dependent.core));
        if need {
            self.tell_need(Input::Tick)?;
        }
        if dependent {
            self.tell_dependent(Input::Tick)?;
        }
        Ok(())
    }

    fn next_id(&mut self) -> AskId {
        self.next_ask += 1;
        AskId(self.next_ask)
    }

    fn ask(&mut self) -> Verdict {
        self.asks_left -= 1;
        if self.dependent.shared.word.take() {
            return self.granted();
        }
        let id = self.next_id();
        self.client = Client::Waiting(id);
        let message = Message::Ask(id, LeaseKind::Active, self.now + PATIENCE);
        self.dependent.send(self.now, message);
        Ok(())
    }

    fn leave(&mut self) {
        if let Client::Waiting(id) = self.client {
            self.client = Client::Away;
            self.dependent.withdraw(self.now, id);
        }
    }

    fn drop_lease(&mut self) {
        self.client = Client::Away;
        self.last_use = Some(self.now);
        self.dependent.shared.word.drop_active(self.now.as_millis());
    }

    fn granted(&mut self) -> Verdict {
        self.client = Client::Holding;
        self.dependent.check_grant()
    }

    fn of_dependent(&mut self, act: Act) -> Verdict {
        match self.dependent.act(self.now, act) {
            Some(input) => {
                if let (Input::NeedAnswered { id, .. }, Some(work)) = (&input, &mut self.work) {
                    work.wakes.retain(|(wake, _)| wake != id);
                }
                self.tell_dependent(input)
            }
            None => Ok(()),
        }
    }

    fn of_need(&mut self, act: Act) -> Verdict {
        match self.need.act(self.now, act) {
            Some(input) => self.tell_need(input),
            None => Ok(()),
        }
    }

    /// What is needed is looked at before each step, and after it if it is held only since then.
    fn tell_dependent(&mut self, input: Input) -> Verdict {
        self.is_news = false;
        self.look_at_need()?;
        self.take(input)?;
        self.look_at_need()
    }

    fn look_at_need(&mut self) -> Verdict {
        let seen = self.seen();
        match &mut self.work {
            Some(work) if work.seen != Some(seen) => {
                work.seen = Some(seen);
                self.take(Input::NeedsSeen(vec![seen]))
            }
            _ => Ok(()),
        }
    }

    /// As `Need::look` has it, of one that is to be ready.
    fn seen(&self) -> NeedSeen {
        let shared = &self.need.shared;
        let standing = shared.standing();
        if shared.word.look().is_open() || self.bug == Some(Bug::NeedsAlwaysLookMet) {
            NeedSeen::Met
        } else if standing == Standing::Down {
            NeedSeen::Down { ended_by_others_at: shared.ended_at() }
        } else {
            NeedSeen::Unmet
        }
    }

    fn take(&mut self, input: Input) -> Verdict {
        for effect in self.dependent.tell(self.now, input) {
            match effect {
                Effect::Order { id, order, within } => {
                    self.check_dependents_order(&order)?;
                    self.dependent.take_order(self.now, id, order, within)?;
                }
                Effect::HoldNeeds => {
                    self.hold();
                    self.work = Some(Work::default());
                }
                Effect::LetNeedsGo => self.let_go(),
                Effect::WakeNeed { id, deadline, .. } => self.wake_need(id, deadline)?,
                Effect::Grant(id) if self.client == Client::Waiting(id) => self.granted()?,
                Effect::Grant(_) => {
                    self.last_use = Some(self.now);
                    self.dependent.shared.word.drop_active(self.now.as_millis());
                }
                Effect::Refuse(id, _) if self.client == Client::Waiting(id) => {
                    self.client = Client::Away;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The lease is dropped as soon as it is given: what it is for is held already.
    fn wake_need(&mut self, id: EffectId, deadline: Moment) -> Verdict {
        if self.need.shared.word.take() {
            self.need.check_grant()?;
            self.give_back();
            self.dependent.send(self.now, Message::NeedAnswered(id, Ok(())));
            return Ok(());
        }
        let ask = self.next_id();
        if let Some(work) = &mut self.work {
            work.wakes.push((id, ask));
            self.need.send(self.now, Message::Ask(ask, LeaseKind::Dependent, deadline));
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.need.shared.dependents.fetch_add(1, Ordering::Relaxed);
        self.need.shared.drop_dependent();
        self.need.send(self.now, Message::LetGo);
    }

    fn tell_need(&mut self, input: Input) -> Verdict {
        for effect in self.need.tell(self.now, input) {
            match effect {
                Effect::Order { id, order, within } => {
                    self.check_needs_order(&order)?;
                    self.need.take_order(self.now, id, order, within)?;
                }
                Effect::Grant(ask) => {
                    self.give_back();
                    if let Some(id) = self.wake_of(ask) {
                        self.dependent.send(self.now, Message::NeedAnswered(id, Ok(())));
                    }
                }
                Effect::Refuse(ask, error) => {
                    if let Some(id) = self.wake_of(ask) {
                        self.dependent.send(self.now, Message::NeedAnswered(id, Err(error)));
                    }
                }
                _ => {}
            }
        }
        let shown = (self.need.core.phase(), self.need.core.since(), self.need.core.waiting());
        self.is_news |= self.work.is_some() && shown != self.shown;
        self.shown = shown;
        Ok(())
    }

    fn wake_of(&self, ask: AskId) -> Option<EffectId> {
        let wakes = &self.work.as_ref()?.wakes;
        wakes.iter().find(|(_, of)| *of == ask).map(|(id, _)| *id)
    }

    /// Invariants 1, 6 and 8, of the one that needs the other.
    fn check_dependents_order(&self, order: &Order) -> Verdict {
        if order.is_start() {
            return match self.need.told.ready {
                Some(_) => Ok(()),
                None => Err("a start is ordered before what it needs was seen ready".to_owned()),
            };
        }
        if self.client != Client::Away {
            return Err(format!("{order:?} is ordered while it is in use"));
        }
        match self.last_use.map(|at| self.now.since(at)) {
            Some(idle) if idle + Duration::from_millis(1) < IDLE => {
                Err(format!("{order:?} is ordered {idle:?} after its last use"))
            }
            _ => Ok(()),
        }
    }

    /// And of the one that is needed.
    fn check_needs_order(&self, order: &Order) -> Verdict {
        let may_run = *self.dependent.status() == ContainerStatus::Running;
        if !order.is_start() && may_run && !self.dependent.was_seen_stopped() {
            return Err(format!("{order:?} is ordered of what a container needs that runs"));
        }
        Ok(())
    }

    /// Somebody ended what is needed, and the dependent's last use was over before.
    fn is_left_to_somebodys_will(&self) -> bool {
        let shared = &self.need.shared;
        let ended_at = shared.ended_at().map(|at| shared.moment(at));
        ended_at.is_some_and(|at| self.last_use.is_none_or(|used| used <= at))
    }

    fn check(&self) -> Verdict {
        self.dependent.check(usize::from(self.client == Client::Holding))?;
        self.need.check(usize::from(self.holds))
    }

    fn must_be_asleep(&self, when: &str) -> Verdict {
        self.dependent.must_be_asleep(&format!("of the dependent {when}"))?;
        self.need.must_be_asleep(&format!("of what it needs {when}"))
    }
}

fn core_of_need(shared: &Arc<Shared>, now: Moment) -> Core {
    Core::new(Arc::clone(shared), Policy::new(IDLE), now)
}

fn core_of_dependent(shared: &Arc<Shared>, now: Moment) -> Core {
    let needs = NeedOf { name: "db".into(), condition: Condition::Ready };
    Core::new(Arc::clone(shared), Policy::new(IDLE), now).needing(NeedsNow::Of(vec![needs]))
}
