//! The simulation bites: each of these deliberate bugs of the watcher is found, by an invariant that
//! it breaks, within so many worlds. (Without any, `worlds.rs` finds nothing.)

#![cfg(all(feature = "sabotage", debug_assertions))]

use std::time::Duration;

use drowse_simulation::{Budget, Invariant, search};
use drowse_watcher::{Sabotage, arm};

/// Where the search for each of them begins.
const SEED: u64 = 1;

/// A bug, the invariants of which one must catch it first, and within how many worlds.
fn is_found(sabotage: Sabotage, by: &[Invariant], worlds: u64) {
    let time = Duration::from_mins(3);
    let budget = Budget { seed: SEED, worlds, steps: u64::MAX, time };
    let report = search(budget, move || arm(Some(sabotage)));
    let failure = report.failure.unwrap_or_else(|| {
        panic!("{sabotage:?} was not found in {} worlds, {} steps", report.worlds, report.steps)
    });
    let Some(found) = failure.violation else {
        panic!("{sabotage:?}: world {} comes to no end", failure.seed);
    };
    let is_by_it = by.contains(&found.invariant);
    assert!(
        is_by_it,
        "{sabotage:?} in world {}: {}: {}",
        failure.seed, found.invariant, found.what
    );
}

macro_rules! mutants {
    ($($test:ident: $sabotage:ident, $($invariant:ident)|+, $worlds:literal;)*) => {
        $(
            #[test]
            fn $test() {
                is_found(Sabotage::$sabotage, &[$(Invariant::$invariant),+], $worlds);
            }
        )*
    };
}

mutants! {
    skip_the_look: SkipTheLook, InUse, 10;
    swap_any_word: SwapAnyWord, InUse | Needs, 400;
    ignore_leases: IgnoreLeases, InUse, 10;
    forget_who_comes_during_a_stop: ForgetWhoComesDuringAStop, Answered, 10;
    forget_deadlines: ForgetDeadlines, Answered, 10;
    forget_a_waiter: ForgetAWaiter, Answered, 10;
    ready_without_a_probe: ReadyWithoutAProbe, Ready | Needs, 10;
    believe_in_spite_of_news: BelieveInSpiteOfNews, Truth | Asleep, 20;
    order_again_after_a_lost_answer: OrderAgainAfterALostAnswer, OneOrder, 20;
    start_before_needs: StartBeforeNeeds, Needs, 20;
    let_go_of_needs: LetGoOfNeeds, Needs | Repaired, 20;
    hold_nothing_at_adoption: HoldNothingAtAdoption, Needs, 100;
    no_idle_time_after_adoption: NoIdleTimeAfterAdoption, Adopted, 30;
    never_retry_a_stop: NeverRetryAStop, Asleep, 30;
    repair_nothing: RepairNothing, Repaired, 20;
    run_complete_jobs_again: RunCompleteJobsAgain, Once, 30;
    passive_requests_wake: PassiveRequestsWake, Passive, 10;
    count_passive_leases_as_use: CountPassiveLeasesAsUse, Asleep, 20;
    circuit_stays_open: CircuitStaysOpen, Asleep | Repaired, 30;
    forget_the_last_use: ForgetTheLastUse, InUse, 20;
    ignore_deaths: IgnoreDeaths, Ready, 150;
    serve_on_in_doubt: ServeOnInDoubt, Ready, 150;
    ignore_minimum_awake: IgnoreMinimumAwake, InUse, 150;
    ignore_gates: IgnoreGates, InUse | Together, 400;
    ignore_starts_from_outside: IgnoreStartsFromOutside, InUse, 200;
    wake_what_is_held_asleep: WakeWhatIsHeldAsleep, Held, 300;
    wake_no_mates: WakeNoMates, Together, 100;
    ignore_mates: IgnoreMates, Together, 100;
    leave_mates_behind: LeaveMatesBehind, Together, 100;
    sleep_out_of_turn: SleepOutOfTurn, InTurn, 100;
    leave_the_frozen: LeaveTheFrozen, Asleep, 100;
    stop_the_frozen_at_once: StopTheFrozenAtOnce, InUse, 100;
}
