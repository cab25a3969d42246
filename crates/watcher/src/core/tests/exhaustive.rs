//! Small worlds, and every history of theirs up to a depth.
//!
//! A **world** is one or two cores, their real warm words, an engine and clients. In each of its states
//! several things may happen next: a request, a lease's end, an answer or an event that arrives, an
//! order that is carried out, a fault, time that passes to the core's next deadline. The search lets each
//! of them happen, breadth first, and judges each step; at the end of each history nothing goes wrong any
//! more, nobody wants anything, and all must come to rest. A history that ends badly is shown, and is
//! the shortest that there is.

mod essence;
mod pair;
mod race;
mod search;
mod side;

use std::fmt::Debug;

use tokio::time::Instant;

use pair::Pair;
use race::{Bug, Race, Root, Setup};
use search::{World, explore};

const RACE: Setup = Setup { root: Root::Idle, asks: 2, faults: 0, bug: None };

/// The safety invariants, and that all settles, in every history of `choices` choices; of which there
/// are at least so many.
#[track_caller]
fn holds<W: World<Setup: Debug>>(setup: W::Setup, choices: usize, at_least: u128) {
    let began = Instant::now();
    let explored = match explore::<W>(&setup, choices) {
        Ok(explored) => explored,
        Err(found) => panic!("{found}"),
    };
    println!("{setup:?}: {explored:?} in {:?}", began.elapsed());
    assert!(explored.histories >= at_least, "{explored:?}: what was looked at?");
}

#[test]
fn two_clients_and_a_stop() {
    holds::<Race>(RACE, 12, 1_000_000);
}

#[test]
fn two_clients_and_a_wake() {
    holds::<Race>(Setup { root: Root::Asleep, ..RACE }, 10, 500_000);
}

#[test]
fn two_clients_and_a_stop_with_a_fault() {
    holds::<Race>(Setup { faults: 1, ..RACE }, 6, 10_000);
}

#[test]
fn two_clients_and_a_wake_with_a_fault() {
    holds::<Race>(Setup { root: Root::Asleep, faults: 1, ..RACE }, 7, 20_000);
}

#[test]
fn one_client_and_two_faults() {
    holds::<Race>(Setup { asks: 1, faults: 2, ..RACE }, 5, 3_000);
}

/// The search finds what it is there to find.
#[track_caller]
fn is_found<W: World<Setup: Debug>>(setup: W::Setup, choices: usize) -> String {
    match explore::<W>(&setup, choices) {
        Ok(explored) => panic!("{setup:?}: nothing was found: {explored:?}"),
        Err(found) => {
            println!("{setup:?}: {found}");
            found.why
        }
    }
}

fn with(bug: Bug) -> Setup {
    Setup { bug: Some(bug), ..RACE }
}

#[test]
fn a_gate_shut_without_the_recheck_is_found() {
    let why = is_found::<Race>(with(Bug::LeasesDuringTheLookAreNotCounted), 6);
    assert!(why.contains("while leases are held"), "{why}");
}

#[test]
fn a_forgotten_waiter_is_found() {
    is_found::<Race>(Setup { root: Root::Asleep, ..with(Bug::GrantsAreForgotten) }, 9);
}

#[test]
fn a_lost_answer_taken_for_a_refusal_is_found() {
    is_found::<Race>(Setup { faults: 1, ..with(Bug::LostAnswersAreRefusals) }, 8);
}

#[test]
fn a_use_that_leaves_no_trace_is_found() {
    let why = is_found::<Race>(with(Bug::UseIsNotNoted), 6);
    assert!(why.contains("after the last lease ended"), "{why}");
}

const PAIR: pair::Setup =
    pair::Setup { root: pair::Root::Asleep, asks: 2, faults: 0, restarts: 0, bug: None };

#[test]
fn a_dependent_wakes_with_its_need() {
    holds::<Pair>(PAIR, 13, 10_000);
    holds::<Pair>(pair::Setup { faults: 1, ..PAIR }, 9, 10_000);
}

#[test]
fn a_dependent_in_use_keeps_its_need() {
    let in_use = pair::Setup { root: pair::Root::InUse, ..PAIR };
    holds::<Pair>(in_use, 10, 2_000);
    holds::<Pair>(pair::Setup { faults: 1, ..in_use }, 5, 1_000);
}

#[test]
fn a_dependent_sleeps_before_its_need() {
    let idle = pair::Setup { root: pair::Root::Idle, ..PAIR };
    holds::<Pair>(idle, 8, 500);
    holds::<Pair>(pair::Setup { faults: 1, ..idle }, 5, 1_000);
}

#[test]
fn drowse_begins_anew_over_a_dependent_and_its_need() {
    for (root, choices) in [(pair::Root::Asleep, 9), (pair::Root::InUse, 8), (pair::Root::Idle, 6)]
    {
        holds::<Pair>(pair::Setup { root, restarts: 1, ..PAIR }, choices, 1_000);
    }
}

fn pair_with(bug: pair::Bug) -> pair::Setup {
    pair::Setup { bug: Some(bug), ..PAIR }
}

#[test]
fn a_need_that_is_not_held_is_found() {
    let why = is_found::<Pair>(
        pair::Setup { root: pair::Root::InUse, ..pair_with(pair::Bug::NeedsAreNotHeld) },
        8,
    );
    assert!(why.contains("of what a container needs that runs"), "{why}");
}

#[test]
fn a_hold_that_comes_late_after_a_restart_is_found() {
    let late = pair::Bug::NothingIsHeldAtTheStart;
    let setup = pair::Setup { root: pair::Root::InUse, restarts: 1, ..pair_with(late) };
    is_found::<Pair>(setup, 12);
}

#[test]
fn a_start_before_what_it_needs_is_found() {
    let why = is_found::<Pair>(pair_with(pair::Bug::NeedsAlwaysLookMet), 8);
    assert!(why.contains("before what it needs was seen ready"), "{why}");
}

#[test]
fn a_hold_that_is_never_given_back_is_found() {
    let idle =
        pair::Setup { root: pair::Root::Idle, ..pair_with(pair::Bug::HoldsAreNeverGivenBack) };
    is_found::<Pair>(idle, 8);
}
