//! Crashes, refused starts, the back-off that follows them, and the circuit that opens after too many.

use std::time::Duration;

use drowse_provider::{Error, ErrorKind};

use crate::{Circuit, WakeError, sabotage::sabotaged};

use super::{Belief, Core, Moment, Reason};

/// A run that served for this long was no part of a crash loop.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long no start is tried after one for which drowse lacked a right: it is no fault of the
/// container's, and may be mended at any time.
const NOT_PERMITTED: Duration = Duration::from_secs(5);

/// What the failures so far mean for the next start.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    last: Option<Box<Failure>>,
    /// The container that they are of, as was known before the first read.
    of: Option<Box<str>>,
}

#[derive(Debug)]
struct Failure {
    reason: Box<str>,
    exit: Option<i64>,
    source: Option<Error>,
    until: Moment,
}

/// What is worth keeping of failures when their workload's management begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastFailures {
    pub(crate) in_a_row: u32,
    /// Until when no start is tried.
    pub(crate) until: Moment,
    pub(crate) reason: Box<str>,
    /// The id of the container that they are of, if it is known.
    pub(crate) container: Option<Box<str>>,
}

impl Core {
    /// The same, knowing how earlier starts failed.
    pub(crate) fn with_failures(mut self, past: Option<PastFailures>) -> Self {
        if let Some(PastFailures { in_a_row, until, reason, container: of }) = past {
            // Whatever the memory says, no longer than this policy would have it.
            let until = until.min(self.stepped_at + self.policy.circuit.rest);
            let last = Some(Box::new(Failure { reason, exit: None, source: None, until }));
            self.failures = Failures { in_a_row, last, of };
        }
        self
    }

    /// What is to be known of failures after a restart, if there were any that still count.
    pub(crate) fn failures(&self) -> Option<PastFailures> {
        let last = self.failures.last.as_ref().filter(|_| self.failures.in_a_row > 0)?;
        let (in_a_row, reason) = (self.failures.in_a_row, last.reason.clone());
        let container = match &self.belief {
            Belief::Seen(details) => Some(details.id.as_str().into()),
            Belief::Unread | Belief::Absent => self.failures.of.clone(),
        };
        Some(PastFailures { in_a_row, until: last.until, reason, container })
    }

    /// Until when no start is tried after failures; nobody needs one of what runs.
    pub(crate) fn blocked_until(&self) -> Option<Moment> {
        self.failures.blocked_until(self.stepped_at).filter(|_| !self.belief.is_running())
    }

    /// Somebody wants it to be tried again, whatever came of it before.
    pub(super) fn close_circuit(&mut self, now: Moment) {
        if self.failures.blocked_until(now).is_some() {
            self.reason = Reason::FailuresForgotten;
        }
        self.failures.forget();
        self.wake.retry.succeeded();
    }

    /// What another container failed at is nothing to this one.
    pub(super) fn forget_failures_of_another(&mut self, old: &Belief) {
        let is_another = match (old, &self.belief) {
            (Belief::Seen(before), Belief::Seen(after)) => before.id != after.id,
            (Belief::Absent, Belief::Seen(_)) => true,
            (Belief::Unread, Belief::Seen(after)) => {
                self.failures.of.take().is_some_and(|of| *of != *after.id)
            }
            _ => false,
        };
        if is_another {
            self.failures.forget();
        }
    }
}

impl Failures {
    /// The engine refused a start. Returns how long no other is tried.
    pub(crate) fn refused(&mut self, now: Moment, error: Error, circuit: &Circuit) -> Duration {
        if is_of_permission(&error) {
            let (reason, until) = (error.kind().to_string().into(), now + NOT_PERMITTED);
            self.last = Some(Box::new(Failure { reason, exit: None, source: Some(error), until }));
            return NOT_PERMITTED;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let backoff = backoff(self.in_a_row, circuit);
        let exit = match error.kind() {
            ErrorKind::Failed { exit, .. } => *exit,
            _ => None,
        };
        self.remember(now, error.kind().to_string(), exit, Some(error), backoff, circuit)
    }

    /// The process ended though nobody asked it to, before it had served.
    pub(crate) fn died_starting(&mut self, now: Moment, exit: Option<i64>, circuit: &Circuit) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let backoff = backoff(self.in_a_row, circuit);
        self.remember(now, died(Ended::Starting, exit), exit, None, backoff, circuit);
    }

