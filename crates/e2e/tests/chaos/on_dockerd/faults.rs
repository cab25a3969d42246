//! What goes wrong, and what users do behind drowse's back.

use std::time::Duration;

use tokio::time::Instant;

use super::dice::Dice;
use super::town::Town;

/// One after the other, for so long.
pub(super) async fn cause(town: &mut Town, dice: &mut Dice, lasting: Duration) {
    let end = Instant::now() + lasting;
    // The rarest first: a short run has each of them.
    for first in [9, 0] {
        pass(dice).await;
        one(town, dice, first).await;
    }
    while Instant::now() < end {
        pass(dice).await;
        let which = dice.roll(10);
        one(town, dice, which).await;
    }
}

async fn one(town: &mut Town, dice: &mut Dice, which: u64) {
    let container = usize::try_from(dice.roll(town.containers.len() as u64)).unwrap();
    match which {
        0..=4 => town.kill_drowse().await,
        5 => town.stop(container).await,
        6 | 7 => town.start(container).await,
        8 => town.recreate(container).await,
        _ => {
            let is_told = dice.roll(2) == 0;
            town.restart_engine(is_told).await;
        }
    }
}

/// Nothing is waited for: meanwhile clients use what they use, and what is idle falls asleep.
async fn pass(dice: &mut Dice) {
    tokio::time::sleep(dice.millis(300, 5_000)).await;
}
