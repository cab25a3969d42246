//! What is kept of a workload's past: its last changes, how long its wakes took, its failures, and
//! when it was used before its management began.
//!
//! There is one for each of many workloads, most of which sleep: it holds little, and allocates
//! nothing before there is anything to keep.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Change, Memory, PhaseName,
    core::{Moment, PastFailures, Reason, Transition},
    shared::Shared,
};

const CHANGES: usize = 10;
const WAKES: usize = 8;

/// See the module's documentation. Locked for moments, never over an await.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Past>);

#[derive(Debug, Default)]
struct Past {
    changes: Vec<Kept>,
    /// The latest last.
    wakes: Vec<Duration>,
    failures: Option<Box<PastFailures>>,
    /// How long before its management began it was last used, as far as is known.
    last_use_before: Option<Duration>,
}

/// A change, as small as it can be kept.
#[derive(Debug)]
struct Kept {
    at: Moment,
    took: Duration,
    reason: Reason,
    from: PhaseName,
    to: PhaseName,
}

impl Record {
    /// Remembers what an earlier management knew, `now`.
    pub(crate) fn remembering(memory: Memory, now: Moment) -> Self {
        let Memory { last_use_ago, failures, blocked_for, failure, mut wakes, container } = memory;
        wakes.drain(..wakes.len().saturating_sub(WAKES));
        wakes.shrink_to_fit();
        let failures = (failures > 0).then(|| {
            let reason = failure.unwrap_or_else(|| "its starts failed".to_owned()).into();
            let until = now + blocked_for.unwrap_or_default();
            let container = container.map(Into::into);
            Box::new(PastFailures { in_a_row: failures, until, reason, container })
        });
        let (changes, last_use_before) = (Vec::new(), last_use_ago);
        Self(Mutex::new(Past { changes, wakes, failures, last_use_before }))
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a change that came `at` this moment.
    pub(crate) fn keep(&self, at: Moment, change: &Transition) {
        let Transition { from, to, reason, took, is_wake, .. } = change;
        let mut past = self.past();
        let kept = Kept { at, took: *took, reason: reason.clone(), from: *from, to: *to };
        keep_last(&mut past.changes, CHANGES, kept);
        if *is_wake {
            keep_last(&mut past.wakes, WAKES, *took);
        }
    }

    /// Keeps what the core knows of failures, so that one that begins anew knows it, too.
    pub(crate) fn keep_failures(&self, failures: Option<PastFailures>) {
        let mut past = self.past();
        if past.failures.as_deref() != failures.as_ref() {
            past.failures = failures.map(Box::new);
        }
    }

    pub(crate) fn failures(&self) -> Option<PastFailures> {
        self.past().failures.as_deref().cloned()
    }

    /// What the next management of it should know.
    pub(crate) fn memory(&self, shared: &Shared) -> Memory {
        let now = Moment::at(shared.elapsed());
        let past = self.past();
        let failures = past.failures.as_deref();
        let blocked_until = failures.map(|failures| failures.until).filter(|until| *until > now);
        Memory {
            last_use_ago: match shared.last_use() {
                Some(last_use) => Some(now.since(last_use)),
                None => {
                    past.last_use_before.map(|before| before.saturating_add(now.since_anchor()))
                }
            },
            failures: failures.map_or(0, |failures| failures.in_a_row),
            blocked_for: blocked_until.map(|until| until.since(now)),
            failure: failures.map(|failures| failures.reason.to_string()),
            wakes: past.wakes.clone(),
            container: failures.and_then(|failures| failures.container.as_deref().map(Into::into)),
        }
    }

    /// The last changes, the oldest first.
    pub(crate) fn changes(&self, shared: &Shared) -> Vec<Change> {
        let told = |kept: &Kept| Change {
            at: shared.instant(kept.at.since_anchor()),
            from: kept.from,
            to: kept.to,
            reason: kept.reason.to_string(),
            took: kept.took,
        };
        self.past().changes.iter().map(told).collect()
    }
}

/// Adds the latest, and drops the oldest if there are more than `most`. Grows by one at a time: most
/// have few.
fn keep_last<T>(kept: &mut Vec<T>, most: usize, latest: T) {
    if kept.len() == most {
        kept.rotate_left(1);
        kept.pop();
    } else {
        kept.reserve_exact(1);
    }
    kept.push(latest);
}
