//! Crashes, refused starts and the back-off that follows them.

use std::time::Duration;

use drowse_provider::{Error, ErrorKind};

use crate::WakeError;

use super::Moment;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// After this many failures in a row the circuit opens: no start is tried for [`LONGEST`].
const CIRCUIT_OPENS_AT: u32 = 5;
/// A run that served for this long was no part of a crash loop.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long no start is tried after one for which drowse lacked a right: it is no fault of the
/// container's, and may be mended at any time.
const NOT_PERMITTED: Duration = Duration::from_secs(5);

/// What the failures so far mean for the next start.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    last: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    reason: Box<str>,
    exit: Option<i64>,
    source: Option<Error>,
    until: Moment,
}

impl Failures {
    /// The engine refused a start. Returns how long no other is tried.
    pub(crate) fn refused(&mut self, now: Moment, error: Error) -> Duration {
        if is_of_permission(&error) {
            let (reason, until) = (error.kind().to_string().into(), now + NOT_PERMITTED);
            self.last = Some(Failure { reason, exit: None, source: Some(error), until });
            return NOT_PERMITTED;
        }
        self.in_a_row += 1;
        let backoff = backoff(self.in_a_row);
        let exit = match error.kind() {
            ErrorKind::Failed { exit, .. } => *exit,
            _ => None,
        };
        self.remember(now, error.kind().to_string(), exit, Some(error), backoff)
    }

    /// The process ended though nobody asked it to, before it had served.
    pub(crate) fn died_starting(&mut self, now: Moment, exit: Option<i64>) {
        self.in_a_row += 1;
        let backoff = backoff(self.in_a_row);
        self.remember(now, died("while it was starting", exit), exit, None, backoff);
    }

    /// The process ended though nobody asked it to, after it had served for `served`. The first
    /// such end is no reason to keep anybody waiting: it may be started again at once.
    pub(crate) fn died_serving(&mut self, now: Moment, exit: Option<i64>, served: Duration) {
        self.in_a_row = if served >= STABLE_AFTER { 1 } else { self.in_a_row + 1 };
        let backoff = if self.in_a_row == 1 { Duration::ZERO } else { backoff(self.in_a_row - 1) };
        self.remember(now, died("while it served", exit), exit, None, backoff);
    }

    fn remember(
        &mut self,
        now: Moment,
        reason: String,
        exit: Option<i64>,
        source: Option<Error>,
        backoff: Duration,
    ) -> Duration {
        let (reason, backoff) = if self.in_a_row >= CIRCUIT_OPENS_AT {
            (format!("{reason}; {} failures in a row", self.in_a_row), LONGEST)
        } else {
            (reason, backoff)
        };
        let reason = reason.into();
        self.last = Some(Failure { reason, exit, source, until: now + backoff });
        backoff
    }

    /// Somebody took matters into their own hands.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// It served for so long that earlier failures no longer count.
    pub(crate) fn forget_if_stable(&mut self, served: Duration) {
        if served >= STABLE_AFTER {
            self.forget();
        }
    }

    /// Whether so many starts failed in a row that even an engine that restarts it by itself is no
    /// reason to go on waiting.
    pub(crate) fn circuit_is_open(&self, now: Moment) -> bool {
        self.in_a_row >= CIRCUIT_OPENS_AT && self.blocked_until(now).is_some()
    }

    /// Until when no start is tried.
    pub(crate) fn blocked_until(&self, now: Moment) -> Option<Moment> {
        self.last.as_ref().map(|last| last.until).filter(|until| *until > now)
    }

    /// What a request is told while starts are not tried.
    pub(crate) fn answer(&self, now: Moment) -> Option<WakeError> {
        let last = self.last.as_ref()?;
        let (retry_after, source) = (last.until.since(now), last.source.clone());
        Some(match source {
            Some(source) if is_of_permission(&source) => {
                WakeError::NotPermitted { retry_after, source }
            }
            source => {
                let (reason, exit) = (last.reason.to_string(), last.exit);
                WakeError::Failed { reason, exit, retry_after, source }
            }
        })
    }

    /// Whether the last failure was that drowse lacked a right.
    pub(crate) fn is_of_permission(&self) -> bool {
        self.last.as_ref().and_then(|last| last.source.as_ref()).is_some_and(is_of_permission)
    }

    /// The last failure in words.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.last.as_ref().map(|last| &*last.reason)
    }
}

/// Whether drowse lacks a right, or its credential is not accepted: something to be mended on the
/// engine, and nothing about the container.
pub(crate) fn is_of_permission(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Forbidden { .. } | ErrorKind::Unauthorized)
}

/// 1 s, 2 s, 4 s… up to 5 min.
fn backoff(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

fn died(when: &str, exit: Option<i64>) -> String {
    match exit {
        Some(code) => format!("the process ended {when}, with exit code {code}"),
        None => format!("the process ended {when}"),
    }
}
