//! One world from its beginning to its end, over all lives of drowse in it.

mod happen;
mod last;
mod tail;

use std::{sync::Arc, time::Duration};

use tokio::{task::yield_now, time::sleep_until};

use crate::{
    Plan,
    checks::{Invariant, Violation},
    drowse::Drowse,
    world::{Due, Shared, World},
};

const PACE: u64 = 9;

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Inputs to workloads, and what happened in the world.
    pub steps: u64,
    /// Of all its trace.
    pub hash: u64,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// Line by line what happened, if that was asked for.
    pub trace: Vec<String>,
}

/// How a life of drowse ended.
#[derive(Clone, Debug)]
enum Ended {
    /// The world is through, or an invariant does not hold.
    ForGood,
    /// It was killed, and begins anew after so long.
    Killed { down: Duration },
}

/// Lets a world happen.
///
/// # Panics
/// If no runtime can be made.
pub fn run(plan: Arc<Plan>, is_traced: bool) -> Outcome {
    let world = Shared::new(World::new(plan, is_traced));
    crate::panics::forget();
    loop {
        #[expect(clippy::expect_used, reason = "without I/O there is nothing that could fail")]
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O");
        let ended = runtime.block_on(live(&world));
        // As `kill -9` does: nothing of it is told that it ends.
        drop(runtime);
        match ended {
            Ended::Killed { down } => be_without_drowse(&world, down),
            Ended::ForGood => break,
        }
    }
    #[expect(clippy::expect_used, reason = "see the message")]
    let mut world = world.into_inner().expect("whoever held it has ended with the runtime");
    if let Some(panic) = crate::panics::take() {
        world.violated(Invariant::Panic, panic);
    }
    let (steps, hash) = (world.trace.steps(), world.trace.hash());
    let violation = world.violation.take();
    Outcome { steps, hash, violation, trace: world.trace.into_lines() }
}

/// One life of drowse.
async fn live(world: &Shared) -> Ended {
    let mut driver = Driver { world: world.clone(), paces: 0 };
    world.lock().begin_life();
    let drowse = Drowse::begin(world).await;
    let until = world.lock().plan.until;
    let ended = if let Some(ended) = driver.drive(Some(&drowse), until).await {
        ended
    } else {
        tail::settle(&mut driver, &drowse).await;
        Ended::ForGood
    };
    let mut world = world.lock();
    if let Ended::Killed { .. } = ended {
        world.all_uses_end();
    }
    world.end_life();
    ended
}

/// Engines go on without it.
fn be_without_drowse(world: &Shared, down: Duration) {
    let mut world = world.lock();
    let end = world.now() + down;
    while let Some(due) = world.take_due_until(end) {
        match due {
            Due::Planned(index) => happen::in_the_world(&mut world, index),
            due => world.carry_out(due),
        }
    }
    world.stand_until(end);
}

/// Lets what is due happen while drowse's tasks rest.
struct Driver {
    world: Shared,
    paces: u64,
}

impl Driver {
    /// Until this time, or until drowse is killed or something is wrong.
    async fn drive(&mut self, drowse: Option<&Drowse>, until: Duration) -> Option<Ended> {
        let news = self.world.lock().news();
        loop {
            if self.world.lock().violation.is_some() || crate::panics::happened() {
                return Some(Ended::ForGood);
            }
            let due = self.world.lock().take_due();
            match due {
                Some(Due::Planned(index)) => {
                    if let Some(ended) = happen::with_drowse(&self.world, drowse, index).await {
                        return Some(ended);
                    }
                }
                Some(Due::HoldsChange) => {
                    if let Some(drowse) = drowse {
                        drowse.look_at_holds();
                        drowse.wire_all();
                    }
                }
                Some(due) => self.world.lock().carry_out(due),
                None => {
                    let (next, now) = {
                        let world = self.world.lock();
                        (world.next_due().map_or(until, |next| next.min(until)), world.now())
                    };
                    if now >= until {
                        return None;
                    }
                    let next = self.world.lock().instant(next);
                    tokio::select! {
                        biased;
                        () = news.notified() => {}
                        () = sleep_until(next) => {}
                    }
                    continue;
                }
            }
            // What falls on one moment happens in any order.
            self.paces += 1;
            let yields = self.world.lock().dice(&[PACE, self.paces]).roll(4);
            for _ in 0..yields {
                yield_now().await;
            }
        }
    }
}
