//! What is held asleep and was not asleep since: its hold is older than the first look at it, or drowse ended
//! amid the command that held it. Held it would run on, and let nobody in.

use std::time::Duration;

use drowse_provider::Deadline;
use drowse_watcher::{Force, PhaseName, SleepError, Workload};
use tokio::time::timeout;
use tracing::{info, warn};

use super::Holds;

/// How long it may take at a time.
const PATIENCE: Duration = Duration::from_mins(2);
/// How soon it is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Puts it to sleep once, as soon as nothing uses it any more: who starts it after that wants it so. Ends with
/// that, or with its management. Cancel safe.
pub(super) async fn carry_out(holds: Holds, name: String, workload: Workload) {
    let mut state = workload.watch();
    let mut is_told = false;
    loop {
        if state.wait_for(|now| now.phase != PhaseName::Unread).await.is_err() {
            return;
        }
        match workload.sleep_now(Deadline::after(PATIENCE), Force::No).await {
            Ok(()) => {
                info!(workload = name, "asleep, as it was held before it was read");
                return holds.was_asleep(&name);
            }
            Err(_) if workload.snapshot().phase == PhaseName::Gone => {
                return holds.was_asleep(&name);
            }
            Err(SleepError::Closed) => return,
            Err(error) if !is_told => {
                let error = &error as &dyn std::error::Error;
                warn!(workload = name, error, "held asleep, and not asleep yet: it is tried again");
                is_told = true;
            }
            Err(_) => {}
        }
        let slept = state.wait_for(|now| now.phase == PhaseName::Asleep);
        match timeout(AGAIN, slept).await.map(|slept| slept.map(drop)) {
            Ok(Ok(())) => return holds.was_asleep(&name),
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
}
