//! Orders to the engine, and what came of them.

use std::time::Duration;

use drowse_provider::{ContainerStatus, Error, ErrorKind, Owner, StopOptions, Unusable};

use crate::{SleepMethod, sabotage::sabotaged};

use super::{
    Belief, Core, Effect, EffectId, Moment, OpenOrder, Order, OrderState, Proven, Reason,
    failures::is_of_permission,
};

/// How long anybody waits for it is another matter.
const START_WITHIN: Duration = Duration::from_mins(2);
const PAUSE_WITHIN: Duration = Duration::from_secs(30);
const KILL_WITHIN: Duration = Duration::from_mins(1);
/// What a stop may take beyond the container's own timeout: the engine's kill, and its answer.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// And what any order may take beyond that where high availability carries it out, in rounds of its
/// own: to start it, it may have to give up a node first.
const MANAGED_MARGIN: Duration = Duration::from_mins(3);
/// How long a program has to end that was asked to, by whomever, if its container does not say: Docker's
/// default.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const FIRST_RETRY: Duration = Duration::from_secs(1);
pub(super) const LONGEST_START_RETRY: Duration = Duration::from_secs(10);
/// How soon a start is tried again that nobody waits for any more, and that met a lock which no read
/// shows.
const LOCKED_START_RETRY: Duration = Duration::from_secs(30);
pub(super) const LONGEST_STOP_RETRY: Duration = Duration::from_mins(5);
/// How soon a stop whose answer was lost, and which may still be under way, is looked at again.
const WHILE_UNSETTLED: Duration = Duration::from_secs(1);
/// How long an engine may go on with an order after the time that it was given: whoever gave it has
/// stopped waiting, and that withdraws nothing.
const CARRIED_ON_FOR: Duration = Duration::from_mins(2);

impl Core {
    /// Its engine carries out as many orders as it may, and has not been given this start: which is
    /// decided anew when its turn comes.
    pub(super) fn queued(&mut self, id: EffectId) {
        if self.order.take_if(|open| open.id == id).is_some() {
            // Its clock starts at the order that is given.
            self.wake.ordered_at = None;
            self.wake.is_queued = true;
            self.reason = Reason::Queued;
        }
    }

    /// Whatever has become of the wake that waited for it.
    pub(super) fn turn_has_come(&mut self, now: Moment) {
        if std::mem::replace(&mut self.wake.is_queued, false) {
            // Whoever came meanwhile has as long as whoever comes now.
            self.wake.free_since = now;
        }
    }

    pub(super) fn order_start_in_turn(&mut self, now: Moment) {
        if self.wake.is_queued {
            self.reason = Reason::Queued;
        } else {
            self.order_start(now);
        }
    }

    fn order_start(&mut self, now: Moment) {
        self.wake.needs_until = None;
        self.wake.ordered_at.get_or_insert(now);
        self.reason = self.asked_for();
        self.give(now, Order::Start, START_WITHIN, None);
    }

    /// The gate is shut already, and nobody waits.
    pub(super) fn order_sleep(&mut self, now: Moment, resume: Option<Proven>) {
        // Whoever comes from now on begins a wake of its own.
        self.end_wake();
        let (order, within) = match &self.policy.sleep {
            SleepMethod::Stop(options) => self.stop_order(options),
            SleepMethod::Pause | SleepMethod::PauseThenStop { .. } => (Order::Pause, PAUSE_WITHIN),
            SleepMethod::Kill => (Order::Kill, KILL_WITHIN),
            // `consider_sleep` never comes here with it.
            SleepMethod::Never => return,
        };
        self.give(now, order, within, resume);
    }

    /// A stop, and how long it may take.
    pub(super) fn stop_order(&self, options: &StopOptions) -> (Order, Duration) {
        let own = match &self.belief {
            Belief::Seen(details) => details.stop_timeout,
            Belief::Unread | Belief::Absent => None,
        };
        let timeout = options.timeout.or(own).unwrap_or(STOP_TIMEOUT);
        (Order::Stop(options.clone()), timeout.saturating_add(STOP_MARGIN))
    }

    pub(super) fn give(
        &mut self,
        now: Moment,
        order: Order,
        within: Duration,
        resume: Option<Proven>,
    ) {
        // The look before a sleep that is not ordered now: it would tell of a time before this order.
        self.reading = None;
        self.gates.withdraw();
        let is_managed = matches!(&self.belief, Belief::Seen(details)
            if matches!(details.owner, Some(Owner::HighAvailability(_))));
        let within = if is_managed { within.saturating_add(MANAGED_MARGIN) } else { within };
        let id = self.new_id();
        self.probing.in_flight = None;
        self.order = Some(Box::new(OpenOrder {
            id,
            order: order.clone(),
            run_before: self.believed_run(),
            until: now + within,
            state: OrderState::InFlight,
            is_on_request: !self.sleepers.is_empty(),
            is_of_frozen: self.frozen_since.is_some(),
            resume,
        }));
        self.effects.push(Effect::Order { id, order, within });
    }

