//! One container that is watched: what its watches were told, and what has to be read for them.

use std::{sync::Arc, time::Duration};

use drowse_provider::{Error, ErrorKind, Event, Observation, WatchItem, mailbox::Mailbox};
use tokio::time::Instant;

/// How long what passes may last before it is told as an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between attempts to read what cannot be read.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// When it is tried again to read what was refused; sooner if a beat shows it again.
const REFUSED: Duration = Duration::from_mins(1);
/// Attempts of many containers meet on moments so far apart, so that one list serves them all.
const MEETING: Duration = Duration::from_secs(2);
/// How much longer an attempt that began in time is waited for before the trouble is told.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// One container that is watched, by however many.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) watches: Vec<Arc<Mailbox<WatchItem>>>,
    /// The number under which it was last found.
    pub(super) bound: Option<u32>,
    /// Whether it is another container than was told of.
    pub(super) is_another: bool,
    pub(super) standing: Standing,
    pub(super) reading: Reading,
    pub(super) trouble: Option<Trouble>,
}

/// What the last read found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Unread,
    Present,
    Absent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reading {
    #[default]
    Idle,
    Queued,
    Under,
    /// Something happened since the read began, so it must be done again.
    Outdated,
}

/// It cannot be read.
pub(super) struct Trouble {
    pub(super) error: Error,
    since: Instant,
    /// What was told of it.
    told: Option<String>,
    attempts: u32,
    /// When it is to be tried again.
    pub(super) retry_at: Instant,
}

/// What the poller has to do later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Later {
    /// When it is to be read again.
    pub(in crate::cluster) retry_at: Instant,
    /// When the trouble is to be told, if it lasts.
    pub(in crate::cluster) tell_at: Option<Instant>,
}

impl Watched {
    /// It was read. `happened`: since its last read.
    pub(super) fn is(&mut self, happened: &[Event], observation: &Observation, is_news: bool) {
        self.standing = Standing::Present;
        self.trouble = None;
        let is_news = std::mem::take(&mut self.is_another) || is_news;
        for mailbox in &self.watches {
            for event in happened {
                mailbox.hint(WatchItem::Event(event.clone()));
            }
            let to_all = is_news || !happened.is_empty();
            mailbox.snapshot(WatchItem::Synced(observation.clone()), to_all);
        }
    }

    /// There is none. `last`: the event of its end, if it was there.
    pub(super) fn is_gone(&mut self, last: Option<&Event>) {
        let was_there = std::mem::replace(&mut self.standing, Standing::Absent) != Standing::Absent;
        self.trouble = None;
        for mailbox in &self.watches {
            if let Some(event) = last {
                mailbox.hint(WatchItem::Event(event.clone()));
            }
            mailbox.snapshot(WatchItem::Removed, was_there);
        }
    }

    /// It could not be read. What passes is told when it has lasted, or at once where nothing was told
    /// yet; a refusal at once. The same is told once.
    ///
    /// `epoch`: from when the moments are counted on which attempts meet.
    pub(super) fn failed(&mut self, error: Error, now: Instant, epoch: Instant) -> Later {
        let is_passing = error.is_retryable();
        let is_unread = self.standing == Standing::Unread;
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            error: error.clone(),
            since: now,
            told: None,
            attempts: 0,
            retry_at: now,
        });
        trouble.error = error;
        trouble.attempts = trouble.attempts.saturating_add(1);
        let pause = if is_passing {
            RETRY_MIN.saturating_mul(1 << (trouble.attempts - 1).min(16)).min(RETRY_MAX)
        } else {
            REFUSED
        };
        let lasts_at = trouble.since + PATIENCE;
        let is_due = !is_passing || is_unread || trouble.told.is_some() || lasts_at <= now;
        trouble.retry_at = if is_due {
            next_meeting(now + pause, epoch)
        } else {
            // What is back in time is no error: there is a last look.
            (now + pause).min(lasts_at)
        };
        let retry_at = trouble.retry_at;
        if is_due {
            self.tell_trouble();
        }
        Later { retry_at, tell_at: (!is_due).then_some(lasts_at + LAST_LOOK) }
    }

    /// The trouble has lasted, and the last look has no answer.
    pub(super) fn lasts(&mut self, now: Instant) {
        let has_lasted = |trouble: &Trouble| trouble.since + PATIENCE + LAST_LOOK <= now;
        if self.trouble.as_ref().is_some_and(has_lasted) {
            self.tell_trouble();
        }
    }

    fn tell_trouble(&mut self) {
        let Some(trouble) = &mut self.trouble else { return };
        let words = words_of(&trouble.error);
        if trouble.told.as_ref() != Some(&words) {
            // Whoever watches says it louder.
            tracing::debug!(
                engine = trouble.error.engine(),
                container = trouble.error.container(),
                error = &trouble.error as &dyn std::error::Error,
                "the container cannot be read; trying again until it can"
            );
            trouble.told = Some(words);
            self.watches.iter().for_each(|mailbox| mailbox.fail(trouble.error.clone()));
        }
    }

    /// What whoever begins to watch now is to know first.
    pub(super) fn told_trouble(&self) -> Option<&Error> {
        let trouble = self.trouble.as_ref()?;
        trouble.told.is_some().then_some(&trouble.error)
    }
}

fn next_meeting(moment: Instant, epoch: Instant) -> Instant {
    let passed = moment.saturating_duration_since(epoch).as_millis();
    let meetings = passed.div_ceil(MEETING.as_millis());
    epoch + MEETING * u32::try_from(meetings).unwrap_or(u32::MAX)
}

/// What makes one trouble another than the last.
fn words_of(error: &Error) -> String {
    match error.kind() {
        // How long it was waited is no news.
        ErrorKind::Timeout { .. } => "timed out".to_owned(),
        kind => kind.to_string(),
    }
}
