//! What each workload needs, and by whom it is needed.

use serde::Serialize;

use super::Line;
use crate::{
    list::table,
    plan::{Planned, PlannedNeed},
};

/// Something that a workload needs.
#[derive(Debug, Serialize)]
pub(super) struct NeedLine {
    workload: String,
    /// `started`, `ready`, `healthy` or `completed`: what it must be before a start.
    condition: &'static str,
    /// Who says so.
    why: String,
}

/// Somebody who needs a workload.
#[derive(Debug, Serialize)]
pub(super) struct DependentLine {
    workload: String,
    condition: &'static str,
}

pub(super) fn needs_of(planned: &Planned) -> Vec<NeedLine> {
    let line = |need: &PlannedNeed| NeedLine {
        workload: need.name.clone(),
        condition: need.wanted.as_str(),
        why: need.because.to_string(),
    };
    planned.needs.iter().map(line).collect()
}

pub(super) fn dependents_of(planned: &Planned, all: &[Planned]) -> Vec<DependentLine> {
    let needs_it = |other: &Planned| {
        let need = other.needs.iter().find(|need| need.name == planned.name)?;
        Some(DependentLine { workload: other.name.clone(), condition: need.wanted.as_str() })
    };
    all.iter().filter_map(needs_it).collect()
}

/// A table of those that need or are needed; empty if there are none.
pub(super) fn render(workloads: &[Line]) -> String {
    let is_in_it =
        |line: &&Line| !line.needs.is_empty() || !line.needed_by.is_empty() || line.from == NOBODY;
    let rows: Vec<_> = workloads.iter().filter(is_in_it).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    table(["WORKLOAD", "NEEDS", "NEEDED BY", "NOTE"], rows)
}

/// The word for what nobody enabled.
pub(super) const NOBODY: &str = "needs";

fn row(line: &Line) -> [String; 4] {
    let needs = line
        .needs
        .iter()
        .map(|need| format!("{} ({}, by {})", need.workload, need.condition, need.why));
    let needed_by =
        line.needed_by.iter().map(|one| format!("{} ({})", one.workload, one.condition));
    let note = match (line.from == NOBODY, line.needed_by.is_empty()) {
        (false, _) => "-",
        (true, false) => "started when needed, never stopped: not enabled",
        (true, true) => {
            "never started or stopped: not enabled; what it needs stays awake while it runs"
        }
    };
    [line.workload.clone(), joined(needs), joined(needed_by), note.to_owned()]
}

fn joined(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drowse_provider::{Capabilities, ContainerStatus, Details, Observation, Reach};

    use super::*;
    use crate::{
        config::Config,
        plan::{self, EngineView, Incumbents, Inventory},
    };

    fn container(name: &str, labels: &[(&str, &str)]) -> Arc<Details> {
        let observation = Observation::new(ContainerStatus::Stopped, None);
        let mut details = Details::new(format!("id-{name}"), name, observation);
        let own = [("com.docker.compose.project", "shop"), ("com.docker.compose.service", name)];
        let labels = own.iter().chain(labels);
        details.labels =
            labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Arc::new(details)
    }

    #[test]
    fn who_needs_whom_is_shown_from_both_sides() {
        let depends_on = "com.docker.compose.depends_on";
        let enabled = ("drowse.enable", "true");
        let job = "migrate:service_completed_successfully:false";
        let view = EngineView {
            containers: Some(vec![
                container("web", &[enabled, (depends_on, job), ("drowse.needs", "db")]),
                container("db", &[enabled]),
                container("migrate", &[(depends_on, "db:service_started:false")]),
                container("admin", &[(depends_on, "web:service_started:false")]),
                container("alone", &[enabled]),
            ]),
            ..EngineView::unread(Capabilities::all(), Reach::Local)
        };
        let inventory = Inventory::from([("docker".to_owned(), view)]);
        let plan = plan::make(&Config::without_file(), &inventory, &Incumbents::default());
        assert_eq!(plan.problems, []);
        let line = |planned: &Planned| {
            let (mut line, _) = Line::of(planned, &inventory, false);
            line.needed_by = dependents_of(planned, &plan.workloads);
            line
        };
        let lines: Vec<Line> = plan.workloads.iter().map(line).collect();
        insta::assert_snapshot!(render(&lines), @r"
        WORKLOAD  NEEDS                                                                   NEEDED BY                       NOTE
        db        -                                                                       web (ready), migrate (started)  -
        web       db (ready, by `needs`), migrate (completed, by compose's `depends_on`)  admin (started)                 -
        migrate   db (started, by compose's `depends_on`)                                 web (completed)                 started when needed, never stopped: not enabled
        admin     web (started, by compose's `depends_on`)                                -                               never started or stopped: not enabled; what it needs stays awake while it runs
        ");
        let json = serde_json::json!({ "needs": lines[2].needs, "needed_by": lines[2].needed_by });
        insta::assert_snapshot!(json, @r#"{"needed_by":[{"condition":"started","workload":"admin"}],"needs":[{"condition":"ready","why":"`needs`","workload":"db"},{"condition":"completed","why":"compose's `depends_on`","workload":"migrate"}]}"#);
        assert_eq!(render(&lines[..1]), "", "nobody needs it, and it needs nobody");
    }
}
