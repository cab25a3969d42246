//! `hold` and `unhold`, and what holds have to say to a forced sleep.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path as UrlPath, Query, State},
    response::{IntoResponse as _, Response},
};
use drowse_provider::Deadline;
use drowse_watcher::{Force, SleepError, Workload};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::info;

use super::{Control, HOLDER, Wait, Woken, done, find, refused, sleep_refusal, wake_one};
use crate::{
    control::{Class, Held, Refusal, Unheld},
    holds,
    store::{HoldKind, KeptHold},
    view::Entry,
};

/// More than anybody writes.
const LONGEST_REASON: usize = 200;
/// How long a schedule may take to let go of what is held asleep, and how often that is looked at.
const LETS_GO: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    asleep: bool,
    for_ms: Option<u64>,
    reason: Option<String>,
    #[serde(default)]
    force: bool,
}

pub(super) async fn hold(
    State(control): State<Control>,
    UrlPath(name): UrlPath<String>,
    wait: Query<Wait>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let entry = match find(&control.view, &name) {
        Ok(entry) => entry,
        Err(refusal) => return refused(refusal),
    };
    let kind = if wanted.asleep { HoldKind::Asleep } else { HoldKind::Awake };
    let reason = wanted.reason.map(|reason| reason.chars().take(LONGEST_REASON).collect());
    let length = wanted.for_ms.map(Duration::from_millis);
    let hold = control.holds.made_now(kind, reason, length);
    let deadline = Deadline::after(wait.duration());
    let began = Instant::now();
    let held = match kind {
        HoldKind::Awake => awake(&control, &entry, hold.clone(), deadline).await,
        HoldKind::Asleep => {
            let force = if wanted.force { Force::EvenInUse } else { Force::No };
            let (entry, hold) = (entry.clone(), hold.clone());
            see_through(async move { asleep(&control, &entry, hold, force, deadline).await }).await
        }
    };
    match held {
        Ok(lasting) => {
            let done = done(&entry, began);
            Json(Held {
                workload: done.workload,
                state: done.state,
                hold: kind.as_str().to_owned(),
                until: hold.until.map(|until| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                reason: hold.reason,
                lasting,
                took_ms: done.took_ms,
            })
            .into_response()
        }
        Err(refusal) => refused(refusal),
    }
}

/// Does it to its end, whatever becomes of the client: half done, it is a hold of what runs, that nobody
/// was told of.
async fn see_through(
    work: impl Future<Output = Result<bool, Refusal>> + Send + 'static,
) -> Result<bool, Refusal> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        let error = format!("not known to be held, `drowse list` shows whether it is: {error}");
        Err(Refusal { error, class: Class::Failed })
    })
}

/// Holds it, whether it wakes at once or not.
async fn awake(
    control: &Control,
    entry: &Entry,
    hold: KeptHold,
    deadline: Deadline,
) -> Result<bool, Refusal> {
    info!(workload = entry.planned.name, hold = hold.words(), "held by a command");
    let lasting = control.holds.hold(entry, hold).await;
    match wake_one(entry, HOLDER, deadline).await {
        Woken::Awake(_lease, _) => Ok(lasting),
        // Whoever manages it now holds it.
        Woken::NoLongerManaged => Ok(lasting),
        Woken::Refused(Refusal { error, class }) => {
            let error = format!("it is held awake, and not awake yet: {error}");
            Err(Refusal { error, class })
        }
    }
}

/// Puts it to sleep and holds it there; if it is not put to sleep it is not held.
async fn asleep(
    control: &Control,
    entry: &Entry,
    hold: KeptHold,
    force: Force,
    deadline: Deadline,
) -> Result<bool, Refusal> {
    let name = &entry.planned.name;
    // Those who wait would be refused as soon as it is held, and would not count any more.
    if force == Force::No
        && let Some(in_use) = in_use(entry)
    {
        return Err(sleep_refusal(&in_use));
    }
    let Some(_trial) = control.holds.try_asleep(name) else {
        let error = "another command is about to hold it asleep".to_owned();
        return Err(Refusal { error, class: Class::InUse });
    };
    let before = control.holds.of(name);
    // Held first: between a sleep and a hold somebody could wake it again.
    let lasting = control.holds.hold(entry, hold.clone()).await;
    schedules_let_go(&entry.workload).await;
    match entry.workload.sleep_now(deadline, force).await {
        Ok(()) => {
            info!(workload = name, hold = hold.words(), "held by a command");
            Ok(lasting)
        }
        Err(error) => {
            control.holds.take_back(entry, &hold, before).await;
            Err(sleep_refusal(&error))
        }
    }
}

/// A schedule lets go of what is held asleep: waits until it has noticed. Leases send nothing when they
/// come and go.
async fn schedules_let_go(workload: &Workload) {
    let let_go = async {
        while workload.held_by().iter().any(|(holder, _)| is_schedule(holder)) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    // If it does not, the sleep says who uses it.
    _ = tokio::time::timeout(LETS_GO, let_go).await;
}

fn is_schedule(holder: &str) -> bool {
    holder.starts_with("schedule ")
}

/// Who uses it or waits for it, beside a hold that this one replaces, and a schedule, which counts less.
fn in_use(entry: &Entry) -> Option<SleepError> {
    let held = entry.workload.held_by().into_iter();
    let held: Vec<_> =
        held.filter(|(holder, _)| holder != holds::HOLDER && !is_schedule(holder)).collect();
    let waiting = u32::try_from(entry.workload.snapshot().waiting).unwrap_or(u32::MAX);
    let leases = held.iter().map(|(_, leases)| leases).sum::<u32>().saturating_add(waiting);
    let holders = held.into_iter().map(|(holder, _)| holder).collect();
    (leases > 0).then_some(SleepError::InUse { leases, holders })
}

/// What a forced sleep comes to where something wakes it again at once.
pub(super) fn is_kept_awake(entry: &Entry) -> Option<Refusal> {
    let held = entry.workload.held_by();
    let keeper = held
        .into_iter()
        .map(|(holder, _)| holder)
        .find(|holder| holder == holds::HOLDER || is_schedule(holder))?;
    let name = &entry.planned.name;
    let what = if keeper == holds::HOLDER {
        format!(
            "it is held awake and would be woken again at once: `drowse unhold {name}` releases it"
        )
    } else {
        format!(
            "its {keeper} keeps it awake and would wake it again at once: `drowse hold {name} --asleep` \
             counts more"
        )
    };
    Some(Refusal { error: what, class: Class::InUse })
}

pub(super) async fn unhold(
    State(control): State<Control>,
    UrlPath(name): UrlPath<String>,
) -> Response {
    if let Some(hold) = control.holds.release(&name).await {
        let hold = hold.kind.as_str().to_owned();
        info!(workload = name, hold, "released by a command");
        return Json(Unheld { workload: name, hold }).into_response();
    }
    let error = match find(&control.view, &name) {
        Ok(_) => format!("nobody holds `{name}`"),
        Err(refusal) => refusal.error,
    };
    refused(Refusal { error, class: Class::NotHeld })
}
