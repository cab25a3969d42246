//! What must hold at each step.

use super::*;

/// What must hold of sleeps, beside leases.
#[derive(Debug, Default)]
pub(super) struct Sleeps {
    /// The gates that were asked last, and how many leases had been given by then.
    pub(super) asked: Option<(EffectId, u64)>,
    /// They agreed, when that many leases had been given.
    pub(super) may_sleep: Option<u64>,
    /// The last read that was told found it frozen, and the first of these was then.
    pub(super) frozen_at: Option<Moment>,
    /// It was frozen by an order of the core's, or before the first read.
    pub(super) is_ours: bool,
    /// The last order was to freeze it.
    pub(super) freezes: bool,
    /// When it last became ready by a wake, unless it was asleep since, by whomever.
    pub(super) woken_at: Option<Moment>,
    pub(super) held: Option<Held>,
}

/// What the core has been told about the run that it may call ready.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The run that last answered a probe, with no stop or death of it told since.
    pub(super) ready: Option<RunId>,
    /// What it was when a sleep was ordered that may yet be refused.
    pub(super) before_order: Option<RunId>,
    /// Which run answered a probe whose result is still on its way.
    pub(super) probed: BTreeMap<EffectId, RunId>,
    /// The probe that was not withdrawn for a later one.
    pub(super) last_probe: Option<EffectId>,
    /// Every run that was ever told of.
    pub(super) of: HashSet<RunId>,
}

impl World {
    /// What the core has been told decides what it may call ready.
    pub(super) fn note_told(&mut self, input: &Input) {
        let ended = |observation: &Observation, ready: &Option<RunId>| {
            observation.status != ContainerStatus::Running || observation.run != *ready
        };
        match input {
            // What was ready before a sleep was ordered is not, once its end was told.
            Input::Watched(Ok(WatchItem::Synced(observation)))
                if ended(observation, &self.told.before_order) =>
            {
                self.told.before_order = None;
            }
            Input::Watched(Ok(WatchItem::Removed)) => self.told.before_order = None,
            Input::Watched(Ok(WatchItem::Event(event))) if ends(&event.action) => {
                self.told.before_order = None;
                if !matches!(event.action, EventAction::Die(_) | EventAction::Pause) {
                    // Nor does an answer from before that prove anything.
                    self.told.probed.clear();
                }
            }
            _ => {}
        }
        match input {
            Input::ProbeDone { id, result: Ok(()) }
                if self.order_in_flight.is_none() && self.told.last_probe == Some(*id) =>
            {
                self.told.ready = self.told.probed.remove(id);
            }
            Input::Watched(Ok(WatchItem::Synced(observation))) => {
                self.told.of.extend(observation.run.clone());
                if ended(observation, &self.told.ready) {
                    self.told.ready = None;
                }
            }
            Input::GatesAnswered { id, result } => {
                let of_last = self.sleeps.asked.filter(|(asked, _)| asked == id);
                self.sleeps.may_sleep = of_last.filter(|_| result.is_ok()).map(|(_, uses)| uses);
            }
            Input::ReadDone { result: Ok(details), .. } => {
                let is_frozen = details.observation.status == ContainerStatus::Paused;
                let since = self.sleeps.frozen_at.unwrap_or(self.now);
                self.sleeps.frozen_at = is_frozen.then_some(since);
                self.unsettled = false;
                self.read_locked = details.observation.lock.is_some();
                self.met_lock |= self.read_locked;
                self.told.of.extend(details.observation.run.clone());
                if ended(&details.observation, &self.told.ready) {
                    self.told.ready = None;
                }
            }
            Input::ReadDone { result: Err(error), .. }
                if matches!(error.kind(), ErrorKind::NotFound) =>
            {
                self.unsettled = false;
                self.told.ready = None;
            }
            Input::Watched(Ok(WatchItem::Removed)) => self.told.ready = None,
            Input::Watched(Ok(WatchItem::Event(event)))
                if self.order_in_flight.is_none() && ends(&event.action) =>
            {
                self.told.ready = None;
            }
            Input::OrderDone { result, .. } => {
                self.order_in_flight = None;
                self.met_lock = matches!(result, Err(error)
                    if matches!(error.kind(), ErrorKind::Locked { .. }));
                match result {
                    Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => {
                        self.unsettled = false;
                        self.told.ready = self.told.before_order.take();
                    }
                    Err(error) if error.is_outcome_unknown() => self.unsettled = true,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Invariants 1 and 3.
    pub(super) fn check_order(&self, order: &Order) {
        assert!(
            self.order_in_flight.is_none() && !self.unsettled,
            "{order:?} is ordered while {:?} is not settled",
            self.order_in_flight
        );
        assert!(!self.read_locked, "{order:?} is ordered of what was read as locked");
        let by_hand = !self.sleepers.is_empty();
        assert!(by_hand || !self.is_held_asleep(), "{order:?} is ordered of what is held asleep");
        if order.is_start() {
            assert!(self.wanted || self.met_lock, "{order:?} is ordered and nobody asked for it");
            return;
        }
        self.check_sleep(order);
        if !self.is_forced() {
            assert_eq!(self.leases, 0, "{order:?} is ordered while leases are held");
            assert_eq!(self.shared.word.look().leases(), 0);
            assert!(self.asks.is_empty(), "{order:?} is ordered while somebody waits");
        }
        if let Some(slept_at) = self.slept_at {
            let pause = self.now.since(slept_at);
            assert!(pause >= Duration::from_secs(1), "{order:?} is ordered again after {pause:?}");
        }
        if let Some(last_drop) = self.last_drop.filter(|_| self.sleepers.is_empty()) {
            let idle = self.now.since(last_drop);
            // The word counts in whole milliseconds.
            assert!(
                idle + Duration::from_millis(1) >= IDLE,
                "{order:?} is ordered {idle:?} after the last lease ended"
            );
        }
    }

    /// What speaks against a sleep beside leases.
    pub(super) fn check_sleep(&self, order: &Order) {
        if let Some(frozen_at) = self.sleeps.frozen_at {
            assert!(self.faults.deepens && self.sleeps.is_ours, "{order:?} of what others froze");
            let frozen_for = self.now.since(frozen_at);
            assert!(
                frozen_for >= STOPPED_AFTER,
                "{order:?} after it was frozen for {frozen_for:?}"
            );
            return;
        }
        if self.faults.gates && !self.is_forced() {
            assert_eq!(
                self.sleeps.may_sleep,
                Some(self.grants),
                "{order:?} is ordered and its gates did not agree since the last lease",
            );
        }
        if let Some(woken_at) = self.sleeps.woken_at
            && self.faults.deepens
            && self.sleepers.is_empty()
        {
            let awake = self.now.since(woken_at);
            assert!(awake >= MIN_AWAKE, "{order:?} is ordered {awake:?} after its wake");
        }
    }

    /// Invariant 4.
    pub(super) fn check_deadlines(&self) {
        for (id, deadline) in &self.asks {
            assert!(*deadline >= self.now, "{id:?} was to be answered by {deadline:?}");
        }
        for (id, (deadline, _)) in &self.sleepers {
            assert!(*deadline >= self.now, "{id:?} was to be asleep by {deadline:?}");
        }
    }
}

/// Whether it tells that a program ends, was asked to, or was frozen.
pub(super) fn ends(action: &EventAction) -> bool {
    matches!(
        action,
        EventAction::Die(_)
            | EventAction::Stop
            | EventAction::Pause
            | EventAction::Kill(Some(Signal::TERM))
    )
}
