//! Who needs whom among what runs: told to each workload, and held over while a management begins or
//! ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drowse_watcher::{Condition, Group, Hold, Need, Needs, Workload, WorkloadSpec};

use crate::{
    config::Config,
    plan::{EngineView, Inventory, Plan, PlannedNeed, PlannedNeeds, Waiting},
    view::Entry,
};

/// What is known of who needs whom.
#[derive(Default)]
pub(super) struct Bonds {
    /// What each workload was told last, by its name.
    told: BTreeMap<String, Told>,
    /// What those need whose management ends. Whoever manages them next holds it itself.
    handed_over: Vec<Hold>,
    /// What began before it was known who needs it, by name.
    unknown: Vec<(String, Hold)>,
    /// Those that somebody needs.
    needed: BTreeSet<String>,
    /// Those that are needed by workloads of the file whose engines were not read yet, and by containers
    /// that could not be read: holders' names.
    awaited: BTreeMap<String, String>,
    /// Why more may be needed than that.
    not_whole: Option<String>,
    /// By name, all that were ever spoken of.
    groups: BTreeMap<String, Group>,
}

struct Told {
    workload: Workload,
    needs: Vec<Need>,
    error: Option<String>,
}

impl Bonds {
    /// Takes in a new plan, before anything comes of it.
    pub(super) fn look(&mut self, config: &Config, plan: &Plan, inventory: &Inventory) {
        let needs = plan.workloads.iter().flat_map(|planned| planned.needs.iter());
        self.needed = needs.map(|need| need.name.clone()).collect();
        let of_waiting = plan.waiting.iter().flat_map(|waiting| needs_of(config, waiting));
        self.awaited = plan.awaited.clone().into_iter().chain(of_waiting).collect();
        self.not_whole = inventory.iter().find_map(|(name, view)| may_bring_needs(name, view));
    }

    /// Begins to manage a workload, held for as long as others may need it that do not hold it yet. It
    /// knows from the first moment on that it needs others, and is not started before it is told who
    /// manages them.
    pub(super) fn begin(&mut self, spec: WorkloadSpec, needs: &PlannedNeeds) -> Workload {
        let spec = spec.with_needs(not_told_yet(needs));
        let why = match self.not_whole.as_ref().or_else(|| self.awaited.get(&spec.name)) {
            Some(why) => why,
            None if self.needed.contains(&spec.name) => "what needs it",
            None => return Workload::spawn(spec),
        };
        let name = spec.name.clone();
        let (workload, hold) = Workload::spawn_held(spec, why);
        self.unknown.push((name, hold));
        workload
    }

    /// The group of that name.
    pub(super) fn group(&mut self, name: &str) -> Group {
        let new = || Group::new(name);
        self.groups.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Its management is about to end, and its container goes on as it is.
    pub(super) fn end(&mut self, workload: &Workload) {
        let told = self.told.get(workload.name()).filter(|told| told.workload.is(workload));
        self.handed_over.extend(
            told.into_iter().flat_map(|told| Needs::Of(told.needs.clone()).hold(workload.name())),
        );
    }

    /// Tells everybody what it needs, as that is managed now. `is_settled`: nobody is about to be managed
    /// anew.
    pub(super) async fn tell(&mut self, running: &BTreeMap<String, Arc<Entry>>, is_settled: bool) {
        let mut told = std::mem::take(&mut self.told);
        for (name, entry) in running {
            let needs = of(entry, running);
            let error = entry.planned.needs.error().map(str::to_owned);
            let last = told.remove(name).filter(|last| last.workload.is(&entry.workload));
            let (known, known_error) =
                last.as_ref().map_or((&[][..], &None), |last| (&last.needs, &last.error));
            let (are_others, is_other_error) = (!are_same(known, &needs), *known_error != error);
            let is_news = are_others || is_other_error;
            // Not for an error alone: it would be in none for a moment.
            if are_others || (is_other_error && error.is_none()) {
                entry.workload.set_needs(Needs::Of(needs.clone())).await;
            }
            // What is in error goes on to hold what it needed before.
            if is_news && let Some(why) = error.clone() {
                entry.workload.set_needs(Needs::InError(why)).await;
            }
            if is_news || last.is_some() {
                let workload = entry.workload.clone();
                self.told.insert(name.clone(), Told { workload, needs, error });
            }
        }
        // Everybody holds for itself what it needs, from here on.
        if is_settled {
            self.handed_over.clear();
        }
        // Nor does anybody hold what it needs who is about to be managed anew.
        if is_settled && self.not_whole.is_none() {
            self.unknown.retain(|(name, _)| self.awaited.contains_key(name));
        }
        self.hold_awaited(running);
    }

    /// Holds those that are awaited only since they were begun.
    fn hold_awaited(&mut self, running: &BTreeMap<String, Arc<Entry>>) {
        for (name, why) in &self.awaited {
            let Some(entry) = running.get(name) else { continue };
            if self.unknown.iter().any(|(held, _)| held == name) {
                continue;
            }
            let need = Need::new(name, Some(entry.workload.clone()), Condition::Started);
            let holds = Needs::Of(vec![need]).hold(why);
            self.unknown.extend(holds.into_iter().map(|hold| (name.clone(), hold)));
        }
    }
}

/// What a workload of the file that is not managed yet needs, with a holder's name.
fn needs_of(config: &Config, waiting: &Waiting) -> impl Iterator<Item = (String, String)> {
    let workload = config.workloads.iter().find(|workload| workload.name == waiting.name);
    let needs = workload.and_then(|workload| workload.settings.needs.as_ref());
    let names = needs.into_iter().flat_map(|needs| needs.value.clone());
    names.map(|name| (name, unread(&waiting.engine)))
}

fn unread(engine: &str) -> String {
    format!("engine `{engine}` was not read yet")
}

/// What of this engine is not known, and may need anything: a holder's name. Notes cannot say it, what
/// the file says is known, and mostly a list tells what a container needs that could not be read.
fn may_bring_needs(name: &str, view: &EngineView) -> Option<String> {
    if view.is_refused || view.is_numbered() {
        return None;
    }
    if view.containers.is_none() {
        return Some(unread(name));
    }
    let unread = view.unread.values().find(|unread| unread.needs.is_none())?;
    Some(unread.in_words(name))
}

/// What a workload needs, before it is known who manages that: such a need is waited for.
fn not_told_yet(needs: &PlannedNeeds) -> Needs {
    match needs {
        PlannedNeeds::Of(needs) => {
            Needs::Of(needs.iter().map(|need| need_of(need, None)).collect())
        }
        PlannedNeeds::InError { why, .. } => Needs::InError(why.clone()),
    }
}

/// What a workload needs, with the handles of those that manage it now.
fn of(entry: &Entry, running: &BTreeMap<String, Arc<Entry>>) -> Vec<Need> {
    let with_handle = |need: &PlannedNeed| {
        need_of(need, running.get(&need.name).map(|entry| entry.workload.clone()))
    };
    entry.planned.needs.iter().map(with_handle).collect()
}

fn need_of(need: &PlannedNeed, handle: Option<Workload>) -> Need {
    Need::new(&need.name, handle, need.wanted.condition())
}

fn are_same(before: &[Need], after: &[Need]) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| is_same(before, after))
}

fn is_same(before: &Need, after: &Need) -> bool {
    let is_same_handle = match (&before.workload, &after.workload) {
        (Some(before), Some(after)) => before.is(after),
        (None, None) => true,
        _ => false,
    };
    before.name == after.name && before.condition == after.condition && is_same_handle
}
