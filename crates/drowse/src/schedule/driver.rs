//! Does what schedules say: one task for all workloads.
//!
//! It goes by the wall clock, which jumps, and which goes on while the machine is suspended: so it reads
//! it at least once a minute while anything is planned, and what should be so is so from then on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use drowse_provider::Deadline;
use drowse_watcher::{KeepAwake, LeaseKind, WakeError, Workload};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Schedule, Window};
use crate::{
    clock::WallClock,
    view::{Entry, View},
};

/// How often the wall clock is read.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// How late somebody is still woken, after a suspend or a jump of the clock: later it is of no use.
const LATE: SignedDuration = SignedDuration::from_mins(15);
/// How long a planned wake is waited for; it goes on meanwhile.
const PATIENCE: Duration = Duration::from_mins(10);

/// The holder of the leases that windows are, with a window behind it.
const OF_WINDOW: &str = "schedule";
/// The holder of the lease that a planned wake is.
const OF_WAKE: &str = "its planned wake";

/// Whether it is for a schedule that this holder holds, or waits for, a lease.
pub(crate) fn is_of_schedule(holder: &str) -> bool {
    holder == OF_WAKE
        || holder.strip_prefix(OF_WINDOW).is_some_and(|window| window.starts_with(' '))
}

/// Keeps awake and wakes what is managed, as it is planned, until `end`.
pub(crate) async fn follow(
    mut view: watch::Receiver<Arc<View>>,
    clock: WallClock,
    end: CancellationToken,
) {
    let mut driver = Driver::default();
    loop {
        let now_managed = view.borrow_and_update().clone();
        driver.act(&now_managed, clock.now());
        let next = driver.next(clock.now());
        tokio::select! {
            () = end.cancelled() => return,
            changed = view.changed() => if changed.is_err() { return },
            () = sleep(next.unwrap_or_default()), if next.is_some() => {}
            Some(_) = driver.wakes.join_next() => {}
        }
    }
}

#[derive(Debug, Default)]
struct Driver {
    /// By the names of their workloads.
    planned: BTreeMap<String, Acting>,
    /// When the wall clock was read last.
    looked_at: Option<Timestamp>,
    wakes: JoinSet<()>,
}

/// What is done for one workload.
#[derive(Debug)]
struct Acting {
    workload: Workload,
    schedule: Schedule,
    /// When there is something to do again. It is not looked at before.
    next_turn: Option<Timestamp>,
    next_wake: Option<Timestamp>,
    /// The window that it is in.
    awake: Option<(Window, KeepAwake)>,
}

impl Driver {
    fn act(&mut self, view: &View, now: Timestamp) {
        // What was reckoned from a later time is of no use.
        let is_set_back = self.looked_at.is_some_and(|before| now < before);
        self.looked_at = Some(now);
        let mut before = std::mem::take(&mut self.planned);
        for Entry { planned, workload, .. } in view.entries.iter().map(Arc::as_ref) {
            let Some(schedule) = &planned.schedule else { continue };
            let known = before
                .remove(&planned.name)
                .filter(|known| known.workload.is(workload) && known.schedule == *schedule);
            let mut acting = match known {
                Some(known) if !is_set_back => known,
                Some(mut known) => {
                    known.reckon(now);
                    known
                }
                None => Acting::begin(workload, schedule, now),
            };
            if acting.wakes_now(now) {
                self.wakes.spawn(wake(acting.workload.clone()));
            }
            self.planned.insert(planned.name.clone(), acting);
        }
    }

    /// Until there is something to do; `None` if nothing is planned.
    fn next(&self, now: Timestamp) -> Option<Duration> {
        if self.planned.is_empty() {
            return None;
        }
        let moments = self.planned.values().flat_map(|acting| [acting.next_turn, acting.next_wake]);
        let first = moments.flatten().min();
        let left = first.map(|it| Duration::try_from(it.duration_since(now)).unwrap_or_default());
        Some(left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN))
    }
}

impl Acting {
    fn begin(workload: &Workload, schedule: &Schedule, now: Timestamp) -> Self {
        let mut acting = Self {
            workload: workload.clone(),
            schedule: schedule.clone(),
            next_turn: None,
            next_wake: None,
            awake: None,
        };
        acting.reckon(now);
        // Its engine may have been read only after its time, or drowse was restarted over it. To be woken
        // twice does no harm.
        acting.next_wake = acting.schedule.next_wake(now - LATE);
        acting
    }

    /// Finds out what is to be so now, and when that changes.
    fn reckon(&mut self, now: Timestamp) {
        self.next_wake = self.schedule.next_wake(now);
        self.turn(now);
    }

    /// Does what is to be so now about being kept awake.
    fn turn(&mut self, now: Timestamp) {
        self.next_turn = self.schedule.next_turn(now);
        let window = self.schedule.window_at(now);
        if self.awake.as_ref().map(|(window, _)| *window) == window {
            return;
        }
        let name = self.workload.name();
        if let Some(window) = window {
            info!(workload = name, schedule = %window, "kept awake by its schedule");
        } else {
            info!(workload = name, "no longer kept awake by its schedule");
        }
        // The next one before the last one goes.
        let next = window.map(|window| {
            (window, KeepAwake::new(self.workload.clone(), &format!("{OF_WINDOW} {window}")))
        });
        self.awake = next;
    }

    /// Does what is due; whether the workload is to be woken.
    fn wakes_now(&mut self, now: Timestamp) -> bool {
        if self.next_turn.is_some_and(|turn| turn <= now) {
            self.turn(now);
        }
        let Some(due) = self.next_wake.filter(|due| *due <= now) else { return false };
        self.next_wake = self.schedule.next_wake(now);
        let is_late = now.duration_since(due) > LATE;
        if is_late {
            info!(workload = self.workload.name(), %due, "a planned wake was missed");
        }
        !is_late
    }
}

/// Wakes a workload once. From then on its idle time counts.
async fn wake(workload: Workload) {
    info!(workload = workload.name(), "woken as planned");
    let holder = workload.holder(OF_WAKE);
    match workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await {
        Ok(lease) => drop(lease),
        Err(error @ (WakeError::HeldAsleep { .. } | WakeError::Closed)) => {
            debug!(
                workload = workload.name(),
                error = &error as &dyn std::error::Error,
                "not woken"
            );
        }
        Err(error) => warn!(
            workload = workload.name(),
            error = &error as &dyn std::error::Error,
            "could not be woken as planned"
        ),
    }
}
