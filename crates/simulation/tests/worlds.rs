//! No invariant is broken in the worlds that CI has time for, and each is the same each time.

use std::{sync::Arc, time::Duration};

use drowse_simulation::{Budget, Plan, run, search};

/// On the clock on the wall, on all cores.
const TIME: Duration = Duration::from_secs(75);

#[test]
fn the_invariants_hold() {
    let budget = Budget { seed: 1, worlds: u64::MAX, steps: u64::MAX, time: TIME };
    let report = search(budget, || ());
    println!("{} steps in {} worlds", report.steps, report.worlds);
    if let Some(failure) = report.failure {
        let what = failure.violation.map_or_else(
            || "comes to no end".to_owned(),
            |found| format!("breaks {}: {}", found.invariant, found.what),
        );
        panic!(
            "world {seed} {what}; its trace, as small as can be: cargo xtask simulate --seed {seed}",
            seed = failure.seed
        );
    }
}

#[test]
fn a_seed_is_a_world() {
    for seed in 1..40 {
        let once = run(Arc::new(Plan::of_seed(seed)), true);
        let again = run(Arc::new(Plan::of_seed(seed)), true);
        let differs = once.trace.iter().zip(&again.trace).position(|(one, other)| one != other);
        if let Some(at) = differs {
            panic!("seed {seed}, line {at}: `{}`, and then `{}`", once.trace[at], again.trace[at]);
        }
        assert_eq!((once.steps, once.hash), (again.steps, again.hash), "seed {seed}");
    }
}
