//! Requests for leases and for sleep, and their answers.

use std::{borrow::Cow, time::Duration};

use drowse_provider::ContainerStatus;

use crate::{LeaseKind, PhaseName, SleepError, WakeError, sabotage::sabotaged, word::Seen};

use super::{
    AskId, Belief, Core, Effect, Moment, Reason,
    failures::is_of_permission,
    locks::LOCK_PATIENCE,
    orders::{FIRST_RETRY, LONGEST_START_RETRY},
    truth::FIRST_READ_RETRY,
};

/// What a client is told to wait before it asks again, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn asked(&mut self, now: Moment, id: AskId, kind: LeaseKind, deadline: Moment) {
        // It may have become ready while the request was on its way.
        if self.shared.word.take() {
            self.effects.push(Effect::Grant(id));
            return;
        }
        self.wake.wanted = true;
        let is_of_user = kind != LeaseKind::Dependent;
        if is_of_user && !self.wake.is_for_users && self.phase == PhaseName::Starting {
            // Only those who need it had wanted it: the others of its group were not told.
            self.effects.push(Effect::WakeBegins);
        }
        self.wake.is_for_users |= is_of_user;
        self.wake.is_for_mates &= !is_of_user;
        if self.waiters.is_empty() {
            self.read.try_within(now, FIRST_READ_RETRY);
        }
        if let Some(lock) = self.wake.locked.as_mut().filter(|_| self.waiters.is_empty()) {
            lock.since = now;
            self.wake.retry.try_within(now, FIRST_RETRY);
        }
        let is_being_ended = self.order.as_ref().is_some_and(|open| !open.order.is_start());
        if is_being_ended && sabotaged!(ForgetWhoComesDuringAStop) {
            return;
        }
        self.waiters.add(id, now, deadline);
        self.probe_within_interval(now);
    }

    /// Who is about to ask, for people: the first one counts.
    pub(crate) fn will_be_asked_by(&mut self, holder: &str) {
        if !self.wake.wanted && self.proven.is_none() {
            self.wake.by = Some(holder.into());
        }
    }

    pub(super) fn asked_for(&self) -> Reason {
        match &self.wake.by {
            _ if self.wake.is_for_mates => Reason::WithItsGroup,
            Some(holder) => Reason::AskedForBy(holder.clone()),
            None => Reason::AskedFor,
        }
    }

    pub(super) fn withdrawn(&mut self, ids: &[AskId]) {
        let mut left = false;
        for id in ids {
            left |= self.waiters.remove(*id).is_some();
            self.sleepers.remove(id);
        }
        let is_out_of_reach = self.lost.is_some() || matches!(self.belief, Belief::Unread);
        if left && is_out_of_reach {
            // Else it would be started for nobody, whenever its engine is back.
            self.want_no_more_what_was_never_tried();
        }
    }

    /// The last who wanted it has left, or was told that its start was never tried.
    fn want_no_more_what_was_never_tried(&mut self) {
        let waits_for_its_turn = self.wake.is_queued && self.lost.is_none();
        if self.waiters.is_empty() && !self.came_to_nothing() && !waits_for_its_turn {
            self.wake.wanted = false;
            self.wake.is_for_users = false;
            self.wake.is_for_mates = false;
            self.wake.needs_until = None;
            // Others of its group may want it all the same.
            self.is_left_behind(self.stepped_at);
        }
    }

    /// Somebody waits, and it sleeps.
    pub(super) fn advance_sleeping(&mut self, now: Moment) {
        self.answer_sleepers_not_running();
        if self.waiters.is_empty() && !self.goes_on_behind_a_lock(now) && self.came_to_nothing() {
            self.end_wake();
            self.is_left_behind(now + LONGEST_START_RETRY);
        }
        let is_locked = self.belief.lock().is_some();
        // Whoever waits is told of a lock in time, also where nothing would be started yet.
        let is_left_alone = self.is_quiet(now) && !is_locked;
        if is_left_alone && self.waiters.is_empty() {
            // Somebody ended it, and nobody waits who would want it after that.
            self.end_wake();
        }
        self.deepen_if_due(now);
        match self.failures.blocked_until(now) {
            Some(until) => self.is_left_behind(until),
            None if is_left_alone => {}
            None => self.look_at_mates_if_due(now),
        }
        if !self.wake.wanted || self.refuse_misconfigured() {
            return;
        }
        if self.lost.is_some() || is_left_alone {
            return;
        }
        if self.failures.blocked_until(now).is_some() {
            self.refuse_failed(now);
        } else if is_locked {
            self.wake.needs_until = None;
            self.wait_for_the_lock(now);
        } else if self.wake.retry.not_before <= now && self.needs_are_met(now) {
            self.order_start_in_turn(now);
        }
    }

    /// Its start was ordered, or kept from it by a lock, and it sleeps.
    fn came_to_nothing(&self) -> bool {
        self.wake.ordered_at.is_some() || self.wake.locked.is_some()
    }

    pub(super) fn advance_absent(&mut self, now: Moment) {
        self.answer_sleepers(&SleepError::Failed {
            reason: "there is no such container".to_owned(),
        });
        if !self.is_quiet(now) && self.lost.is_none() {
            self.refuse_all(&WakeError::NotFound);
        }
    }

    pub(super) fn refuse_failed(&mut self, now: Moment) {
        if let Some(error) = self.failures.answer(now) {
            self.refuse_all(&error);
        }
    }

    pub(super) fn refuse_unusable(&mut self, status: &ContainerStatus) {
        self.answer_sleepers_not_running();
        self.refuse_all(&WakeError::Failed {
            reason: format!("the container is {status}"),
            exit: None,
            retry_after: RETRY_AFTER,
            source: None,
        });
    }

    /// The rights that drowse needs were taken from it: nobody knows when they are given back, so
    /// nobody waits for that. What is ready serves on.
    pub(super) fn refuse_without_permission(&mut self) {
        if self.waiters.is_empty() || self.answers_for_itself() {
            return;
        }
        if let Some(lost) = self.lost.as_ref().filter(|lost| is_of_permission(&lost.error)) {
            let (retry_after, source) = (RETRY_AFTER, lost.error.clone());
            self.refuse_all(&WakeError::NotPermitted { retry_after, source });
        }
    }

    pub(super) fn refuse_all(&mut self, error: &WakeError) {
        self.end_wake();
        self.effects.extend(self.waiters.take_all().map(|id| Effect::Refuse(id, error.clone())));
    }

    pub(super) fn end_wake(&mut self) {
        self.wake.wanted = false;
        self.wake.is_for_users = false;
        self.wake.is_for_mates = false;
        self.wake.ordered_at = None;
        self.wake.needs_until = None;
        self.wake.locked = None;
        self.wake.is_queued = false;
        self.wake.retry.succeeded();
    }

    pub(super) fn answer_expired(&mut self, now: Moment) {
        if sabotaged!(ForgetDeadlines) {
            return;
        }
        let limit = self.limit(now);
        while let Some((id, waiter)) = self.waiters.take_expired(now, &limit) {
            let error = self.why_not_ready(now, waiter.asked);
            self.effects.push(Effect::Refuse(id, error));
            self.want_no_more_what_was_never_tried();
        }
        let overdue: Vec<AskId> = self
            .sleepers
            .iter()
            .filter(|(_, sleeper)| sleeper.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if let Some(sleeper) = self.sleepers.remove(&id) {
                let reason = match (&self.lost, self.belief.lock()) {
                    (Some(lost), _) => lost.error.kind().to_string(),
                    (None, Some(by)) => format!("locked by {by}"),
                    (None, None) => self.reason.to_string(),
                };
                let after = now.since(sleeper.asked);
                self.effects
                    .push(Effect::SleepAnswer(id, Err(SleepError::Timeout { after, reason })));
            }
        }
    }

    pub(super) fn next_expiry(&self, now: Moment) -> Option<Moment> {
        self.waiters.next_expiry(self.limit(now))
    }

    /// Until when a request waits, beside its own deadline: the wake timeout counts from its
    /// coming, or from the start order or the end of a stop that came to nothing, if that came
    /// later; not at all while a stop is under way, what it needs or its turn is waited for, or somebody
    /// else is working on the container, unless that one's lock was met.
    fn limit(&self, now: Moment) -> impl Fn(Moment) -> Option<Moment> + use<> {
        let is_being_ended = self.order.as_ref().is_some_and(|open| !open.order.is_start());
        let is_quiet = self.is_quiet(now) && self.wake.locked.is_none();
        let clock_stands =
            is_being_ended || is_quiet || self.waits_for_needs() || self.wake.is_queued;
        let began_at = self.wake.ordered_at.unwrap_or(self.wake.free_since);
        let wake_timeout = self.policy.wake_timeout;
        let locked_since = self.wake.locked.as_ref().map(|lock| lock.since);
        move |asked| {
            if clock_stands {
                return None;
            }
            let wake = asked.max(began_at) + wake_timeout;
            let lock = locked_since.map(|since| since.max(asked) + LOCK_PATIENCE);
            Some(lock.map_or(wake, |lock| lock.min(wake)))
        }
    }

    fn why_not_ready(&self, now: Moment, asked: Moment) -> WakeError {
        if let Some(lost) = &self.lost {
            return WakeError::EngineUnavailable {
                retry_after: RETRY_AFTER,
                source: lost.error.clone(),
            };
        }
        if let Some(lock) = &self.wake.locked {
            return WakeError::Locked { by: lock.by.to_string(), retry_after: LOCK_PATIENCE };
        }
        // What an earlier start met, or a right that lacked for it, is none of what this one waited for.
        let is_of_another = self.lacks_right() || self.waits_for_needs() || self.wake.is_queued;
        let last_error = self.last_error().filter(|_| !is_of_another);
        let reason = last_error.map_or_else(|| self.reason.to_string(), Cow::into_owned);
        WakeError::Timeout { after: now.since(asked), phase: self.phase, reason }
    }

    /// What the last attempt to use it met, while it is not ready.
    pub(crate) fn last_error(&self) -> Option<Cow<'_, str>> {
        if self.proven.is_some() {
            return None;
        }
        if let Some(lost) = &self.lost {
            return Some(lost.error.kind().to_string().into());
        }
        let last = if self.belief.is_running() {
            self.probing.last.as_deref()
        } else {
            self.failures.reason()
        };
        last.map(Cow::Borrowed)
    }

    /// Whether [`Self::last_error`] says that drowse lacks a right.
    pub(crate) fn lacks_right(&self) -> bool {
        self.proven.is_none()
            && match &self.lost {
                Some(lost) => is_of_permission(&lost.error),
                None => !self.belief.is_running() && self.failures.is_of_permission(),
            }
    }

    pub(super) fn refuse_sleepers_in_use(&mut self, seen: Seen) {
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        // The runtime knows the holders' names, and fills them in.
        self.answer_sleepers(&SleepError::InUse {
            leases: seen.leases().saturating_add(waiting),
            holders: Vec::new(),
        });
    }

    /// It is not running: whoever wanted it asleep has that.
    pub(super) fn answer_sleepers_not_running(&mut self) {
        let asleep = matches!(
            self.belief.status(),
            Some(ContainerStatus::Stopped | ContainerStatus::Paused)
        );
        while let Some((id, _)) = self.sleepers.pop_first() {
            let answer = match (&self.belief, asleep) {
                (_, true) => Ok(()),
                (Belief::Seen(details), false) => Err(SleepError::Failed {
                    reason: format!("the container is {}", details.observation.status),
                }),
                (Belief::Unread | Belief::Absent, false) => {
                    Err(SleepError::Failed { reason: "there is no such container".to_owned() })
                }
            };
            self.effects.push(Effect::SleepAnswer(id, answer));
        }
    }

    pub(super) fn answer_sleepers(&mut self, error: &SleepError) {
        while let Some((id, _)) = self.sleepers.pop_first() {
            self.effects.push(Effect::SleepAnswer(id, Err(error.clone())));
        }
    }
}
