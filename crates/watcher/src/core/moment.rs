//! Time inside the core: a number, not a clock.

use std::{fmt, num::NonZeroU64, ops::Add, time::Duration};

/// A moment on the watcher's monotonic clock: the time since its anchor, up to some 500 years.
///
/// In eight bytes, `None` included: each of thousands of workloads keeps some thirty of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Nanoseconds, and one.
    after: NonZeroU64,
}

impl Moment {
    pub(crate) fn at(since_anchor: Duration) -> Self {
        let nanos = u64::try_from(since_anchor.as_nanos()).unwrap_or(u64::MAX);
        Self { after: NonZeroU64::MIN.saturating_add(nanos) }
    }

    pub(crate) fn from_millis(millis: u64) -> Self {
        Self::at(Duration::from_millis(millis))
    }

    pub(crate) fn since_anchor(self) -> Duration {
        Duration::from_nanos(self.after.get() - 1)
    }

    /// Whole milliseconds, rounded down: what the warm word stores.
    pub(crate) fn as_millis(self) -> u64 {
        u64::try_from(self.since_anchor().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time from `earlier` to this; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.since_anchor().saturating_sub(earlier.since_anchor())
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::at(self.since_anchor().saturating_add(duration))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Moment({:?})", self.since_anchor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_small_and_knows_no_overflow() {
        assert_eq!(size_of::<Option<Moment>>(), 8);
        let now = Moment::from_millis(1_500);
        let (since, millis) = (now.since_anchor(), now.as_millis());
        assert_eq!((since, millis), (Duration::from_millis(1_500), 1_500));
        assert_eq!(now + Duration::ZERO, now);
        assert_eq!(Moment::at(Duration::ZERO).as_millis(), 0);
        let end = now + Duration::MAX;
        assert!(end > now && end + Duration::MAX == end);
        assert_eq!(now.since(end), Duration::ZERO);
        assert!(end.since(now) > Duration::from_hours(24 * 365 * 500));
    }
}
