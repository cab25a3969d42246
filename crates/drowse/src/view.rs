//! What is managed at one moment, for whoever looks on: `list`, `wake`, `sleep`, `release`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use drowse_gateway::Route;
use drowse_watcher::{PhaseName, Snapshot, Workload};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    config::Problem,
    gates::Gates,
    listing::{Listing, NeedRow, ProblemRow, Row, ScheduleRow, sleeps_by},
    plan::{Planned, Waiting},
    ports::{PortRoute, Ports},
    wall::Wall,
};

/// What is said in place of the reason of the last change, each followed by what it is about, and
/// explained in `docs/states.md`.
const IN_USE: &str = "in use by";
const BUSY: &str = "kept awake by";
const HELD: &str = "held asleep:";
const IN_ERROR: &str = "in error:";
const NEVER_READ: &str = "its engine was never read:";
const BEING_READ: &str = "its engine is being read";

/// What is managed at one moment.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) waiting: Vec<Unread>,
    /// The engines that were never read, and why not, if they say.
    pub(crate) unread_engines: Vec<(String, Option<String>)>,
    pub(crate) problems: Vec<Problem>,
    /// Those of its ports that cannot be had are told as they are.
    pub(crate) ports: Option<Ports>,
}

/// A managed workload.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) planned: Planned,
    pub(crate) workload: Workload,
    /// In the order of the plan's routes.
    pub(crate) routes: Vec<Route>,
    /// What is asked before each sleep.
    pub(crate) gates: Arc<Gates>,
    /// In the order of the plan's TCP and UDP routes.
    pub(crate) port_routes: Vec<PortRoute>,
}

/// A workload of the file whose engine was never read.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) planned: Waiting,
    /// Why not, if the engine says.
    pub(crate) trouble: Option<String>,
}

impl View {
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().map(Arc::as_ref).find(|entry| entry.planned.name == name)
    }

    /// The workload of that name whose engine was never read.
    pub(crate) fn find_unread(&self, name: &str) -> Option<&Unread> {
        self.waiting.iter().find(|unread| unread.planned.name == name)
    }

    /// Whether there is a workload of that name, be it one whose engine was never read.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.find(name).is_some() || self.find_unread(name).is_some()
    }

    /// The view in words.
    pub(crate) fn listing(&self) -> Listing {
        let mut dependents: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for entry in &self.entries {
            for need in entry.planned.needed() {
                dependents.entry(need).or_default().push(entry.planned.name.clone());
            }
        }
        let managed = self.entries.iter().map(|entry| Row {
            dependents: dependents.remove(&*entry.planned.name).unwrap_or_default(),
            ..entry.row()
        });
        let waiting = self.waiting.iter().map(Unread::row);
        let mut workloads: Vec<Row> = managed.chain(waiting).collect();
        workloads.sort_by(|a, b| a.workload.cmp(&b.workload));
        let of_ports = self.ports.iter().flat_map(Ports::problems).collect::<Vec<_>>();
        let problems = self.problems.iter().chain(&of_ports).map(ProblemRow::of).collect();
        Listing { workloads, problems }
    }
}

impl View {
    /// Everything that needs this one.
    pub(crate) fn dependents_of(&self, name: &str) -> Vec<String> {
        let needs_it = |entry: &&Arc<Entry>| entry.planned.needed().any(|need| need == name);
        self.entries.iter().filter(needs_it).map(|entry| entry.planned.name.clone()).collect()
    }
}

impl Entry {
    /// The workload in a listing, but for what needs it: that is the others' affair.
    pub(crate) fn row(&self) -> Row {
        let snapshot = self.workload.snapshot();
        let now = Instant::now();
        let seconds_to = |moment: Instant| moment.saturating_duration_since(now).as_secs();
        let milliseconds = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Row {
            workload: self.planned.name.clone(),
            state: snapshot.phase.to_string(),
            since: Some(Wall::of(snapshot.since).to_the_second()),
            since_seconds: Some(now.saturating_duration_since(snapshot.since).as_secs()),
            engine: self.planned.engine.clone(),
            container: self.planned.shown_name(),
            vmid: self.planned.vmid(),
            node: self.planned.node(),
            lock: self.planned.lock(),
            routes: self.planned.urls(),
            leases: self.workload.leases(),
            waiting: snapshot.waiting,
            why: why(&self.planned, &snapshot, &self.workload.held_by()),
            engine_lost: snapshot.engine_lost_since.is_some() && !snapshot.is_forbidden,
            forbidden: snapshot.is_forbidden,
            last_wake_ms: snapshot.last_wake_took.map(milliseconds),
            sleeps_by: sleeps_by(&self.planned.policy.sleep).to_owned(),
            next_sleep: snapshot.next_sleep.map(Wall::of),
            next_sleep_seconds: snapshot.next_sleep.map(seconds_to),
            blocked_until: snapshot.blocked_until.map(Wall::of),
            reason: snapshot.reason,
            last_error: snapshot.last_error,
            vetoed_by: snapshot.vetoed_by,
            held_asleep: snapshot.held_asleep,
            // Holds are by name, whoever manages it.
            hold: None,
            schedule: self
                .planned
                .schedule
                .as_ref()
                .map(|schedule| ScheduleRow::of(schedule, Timestamp::now())),
            waiting_for: snapshot.waiting_for,
            needs: self.workload.needs().into_iter().map(NeedRow::of).collect(),
            dependents: Vec::new(),
            group: self.planned.group.clone(),
            implicit: self.planned.is_implicit(),
        }
    }
}

/// Why it is in its state, or what keeps it awake, in a few words.
fn why(planned: &Planned, snapshot: &Snapshot, held: &[(String, u32)]) -> String {
    if let Some(error) = planned.needs.error() {
        return format!("{IN_ERROR} {error}");
    }
    if snapshot.phase == PhaseName::Ready {
        if !held.is_empty() {
            let holders: Vec<_> =
                held.iter().map(|(name, leases)| format!("{name} ({leases})")).collect();
            return format!("{IN_USE} {}", holders.join(", "));
        }
        if let Some(busy) = &snapshot.vetoed_by {
            return format!("{BUSY} {busy}");
        }
    }
    match (&snapshot.held_asleep, &snapshot.last_error) {
        (Some(reason), _) => format!("{HELD} {reason}"),
        (None, Some(error)) if *error != snapshot.reason => {
            format!("{}: {error}", snapshot.reason)
        }
        (None, _) => snapshot.reason.clone(),
    }
}

impl Unread {
    /// The workload in a listing.
    pub(crate) fn row(&self) -> Row {
        let why = match &self.trouble {
            Some(trouble) => format!("{NEVER_READ} {trouble}"),
            None => BEING_READ.to_owned(),
        };
        Row {
            workload: self.planned.name.clone(),
            state: PhaseName::Unread.to_string(),
            engine: self.planned.engine.clone(),
            container: self.planned.container.clone(),
            vmid: self.planned.vmid,
            reason: why.clone(),
            why,
            engine_lost: self.trouble.is_some(),
            ..Row::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_explained() {
        let states = include_str!("../../../docs/states.md");
        for words in [IN_USE, BUSY, HELD, IN_ERROR, NEVER_READ, BEING_READ] {
            assert!(
                states.contains(&format!("| `{words}")),
                "docs/states.md has no row for {words}"
            );
        }
    }
}
