//! Randomness that is a function of the seed and of what it is about, and of nothing else: what is
//! taken out of a world changes nothing of what happens in the rest of it.

use std::time::Duration;

/// The generator `SplitMix64`: small, good enough, the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of one thing: those of another are others.
    pub(crate) fn about(seed: u64, about: &[u64]) -> Self {
        let mut dice = Self(seed);
        for part in about {
            dice.0 = dice.next() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `sides - 1`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides.max(1)
    }

    /// An index into something of this length, which is not empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).unwrap_or(0)
    }

    /// True so often in a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }

    /// Between the two, both included.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from + 1))
    }

    /// Mostly short, sometimes long: of any order of magnitude between the two with the same chance.
    pub(crate) fn spread(&mut self, from: u64, to: u64) -> Duration {
        let (mut low, mut steps) = (from.max(1), 0);
        while low.saturating_mul(2) <= to {
            low *= 2;
            steps += 1;
        }
        let start = from.max(1) << self.roll(steps + 1);
        self.millis(start.min(to), (start * 2).min(to))
    }
}