    pub(super) fn order_done(&mut self, now: Moment, id: EffectId, result: Result<(), Error>) {
        let Some(open) = self
            .order
            .as_mut()
            .filter(|open| open.id == id && matches!(open.state, OrderState::InFlight))
        else {
            return;
        };
        // Whatever the engine says, a read settles it: one that begins after its answer.
        let doubted = std::mem::replace(&mut self.stale, true);
        self.read.not_before = now;
        match result {
            Ok(()) => open.state = OrderState::Done,
            Err(error) if error.is_outcome_unknown() && sabotaged!(OrderAgainAfterALostAnswer) => {
                self.stale = doubted;
                self.order_refused(now, error, doubted);
            }
            Err(error) if error.is_outcome_unknown() => {
                if matches!(error.kind(), ErrorKind::Timeout { .. }) {
                    open.until = now + CARRIED_ON_FOR;
                }
                open.state = OrderState::Unknown(error);
            }
            Err(error) => self.order_refused(now, error, doubted),
        }
    }

    /// The engine did not take the order. Was anything told meanwhile that is in doubt?
    fn order_refused(&mut self, now: Moment, error: Error, doubted: bool) {
        let Some(open) = self.order.take() else { return };
        if open.order.is_start() {
            self.start_refused(now, error);
        } else {
            self.sleep_refused(now, *open, error, doubted);
        }
    }

    fn start_refused(&mut self, now: Moment, error: Error) {
        match error.kind() {
            ErrorKind::Locked { by } => {
                self.meet_lock(now, by);
                // Its clock starts at the order that gets through.
                self.wake.ordered_at = None;
                self.wake.retry.failed(now, FIRST_RETRY, LONGEST_START_RETRY);
                if self.waiters.is_empty() {
                    self.wake.retry.not_before = now + LOCKED_START_RETRY;
                }
            }
            // What the read will show decides.
            ErrorKind::NotFound | ErrorKind::Conflict { .. } => {
                self.wake.retry.failed(now, FIRST_RETRY, LONGEST_START_RETRY);
            }
            _ => {
                self.reason = Reason::start_refused(error.kind());
                let is_known = self.failures.is_known_lack_of_right(&error);
                if is_of_permission(&error) {
                    self.is_left_behind_for_long(now);
                }
                let next_attempt = self.failures.refused(now, error.clone(), &self.policy.circuit);
                self.wake.ordered_at = None;
                if self.waiters.is_empty() {
                    // Nobody is left for whom it would be tried again.
                    self.end_wake();
                }
                if !is_known {
                    let what = "starting it failed";
                    self.effects.push(Effect::Trouble { what, error, next_attempt });
                }
            }
        }
    }

