//! The last client of a world, with a herd of others: it wakes a workload with all that it needs and all
//! of its group, and what dies under it is woken again.

use std::time::Duration;

use drowse_watcher::{Role, WakeError};

use super::{
    Driver,
    tail::{LAST, drive_for},
};
use crate::{
    checks::Invariant,
    client::{self, Answer},
    drowse::Drowse,
    plan::Request,
};

/// How long whoever asks at last has patience.
const PATIENCE: Duration = Duration::from_mins(30);
/// How many ask with that client.
const HERD: u64 = 20;
/// How soon whoever is told "not yet" asks again.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long they use it.
const HELD: Duration = Duration::from_mins(12);
/// How soon what has died under them runs again: after the longest rest of a circuit, at last.
const REPAIRED_WITHIN: Duration = Duration::from_mins(10);
/// How soon after its start a process ends that does not survive it.
const DIES_WITHIN: Duration = Duration::from_millis(100);
/// For how long it is said not to need what dies meanwhile.
const UNNEEDED: Duration = Duration::from_secs(20);

/// Whether it is only slow: itself, or something that it needs.
fn is_not_yet(error: &WakeError) -> bool {
    match error {
        WakeError::Timeout { .. } => true,
        WakeError::Dependency { source, .. } => is_not_yet(source),
        _ => false,
    }
}

/// One request wakes it, with all that it needs.
pub(super) async fn wake(driver: &mut Driver, drowse: &Drowse, index: usize) -> Option<()> {
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
    world.lock().count_calls_anew();
    doom_a_mate(driver, index);
    // Use of what is awake already sends nothing, and wakes nobody.
    let is_woken = !world.lock().containers[index].is_running();
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
    come_in_herds(drowse, index);
    let mut is_in_use_at_last = false;
    while !asking.is_finished() {
        drive_for(driver, drowse, Duration::from_secs(10)).await?;
        if !is_in_use_at_last && world.lock().records[index].active > 0 {
            is_in_use_at_last = true;
            world.lock().check_calls_of_a_wake();
            let lost = lose_a_need(driver, drowse, index).await;
            drive_for(driver, drowse, REPAIRED_WITHIN).await?;
            if is_woken {
                world.lock().check_together(index);
            }
            if let Some(needed) = lost {
                check_repaired(driver, index, needed);
            }
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

/// Others ask with that client, and are gone as soon as they have been served.
fn come_in_herds(drowse: &Drowse, index: usize) {
    for nth in 0..HERD {
        let request = Request {
            workload: index,
            is_passive: false,
            patience: PATIENCE,
            held: Duration::ZERO,
            abandoned: None,
        };
        drowse.request((LAST << 33) + nth, request);
    }
}

/// One of its group, which nobody needs, does not survive its next start: in every other world.
fn doom_a_mate(driver: &Driver, index: usize) {
    let mut world = driver.world.lock();
    let plan = world.plan.clone();
    let is_its_own = |mate: &usize| {
        let needs_it =
            |other: usize| plan.workloads[other].needs.iter().any(|(one, _)| one == mate);
        plan.workloads[*mate].policy.role != Role::Job && !plan.present().any(needs_it)
    };
    let doomed = plan.mates(index).find(is_its_own);
    if let Some(mate) = doomed.filter(|_| world.dice(&[LAST, 2]).percent(50)) {
        world.doom(mate, DIES_WITHIN, 1);
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

/// It runs again, for as long as it is needed.
fn check_repaired(driver: &Driver, index: usize, needed: usize) {
    let mut world = driver.world.lock();
    let is_repaired = world.containers[needed].is_running() || world.records[index].active == 0;
    if !is_repaired {
        let what = format!("w{needed} has died under w{index}, and stays so");
        world.violated(Invariant::Repaired, what);
    }
}
