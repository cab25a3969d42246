//! One container that is watched: what was last read of it, and what has to be read.

use std::sync::Arc;

use drowse_provider::{NetworkMode, Observation, RunId, WatchItem, mailbox::Mailbox};

use crate::{
    details::network_mode_of,
    state::{Fingerprint, span_of, status_of},
    wire::{Inspected, Listed},
};

/// One container that is watched, by however many.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) watches: Vec<Arc<Mailbox<WatchItem>>>,
    /// The id that it was last found under.
    pub(super) bound: Option<Arc<str>>,
    /// The id of the container whose network it was last found to live in.
    pub(super) holder: Option<Box<str>>,
    pub(super) reading: Reading,
    /// Whether the next read is for all of its watches, or only for those that await one.
    pub(super) tell_all: bool,
    /// Whether an end was told since the last read was.
    pub(super) end_told: bool,
    /// Whether an end that a read found has waited for its event.
    pub(super) has_waited: bool,
    last: Option<Last>,
    /// What a list says of it while nothing has changed.
    expected: Option<Expected>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Reading {
    #[default]
    Idle,
    /// Something happened just now: more may be about to, and one read does for all of it.
    Settling,
    Queued,
    Under,
    /// Something happened since the read began, so it must be done again.
    Outdated,
}

/// What the last read found.
enum Last {
    Absent,
    Present { id: Arc<str>, observation: Observation, span: Option<Span> },
}

/// The time over which a run is known to have been the present one, on the engine's clock.
struct Span {
    run: RunId,
    from: i128,
    to: i128,
}

/// Two ways to say the same: engines differ in what a list says of what `inspect` says.
struct Expected {
    inspected: Fingerprint,
    listed: Option<Fingerprint>,
    /// The line that caused the read under way.
    cause: Option<Fingerprint>,
}

/// What is to be done after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::watch) enum After {
    Nothing,
    /// It found an end of which no event has told: that is on its way, and whose doing it was is
    /// told by the events before it. If it was lost, the next read tells.
    ReadAgainSoon,
}

/// What is told of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Awaited,
    /// Told a moment ago: not everybody may have taken it in.
    Fresh,
    /// Told, and found true.
    Old,
}

pub(super) enum Verdict {
    AsExpected,
    /// An event was lost, or has not come yet.
    Changed,
    /// It looks the same, and would also if it had been restarted.
    Unsure,
}

impl Watched {
    /// Whether a read found that the run that was told of last has ended, or that one has of which
    /// nothing was told yet, before any event said so.
    pub(super) fn is_end_untold(&self, now: Option<&Observation>) -> bool {
        let Some(Last::Present { observation: before, .. }) = &self.last else { return false };
        let ended = match now {
            Some(now) if now.run == before.run => {
                before.status.is_alive() && !now.status.is_alive()
            }
            Some(now) => before.status.is_alive() || (now.run.is_some() && !now.status.is_alive()),
            None => before.status.is_alive(),
        };
        ended && !self.end_told
    }

    /// How it stands with the word of the end of this run.
    pub(super) fn word_of_end(&self, run: &RunId) -> Word {
        match &self.last {
            Some(Last::Present { observation: told, .. })
                if told.run.as_ref() != Some(run) || told.status.is_alive() =>
            {
                if self.end_told {
                    Word::Fresh
                } else {
                    Word::Awaited
                }
            }
            _ => Word::Old,
        }
    }

    /// Takes what was read; says whether nobody has heard of it yet.
    pub(super) fn found(
        &mut self,
        inspected: &Inspected,
        observation: &Observation,
        engine_time: Option<i128>,
    ) -> bool {
        let span = span_of(&inspected.state).and_then(|(from, ended)| {
            Some(Span { run: observation.run.clone()?, from, to: ended.or(engine_time)? })
        });
        let (id, now) = (inspected.id.as_str().into(), observation.clone());
        let last = self.last.replace(Last::Present { id, observation: now, span });
        let is_news = match last {
            Some(Last::Present { observation: before, .. }) => before != *observation,
            Some(Last::Absent) | None => true,
        };
        self.holder = match network_mode_of(&inspected.host_config.network_mode) {
            NetworkMode::Container(holder) => Some(holder.into()),
            _ => None,
        };
        let networks = inspected.network_settings.networks.values();
        let inspected = Fingerprint::of_inspect(observation, networks);
        let before = self.expected.take();
        let is_as_before = before.as_ref().is_some_and(|before| before.inspected == inspected);
        let listed = before.and_then(|before| {
            // A list that differs, and a read that does not: that is how it lists.
            before.cause.or(before.listed).filter(|_| is_as_before)
        });
        self.expected = Some(Expected { inspected, listed, cause: None });
        is_news
    }

    /// Under which id it was last found, if it was.
    pub(super) fn id(&self) -> Option<Arc<str>> {
        match &self.last {
            Some(Last::Present { id, .. }) => Some(Arc::clone(id)),
            Some(Last::Absent) | None => None,
        }
    }

    /// Takes that there is none; says whether nobody has heard of it yet.
    pub(super) fn not_found(&mut self) -> bool {
        self.expected = None;
        !matches!(self.last.replace(Last::Absent), Some(Last::Absent))
    }

    /// Compares what a list says to what was last read.
    pub(super) fn compare(&mut self, line: Option<&Listed>) -> Verdict {
        let (last, expected) = (&self.last, &mut self.expected);
        match (last, line) {
            // The first read is still to come, or there is nothing still.
            (None, _) | (Some(Last::Absent), None) => Verdict::AsExpected,
            (Some(Last::Absent), Some(_)) | (Some(Last::Present { .. }), None) => Verdict::Changed,
            (Some(Last::Present { id, observation, .. }), Some(line)) => {
                let Some(expected) = expected else { return Verdict::Changed };
                let listed = Fingerprint::of_list(line);
                if **id != *line.id || observation.status != status_of(&line.state) {
                    Verdict::Changed
                } else if expected.inspected != listed && expected.listed != Some(listed) {
                    expected.cause = Some(listed);
                    Verdict::Changed
                } else if listed.shows_restarts {
                    Verdict::AsExpected
                } else {
                    Verdict::Unsure
                }
            }
        }
    }

    /// Whether it ran when it was last read, in a run that is not younger than this time: what is
    /// told late, of a run before, says nothing of this one.
    pub(super) fn running_at(&self, id: &str, nanoseconds: i128) -> Option<RunId> {
        match &self.last {
            Some(Last::Present { id: last, observation, span: Some(span) }) if **last == *id => {
                let is_it = observation.status.is_alive() && span.from <= nanoseconds;
                is_it.then(|| span.run.clone())
            }
            _ => None,
        }
    }

    /// The run that an event of this time concerns, if that is certain.
    pub(super) fn run_at(&self, id: &str, nanoseconds: i128) -> Option<RunId> {
        match &self.last {
            Some(Last::Present { id: last, span: Some(span), .. }) if **last == *id => {
                (span.from <= nanoseconds && nanoseconds <= span.to).then(|| span.run.clone())
            }
            _ => None,
        }
    }
}
