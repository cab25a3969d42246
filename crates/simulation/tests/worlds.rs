//! No invariant is broken in the worlds that CI has time for, and each is the same each time.

use std::{sync::Arc, time::Duration};

use drowse_simulation::{Budget, Plan, minimise, run, search};

/// On the clock on the wall, on all cores.
const TIME: Duration = Duration::from_mins(2);

/// How much of a trace is shown.
const LINES: usize = 100;

#[test]
fn the_invariants_hold() {
    let budget = Budget { seed: 1, worlds: u64::MAX, steps: u64::MAX, time: TIME };
    let report = search(budget, || ());
    println!("{} steps in {} worlds", report.steps, report.worlds);
    let Some(failure) = report.failure else { return };
    let seed = failure.seed;
    let again = format!("cargo xtask simulate --seed {seed} --trace");
    let Some(found) = failure.violation else { panic!("world {seed} comes to no end: {again}") };
    let smallest = minimise(Plan::of_seed(seed), found.invariant);
    println!("the smallest world in which this happens:\n{smallest}");
    let trace = run(Arc::new(smallest), true).trace;
    trace[trace.len().saturating_sub(LINES)..].iter().for_each(|line| println!("{line}"));
    panic!("world {seed} breaks {}: {}; all of it: {again}", found.invariant, found.what);
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
