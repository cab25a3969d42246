//! The end of a world: nothing goes wrong any more, and everything must settle.

use std::time::Duration;

use drowse_provider::ContainerStatus;
use drowse_watcher::{PhaseName, Role, SleepMethod, WakeError};

use super::{Driver, happen::LASTS};
use crate::{
    Plan,
    checks::Invariant,
    client::{self, Answer},
    drowse::Drowse,
    plan::{Deed, Request},
};

/// What may be under way when the faults end: the longest back-off, an order that its engine carries
/// out when nobody waits any more and the read that shows it, a stop that is tried again.
const UNDER_WAY: Duration = Duration::from_mins(20);
/// How long nothing must happen then.
const SILENCE: Duration = Duration::from_mins(10);
/// How long whoever asks at last has patience.
const PATIENCE: Duration = Duration::from_mins(30);

/// How soon whoever is told "not yet" asks again.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long they use it.
const HELD: Duration = Duration::from_mins(12);
/// How soon what has died under them runs again: after the longest rest of a circuit, at last.
const REPAIRED_WITHIN: Duration = Duration::from_mins(10);

/// For how long it is said not to need what dies meanwhile.
const UNNEEDED: Duration = Duration::from_secs(20);

const LAST: u64 = 10;

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
    if fall_asleep(driver, drowse, UNDER_WAY).await.is_none() {
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
    if wake(driver, drowse, chosen).await.is_none() {
        return;
    }
    // A monitor looks in all the while: that is no use.
    let monitor = drowse
        .workload(chosen)
        .map(|workload| tokio::spawn(client::monitor(driver.world.clone(), workload, chosen)));
    fall_asleep(driver, drowse, Duration::from_mins(2)).await;
    if let Some(monitor) = monitor {
        monitor.abort();
    }
}

async fn drive_for(driver: &mut Driver, drowse: &Drowse, time: Duration) -> Option<()> {
    let until = driver.world.lock().now() + time;
    driver.drive(Some(drowse), until).await.is_none().then_some(())
}

/// Everything must be asleep after this and what its policies let it be awake for.
async fn fall_asleep(driver: &mut Driver, drowse: &Drowse, beside: Duration) -> Option<()> {
    let plan = driver.world.lock().plan.clone();
    let longest = plan.present().map(|index| settles_within(driver, &plan, index)).max();
    drive_for(driver, drowse, longest.unwrap_or_default() + beside).await?;
    for index in plan.present() {
        check_asleep(driver, drowse, index);
    }
    driver.world.lock().violation.is_none().then_some(())
}

/// How long it may be awake that nobody uses: what needs it sleeps first.
fn settles_within(driver: &Driver, plan: &Plan, index: usize) -> Duration {
    let policy = driver.world.lock().records[index].policy.clone();
    let second = match policy.sleep {
        SleepMethod::PauseThenStop { after, .. } => after,
        _ => Duration::ZERO,
    };
    let own = policy.idle
        + policy.start_grace
        + policy.adoption_jitter
        + policy.min_awake
        + second
        + Duration::from_mins(1);
    let dependents = plan
        .present()
        .filter(|other| plan.workloads[*other].needs.iter().any(|(needed, _)| *needed == index));
    own + dependents.map(|other| settles_within(driver, plan, other)).max().unwrap_or_default()
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

/// Whether it is only slow: itself, or something that it needs.
fn is_not_yet(error: &WakeError) -> bool {
    match error {
        WakeError::Timeout { .. } => true,
        WakeError::Dependency { source, .. } => is_not_yet(source),
        _ => false,
    }
}

/// One request wakes it, with all that it needs.
async fn wake(driver: &mut Driver, drowse: &Drowse, index: usize) -> Option<()> {
    let workload = drowse.workload(index)?;
    let request = Request {
        workload: index,
        is_passive: false,
        patience: PATIENCE,
        held: HELD,
        abandoned: None,
    };
    let world = driver.world.clone();
    world.lock().step(format_args!("a last client wakes w{index}"));
    let asking = tokio::spawn({
        let world = world.clone();
        async move {
            // Who is told "not yet" asks again, as browsers do.
            for nth in 0.. {
                let answer = client::use_it(&world, &workload, (LAST << 32) + nth, &request).await;
                let is_not_yet = matches!(&answer, Answer::Refused(error) if is_not_yet(error));
                if !is_not_yet || nth > 100 {
                    return answer;
                }
                tokio::time::sleep(ASKS_AGAIN_AFTER).await;
            }
            Answer::NeverServed
        }
    });
    let began = world.lock().now();
    while !asking.is_finished() {
        drive_for(driver, drowse, Duration::from_secs(10)).await?;
        let is_in_use = world.lock().records[index].active > 0;
        if is_in_use && let Some(needed) = lose_a_need(driver, drowse, index).await {
            drive_for(driver, drowse, REPAIRED_WITHIN).await?;
            if !is_repaired(driver, index, needed) {
                return None;
            }
            drive_for(driver, drowse, HELD).await?;
        }
        if world.lock().now() > began + PATIENCE + HELD + Duration::from_mins(20) {
            world.lock().violated(Invariant::Answered, format_args!("w{index}: the last client"));
            return None;
        }
    }
    match asking.await {
        Ok(Answer::Served) => Some(()),
        Ok(other) => {
            let what = format!("w{index} cannot be woken: {other:?}");
            world.lock().violated(Invariant::Asleep, what);
            None
        }
        Err(error) => {
            world.lock().violated(Invariant::Panic, error);
            None
        }
    }
}

/// Something that it needs dies: under it, or while it was not said to need that. Which, if there is
/// anything.
async fn lose_a_need(driver: &mut Driver, drowse: &Drowse, index: usize) -> Option<usize> {
    let (needed, is_needed_again) = {
        let mut world = driver.world.lock();
        let plan = world.plan.clone();
        let is_there = |(needed, _): &&(usize, _)| {
            plan.workloads[*needed].policy.role != Role::Job && world.serves(*needed)
        };
        let (needed, _) = *plan.workloads[index].needs.iter().find(is_there)?;
        let is_needed_again = world.dice(&[LAST, 1]).percent(50);
        if is_needed_again {
            world.unneed(index, needed, UNNEEDED);
        }
        (needed, is_needed_again)
    };
    if is_needed_again {
        drowse.wire(index);
        drive_for(driver, drowse, Duration::from_secs(1)).await?;
    }
    let mut world = driver.world.lock();
    world.step(format_args!("w{needed} dies under w{index}"));
    world.crash(needed, 1);
    Some(needed)
}

/// Whether it runs again, for as long as it is needed.
fn is_repaired(driver: &Driver, index: usize, needed: usize) -> bool {
    let mut world = driver.world.lock();
    let is_repaired = world.containers[needed].is_running() || world.records[index].active == 0;
    if !is_repaired {
        let what = format!("w{needed} has died under w{index}, and stays so");
        world.violated(Invariant::Repaired, what);
    }
    is_repaired
}
