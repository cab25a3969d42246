//! Workloads that wake together, and sleep only together.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use drowse_provider::Details;

use crate::{Busy, StopGate, sabotage::sabotaged, shared::Shared};

/// Workloads that are used together, though none of them needs another: when one is woken the others
/// are, too, and none is put to sleep while another is in use (leases are held or waited for, or its own
/// idle time is not over). That something is needed by others is no use of it here: it may need them in turn; nor
/// is a passive lease.
///
/// A workload joins with [`WorkloadSpec::with_group`](crate::WorkloadSpec::with_group) and leaves when
/// its management ends. A failure of one is its own: the others serve, and it is tried again at the end
/// of its back-off while any of them is in use. Clones are the same group.
#[derive(Clone)]
pub struct Group(Arc<Inner>);

struct Inner {
    name: String,
    members: Mutex<Vec<Arc<Member>>>,
}

struct Member {
    name: String,
    shared: Arc<Shared>,
    /// When the others last agreed to its sleep, on its own clock: a use of theirs since then was not
    /// seen by it.
    agreed_at: AtomicU64,
}

/// A workload's being in a group. Dropping it leaves the group.
pub(crate) struct Membership {
    group: Group,
    member: Arc<Member>,
}

/// Asks the others of a group.
#[derive(Debug)]
struct AskMates {
    group: Group,
    member: Arc<Member>,
}

impl Group {
    /// A group without members.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Inner { name: name.into(), members: Mutex::default() }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn join(&self, name: &str, shared: &Arc<Shared>) -> Membership {
        let (name, shared) = (name.to_owned(), Arc::clone(shared));
        let member = Arc::new(Member { name, shared, agreed_at: AtomicU64::new(0) });
        self.change(|members| members.push(Arc::clone(&member)));
        Membership { group: self.clone(), member }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Member>>) -> T) -> T {
        change(&mut self.0.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first of the others of which `is_so` holds, by name.
    fn find(&self, member: &Arc<Member>, is_so: impl Fn(&Shared) -> bool) -> Option<String> {
        self.change(|members| {
            let mut others = members.iter().filter(|other| !Arc::ptr_eq(other, member));
            others.find(|other| is_so(&other.shared)).map(|other| other.name.clone())
        })
    }
}

impl Membership {
    /// A wake of it begins: the others are to wake, too. What comes of that is their own affair.
    pub(crate) fn wake_others(&self) {
        if sabotaged!(WakeNoMates) {
            return;
        }
        _ = self.group.find(&self.member, |other| {
            other.wake_with_mate();
            false
        });
    }

    /// It is ready. Those that sleep look whether they were to be awake with it.
    pub(crate) fn tell_others(&self) {
        _ = self.group.find(&self.member, |other| {
            other.let_go.notify_one();
            false
        });
    }

    /// It sleeps, and the others had no part in that: if one of them is awake and in use, it wakes, too.
    pub(crate) fn wake_with_those_in_use(&self) {
        if self.group.find(&self.member, Shared::is_awake_and_in_use).is_some() {
            self.member.shared.wake_with_mate();
        }
    }

    /// It has fallen asleep. If another was used since the others agreed to that, it wakes again; else
    /// they may follow: for as long as it was in use they were asked ever less often.
    pub(crate) fn look_again(&self) {
        let is_used =
            |other: &Shared| other.is_used_itself() || self.member.is_unseen_use_of(other);
        if self.group.find(&self.member, is_used).is_some() {
            self.member.shared.wake_with_mate();
        } else {
            self.tell_others();
        }
    }

    /// What it asks before it sleeps.
    pub(crate) fn gate(&self) -> Arc<dyn StopGate> {
        Arc::new(AskMates { group: self.group.clone(), member: Arc::clone(&self.member) })
    }
}

impl Member {
    /// Whether another was used, for all that can be told, since the others agreed to the sleep of this one.
    fn is_unseen_use_of(&self, other: &Shared) -> bool {
        // Both are rounded down to milliseconds, each on a clock of its own.
        let agreed_at = self.agreed_at.load(Ordering::Relaxed).saturating_sub(1);
        other.instant_at_ms(other.word.last_use()) > self.shared.instant_at_ms(agreed_at)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.change(|members| members.retain(|other| !Arc::ptr_eq(other, &self.member)));
    }
}

#[async_trait]
impl StopGate for AskMates {
    async fn may_sleep(&self, _: &Details) -> Result<(), Busy> {
        // Before they are asked: what comes after is looked for again.
        self.member.agreed_at.store(self.member.shared.now_ms(), Ordering::Relaxed);
        // A use that has only just ended would be taken for one that came after.
        let is_in_use = |other: &Shared| other.is_in_use() || self.member.is_unseen_use_of(other);
        match self.group.find(&self.member, is_in_use) {
            Some(name) if !sabotaged!(IgnoreMates) => {
                let holder = format!("group {}", self.group.name());
                Err(Busy::new(holder, format!("`{name}` is in use")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Group").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}
