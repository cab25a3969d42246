//! The end of a world: nothing goes wrong any more, and everything must settle.

use std::time::Duration;

use drowse_provider::ContainerStatus;
use drowse_watcher::{PhaseName, Role, SleepMethod};

use super::{Driver, happen::LASTS, last};
use crate::{checks::Invariant, client, drowse::Drowse, plan::Deed};

/// What may be under way when the faults end: the longest back-off, an order that its engine carries
/// out when nobody waits any more and the read that shows it, a stop that is tried again.
const UNDER_WAY: Duration = Duration::from_mins(10);
/// How long it takes at most until everything sleeps, one after the other along the longest path.
const ALL_SLEEP_WITHIN: Duration = Duration::from_hours(6);
/// How long nothing must happen then.
const SILENCE: Duration = Duration::from_mins(10);

/// How many seconds a wake takes at most, with all that it needs.
const LONGEST_WAKE: u64 = 15 * 60;

pub(super) const LAST: u64 = 10;

/// Lets everything settle, and sees that it has. Stops at what has not.
pub(super) async fn settle(driver: &mut Driver, drowse: &Drowse) {
    // Clients end by themselves, and none are left to come.
    let ends = driver.world.lock().now() + LASTS;
    if driver.drive(Some(drowse), ends).await.is_some() {
        return;
    }
    driver.world.lock().calm_down();
    drowse.look_at_holds();
    drowse.wire_all();
    if come_to_rest(driver, drowse).await.is_none() {
        return;
    }
    driver.world.lock().is_silent = true;
    if drive_for(driver, drowse, SILENCE).await.is_none() {
        return;
    }
    driver.world.lock().is_silent = false;
    let plan = driver.world.lock().plan.clone();
    for container in plan.present() {
        driver.world.lock().deed(container, Deed::Create);
    }
    if drive_for(driver, drowse, Duration::from_mins(2)).await.is_none() {
        return;
    }
    let present: Vec<usize> = plan.present().collect();
    if present.is_empty() {
        return;
    }
    let chosen = present[driver.world.lock().dice(&[LAST]).index(present.len())];
    if last::wake(driver, drowse, chosen).await.is_none() {
        return;
    }
    // Others of its group, and what they need, may still be on their way.
    for _ in 0..LONGEST_WAKE {
        if !present.iter().any(|index| is_waking(drowse, *index)) {
            break;
        }
        if drive_for(driver, drowse, Duration::from_secs(1)).await.is_none() {
            return;
        }
    }
    // A monitor looks in all the while: that is no use.
    let monitor = drowse
        .workload(chosen)
        .map(|workload| tokio::spawn(client::monitor(driver.world.clone(), workload, chosen)));
    driver.world.lock().is_winding_down = true;
    let sleeps = fall_asleep(driver, drowse, Duration::ZERO).await;
    if let Some(monitor) = monitor {
        monitor.abort();
    }
    if sleeps.is_some() {
        // Until what was just ended is known to have ended.
        drive_for(driver, drowse, Duration::from_mins(1)).await;
        check_all(driver, drowse);
    }
}

fn is_waking(drowse: &Drowse, index: usize) -> bool {
    let is_under_way = |phase| matches!(phase, PhaseName::Starting | PhaseName::Probing);
    drowse.workload(index).is_some_and(|workload| is_under_way(workload.snapshot().phase))
}

/// Whatever went wrong is over, and all that came of it.
async fn come_to_rest(driver: &mut Driver, drowse: &Drowse) -> Option<()> {
    fall_asleep(driver, drowse, UNDER_WAY).await?;
    drive_for(driver, drowse, UNDER_WAY).await?;
    fall_asleep(driver, drowse, Duration::ZERO).await?;
    check_all(driver, drowse)
}

pub(super) async fn drive_for(driver: &mut Driver, drowse: &Drowse, time: Duration) -> Option<()> {
    let until = driver.world.lock().now() + time;
    driver.drive(Some(drowse), until).await.is_none().then_some(())
}

/// Everything falls asleep, each at its own time, or no later than so long after that.
async fn fall_asleep(driver: &mut Driver, drowse: &Drowse, beside: Duration) -> Option<()> {
    let present: Vec<usize> = driver.world.lock().plan.present().collect();
    let ends = driver.world.lock().now() + beside + ALL_SLEEP_WITHIN;
    loop {
        let next = {
            let mut world = driver.world.lock();
            let due = |index: &usize| Some((world.asleep_by(*index)? + beside, *index));
            let Some((by, index)) = present.iter().filter_map(due).min() else { break };
            if by < world.now() || world.now() > ends {
                let what = format!("w{index} is awake, and was to be asleep after {by:?}");
                world.violated(Invariant::Asleep, what);
                return None;
            }
            by + Duration::from_millis(1)
        };
        if driver.drive(Some(drowse), next).await.is_some() {
            return None;
        }
    }
    Some(())
}

fn check_all(driver: &Driver, drowse: &Drowse) -> Option<()> {
    let plan = driver.world.lock().plan.clone();
    for index in plan.present() {
        check_asleep(driver, drowse, index);
    }
    driver.world.lock().violation.is_none().then_some(())
}

/// Invariants 5 and 7.
fn check_asleep(driver: &Driver, drowse: &Drowse, index: usize) {
    let Some(workload) = drowse.workload(index) else { return };
    let snapshot = workload.snapshot();
    let mut world = driver.world.lock();
    let status = world.containers[index].status.clone();
    let phase = snapshot.phase;
    let is_true = match &status {
        None => phase == PhaseName::Gone,
        Some(ContainerStatus::Stopped | ContainerStatus::Paused) => {
            matches!(phase, PhaseName::Asleep | PhaseName::Failed)
        }
        Some(ContainerStatus::Running) => {
            matches!(phase, PhaseName::Ready | PhaseName::Probing)
                && snapshot.run == world.containers[index].run_id
        }
        Some(_) => false,
    };
    if !is_true {
        world.violated(
            Invariant::Truth,
            format_args!("w{index} is {status:?} and said to be {phase}: {}", snapshot.reason),
        );
    }
    let plan = world.plan.clone();
    let policy = &plan.workloads[index].policy;
    let may_run = policy.sleep == SleepMethod::Never
        || policy.role == Role::Job
        || plan.present().any(|other| {
            let needs_it = plan.workloads[other].needs.iter().any(|(needed, _)| *needed == index);
            needs_it && world.containers[other].is_running()
        });
    if !may_run && status == Some(ContainerStatus::Running) {
        let held_by = workload.held_by();
        world.violated(
            Invariant::Asleep,
            format_args!(
                "w{index} is awake and nobody uses it: {phase}, {}, held by {held_by:?}",
                snapshot.reason
            ),
        );
    }
}
