//! What is managed at one moment, for whoever looks on: `list`, `wake`, `sleep`, `release`.

use std::{sync::Arc, time::Duration};

use drowse_gateway::Route;
use drowse_watcher::{PhaseName, Workload};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    config::Problem,
    plan::{Planned, Waiting},
};

/// What is managed at one moment.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) waiting: Vec<Unread>,
    /// The engines that were never read, and why not, if they say.
    pub(crate) unread_engines: Vec<(String, Option<String>)>,
    pub(crate) problems: Vec<Problem>,
}

/// A managed workload.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) planned: Planned,
    pub(crate) workload: Workload,
    /// In the order of the plan's routes.
    pub(crate) routes: Vec<Route>,
}

/// A workload of the file whose engine was never read.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) planned: Waiting,
    /// Why not, if the engine says.
    pub(crate) trouble: Option<String>,
}

/// What `list --json` writes, and what the control socket answers. Keys are added, never renamed.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listing {
    pub(crate) workloads: Vec<Row>,
    pub(crate) problems: Vec<ProblemRow>,
}

/// A workload in a listing.
#[derive(Debug, Deserialize, Serialize)]
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
}

/// Something that keeps a workload from being managed.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ProblemRow {
    pub(crate) severity: String,
    pub(crate) message: String,
}

impl View {
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().map(Arc::as_ref).find(|entry| entry.planned.name == name)
    }

    /// The view in words.
    pub(crate) fn listing(&self) -> Listing {
        let managed = self.entries.iter().map(|entry| entry.row());
        let waiting = self.waiting.iter().map(Unread::row);
        let mut workloads: Vec<Row> = managed.chain(waiting).collect();
        workloads.sort_by(|a, b| a.workload.cmp(&b.workload));
        let problems = self.problems.iter().map(ProblemRow::of).collect();
        Listing { workloads, problems }
    }
}

impl ProblemRow {
    pub(crate) fn of(problem: &Problem) -> Self {
        Self { severity: problem.severity.as_str().to_owned(), message: problem.line() }
    }
}

impl Entry {
    fn row(&self) -> Row {
        let snapshot = self.workload.snapshot();
        let for_how_long = Instant::now().saturating_duration_since(snapshot.since);
        let held = self.workload.held_by();
        let why = match (&snapshot.last_error, snapshot.phase) {
            (_, PhaseName::Ready) if !held.is_empty() => {
                let holders: Vec<_> =
                    held.iter().map(|(name, leases)| format!("{name} ({leases})")).collect();
                format!("in use by {}", holders.join(", "))
            }
            (Some(error), _) => format!("{}: {error}", snapshot.reason),
            (None, _) => snapshot.reason.clone(),
        };
        Row {
            workload: self.planned.name.clone(),
            state: snapshot.phase.to_string(),
            since: moment_ago(for_how_long),
            since_seconds: Some(for_how_long.as_secs()),
            engine: self.planned.engine.clone(),
            container: self.planned.shown_name(),
            vmid: self.planned.vmid(),
            node: self.planned.node(),
            lock: self.planned.lock(),
            routes: self.planned.routes.iter().flat_map(crate::plan::PlannedRoute::urls).collect(),
            leases: self.workload.leases(),
            waiting: snapshot.waiting,
            why,
            engine_lost: snapshot.engine_lost_since.is_some() && !snapshot.is_forbidden,
            forbidden: snapshot.is_forbidden,
        }
    }
}

impl Unread {
    fn row(&self) -> Row {
        let why = match &self.trouble {
            Some(trouble) => format!("its engine was never read: {trouble}"),
            None => "its engine is being read".to_owned(),
        };
        Row {
            workload: self.planned.name.clone(),
            state: PhaseName::Unread.to_string(),
            since: None,
            since_seconds: None,
            engine: self.planned.engine.clone(),
            container: self.planned.container.clone(),
            vmid: self.planned.vmid,
            node: None,
            lock: None,
            routes: Vec::new(),
            leases: 0,
            waiting: 0,
            why,
            engine_lost: self.trouble.is_some(),
            forbidden: false,
        }
    }
}

/// The wall-clock time that long ago.
fn moment_ago(duration: Duration) -> Option<String> {
    let ago = jiff::SignedDuration::try_from(duration).ok()?;
    let moment = jiff::Timestamp::now().checked_sub(ago).ok()?;
    Some(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
