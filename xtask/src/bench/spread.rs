//! What a number of runs have in common.

use std::time::Duration;

use anyhow::ensure;

/// The spread of one measured time over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) runs: usize,
    pub(super) min: Duration,
    pub(super) median: Duration,
    pub(super) p95: Duration,
    pub(super) max: Duration,
}

impl Spread {
    /// # Errors
    /// If there was no run.
    pub(super) fn of(times: impl IntoIterator<Item = Duration>) -> anyhow::Result<Self> {
        let mut sorted: Vec<_> = times.into_iter().collect();
        sorted.sort_unstable();
        let runs = sorted.len();
        ensure!(runs > 0, "nothing was measured");
        // The nearest rank: a time that was really seen, never one between two.
        let rank = |percent: usize| sorted[(runs * percent).div_ceil(100).max(1) - 1];
        Ok(Self { runs, min: sorted[0], median: rank(50), p95: rank(95), max: sorted[runs - 1] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_seen() {
        let spread = Spread::of((1..=20).rev().map(Duration::from_millis)).unwrap();
        let milliseconds = |time: Duration| time.as_millis();
        assert_eq!(
            [spread.min, spread.median, spread.p95, spread.max].map(milliseconds),
            [1, 10, 19, 20]
        );
        let one = Spread::of([Duration::from_millis(7)]).unwrap();
        assert_eq!((one.min, one.p95), (one.max, one.median));
        assert!(Spread::of([]).is_err());
    }
}