    fn sleep_refused(&mut self, now: Moment, open: OpenOrder, error: Error, doubted: bool) {
        let not_taken = !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::Conflict { .. } | ErrorKind::Failed { .. }
        );
        self.reason = Reason::sleep_failed(error.kind());
        self.sleep_failed(now, error);
        if not_taken && let Some(proven) = open.resume {
            // Nothing was done to it: it serves on, and whoever came meanwhile is served at once.
            self.stale = doubted;
            self.open(proven);
        }
    }

    pub(super) fn sleep_failed(&mut self, now: Moment, error: Error) {
        let next_attempt = self.sleep.retry.failed(now, FIRST_RETRY, LONGEST_STOP_RETRY);
        self.sleep.due = true;
        if sabotaged!(NeverRetryAStop) {
            self.sleep.retry.not_before = now + Duration::from_hours(24 * 365);
        }
        self.sleep.check_at = self.sleep.retry.not_before;
        self.effects.push(Effect::Trouble {
            what: "putting it to sleep failed",
            error,
            next_attempt,
        });
    }

    /// A read came after the order's answer: this is what came of it.
    pub(super) fn settle_order(&mut self, now: Moment, old: &Belief) {
        let Some(open) = self.order.take() else { return };
        if open.order.is_start() {
            self.settle_start(now, &open, old);
        } else {
            self.settle_sleep(now, open);
        }
    }

    fn settle_start(&mut self, now: Moment, open: &OpenOrder, old: &Belief) {
        self.wake.locked = None;
        match self.belief.status().cloned() {
            Some(ContainerStatus::Running) => {
                self.wake.retry.succeeded();
                self.reason = Reason::Started;
                if self.is_another_container_than(old) {
                    // It was made anew meanwhile, and that one is up by its maker's will.
                    self.started_from_outside(now);
                } else if matches!(open.state, OrderState::Unknown(_)) {
                    // Or somebody else started it meanwhile: then it is in use for one idle time.
                    self.shared.word.touch(now.as_millis());
                }
            }
            Some(ContainerStatus::Stopped | ContainerStatus::Error(Unusable::Restarting)) => {
                let another_run = self.believed_run() != open.run_before;
                let carried_out = matches!(open.state, OrderState::Done) || another_run;
                if carried_out {
                    let exit = match &self.belief {
                        Belief::Seen(details) => details.observation.exit_code,
                        Belief::Unread | Belief::Absent => None,
                    };
                    self.outside.unexplained_death = Some(now);
                    if self.is_job() {
                        return self.job_ended(now, exit);
                    }
                    self.failures.died_starting(now, exit, &self.policy.circuit);
                    if let Some(reason) = self.failures.reason() {
                        self.reason = Reason::Failed(reason.into());
                    }
                } else {
                    self.start_was_lost(now, open);
                }
            }
            Some(ContainerStatus::Paused) => {
                if matches!(open.state, OrderState::Done) {
                    // It was thawed, and is frozen again: by somebody else.
                    self.frozen_since = None;
                }
                self.start_was_lost(now, open);
            }
            Some(_) => {}
            None => self.removed_from_outside(now),
        }
    }

    /// The engine never answered, and nothing came of it: it is safe to order it again.
    fn start_was_lost(&mut self, now: Moment, open: &OpenOrder) {
        let next_attempt = self.wake.retry.failed(now, FIRST_RETRY, LONGEST_START_RETRY);
        self.reason = Reason::StartLost;
        if let OrderState::Unknown(error) = &open.state {
            self.effects.push(Effect::Trouble {
                what: "the engine lost a start order",
                error: error.clone(),
                next_attempt,
            });
        }
    }

    fn settle_sleep(&mut self, now: Moment, open: Box<OpenOrder>) {
        let same_run = self.believed_run() == open.run_before;
        let still_running = same_run && self.belief.is_running();
        let frozen_to_be_ended = same_run
            && self.belief.status() == Some(&ContainerStatus::Paused)
            && open.order != Order::Pause;
        let is_lost = matches!(open.state, OrderState::Unknown(_));
        if is_lost && now < open.until && (still_running || frozen_to_be_ended) {
            // It may still be carrying it out: what the engine took is never withdrawn.
            self.order = Some(open);
            self.stale = true;
            self.read.not_before = now + WHILE_UNSETTLED;
            return;
        }
        if frozen_to_be_ended && self.frozen_since.is_some() {
            self.stays_frozen(now, &open);
            return;
        }
        if !still_running {
            self.fell_asleep(now, &open);
            return;
        }
        // Whoever came during the stop has as long as whoever comes now.
        self.wake.free_since = now;
        match &open.state {
            OrderState::Unknown(error) => {
                self.reason = Reason::sleep_failed(error.kind());
                let error = error.clone();
                self.sleep_failed(now, error);
                self.probing.next_at = now;
            }
            OrderState::Done | OrderState::InFlight => {
                // Its engine said that it had ended it, and it runs. Look again a little later.
                self.sleep.due = true;
                self.sleep.retry.failed(now, FIRST_RETRY, LONGEST_STOP_RETRY);
                self.sleep.check_at = self.sleep.retry.not_before;
                self.probing.next_at = now;
            }
        }
    }

    fn fell_asleep(&mut self, now: Moment, open: &OpenOrder) {
        let order = &open.order;
        self.sleep.retry.succeeded();
        self.sleep.due = false;
        match self.belief.status() {
            // Another run: somebody, or its restart policy, started it again.
            Some(ContainerStatus::Running) => self.started_from_outside(now),
            // While it was to be ended, which came to nothing.
            Some(ContainerStatus::Paused) if *order != Order::Pause => {
                self.frozen_from_outside(now);
            }
            Some(ContainerStatus::Stopped | ContainerStatus::Paused) => {
                if let Some(since) = self.served_since {
                    self.failures.forget_if_stable(now.since(since));
                }
                let is_frozen = self.belief.status() == Some(&ContainerStatus::Paused);
                if is_frozen {
                    self.frozen_since = Some(now);
                    self.sleep.check_at = now;
                }
                self.reason = match order {
                    Order::Pause if is_frozen => Reason::Frozen,
                    Order::Pause => Reason::EndedFreezing,
                    Order::Kill => Reason::Killed,
                    Order::Stop(_) | Order::Start => Reason::Stopped,
                };
                if open.is_on_request {
                    self.sleep.requested_at = Some(now);
                    self.reason = Reason::OnRequest;
                } else if !open.is_of_frozen {
                    self.effects.push(Effect::FellAsleep);
                }
            }
            Some(_) => {}
            None => self.removed_from_outside(now),
        }
    }
}
