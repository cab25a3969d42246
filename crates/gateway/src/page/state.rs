//! How far a wake is, as the page is told: by the document itself, by events, by answers to questions.
//! Of a container nothing is told but its workload's name, unless the route says so.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use drowse_watcher::{PhaseName, Snapshot, WakeError, Workload};
use serde::Serialize;
use tokio::time::Instant;

use super::{Language, texts::Message, usual::usual};
use crate::{problem, route::RouteSpec};

/// Where a wake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// What it needs is woken first.
    Dependencies,
    Starting,
    /// It runs, and the application's answer is waited for.
    Answering,
    Ready,
    /// No wake is under way.
    Asleep,
    Failed,
}

impl Step {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dependencies => "dependencies",
            Self::Starting => "starting",
            Self::Answering => "answering",
            Self::Ready => "ready",
            Self::Asleep => "asleep",
            Self::Failed => "failed",
        }
    }
}

/// What is so until something happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) step: Step,
    /// The workload's own state, in the words of `drowse list`.
    pub(crate) phase: PhaseName,
    pub(crate) message: Message,
    /// Why, with the names and the messages of containers and engines: empty unless the route says so.
    pub(crate) detail: String,
}

/// How long it has been going on, and usually does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) elapsed: Duration,
    pub(crate) usual: Option<Duration>,
}

impl State {
    /// How a workload is.
    pub(crate) fn of(route: &RouteSpec, snapshot: &Snapshot) -> Self {
        let (step, message) = step(snapshot);
        let detail = match &snapshot.held_asleep {
            _ if route.page_details => detail(snapshot),
            // Why was said for those who ask.
            Some(reason) if message == Message::HeldAsleep => format!("held asleep: {reason}"),
            _ => String::new(),
        };
        Self { step, phase: snapshot.phase, message, detail }
    }

    /// Why a request got no lease.
    pub(crate) fn refused(route: &RouteSpec, error: &WakeError) -> Self {
        let is_told = route.page_details || matches!(error, WakeError::HeldAsleep { .. });
        let detail = if is_told { problem::words_of(error) } else { String::new() };
        let phase = route.workload.watch().borrow().phase;
        Self { step: Step::Failed, phase, message: message_of(error), detail }
    }

    /// The same for the same state, also after a restart of the same drowse.
    pub(crate) fn id(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// The usual time, where it says anything: what it needs, a stop under way and an engine out of
    /// reach take times of their own, which nobody has measured.
    pub(crate) fn usual(&self, pace: Pace) -> Option<Duration> {
        pace.usual.filter(|_| matches!(self.message, Message::Waking | Message::Answering))
    }

    /// What scripts are told.
    pub(crate) fn tell(&self, pace: Pace, language: Language) -> Told {
        let said = language.say(self.message);
        let usual = self.usual(pace);
        Told {
            id: self.id(),
            ready: self.step == Step::Ready,
            step: self.step,
            phase: self.phase.as_str(),
            title: said.title,
            hint: said.hint,
            detail: self.detail.clone(),
            usual: usual.map(|usual| language.say_usual(usual)).unwrap_or_default(),
            usual_ms: usual.map(milliseconds),
            elapsed_ms: milliseconds(pace.elapsed),
        }
    }
}

impl Pace {
    /// How long the present wake has been going on. It began with the last change to `starting`.
    pub(crate) fn of(workload: &Workload) -> Self {
        let (phase, since) = {
            let watch = workload.watch();
            let snapshot = watch.borrow();
            (snapshot.phase, snapshot.since)
        };
        let began = match phase {
            PhaseName::Probing => workload
                .history()
                .iter()
                .rev()
                .find(|change| change.to == PhaseName::Starting)
                .map_or(since, |change| change.at),
            _ => since,
        };
        let is_wake = matches!(phase, PhaseName::Starting | PhaseName::Probing);
        let elapsed = Instant::now().saturating_duration_since(began);
        Self {
            elapsed: if is_wake { elapsed } else { Duration::ZERO },
            usual: usual(&workload.memory().wakes),
        }
    }
}

/// A state in words, as JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    /// To be given back as `seen`, or as `Last-Event-ID`.
    pub(crate) id: String,
    ready: bool,
    step: Step,
    phase: &'static str,
    pub(crate) title: &'static str,
    pub(crate) hint: &'static str,
    detail: String,
    /// How long it usually takes, in a sentence; empty if nobody knows.
    pub(crate) usual: String,
    usual_ms: Option<u64>,
    elapsed_ms: u64,
}

fn step(snapshot: &Snapshot) -> (Step, Message) {
    if snapshot.phase == PhaseName::Ready {
        return (Step::Ready, Message::Ready);
    }
    if snapshot.lacks_right {
        return (Step::Failed, Message::NotPermitted);
    }
    if snapshot.engine_lost_since.is_some() {
        return (Step::Starting, Message::EngineAway);
    }
    if !snapshot.waiting_for.is_empty() {
        return (Step::Dependencies, Message::Needs);
    }
    match snapshot.phase {
        PhaseName::Asleep if snapshot.held_asleep.is_some() => (Step::Failed, Message::HeldAsleep),
        PhaseName::Asleep => (Step::Asleep, Message::Waking),
        PhaseName::Starting => (Step::Starting, Message::Waking),
        PhaseName::Probing => (Step::Answering, Message::Answering),
        PhaseName::Stopping => (Step::Starting, Message::FallingAsleep),
        PhaseName::Failed => (Step::Failed, Message::StartFailed),
        PhaseName::Gone => (Step::Failed, Message::NotFound),
        // Unread, and what may come.
        _ => (Step::Starting, Message::Reading),
    }
}

fn message_of(error: &WakeError) -> Message {
    match error {
        WakeError::NotFound => Message::NotFound,
        WakeError::Failed { .. } => Message::StartFailed,
        WakeError::Timeout { .. } => Message::Slow,
        WakeError::EngineUnavailable { .. } => Message::EngineAway,
        WakeError::NotPermitted { .. } => Message::NotPermitted,
        WakeError::Locked { .. } => Message::Locked,
        WakeError::Dependency { .. } => Message::NeedFailed,
        WakeError::HeldAsleep { .. } => Message::HeldAsleep,
        WakeError::Misconfigured { .. } => Message::Misconfigured,
        WakeError::Asleep => Message::Asleep,
        _ => Message::NotManaged,
    }
}

/// What it waits for, the last thing that its attempts met, or how it came to its state. Of what is
/// ready there is nothing to explain; why it cannot be put to sleep is its user's business.
fn detail(snapshot: &Snapshot) -> String {
    if snapshot.phase == PhaseName::Ready {
        return String::new();
    }
    if snapshot.lacks_right {
        return problem::LACKS_RIGHT.to_owned();
    }
    if let Some(error) = &snapshot.last_error {
        return error.clone();
    }
    if snapshot.waiting_for.is_empty() {
        snapshot.reason.clone()
    } else {
        format!("waiting for {}", snapshot.waiting_for.join(", "))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
