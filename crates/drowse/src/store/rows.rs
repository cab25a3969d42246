//! The rows of the store, as they are written. Keys are added, never renamed: a later drowse reads
//! what an earlier one has written, and the other way round.

use std::time::Duration;

use drowse_watcher::Memory;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Texts of others are cut to this many bytes.
const LONGEST_TEXT: usize = 1_000;

/// Which way a workload is held.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HoldKind {
    /// Awake: it is woken, and nothing puts it to sleep.
    Awake,
    /// Asleep: nothing wakes it.
    Asleep,
}

/// What somebody wants of a workload until they say otherwise.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct KeptHold {
    pub(crate) kind: HoldKind,
    /// In the words of whoever holds it.
    pub(crate) reason: Option<String>,
    /// Until when; `None`: until somebody ends it.
    pub(crate) until: Option<Timestamp>,
    /// Since when.
    pub(crate) since: Timestamp,
    /// When there last was a workload of that name.
    pub(crate) seen: Timestamp,
    /// Held asleep, and it was not asleep since.
    #[serde(default)]
    pub(crate) is_due: bool,
}

/// What a workload knew when it was last asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct MemoryRow {
    /// When it was asked.
    pub(super) seen: Timestamp,
    last_use: Option<Timestamp>,
    #[serde(default)]
    failures: u32,
    #[serde(default)]
    blocked_for_ms: u64,
    #[serde(default)]
    failure: Option<String>,
    #[serde(default)]
    wakes_ms: Vec<u64>,
    #[serde(default)]
    container: Option<String>,
}

impl KeptHold {
    /// Whether it still counts.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl MemoryRow {
    pub(super) fn of(memory: &Memory, now: Timestamp) -> Self {
        let ago = |ago: Duration| now.checked_sub(SignedDuration::try_from(ago).ok()?).ok();
        Self {
            seen: now,
            last_use: memory.last_use_ago.and_then(ago),
            failures: memory.failures,
            blocked_for_ms: memory.blocked_for.map_or(0, milliseconds),
            failure: memory.failure.clone().map(cut),
            wakes_ms: memory.wakes.iter().copied().map(milliseconds).collect(),
            container: memory.container.clone(),
        }
    }

    /// What it says now. Wherever the wall clock has gone meanwhile, nothing is blocked for longer
    /// than it was.
    pub(super) fn memory(self, now: Timestamp) -> Memory {
        let since =
            |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap_or_default();
        let blocked_for =
            Duration::from_millis(self.blocked_for_ms).saturating_sub(since(self.seen));
        let mut memory = Memory::default();
        memory.last_use_ago = self.last_use.map(since);
        memory.failures = self.failures;
        memory.blocked_for = Some(blocked_for).filter(|left| !left.is_zero());
        memory.failure = self.failure;
        memory.wakes = self.wakes_ms.into_iter().map(Duration::from_millis).collect();
        memory.container = self.container;
        memory
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text that is not longer than any that people read.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
    text
}
