//! How long something that gives no answer is put up with.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many answers must be missing in a row…
const TIMES: u32 = 3;

/// How often, and since when, there has been no answer.
#[derive(Debug)]
pub(super) struct Patience {
    /// …over at least so long.
    lasts: Duration,
    missing: Mutex<Missing>,
}

#[derive(Debug, Default)]
struct Missing {
    times: u32,
    since: Option<Instant>,
    is_told: bool,
}

/// What one more missing answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may come yet.
    Wait,
    /// It does not come. Said once, until there is an answer again.
    Lost,
    /// That was said before.
    StillLost,
}

impl Patience {
    pub(super) fn of(lasts: Duration) -> Self {
        Self { lasts, missing: Mutex::default() }
    }

    /// There was an answer.
    pub(super) fn answered(&self) {
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = Missing::default();
    }

    /// There was none.
    pub(super) fn missed(&self) -> Verdict {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.times = missing.times.saturating_add(1);
        let since = *missing.since.get_or_insert_with(Instant::now);
        if missing.times < TIMES || since.elapsed() < self.lasts {
            return Verdict::Wait;
        }
        if std::mem::replace(&mut missing.is_told, true) {
            Verdict::StillLost
        } else {
            Verdict::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_once_per_silence() {
        let patience = Patience::of(Duration::from_mins(5));
        let miss = |times: usize| (0..times).map(|_| patience.missed()).collect::<Vec<_>>();
        assert_eq!(miss(4), [Verdict::Wait; 4], "many at once are one hiccup");
        tokio::time::advance(Duration::from_mins(5)).await;
        assert_eq!(miss(3), [Verdict::Lost, Verdict::StillLost, Verdict::StillLost]);
        patience.answered();
        assert_eq!(miss(2), [Verdict::Wait; 2]);
        tokio::time::advance(Duration::from_mins(5)).await;
        assert_eq!(miss(1), [Verdict::Lost]);
    }
}
