//! The invariants of the design over random lists of inputs, given to the real workload over a scripted
//! engine on a paused clock. A list that breaks one is shortened to as few inputs as it takes.
//!
//! The model knows what must hold and nothing of how: who holds a lease and since when nobody does,
//! which order is under way, and by when each request is to be answered. It is asked at the very moment
//! of each order, by a provider around the engine's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod properties {
    pub(crate) mod judge;
    pub(crate) mod town;
}

use std::time::Duration;

use proptest::prelude::*;

use properties::town::{Fault, Input, Town};

/// Of virtual time: longer than anything takes that may be under way when all wishes end.
const TAIL: Duration = Duration::from_hours(2);

fn clients() -> impl Strategy<Value = usize> {
    0..3_usize
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Refused),
        Just(Fault::Locked),
        Just(Fault::AnswerLost),
        Just(Fault::TakenAndHangs),
        Just(Fault::Hangs),
        (1..40_u64).prop_map(|seconds| Fault::Late(Duration::from_secs(seconds))),
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..50_u64).prop_map(Duration::from_millis),
        (50..2_000_u64).prop_map(Duration::from_millis),
        (2..45_u64).prop_map(Duration::from_secs),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => (clients(), 1..90_u64).prop_map(|(client, seconds)| Input::Ask {
            client,
            patience: Duration::from_secs(seconds),
        }),
        1 => clients().prop_map(|client| Input::Look { client }),
        1 => clients().prop_map(|client| Input::Leave { client }),
        3 => clients().prop_map(|client| Input::Drop { client }),
        6 => time().prop_map(Input::Pass),
        1 => Just(Input::SleepNow),
        1 => clients().prop_map(|client| Input::UpstreamFails { client }),
        1 => Just(Input::UserStops),
        1 => Just(Input::UserStarts),
        1 => Just(Input::UserPauses),
        1 => Just(Input::Crash),
        1 => Just(Input::EngineDown),
        2 => Just(Input::EngineUp),
        1 => Just(Input::EventsBreak),
        1 => Just(Input::EventsMend),
        1 => (1..4_usize).prop_map(Input::EventsLost),
        1 => (1..3_usize).prop_map(Input::EventsTwice),
        1 => fault().prop_map(Input::NextStart),
        2 => fault().prop_map(Input::NextSleep),
        1 => fault().prop_map(Input::NextRead),
        1 => Just(Input::Restart),
    ]
}

/// `PROPTEST_CASES` counts, if it is set.
fn cases() -> u32 {
    std::env::var_os("PROPTEST_CASES").map_or(150, |_| ProptestConfig::default().cases)
}

/// Lets it all happen on a clock of its own; what was wrong.
fn live(inputs: &[Input], bug: Option<properties::judge::Bug>) -> Vec<String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut town = Town::new(bug);
        for input in inputs {
            town.take(input).await;
        }
        town.settle(TAIL).await;
        town.wrongs()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_whatever_comes(inputs in prop::collection::vec(input(), 1..60)) {
        let wrongs = live(&inputs, None);
        prop_assert!(wrongs.is_empty(), "{wrongs:#?}");
    }
}

/// What must fail does, and is told in few words.
#[test]
fn a_broken_rule_is_found_and_shortened() {
    use proptest::test_runner::{Config, TestError, TestRunner};
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let found = runner.run(&prop::collection::vec(input(), 1..60), |inputs| {
        let wrongs = live(&inputs, Some(properties::judge::Bug::UseIsForgotten));
        prop_assert!(wrongs.is_empty(), "{wrongs:?}");
        Ok(())
    });
    let Err(TestError::Fail(why, inputs)) = found else { panic!("{found:?}") };
    assert!(why.message().contains("after its last use"), "{why}");
    assert!(inputs.len() <= 4, "{inputs:?}");
}
