//! The wall clock, as far as it matters: a test has one of its own.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

/// Tells what time it is. Unlike tokio's clock it may jump, and it goes on while the machine is
/// suspended.
#[derive(Clone)]
pub(crate) struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl WallClock {
    /// This machine's.
    pub(crate) fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WallClock({})", self.now())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Mutex;

    use jiff::SignedDuration;
    use tokio::time::Instant;

    use super::*;

    /// A clock that goes with tokio's, and can be set.
    #[derive(Clone, Debug)]
    pub(crate) struct SetClock(Arc<Mutex<(Timestamp, Instant)>>);

    impl SetClock {
        /// It is `now`, such as `2026-03-29T00:59:00Z`.
        pub(crate) fn at(now: &str) -> Self {
            Self(Arc::new(Mutex::new((now.parse().unwrap(), Instant::now()))))
        }

        /// It is `now` all at once.
        pub(crate) fn jumps_to(&self, now: &str) {
            *self.0.lock().unwrap() = (now.parse().unwrap(), Instant::now());
        }

        pub(crate) fn clock(&self) -> WallClock {
            let this = self.clone();
            WallClock(Arc::new(move || {
                let (then, instant) = *this.0.lock().unwrap();
                then + SignedDuration::try_from(instant.elapsed()).unwrap()
            }))
        }
    }
}
