//! How long a wake usually takes, learnt from the last ones, and how far one is by that.

use std::time::Duration;

/// The bar never comes nearer to its end than this before the workload is ready.
const FURTHEST: f64 = 97.0;

/// The median of the last wakes, of two in the middle the longer one: an image that was cold once, or
/// a machine that was busy, does not count for the next eight wakes. `None` before the first.
pub(crate) fn usual(wakes: &[Duration]) -> Option<Duration> {
    let mut sorted = wakes.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// How far a wake is after this time, in percent: at an even pace at first, 86 when the usual time is
/// over, and ever more slowly from then on. The page's script has the same curve.
pub(crate) fn progress(elapsed: Duration, usual: Duration) -> f64 {
    let part = elapsed.as_secs_f64() / usual.as_secs_f64().max(0.05);
    FURTHEST * (1.0 - (-(1.4 * part + 0.8 * part * part)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seconds: &[u64]) -> Option<u64> {
        let wakes: Vec<_> = seconds.iter().copied().map(Duration::from_secs).collect();
        usual(&wakes).map(|usual| usual.as_secs())
    }

    #[test]
    fn one_slow_wake_does_not_count() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), Some(7));
        assert_eq!(of(&[7, 9]), Some(9));
        assert_eq!(of(&[3, 90, 4, 3, 3]), Some(3));
    }

    #[test]
    fn the_bar_goes_on_and_never_reaches_its_end() {
        let usual = Duration::from_secs(10);
        let at = |seconds| progress(Duration::from_secs(seconds), usual);
        let mut last = -1.0;
        for seconds in 0..30 {
            assert!(at(seconds) > last, "{seconds}");
            last = at(seconds);
        }
        assert!(at(0) < 0.1 && (80.0..90.0).contains(&at(10)), "{}", at(10));
        assert!(at(1_000_000) <= FURTHEST);
        assert!(progress(Duration::MAX, Duration::ZERO) <= FURTHEST);
    }
}
