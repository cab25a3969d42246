//! On a dockerd of its own, whose containers go on when it is started again.

mod clients;
mod dice;
mod faults;
mod ledger;
mod town;

use std::sync::Arc;
use std::time::Duration;

use dice::Dice;
use ledger::Ledger;
use town::Town;

/// How long it goes on, unless the environment says.
const SECONDS: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_use_is_stopped_and_no_request_fails_for_a_reason_of_ours() {
    let seed = number("DROWSE_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let lasting = Duration::from_secs(number("DROWSE_CHAOS_SECONDS").unwrap_or(SECONDS));
    println!("chaos: seed {seed}, for {lasting:?}");
    let ledger = Arc::new(Ledger::default());
    let mut town = Town::build(Arc::clone(&ledger)).await;
    let clients = clients::begin(&town, seed);
    faults::cause(&mut town, &mut Dice::new(seed, 0), lasting).await;
    clients.end().await;
    town.wait_until_all_is_asleep().await;
    let verdict = ledger.judge(&town.orders(), &town::plots());
    println!("chaos: {}", verdict.summary);
    assert!(
        verdict.wrongs.is_empty(),
        "seed {seed}, {}:\n{}",
        verdict.summary,
        verdict.wrongs.join("\n")
    );
    assert!(verdict.served > 20, "{}", verdict.summary);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}
