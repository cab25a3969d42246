//! Those who wait for a lease, in the order of their coming and of their deadlines.

use std::collections::{BTreeMap, BTreeSet};

use super::{AskId, Moment};

/// Requests for a lease that are not answered yet. Every operation takes logarithmic time: ten
/// thousand may wait for one container.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// In the order of their coming: ids grow.
    by_age: BTreeMap<AskId, Waiter>,
    by_deadline: BTreeSet<(Moment, AskId)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) asked: Moment,
    pub(crate) deadline: Moment,
}

impl Waiters {
    pub(crate) fn add(&mut self, id: AskId, asked: Moment, deadline: Moment) {
        self.by_age.insert(id, Waiter { asked, deadline });
        self.by_deadline.insert((deadline, id));
    }

    pub(crate) fn remove(&mut self, id: AskId) -> Option<Waiter> {
        let waiter = self.by_age.remove(&id)?;
        self.by_deadline.remove(&(waiter.deadline, id));
        Some(waiter)
    }

    /// Takes out one whose own deadline has come, or who has waited until `limit(asked)`, which
    /// must not decrease with `asked`.
    pub(crate) fn take_expired(
        &mut self,
        now: Moment,
        limit: impl Fn(Moment) -> Option<Moment>,
    ) -> Option<(AskId, Waiter)> {
        let overdue = self.by_deadline.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id);
        let waited_enough = || {
            let (id, oldest) = self.by_age.first_key_value()?;
            limit(oldest.asked).is_some_and(|at| at <= now).then_some(*id)
        };
        let id = overdue.or_else(waited_enough)?;
        self.remove(id).map(|waiter| (id, waiter))
    }

    /// When [`Self::take_expired`] will next find somebody.
    pub(crate) fn next_expiry(&self, limit: impl Fn(Moment) -> Option<Moment>) -> Option<Moment> {
        let overdue = self.by_deadline.first().map(|(at, _)| *at);
        let waited_enough =
            self.by_age.first_key_value().and_then(|(_, oldest)| limit(oldest.asked));
        overdue.into_iter().chain(waited_enough).min()
    }

    /// Until when the most patient one waits.
    pub(crate) fn latest_deadline(&self) -> Option<Moment> {
        self.by_deadline.last().map(|(at, _)| *at)
    }

    /// Takes everybody out, the oldest first.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = AskId> + use<> {
        self.by_deadline.clear();
        std::mem::take(&mut self.by_age).into_keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }
}
