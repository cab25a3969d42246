//! What something else holds: a backup, a snapshot, a migration. No order is given meanwhile, and
//! what is ready stays so.

use std::time::Duration;

use super::{Core, Effect, Lock, Moment, Reason, orders::FIRST_RETRY};

/// How long a lock may make a request wait before it is told so.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// How soon a lock is looked at again that keeps a start from somebody who waits, and from nobody
/// any more. The watch tells of its end sooner, if it can.
const WHILE_SOMEBODY_WAITS: Duration = Duration::from_secs(2);
const WHILE_NOBODY_WAITS: Duration = Duration::from_secs(30);
/// How soon a lock that holds off a sleep is looked at again.
const BEFORE_A_SLEEP: Duration = Duration::from_mins(1);
/// How long a wake goes on behind a lock after the last who waited for it: longer than any backup
/// takes, so that only a lock which was forgotten outlasts it.
const OUTLASTED_AFTER: Duration = Duration::from_hours(24);

impl Core {
    /// The wake in flight met a lock. Whoever waits for it has done so since its start order, if there
    /// was one: an engine may have waited for the lock first.
    pub(super) fn meet_lock(&mut self, now: Moment, by: &str) {
        self.reason = Reason::locked(by);
        if let Some(lock) = &mut self.wake.locked {
            if *lock.by != *by {
                lock.by = by.into();
            }
            return;
        }
        let since = self.wake.ordered_at.unwrap_or(now);
        self.wake.locked = Some(Lock { by: by.into(), since });
        self.effects.push(Effect::WakeWaitsForLock { by: by.to_owned() });
    }

    /// It is wanted, and was read as locked: an order would be refused, and at some engines leave a
    /// failed task in a list that people read. It is looked at again until the lock is gone.
    pub(super) fn wait_for_the_lock(&mut self, now: Moment) {
        let Some(by) = self.belief.lock().map(str::to_owned) else { return };
        let is_news = self.wake.locked.is_none();
        self.meet_lock(now, &by);
        if is_news {
            // Read some time ago, perhaps: nobody should wait for a lock that is gone.
            self.doubt_belief();
            self.read_if_due(now);
        } else if self.waiters.is_empty() {
            self.recheck_within(now, WHILE_NOBODY_WAITS);
        } else {
            self.recheck_within(now, WHILE_SOMEBODY_WAITS);
        }
    }

    /// Whether its start waits for a lock: whoever waited was told to come again.
    pub(super) fn goes_on_behind_a_lock(&self, now: Moment) -> bool {
        self.wake.locked.as_ref().is_some_and(|lock| now.since(lock.since) < OUTLASTED_AFTER)
    }

    /// The look before a sleep found it locked: it never leaves ready, and is looked at again.
    pub(super) fn stay_awake_behind_a_lock(&mut self, now: Moment) {
        self.sleep.retry.not_before = now + BEFORE_A_SLEEP;
        self.sleep.check_at = self.sleep.retry.not_before;
        if let Some(by) = self.belief.lock().map(str::to_owned)
            && !std::mem::replace(&mut self.sleep.is_locked, true)
        {
            self.effects.push(Effect::StaysAwakeLocked { by });
        }
    }

    /// A read showed that the lock is gone: a wake is tried at once, a sleep within a second.
    pub(super) fn unlocked(&mut self, now: Moment) {
        self.wake.locked = None;
        self.wake.retry.succeeded();
        self.sleep.retry.try_within(now, FIRST_RETRY);
        self.sleep.check_at = self.sleep.retry.not_before;
    }
}
