//! The invariants of the design, under every fault that the world knows, from random seeds.
//!
//! Safety (1 to 4) is asserted by the world at each step; liveness (5 and 7) after a tail without
//! faults or requests.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use drowse_provider::ContainerStatus;
use proptest::prelude::*;

use crate::PhaseName;

use super::world::{Faults, IDLE, START_GRACE, World};

/// Long enough for everything that may be under way: leases (40 s), a start grace, the idle time,
/// a lost event's re-read, the longest back-off, a stop that times out and its retry.
const TAIL: Duration = Duration::from_mins(20);

fn faults() -> impl Strategy<Value = Faults> {
    let chance = || prop_oneof![Just(0_u32), 1..50_u32, 50..500_u32];
    let lost = (chance(), chance(), chance());
    let done = (chance(), chance(), chance(), chance(), chance(), chance());
    let kind = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (lost, done, kind).prop_map(
        |(
            (order_fails, read_fails, event_lost),
            (crashes, outside, outages, locks, busy, by_hand),
            (restart_always, addresses, gates, deepens),
        )| Faults {
            order_fails,
            read_fails,
            event_lost,
            crashes,
            outside,
            outages,
            locks,
            busy,
            by_hand,
            restart_always,
            addresses,
            gates,
            deepens,
        },
    )
}

fn run(seed: u64, faults: Faults, turns: usize) -> World {
    let mut world = World::new(seed, faults);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..turns {
            world.turn();
        }
        let end = world.now + TAIL;
        world.quieten_until(end);
        check_tail(&mut world);
    }));
    if let Err(panic) = outcome {
        for line in &world.trace {
            println!("{line}");
        }
        resume_unwind(panic);
    }
    world
}

/// Invariants 5 and 7: what is true is known, and nothing runs that nobody uses; and what sleeps
/// can be woken.
fn check_tail(world: &mut World) {
    assert!(TAIL > IDLE + START_GRACE);
    assert_eq!(world.leases, 0);
    let (status, phase) = (world.real_status().cloned(), world.core.phase());
    match status {
        None => assert_eq!(phase, PhaseName::Gone),
        Some(ContainerStatus::Paused) => {
            assert_eq!(phase, PhaseName::Asleep);
            assert!(!world.is_ours_to_stop(), "still frozen after {TAIL:?}");
        }
        Some(ContainerStatus::Stopped) => assert_eq!(phase, PhaseName::Asleep),
        other => panic!("{other:?} and {phase} after {TAIL:?} without use"),
    }
    world.remake_container();
    world.quieten_until(world.now + Duration::from_mins(2));
    let grants = world.grants;
    world.ask();
    world.quieten_until(world.now + Duration::from_mins(10));
    // The application may take longer to start than whoever asked had patience; it is ready later.
    assert!(
        world.grants > grants || world.core.last_wake_took().is_some(),
        "nobody could wake it: {}",
        world.core.reason()
    );
    assert_eq!(world.core.phase(), PhaseName::Asleep, "{}", world.core.reason());
}

/// `PROPTEST_CASES` counts, if it is set.
fn cases() -> u32 {
    std::env::var_os("PROPTEST_CASES").map_or(400, |_| ProptestConfig::default().cases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold(seed: u64, faults in faults(), turns in 1..1_500_usize) {
        run(seed, faults, turns);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let faults = Faults {
        order_fails: 100,
        read_fails: 50,
        event_lost: 100,
        crashes: 50,
        outside: 50,
        outages: 20,
        locks: 100,
        busy: 100,
        by_hand: 50,
        restart_always: true,
        addresses: true,
        gates: true,
        deepens: true,
    };
    let (one, other) = (run(7, faults, 2_000), run(7, faults, 2_000));
    assert_eq!(one.trace, other.trace);
    assert!(one.grants > 10 && one.orders > 5, "{} grants, {} orders", one.grants, one.orders);
}
