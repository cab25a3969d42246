//! What outlives drowse: what it wrote into its store.

use std::{collections::BTreeMap, time::Duration};

use drowse_watcher::Memory;

use super::{Due, World};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What was known of each workload, and when it was written.
    pub(crate) memories: BTreeMap<usize, (Duration, Memory)>,
    /// What people hold, by workload and whether it is held awake.
    pub(crate) holds: BTreeMap<(usize, bool), Held>,
    /// Whose configuration contradicts itself, and until when.
    pub(crate) misconfigured: BTreeMap<usize, Duration>,
    /// Who is not said to need whom, until when; it is again after that.
    unneeded: BTreeMap<(usize, usize), Duration>,
}

/// Somebody holds a workload, awake or asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) since: Duration,
    pub(crate) until: Duration,
    /// Drowse knows when it ends.
    pub(crate) ends_by_itself: bool,
}

impl World {
    pub(crate) fn hold_asleep(&mut self, index: usize, lasts: Duration, ends_by_itself: bool) {
        self.hold(index, false, lasts, ends_by_itself);
    }

    pub(crate) fn keep_awake(&mut self, index: usize, lasts: Duration) {
        self.hold(index, true, lasts, false);
    }

    fn hold(&mut self, index: usize, is_awake: bool, lasts: Duration, ends_by_itself: bool) {
        let since = self.now();
        let held = Held { since, until: since + lasts, ends_by_itself };
        // One of them at a time.
        self.store.holds.remove(&(index, !is_awake));
        self.store.holds.insert((index, is_awake), held);
        self.plan_in(lasts, Due::HoldsChange);
    }

    pub(crate) fn misconfigure(&mut self, index: usize, lasts: Duration) {
        let until = self.now() + lasts;
        self.store.misconfigured.insert(index, until);
        self.plan_in(lasts, Due::HoldsChange);
    }

    pub(crate) fn is_misconfigured(&self, index: usize) -> bool {
        self.store.misconfigured.get(&index).is_some_and(|until| *until > self.now())
    }

    /// It needs one less for a while.
    pub(crate) fn unneed(&mut self, index: usize, needed: usize, lasts: Duration) {
        let until = self.now() + lasts;
        self.store.unneeded.insert((index, needed), until);
        self.plan_in(lasts, Due::HoldsChange);
    }

    /// Whether it is said to need that one, of those that the plan says.
    pub(crate) fn is_needed(&self, index: usize, needed: usize) -> bool {
        self.was_needed(index, needed, self.now())
    }

    /// The same, and has been since then.
    pub(crate) fn was_needed(&self, index: usize, needed: usize, since: Duration) -> bool {
        self.store.unneeded.get(&(index, needed)).is_none_or(|until| *until <= since)
    }

    /// What holds it now, awake or asleep.
    pub(crate) fn held(&self, index: usize, is_awake: bool) -> Option<Held> {
        let held = self.store.holds.get(&(index, is_awake)).copied();
        held.filter(|held| held.until > self.now())
    }

    /// What is known of it from an earlier life, as it is now.
    pub(crate) fn memory(&self, index: usize) -> Memory {
        let Some((written, memory)) = self.store.memories.get(&index) else {
            return Memory::default();
        };
        let age = self.now().saturating_sub(*written);
        let mut memory = memory.clone();
        memory.last_use_ago = memory.last_use_ago.map(|ago| ago + age);
        memory.blocked_for = memory.blocked_for.and_then(|left| left.checked_sub(age));
        memory
    }
}