    /// The process ended though nobody asked it to, after it had served for `served`. The first
    /// such end is no reason to keep anybody waiting: it may be started again at once.
    pub(crate) fn died_serving(
        &mut self,
        now: Moment,
        exit: Option<i64>,
        served: Duration,
        circuit: &Circuit,
    ) {
        self.in_a_row = if served >= STABLE_AFTER { 1 } else { self.in_a_row.saturating_add(1) };
        let backoff = match self.in_a_row {
            1 => Duration::ZERO,
            failures => backoff(failures - 1, circuit),
        };
        self.remember(now, died(Ended::Serving, exit), exit, None, backoff, circuit);
    }

    /// A job ended with another exit code than 0, or with none.
    pub(crate) fn job_failed(&mut self, now: Moment, exit: Option<i64>, circuit: &Circuit) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let backoff = backoff(self.in_a_row, circuit);
        let reason = died(Ended::Working, exit);
        self.remember(now, reason, exit, None, backoff, circuit);
    }

    fn remember(
        &mut self,
        now: Moment,
        reason: String,
        exit: Option<i64>,
        source: Option<Error>,
        backoff: Duration,
        circuit: &Circuit,
    ) -> Duration {
        let (reason, backoff) = if self.in_a_row >= circuit.opens_at {
            (in_a_row(&reason, self.in_a_row), circuit.rest)
        } else {
            (reason, backoff)
        };
        let reason = reason.into();
        self.last = Some(Box::new(Failure { reason, exit, source, until: now + backoff }));
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
    pub(crate) fn circuit_is_open(&self, now: Moment, circuit: &Circuit) -> bool {
        self.in_a_row >= circuit.opens_at && self.blocked_until(now).is_some()
    }

    /// Until when no start is tried.
    pub(crate) fn blocked_until(&self, now: Moment) -> Option<Moment> {
        let until = self.last.as_ref().map(|last| last.until);
        if sabotaged!(CircuitStaysOpen) {
            return until.map(|_| now + Duration::from_hours(24));
        }
        until.filter(|until| *until > now)
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

    /// Whether the last failure was the same: tried again and again by whoever keeps it awake, it is told
    /// once.
    pub(crate) fn is_known_lack_of_right(&self, error: &Error) -> bool {
        is_of_permission(error)
            && self.is_of_permission()
            && self.reason() == Some(error.kind().to_string().as_str())
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

/// Doubled with each failure, as 1 s, 2 s, 4 s…, up to the circuit's rest.
fn backoff(failures: u32, circuit: &Circuit) -> Duration {
    let pause = circuit.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
    pause.min(circuit.rest)
}

/// What a process was at when it ended though nobody asked it to.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Starting,
    Serving,
    Working,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "while it was starting",
            Self::Serving => "while it served",
            Self::Working => "before its work was done",
        }
    }
}

fn died(ended: Ended, exit: Option<i64>) -> String {
    let when = ended.as_str();
    match exit {
        Some(code) => format!("the process ended {when}, with exit code {code}"),
        None => format!("the process ended {when}"),
    }
}

/// What may follow after that.
fn in_a_row(reason: &str, failures: u32) -> String {
    let plural = if failures == 1 { "" } else { "s" };
    format!("{reason}; {failures} failure{plural} in a row")
}

/// All that is said of processes that ended, with `{}` for what is put in.
#[cfg(test)]
pub(crate) fn texts() -> Vec<String> {
    let all = [Ended::Starting, Ended::Serving, Ended::Working];
    let said = all
        .into_iter()
        .flat_map(|ended| [None, Some(77)].map(|exit| died(ended, exit).replace("77", "{}")));
    said.chain([in_a_row("{}", 77).replace("77", "{}")]).collect()
}
