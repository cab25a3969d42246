//! `why`: everything that is known of one workload.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path as UrlPath, State},
    response::{IntoResponse as _, Response},
};

use super::{Control, find, refused};
use crate::{
    config::Problem,
    control::Class,
    front::Front,
    listing::{HoldRow, ProblemRow, Row},
    store::Store,
    view::{Entry, Unread, View},
    wall::Wall,
    why::{
        ChangeRow, HolderRow, Next, UseRow, Why,
        next::{Other, Outlook},
    },
};

/// How many changes are told.
const CHANGES: usize = 10;

pub(super) async fn why(
    State(control): State<Control>,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let view = control.view.borrow().clone();
    if let Some(unread) = view.find_unread(&name) {
        return Json(of_unread(unread, &control)).into_response();
    }
    match find(&control.view, &name) {
        Ok(entry) => {
            let changes = changes(&entry, &control.store).await;
            Json(Why { changes, ..of_managed(&entry, &view, &control) }).into_response()
        }
        Err(refusal) if refusal.class == Class::UnknownWorkload => {
            match problems_with(&view, &[&name]) {
                none if none.is_empty() => refused(refusal),
                problems => Json(Why::not_managed(&name, problems)).into_response(),
            }
        }
        Err(refusal) => refused(refusal),
    }
}

fn of_managed(entry: &Entry, view: &Arc<View>, control: &Control) -> Why {
    let planned = &entry.planned;
    let row = Row {
        dependents: view.dependents_of(&planned.name),
        hold: control.holds.of(&planned.name).as_ref().map(HoldRow::of),
        ..entry.row()
    };
    let snapshot = entry.workload.snapshot();
    let holders = entry.workload.held_by().into_iter().map(|(holder, leases)| {
        let since = entry.workload.held_since(&holder).map(Wall::of);
        HolderRow { holder, leases, since }
    });
    let other = |name: &str| {
        let row = view.find(name)?.row();
        let since = row.since.as_ref().and_then(|since| since.parse::<Wall>().ok());
        Some(Other { state: row.state, since, last_error: row.last_error })
    };
    let outlook = Outlook {
        snapshot: &snapshot,
        policy: &planned.policy,
        engine: &planned.engine,
        lock: row.lock.as_deref(),
        error: planned.needs.error(),
        leases: row.leases,
        hold: row.hold.as_ref(),
        schedule: row.schedule.as_ref(),
        others: &other,
    };
    Why {
        next: outlook.next(),
        holders: holders.collect(),
        in_flight: in_flight(&control.front, &planned.name),
        changes: Vec::new(),
        problems: problems_with(view, &[&planned.name, &planned.container_name()]),
        row,
    }
}

/// Its last changes, oldest first: also those before drowse was started, if they can be read.
async fn changes(entry: &Entry, store: &Store) -> Vec<ChangeRow> {
    let own: Vec<_> = entry.workload.history().iter().map(ChangeRow::of).collect();
    match store.last_events_of(&entry.planned.name, CHANGES).await {
        Ok(kept) if kept.len() >= own.len() => kept.into_iter().map(ChangeRow::from).collect(),
        _ => own,
    }
}

fn in_flight(front: &Front, workload: &str) -> Vec<UseRow> {
    let rows = front.in_flight(workload).into_iter().map(|one| UseRow {
        route: one.route,
        peer: one.peer.to_string(),
        client: one.client.to_string(),
        age_seconds: one.age.as_secs(),
        bytes: one.bytes,
        stage: one.stage.to_string(),
        dropped: one.dropped,
    });
    rows.collect()
}

fn of_unread(unread: &Unread, control: &Control) -> Why {
    let hold = control.holds.of(&unread.planned.name).as_ref().map(HoldRow::of);
    let row = Row { hold, ..unread.row() };
    let engine = unread.planned.engine.clone();
    let next = Next::EngineBack { engine, since: None, why: unread.trouble.clone() };
    Why { row, next: vec![next], ..Why::default() }
}

/// What is wrong with a workload or container of one of these names.
fn problems_with(view: &View, names: &[&str]) -> Vec<ProblemRow> {
    let is_about = |problem: &&Problem| {
        let line = problem.line();
        let mut subjects = names
            .iter()
            .flat_map(|name| ["workload", "container"].map(|kind| format!("{kind} `{name}`")));
        subjects.any(|subject| line.starts_with(&subject))
    };
    view.problems.iter().filter(is_about).map(ProblemRow::of).collect()
}
