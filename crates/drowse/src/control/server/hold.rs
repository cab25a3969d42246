//! `hold` and `unhold`, and what holds have to say to a forced sleep.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path as UrlPath, Query, State},
    response::{IntoResponse as _, Response},
};
use drowse_provider::Deadline;
use drowse_watcher::{Force, PhaseName, SleepError, Workload};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::info;

use super::{Control, HOLDER, Wait, Woken, done, find, refused, sleep_refusal, wake_one};
use crate::{
    control::{Class, Done, Held, Refusal, Unheld},
    holds,
    schedule::driver::is_of_schedule,
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
    let kind = if wanted.asleep { HoldKind::Asleep } else { HoldKind::Awake };
    let reason = wanted.reason.map(|reason| reason.chars().take(LONGEST_REASON).collect());
    let length = wanted.for_ms.map(Duration::from_millis);
    let hold = control.holds.made_now(kind, reason, length);
    let view = control.view.borrow().clone();
    let deadline = Deadline::after(wait.duration());
    let began = Instant::now();
    let held = match find(&control.view, &name) {
        Ok(entry) => {
            let force = if wanted.force { Force::EvenInUse } else { Force::No };
            let held = of_managed(&control, &entry, hold.clone(), force, deadline).await;
            held.map(|acts| (done(&entry, began), acts))
        }
        Err(refusal) => match view.find_unread(&name) {
            Some(unread) => {
                info!(workload = name, hold = hold.words(), "held by a command, before it is read");
                let lasting = control.holds.hold_unread(&name, hold.clone()).await;
                let acts = Acts { lasting, not_yet: Some(refusal.error) };
                Ok((Done { workload: name, state: unread.row().state, took_ms: 0 }, acts))
            }
            None => Err(refusal),
        },
    };
    match held {
        Ok((Done { workload, state, took_ms }, Acts { lasting, not_yet })) => {
            let (hold, until, reason) =
                (kind.as_str().to_owned(), hold.until_the_second(), hold.reason);
            Json(Held { workload, state, hold, until, reason, lasting, not_yet, took_ms })
                .into_response()
        }
        Err(refusal) => refused(refusal),
    }
}

/// What became of a hold that is kept.
struct Acts {
    /// Whether it outlasts drowse.
    lasting: bool,
    /// Why it does not act yet.
    not_yet: Option<String>,
}

async fn of_managed(
    control: &Control,
    entry: &Entry,
    hold: KeptHold,
    force: Force,
    deadline: Deadline,
) -> Result<Acts, Refusal> {
    match hold.kind {
        HoldKind::Awake => awake(control, entry, hold, deadline).await,
        HoldKind::Asleep => {
            let (control, entry) = (control.clone(), entry.clone());
            see_through(async move { asleep(&control, &entry, hold, force, deadline).await }).await
        }
    }
}

/// Does it to its end, whatever becomes of the client: half done, it is a hold of what runs, that nobody
/// was told of.
async fn see_through(
    work: impl Future<Output = Result<Acts, Refusal>> + Send + 'static,
) -> Result<Acts, Refusal> {
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
) -> Result<Acts, Refusal> {
    info!(workload = entry.planned.name, hold = hold.words(), "held by a command");
    let lasting = control.holds.hold(entry, hold).await;
    match wake_one(entry, HOLDER, deadline).await {
        Woken::Awake(_lease, _) => Ok(Acts { lasting, not_yet: None }),
        // Whoever manages it now holds it.
        Woken::NoLongerManaged => Ok(Acts { lasting, not_yet: None }),
        Woken::Refused(Refusal { error, class }) => {
            let error = format!("it is held awake, and not awake yet: {error}");
            Err(Refusal { error, class })
        }
    }
}

/// Puts it to sleep and holds it there; if it is not put to sleep it is not held. What is gone is held
/// asleep from when it is there again.
async fn asleep(
    control: &Control,
    entry: &Entry,
    hold: KeptHold,
    force: Force,
    deadline: Deadline,
) -> Result<Acts, Refusal> {
    let name = &entry.planned.name;
    // Those who wait would be refused as soon as it is held, and would not count any more.
    if force == Force::No
        && let Some(in_use) = in_use(entry)
    {
        return Err(sleep_refusal(&in_use));
    }
    let Some(_trial) = control.holds.try_asleep(name, &hold) else {
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
            control.holds.was_asleep(name);
            Ok(Acts { lasting, not_yet: None })
        }
        Err(error) if entry.workload.snapshot().phase == PhaseName::Gone => {
            info!(workload = name, hold = hold.words(), "held by a command, while it is gone");
            control.holds.was_asleep(name);
            Ok(Acts { lasting, not_yet: Some(sleep_refusal(&error).error) })
        }
        Err(error) => {
            control.holds.take_back(entry, &hold, before).await;
            let Refusal { error, class } = sleep_refusal(&error);
            Err(Refusal { error: format!("{error}: it is not held asleep"), class })
        }
    }
}

/// A schedule lets go of what is held asleep: waits until it has noticed. Leases send nothing when they
/// come and go.
async fn schedules_let_go(workload: &Workload) {
    let let_go = async {
        while workload.held_by().iter().any(|(holder, _)| is_of_schedule(holder)) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    // If it does not, the sleep says who uses it.
    _ = tokio::time::timeout(LETS_GO, let_go).await;
}

/// Who uses it or waits for it, beside a hold that this one replaces, and a schedule, which counts less.
fn in_use(entry: &Entry) -> Option<SleepError> {
    let counts = |(holder, _): &(String, u32)| holder != holds::HOLDER && !is_of_schedule(holder);
    let held: Vec<_> = entry.workload.held_by().into_iter().filter(counts).collect();
    let waiting = entry.workload.waited_for_by().into_iter().filter(counts);
    let leases = held.iter().cloned().chain(waiting).map(|(_, leases)| leases).sum();
    let holders = held.into_iter().map(|(holder, _)| holder).collect();
    (leases > 0).then_some(SleepError::InUse { leases, holders })
}

/// What a forced sleep comes to where something wakes it again at once.
pub(super) fn is_kept_awake(entry: &Entry) -> Option<Refusal> {
    let held = entry.workload.held_by();
    let keeper = held
        .into_iter()
        .map(|(holder, _)| holder)
        .find(|holder| holder == holds::HOLDER || is_of_schedule(holder))?;
    let name = &entry.planned.name;
    let what = if keeper == holds::HOLDER {
        format!(
            "it is held awake and would be woken again at once: `drowse unhold {name}` ends that"
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
    if let Some(hold) = control.holds.unhold(&name).await {
        let hold = hold.kind.as_str().to_owned();
        info!(workload = name, hold, "no longer held, by a command");
        return Json(Unheld { workload: name, hold }).into_response();
    }
    let error = match find(&control.view, &name) {
        Err(refusal) if refusal.class == Class::UnknownWorkload => refusal.error,
        _ => format!("nobody holds `{name}`"),
    };
    refused(Refusal { error, class: Class::NotHeld })
}
