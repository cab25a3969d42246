//! What goes on failing is said at once, and then at growing intervals, with a count.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// How long the same is kept back after it was first said; each time twice as long as before.
const FIRST_INTERVAL: Duration = Duration::from_mins(1);
const LONGEST_INTERVAL: Duration = Duration::from_hours(1);

/// More different complaints than this at once: the one that was said longest ago is forgotten, and
/// would be said at once if it came again.
const REMEMBERED: usize = 1_024;

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Say it.
    Say,
    /// Say it, and that it would have been said so often since it was last said.
    SayRepeated { times: u64, over: Duration },
    /// Count it.
    Keep,
}

#[derive(Debug)]
struct Seen {
    said: Instant,
    kept: u64,
    interval: Duration,
}

/// What was said, and how often it was kept back since.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    seen: HashMap<u64, Seen>,
}

impl Repeats {
    /// Judges an occurrence of `identity`.
    pub(super) fn judge(&mut self, identity: u64, now: Instant) -> Verdict {
        if let Some(seen) = self.seen.get_mut(&identity) {
            let over = now.saturating_duration_since(seen.said);
            if over < seen.interval {
                seen.kept += 1;
                return Verdict::Keep;
            }
            let times = seen.kept + 1;
            // Quiet for as long again: it is a new occasion.
            let is_new = seen.kept == 0 && over >= 2 * seen.interval;
            seen.interval =
                if is_new { FIRST_INTERVAL } else { (2 * seen.interval).min(LONGEST_INTERVAL) };
            seen.said = now;
            seen.kept = 0;
            return if times > 1 { Verdict::SayRepeated { times, over } } else { Verdict::Say };
        }
        if self.seen.len() >= REMEMBERED
            && let Some(oldest) =
                self.seen.iter().min_by_key(|(_, seen)| seen.said).map(|(identity, _)| *identity)
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(identity, Seen { said: now, kept: 0, interval: FIRST_INTERVAL });
        Verdict::Say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeats_are_counted_at_growing_intervals() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let mut said = Vec::new();
        for second in 0..600_u64 {
            match repeats.judge(7, start + Duration::from_secs(second)) {
                Verdict::Say => said.push((second, 1)),
                Verdict::SayRepeated { times, .. } => said.push((second, times)),
                Verdict::Keep => {}
            }
        }
        assert_eq!(said, [(0, 1), (60, 60), (180, 120), (420, 240)]);
    }

    #[tokio::test(start_paused = true)]
    async fn different_things_are_not_repeats_and_memory_is_bounded() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        for identity in 0..5_000_u64 {
            let now = start + Duration::from_millis(identity);
            assert_eq!(repeats.judge(identity, now), Verdict::Say);
        }
        assert_eq!(repeats.seen.len(), REMEMBERED);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_silence_it_is_news_again() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        assert_eq!(repeats.judge(1, start), Verdict::Say);
        let later = start + Duration::from_hours(1);
        assert_eq!(repeats.judge(1, later), Verdict::Say);
        assert_eq!(repeats.judge(1, later + Duration::from_secs(59)), Verdict::Keep);
        assert!(matches!(
            repeats.judge(1, later + FIRST_INTERVAL),
            Verdict::SayRepeated { times: 2, .. }
        ));
    }
}
