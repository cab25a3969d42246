//! Keeps a workload awake for as long as somebody wants that: a hold by hand, a schedule.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use drowse_provider::Deadline;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{Hold, Holder, LeaseKind, PhaseName, Snapshot, WakeError, Workload};

/// How long a wake is waited for before it is asked for again; it goes on meanwhile.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long it is waited, at least, after a wake that came to nothing.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// And at most, where only people mend it: doubled with each attempt, since that may take weeks.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Keeps a workload awake, and wakes it whenever it is not, until it is dropped: by a lease like any
/// other, under a name of its own. Where that fails it is tried again, as soon as the failure says, and
/// no sooner than after 5 s; where only people mend it (a right, a container that is gone, a configuration in
/// error), after 5 s, 10 s… a minute.
///
/// It fights nobody: after a stop from outside it waits for the next start, and while the workload is
/// held asleep for its release, and is no use of it meanwhile. What was stopped before it began is woken,
/// though.
#[derive(Debug)]
pub struct KeepAwake {
    task: JoinHandle<()>,
    /// Not in the task alone: it counts from the first moment on, and until the last.
    held: Held,
}

/// What counts as use, unless the workload is held asleep.
#[derive(Clone, Debug)]
struct Held(Arc<Mutex<Option<Hold>>>);

impl Held {
    fn set(&self, hold: Option<Hold>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }
}

impl KeepAwake {
    /// Keeps `workload` awake under the name `holder`. Must be called within a tokio runtime.
    pub fn new(workload: Workload, holder: &str) -> Self {
        let holder = workload.holder(holder);
        let hold = workload.hold(&holder, LeaseKind::Active);
        let held = Held(Arc::new(Mutex::new(Some(hold))));
        let steps_back = step_back(workload.clone(), holder.clone(), held.clone());
        let task = tokio::spawn(async move {
            // Both end with its management.
            tokio::join!(keep_awake(workload, holder), steps_back);
        });
        Self { task, held }
    }
}

impl Drop for KeepAwake {
    fn drop(&mut self) {
        self.task.abort();
        self.held.set(None);
    }
}

/// Lets go of it while it is held asleep: it could not be put to sleep otherwise.
async fn step_back(workload: Workload, holder: Holder, held: Held) {
    let mut state = workload.watch();
    while until(&mut state, |now| now.held_asleep.is_some()).await.is_ok() {
        held.set(None);
        if until(&mut state, |now| now.held_asleep.is_none()).await.is_err() {
            return;
        }
        held.set(Some(workload.hold(&holder, LeaseKind::Active)));
    }
}

async fn keep_awake(workload: Workload, holder: Holder) {
    let mut state = workload.watch();
    let mut wish = Wish { came_after_its_end: true };
    let mut lasting = SHORTEST_PAUSE;
    // An error of the watch says that its management has ended.
    while until(&mut state, |now| wish.may_wake(now) && now.phase != PhaseName::Ready).await.is_ok()
    {
        let woken = tokio::select! {
            biased;
            // Somebody ended it: whoever withdraws now does not have it started.
            _ = until(&mut state, |now| !wish.may_wake(now)) => continue,
            woken = workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)) => woken,
        };
        match woken {
            // Another lease of the same name is held all the while.
            Ok(lease) => {
                drop(lease);
                lasting = SHORTEST_PAUSE;
                if workload.snapshot().phase != PhaseName::Ready {
                    // It has ended again already: a job, perhaps.
                    sleep(SHORTEST_PAUSE).await;
                }
            }
            Err(WakeError::Closed) => return,
            // It may be released before its time is over.
            Err(WakeError::HeldAsleep { .. }) => sleep(SHORTEST_PAUSE).await,
            Err(error) => {
                let mut pause = error.retry_after().unwrap_or_default().max(SHORTEST_PAUSE);
                if error.is_lasting() {
                    pause = pause.max(lasting);
                    lasting = (lasting * 2).min(LONGEST_PAUSE);
                } else {
                    lasting = SHORTEST_PAUSE;
                }
                tracing::debug!(
                    workload = workload.name(),
                    holder = holder.name(),
                    error = &error as &dyn std::error::Error,
                    ?pause,
                    "cannot be kept awake now",
                );
                sleep(pause).await;
            }
        }
    }
}

/// That it be awake, against what others want.
struct Wish {
    /// If somebody else ended it, that was before: it has not run since.
    came_after_its_end: bool,
}

impl Wish {
    fn may_wake(&mut self, now: &Snapshot) -> bool {
        self.came_after_its_end &= now.is_ended_from_outside || now.phase == PhaseName::Unread;
        let is_left_ended = now.is_ended_from_outside && !self.came_after_its_end;
        !is_left_ended && now.held_asleep.is_none()
    }
}

async fn until(
    state: &mut watch::Receiver<Snapshot>,
    condition: impl FnMut(&Snapshot) -> bool,
) -> Result<(), watch::error::RecvError> {
    state.wait_for(condition).await.map(drop)
}
