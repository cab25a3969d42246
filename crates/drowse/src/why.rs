//! `why`: what keeps a workload awake or asleep now, what must happen next, and how it came to this.

pub(crate) mod next;
mod render;

use drowse_watcher::Change;
use serde::{Deserialize, Serialize};

use crate::{
    cli::WhyArgs,
    control::client,
    exit::CommandResult,
    listing::{ProblemRow, Row},
    output::{say, say_json},
    state::StateFolder,
    store::Event,
    wall::{Clock, Wall},
};

pub(crate) use next::Next;

/// What `why NAME --json` writes, and what the control socket answers. Keys are added, never renamed.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Why {
    /// As `list` has it. Of what is in error and therefore not managed, the state is `not_managed`.
    #[serde(flatten)]
    pub(crate) row: Row,
    /// What must happen next, the nearest first.
    pub(crate) next: Vec<Next>,
    /// Who holds leases.
    pub(crate) holders: Vec<HolderRow>,
    /// The requests that are in flight, the oldest first.
    pub(crate) in_flight: Vec<UseRow>,
    /// Its last changes of state, the oldest first.
    pub(crate) changes: Vec<ChangeRow>,
    /// What is wrong with what is said of it.
    pub(crate) problems: Vec<ProblemRow>,
}

/// The state of what is in error, in place of a workload's.
pub(crate) const NOT_MANAGED: &str = "not_managed";

/// Somebody who holds leases.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct HolderRow {
    pub(crate) holder: String,
    pub(crate) leases: u32,
    /// When it began to hold, at the earliest when drowse came to manage what it holds. Nothing of
    /// requests: they are in flight, with an age of each.
    #[serde(default)]
    pub(crate) since: Option<Wall>,
}

/// A request, or a connection, that is in flight.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct UseRow {
    pub(crate) route: String,
    /// Who connected.
    pub(crate) peer: String,
    /// Who asked: another than the peer where that is a trusted proxy.
    pub(crate) client: String,
    pub(crate) age_seconds: u64,
    /// Bytes moved so far, in both directions.
    pub(crate) bytes: u64,
    /// `waiting` for it to wake, `served`, `passive` (served, and no use), `upgraded`, or `quiet`
    /// (upgraded, and no use).
    #[serde(default)]
    pub(crate) stage: String,
    /// Of UDP: packets that found no room, or were too long.
    #[serde(default)]
    pub(crate) dropped: u64,
}

/// A change of state.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ChangeRow {
    pub(crate) at: Wall,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
    /// How long it was in the state before; for a wake, from the start order to ready.
    pub(crate) took_ms: u64,
}

impl ChangeRow {
    pub(crate) fn of(change: &Change) -> Self {
        Self {
            at: Wall::of(change.at),
            from: change.from.to_string(),
            to: change.to.to_string(),
            reason: change.reason.clone(),
            took_ms: u64::try_from(change.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl From<Event> for ChangeRow {
    fn from(event: Event) -> Self {
        let Event { at, from, to, reason, took_ms, .. } = event;
        Self { at: at.into(), from, to, reason, took_ms }
    }
}

pub(crate) async fn why(state: &StateFolder, arguments: &WhyArgs) -> CommandResult {
    let why = client::why(state, &arguments.name).await?;
    if arguments.json {
        say_json(&why)?;
    } else {
        say(render::render(&why, &Clock::now()))?;
    }
    Ok(())
}

impl Why {
    /// Of something that is named in what is wrong, and not managed.
    pub(crate) fn not_managed(name: &str, problems: Vec<ProblemRow>) -> Self {
        let why = problems.iter().map(|problem| &*problem.message).collect::<Vec<_>>().join("; ");
        let row = Row {
            workload: name.to_owned(),
            state: NOT_MANAGED.to_owned(),
            reason: why.clone(),
            why: why.clone(),
            ..Row::default()
        };
        Self { row, next: vec![Next::Mend { why }], problems, ..Self::default() }
    }
}
