//! Random graphs, random users, and engines that are slow, refuse and lose orders: nothing runs without
//! what it needs, and all of it sleeps in the end.

use std::time::Duration;

use drowse_provider::{Action, ErrorKind, testing::Step};
use drowse_watcher::{Condition, Lease, Need, Needs, Policy};
use tokio::time::sleep;

use crate::town::Town;

const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];
const TICK: Duration = Duration::from_millis(100);

/// The generator `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.roll(below))
    }
}

/// Each may need those before it.
fn found(town: &mut Town, dice: &mut Dice) -> Vec<Vec<&'static str>> {
    let mut needed_by = Vec::new();
    for (at, name) in NAMES.into_iter().enumerate() {
        let names: Vec<_> = NAMES[..at].iter().copied().filter(|_| dice.roll(3) == 0).collect();
        let condition = if dice.roll(3) == 0 { Condition::Started } else { Condition::Ready };
        let need = |name: &&'static str| town.need(name, condition);
        let needs: Vec<Need> = names.iter().map(need).collect();
        let idle = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(20)];
        let policy = Policy::new(idle[usize::try_from(dice.roll(3)).unwrap()]);
        let container = town.add_with(name, policy, Needs::Of(needs));
        for action in [Action::Start, Action::Stop, Action::Inspect] {
            container.script(action, (0..100).map(|_| step(dice)));
            container.always(action, Step::ok().late_by(Duration::from_millis(5)));
        }
        needed_by.push(names);
    }
    needed_by
}

fn step(dice: &mut Dice) -> Step {
    let lost = || ErrorKind::Unavailable { reason: "connection reset".to_owned() };
    let step = match dice.roll(20) {
        0 => Step::refuse(lost()),
        1 => Step::lose_answer(lost()),
        2 => Step::refuse(ErrorKind::Failed { exit: None, message: "no".to_owned() }),
        _ => Step::ok(),
    };
    let longest = if dice.roll(4) == 0 { 5_000 } else { 20 };
    step.late_by(dice.millis(longest))
}

/// A request that comes, waits, and is served or not.
async fn visit(town: &Town, name: &'static str, patience: Duration) -> Option<Lease> {
    town.lease_within(name, patience).await.ok()
}

fn check(town: &Town, needs: &[Vec<&'static str>], seed: u64) {
    for (name, needs) in NAMES.iter().zip(needs) {
        for need in needs {
            assert!(
                !town.is_running(name) || town.is_running(need),
                "seed {seed}: `{name}` runs without `{need}`: {:#?}",
                town.orders()
            );
        }
    }
}

async fn live(seed: u64) {
    let mut dice = Dice(seed);
    let mut town = Town::new();
    let needs = found(&mut town, &mut dice);
    let town = std::rc::Rc::new(town);
    let visitors = tokio::task::LocalSet::new();
    let watching = visitors.run_until(async {
        for _ in 0..3_000 {
            if dice.roll(60) == 0 {
                let town = std::rc::Rc::clone(&town);
                let name = NAMES[usize::try_from(dice.roll(6)).unwrap()];
                let (patience, stay) = (dice.millis(60_000), dice.millis(30_000));
                tokio::task::spawn_local(async move {
                    let lease = visit(&town, name, patience).await;
                    sleep(stay).await;
                    drop(lease);
                });
            }
            check(&town, &needs, seed);
            sleep(TICK).await;
        }
        // A failed stop is tried again after five minutes at most.
        for _ in 0..1_200 {
            check(&town, &needs, seed);
            sleep(TICK * 10).await;
        }
    });
    watching.await;
    for name in NAMES {
        assert!(
            !town.is_running(name),
            "seed {seed}: `{name}` runs for ever: {:#?}",
            town.orders()
        );
        assert_eq!(town.workload(name).leases(), 0, "seed {seed}: `{name}`");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_without_what_it_needs_and_all_sleep_in_the_end() {
    let seeds = std::env::var("NEEDS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    for seed in 0..seeds {
        live(seed).await;
    }
}
