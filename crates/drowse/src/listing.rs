//! What `list --json` writes, and what the control socket answers. Keys are added, never renamed.

use drowse_watcher::{Condition, NeedState, SleepMethod};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{config::Problem, schedule::Schedule, store::KeptHold, wall::Wall};

/// How much is shown of what a schedule does next.
const SWITCHES: usize = 2;

/// All workloads, and what keeps others from being managed.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Listing {
    pub(crate) workloads: Vec<Row>,
    pub(crate) problems: Vec<ProblemRow>,
}

/// A workload in a listing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    /// `unread`, `asleep`, `starting`, `probing`, `ready`, `stopping`, `failed`, `gone`.
    pub(crate) state: String,
    /// When it came to that state; RFC 3339.
    pub(crate) since: Option<String>,
    /// How long it has been in that state.
    pub(crate) since_seconds: Option<u64>,
    pub(crate) engine: String,
    pub(crate) container: String,
    /// The number of the container in its cluster, where its engine is one.
    #[serde(default)]
    pub(crate) vmid: Option<u32>,
    /// The node that it was last seen on, likewise.
    #[serde(default)]
    pub(crate) node: Option<String>,
    /// What works on it and keeps orders from it, in the engine's word, if anything does.
    #[serde(default)]
    pub(crate) lock: Option<String>,
    pub(crate) routes: Vec<String>,
    /// Leases held.
    pub(crate) leases: u32,
    /// Requests that wait for it to wake.
    pub(crate) waiting: usize,
    /// Why it is in that state, or what keeps it awake.
    pub(crate) why: String,
    /// Whether its engine is out of reach.
    pub(crate) engine_lost: bool,
    /// Whether its engine answers, and does not let drowse see it.
    #[serde(default)]
    pub(crate) forbidden: bool,
    /// Why it came to that state, and nothing else.
    #[serde(default)]
    pub(crate) reason: String,
    /// What the last attempt to use it met, while it is not ready.
    #[serde(default)]
    pub(crate) last_error: Option<String>,
    /// How long the last wake took, from the start order to ready.
    #[serde(default)]
    pub(crate) last_wake_ms: Option<u64>,
    /// How it is put to sleep: `stop`, `pause`, `pause_then_stop`, `kill`, or `never`.
    #[serde(default)]
    pub(crate) sleeps_by: String,
    /// When it is put to sleep if nothing uses it until then.
    #[serde(default)]
    pub(crate) next_sleep: Option<Wall>,
    /// How far that is.
    #[serde(default)]
    pub(crate) next_sleep_seconds: Option<u64>,
    /// What spoke against a sleep when it was last due, beside leases.
    #[serde(default)]
    pub(crate) vetoed_by: Option<String>,
    /// Until when no start is tried, after failures.
    #[serde(default)]
    pub(crate) blocked_until: Option<Wall>,
    /// Why nothing wakes it, if it is held asleep.
    #[serde(default)]
    pub(crate) held_asleep: Option<String>,
    /// How a person holds it, if anybody does.
    #[serde(default)]
    pub(crate) hold: Option<HoldRow>,
    /// When it is kept awake and woken, whoever uses it.
    #[serde(default)]
    pub(crate) schedule: Option<ScheduleRow>,
    /// What it needs before it starts.
    #[serde(default)]
    pub(crate) needs: Vec<NeedRow>,
    /// Of these, what its start waits for.
    #[serde(default)]
    pub(crate) waiting_for: Vec<String>,
    /// What needs it.
    #[serde(default)]
    pub(crate) dependents: Vec<String>,
    /// With what it is woken.
    #[serde(default)]
    pub(crate) group: Option<String>,
    /// Whether its user did not enable it: it is started when others need it, and never stopped.
    #[serde(default)]
    pub(crate) implicit: bool,
}

/// Another workload that a workload needs.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct NeedRow {
    pub(crate) workload: String,
    /// `started`, `ready` or `completed`.
    pub(crate) condition: String,
    pub(crate) is_met: bool,
    /// If it is not.
    pub(crate) why_not: Option<String>,
}

/// A hold in a listing.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct HoldRow {
    /// `awake` or `asleep`.
    pub(crate) kind: String,
    pub(crate) reason: Option<String>,
    pub(crate) since: Wall,
    /// Until when; else until somebody ends it.
    pub(crate) until: Option<Wall>,
}

impl HoldRow {
    pub(crate) fn of(hold: &KeptHold) -> Self {
        Self {
            kind: hold.kind.as_str().to_owned(),
            reason: hold.reason.clone(),
            since: hold.since.into(),
            until: hold.until.map(Wall::from),
        }
    }
}

/// A schedule in a listing.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ScheduleRow {
    pub(crate) time_zone: String,
    /// Whether it keeps the workload awake now.
    pub(crate) is_awake: bool,
    /// What it does next, in that order.
    pub(crate) next: Vec<SwitchRow>,
}

/// Something that a schedule does.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct SwitchRow {
    pub(crate) at: Wall,
    /// As `check` has it: `kept awake`, `may sleep` or `woken`.
    pub(crate) does: String,
}

impl ScheduleRow {
    /// As it is at this moment.
    pub(crate) fn of(schedule: &Schedule, now: Timestamp) -> Self {
        let next = schedule.next_switches(now, SWITCHES).into_iter();
        let next =
            next.map(|(at, switch)| SwitchRow { at: at.into(), does: switch.as_str().to_owned() });
        Self {
            time_zone: schedule.zone.name().to_owned(),
            is_awake: schedule.is_awake(now),
            next: next.collect(),
        }
    }
}

/// Something that keeps a workload from being managed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ProblemRow {
    pub(crate) severity: String,
    pub(crate) message: String,
}

impl NeedRow {
    pub(crate) fn of(need: NeedState) -> Self {
        let condition = match need.condition {
            Condition::Started => "started",
            Condition::Completed => "completed",
            // The watcher may grow: whatever else it asks of one, that is what it comes to.
            Condition::Ready | _ => "ready",
        };
        let (condition, is_met) = (condition.to_owned(), need.is_met);
        Self { workload: need.name, condition, is_met, why_not: need.why_not }
    }
}

impl ProblemRow {
    pub(crate) fn of(problem: &Problem) -> Self {
        Self { severity: problem.severity.as_str().to_owned(), message: problem.line() }
    }
}

/// The word of the configuration for a way to sleep; `never` is none of its words.
pub(crate) fn sleeps_by(method: &SleepMethod) -> &'static str {
    match method {
        SleepMethod::Stop(_) => "stop",
        SleepMethod::Pause => "pause",
        SleepMethod::PauseThenStop { .. } => "pause_then_stop",
        SleepMethod::Kill => "kill",
        // The contract may grow: whatever else there is, is no way that we know of.
        SleepMethod::Never | _ => "never",
    }
}
