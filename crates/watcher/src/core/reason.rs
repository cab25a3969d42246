//! Why a workload came to the state that it is in: every text that `list`, the log and the event log
//! give as a reason is here, and has a row in `docs/states.md`.

use std::{fmt, time::Duration};

use drowse_provider::{ContainerStatus, ErrorKind};

/// Defines the reasons with their texts: some are always the same, others are about something that is
/// put in.
macro_rules! reasons {
    (
        fixed { $($(#[$fixed_doc:meta])* $fixed:ident = $fixed_text:literal,)+ }
        about { $($(#[$about_doc:meta])* $about:ident($what:ty) = $about_text:literal,)+ }
    ) => {
        /// Why a workload came to its state. Most are fixed, and none is large: ten are kept of each of
        /// many workloads.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Reason {
            $($(#[$fixed_doc])* $fixed,)+
            $($(#[$about_doc])* $about($what),)+
        }

        impl Reason {
            /// All of their texts, with `{}` for what is put in.
            #[cfg(test)]
            pub(crate) const TEXTS: &[&str] = &[$($fixed_text,)+ $($about_text,)+];
        }

        impl fmt::Display for Reason {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$fixed => formatter.write_str($fixed_text),)+
                    $(Self::$about(what) => write!(formatter, $about_text, what),)+
                }
            }
        }
    };
}

reasons! {
    fixed {
        /// Nothing is known yet.
        Unread = "its engine has not been read yet",
        /// It ran when its management began.
        Adopted = "adopted: it was running",
        /// Somebody waits for it, and its start was ordered.
        AskedFor = "asked for",
        /// Another of its group wakes.
        WithItsGroup = "it wakes with its group",
        /// Its start waits for those of others.
        Queued = "waiting for its turn: its engine is given a few orders at a time",
        /// The start that was ordered was carried out.
        Started = "started",
        /// It was started, and answers.
        Woken = "woken",
        /// It had been ready in this run before.
        AnswersAgain = "it answers again",
        /// A job that has done what it is there for.
        Completed = "it has run to its end",
        /// The start order came to nothing, and nobody said why.
        StartLost = "its start order was lost",
        /// Its failures no longer keep it from being started.
        FailuresForgotten = "its failures were forgotten on request",
        /// It was awake for others, which are not awake any more.
        Unneeded = "nothing needs it any more",
        /// Put to sleep, whatever its idle time.
        OnRequest = "put to sleep on request",
        /// Put to sleep by a pause.
        Frozen = "idle: frozen",
        /// Put to sleep by a kill.
        Killed = "idle: killed",
        /// Put to sleep by a stop.
        Stopped = "idle: stopped",
        /// It was to be paused, and is stopped.
        EndedFreezing = "it ended while it was being frozen",
        /// The stop that follows a pause came to nothing.
        StaysFrozen = "frozen: it could not be stopped",
        /// Somebody else stopped it.
        StoppedOutside = "stopped from outside",
        /// Somebody else paused it.
        FrozenOutside = "frozen from outside",
        /// Somebody else started it.
        StartedOutside = "started from outside",
        /// Somebody else removed it.
        RemovedOutside = "removed from outside",
        /// It was removed, and nobody was at work on it.
        RemovedAsleep = "removed while it slept",
        /// It has been made again.
        ThereAgain = "it is there again",
        /// There is none.
        NoContainer = "there is no such container",
        /// Its engine started it again after it had ended.
        RestartedByEngine = "restarted by its engine",
        /// Another run serves where one was ready.
        StartedAnew = "it was started anew",
        /// An event said that it was removed.
        SaidGone = "its engine says that it is gone",
        /// An event said that its run ended, or was paused.
        SaidEnded = "its engine says that its process ended or was frozen",
        /// An event said that somebody else stops it.
        BeingEnded = "somebody else asked it to end",
        /// A request met a dead upstream.
        UpstreamFailed = "its application refused or dropped a connection",
        /// It no longer has the address at which it was found ready.
        AddressGone = "an address of it has gone",
    }
    about {
        /// It answers, after it had come to run in this way.
        Answers(Box<Reason>) = "{}, and it answers",
        /// This holder was the first to wait for it, and its start was ordered.
        AskedForBy(Box<str>) = "asked for by {}",
        /// Its start waits for these.
        WaitingFor(Box<str>) = "waiting for {}",
        /// Something that it needs does not wake, for this reason.
        NeedRefused(Box<str>) = "it needs {}",
        /// Its idle time is over.
        Idle(Shown) = "idle for {}",
        /// It was paused for so long that it is stopped.
        FrozenFor(Shown) = "frozen for {}, and nobody wanted it",
        /// Something else works on it, in its engine's word.
        Locked(Box<str>) = "locked by {}",
        /// Somebody holds it asleep, for this reason of theirs.
        HeldAsleep(Box<str>) = "held asleep: {}",
        /// Its engine refused to start it.
        StartRefused(Box<str>) = "its start was refused: {}",
        /// Its engine refused to put it to sleep, or did not.
        SleepFailed(Box<str>) = "could not be put to sleep: {}",
        /// Its engine's state of it.
        Is(Box<str>) = "it is {}",
        /// An event said so.
        SaidToBe(Box<str>) = "its engine says that it is {}",
        /// Its process ended, in the words of [`Failures`](super::failures::Failures).
        Failed(Box<str>) = "{}",
    }
}

impl Reason {
    pub(crate) fn answers(self) -> Self {
        match self {
            // A run that was lost sight of while it started is told once.
            Self::Answers(_) => self,
            other => Self::Answers(Box::new(other)),
        }
    }

    pub(crate) fn idle(time: Duration) -> Self {
        Self::Idle(Shown(time))
    }

    pub(crate) fn frozen_for(time: Duration) -> Self {
        Self::FrozenFor(Shown(time))
    }

    pub(crate) fn locked(by: &str) -> Self {
        Self::Locked(by.into())
    }

    pub(crate) fn start_refused(kind: &ErrorKind) -> Self {
        Self::StartRefused(kind.to_string().into())
    }

    pub(crate) fn sleep_failed(kind: &ErrorKind) -> Self {
        Self::SleepFailed(kind.to_string().into())
    }

    pub(crate) fn is(status: &ContainerStatus) -> Self {
        Self::Is(status.to_string().into())
    }

    pub(crate) fn said_to_be(status: &ContainerStatus) -> Self {
        Self::SaidToBe(status.to_string().into())
    }
}

/// A time as configurations have it, in its two largest units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u128); 5] =
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let mut left = self.0.as_millis();
        let mut written = 0;
        for (unit, size) in UNITS {
            if left >= size && written < 2 {
                write!(formatter, "{}{unit}", left / size)?;
                left %= size;
                written += 1;
            }
        }
        if written == 0 { formatter.write_str("0s") } else { Ok(()) }
    }
}

#[cfg(test)]
impl PartialEq<str> for Reason {
    fn eq(&self, text: &str) -> bool {
        format!("{self}") == text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::failures, *};

    const STATES: &str = include_str!("../../../../docs/states.md");

    /// The first cells of the table under this heading.
    fn rows(heading: &str) -> BTreeSet<&str> {
        let (_, after) = STATES.split_once(heading).unwrap();
        let section = after.split("\n## ").next().unwrap();
        section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
            .map(|(cell, _)| cell)
            .collect()
    }

    #[test]
    fn each_reason_has_a_row_and_each_row_a_reason() {
        let own = Reason::TEXTS.iter().filter(|text| **text != "{}");
        let texts = own.map(|text| (*text).to_owned()).chain(failures::texts());
        let texts: BTreeSet<String> = texts.map(|text| text.replace("{}", "…")).collect();
        let texts: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
        let rows = rows("\n## Reasons\n");
        let lacking: Vec<_> = texts.difference(&rows).collect();
        let stale: Vec<_> = rows.difference(&texts).collect();
        assert!(lacking.is_empty(), "docs/states.md has no row for {lacking:#?}");
        assert!(stale.is_empty(), "docs/states.md has rows of what there is not: {stale:#?}");
    }

    #[test]
    fn each_state_has_a_row() {
        let rows = rows("\n## States\n");
        let states = BTreeSet::from([
            "unread", "asleep", "starting", "probing", "ready", "stopping", "failed", "gone",
        ]);
        assert_eq!(rows, states);
    }

    #[test]
    fn they_are_small() {
        assert!(size_of::<Reason>() <= size_of::<String>());
    }

    #[test]
    fn times_are_shown_as_they_are_written() {
        let shown = [0, 250, 1_000, 900_000, 5_400_000, 90_061_001]
            .map(|milliseconds| Shown(Duration::from_millis(milliseconds)).to_string());
        assert_eq!(shown, ["0s", "250ms", "1s", "15m", "1h30m", "1d1h"]);
    }
}
