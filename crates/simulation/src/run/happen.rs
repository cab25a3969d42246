//! What the plan says happens.

use std::time::Duration;

use drowse_watcher::Force;
use tokio::time::advance;

use super::Ended;
use crate::{
    drowse::Drowse,
    plan::Happening,
    world::{Shared, World},
};

const NEEDS: u64 = 11;

/// Something happens while drowse lives. Says how that ended, if it did.
pub(super) async fn with_drowse(
    world: &Shared,
    drowse: Option<&Drowse>,
    index: usize,
) -> Option<Ended> {
    let what = world.lock().plan.happenings[index].what.clone();
    world.lock().step(format_args!("{what:?}"));
    let Some(drowse) = drowse else {
        in_the_world(&mut world.lock(), index);
        return None;
    };
    match what {
        Happening::Request(request) => drowse.request(client(index, 0), request),
        Happening::Herd(request, count) => {
            for nth in 0..count {
                drowse.request(client(index, nth), request.clone());
            }
        }
        Happening::SleepNow { workload, patience, is_forced } => {
            let force = if is_forced { Force::EvenInUse } else { Force::No };
            drowse.sleep_now(workload, patience, force);
        }
        Happening::HoldAsleep { workload, lasts, ends_by_itself } => {
            world.lock().hold_asleep(workload, lasts, ends_by_itself);
            drowse.look_at_holds();
        }
        Happening::KeepAwake { workload, lasts } => {
            world.lock().keep_awake(workload, lasts);
            drowse.look_at_holds();
        }
        Happening::CloseCircuit { workload } => drowse.close_circuit(workload),
        Happening::Store => drowse.store(),
        Happening::Remanage { workload } => drowse.manage_anew(workload),
        Happening::Idle { workload, idle } => drowse.set_idle(workload, idle),
        Happening::Suspend { lasts } => {
            {
                let mut world = world.lock();
                world.resumed_at = world.now() + lasts;
            }
            advance(lasts).await;
        }
        Happening::DrowseIsKilled { down, store_is_lost } => {
            if store_is_lost {
                world.lock().store.memories.clear();
            }
            return Some(Ended::Killed { down });
        }
        Happening::Rewire { workload, error } => {
            match error {
                Some(lasts) => world.lock().misconfigure(workload, lasts),
                None => need_one_less(&mut world.lock(), workload, index),
            }
            drowse.wire(workload);
        }
        _ => in_the_world(&mut world.lock(), index),
    }
    None
}

/// The same, of what happens to engines and containers, whether drowse lives or not.
pub(super) fn in_the_world(world: &mut World, index: usize) {
    match world.plan.happenings[index].what.clone() {
        Happening::Outside { workload, deed } => world.deed(workload, deed),
        Happening::Crash { workload, exit } => world.crash(workload, exit),
        Happening::Doom { workload, after, exit } => world.doom(workload, after, exit),
        Happening::Misorder { workload, fault } => world.misorder(workload, fault),
        Happening::Misread { workload, fault } => world.misread(workload, fault),
        Happening::Lock { workload, lasts } => world.lock_container(workload, lasts),
        Happening::Deaf { engine, lasts } => world.deafen(engine, lasts),
        Happening::Echo { engine, lasts } => world.echo(engine, lasts),
        Happening::Lag { engine, lasts } => world.lag(engine, lasts),
        Happening::Outage { engine, lasts, is_silent } => world.outage(engine, lasts, is_silent),
        Happening::EngineRestarts { engine, lasts, containers_die } => {
            world.restart_engine(engine, lasts, containers_die);
        }
        Happening::Gate { workload, says, lasts } => {
            world.records[workload].gate = (says, world.now() + lasts);
        }
        Happening::Request(_)
        | Happening::Herd(..)
        | Happening::SleepNow { .. }
        | Happening::HoldAsleep { .. }
        | Happening::KeepAwake { .. }
        | Happening::CloseCircuit { .. }
        | Happening::DrowseIsKilled { .. }
        | Happening::Store
        | Happening::Remanage { .. }
        | Happening::Idle { .. }
        | Happening::Rewire { .. }
        | Happening::Suspend { .. } => {}
    }
}

fn need_one_less(world: &mut World, workload: usize, happening: usize) {
    let plan = world.plan.clone();
    let needs = &plan.workloads[workload].needs;
    if needs.is_empty() {
        return;
    }
    let mut dice = world.dice(&[NEEDS, happening as u64]);
    let (needed, _) = needs[dice.index(needs.len())];
    world.unneed(workload, needed, dice.spread(100, 120_000));
}

/// Names a client by the happening that it came of.
fn client(happening: usize, nth: u32) -> u64 {
    (happening as u64) << 16 | u64::from(nth)
}

/// Longer than anything in a plan lasts by itself.
pub(super) const LASTS: Duration = Duration::from_mins(6);
