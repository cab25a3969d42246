//! The timer of a connection's requests.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::time::{self, Instant};

/// One timer, which is set anew only when it is due. Hyper waits for each head with a deadline, and takes
/// it back when the head is there: each would be entered in the runtime's list of all timers and taken out
/// of it, under its lock. This one stays there; it may be early, and then looks how early.
#[derive(Clone, Default)]
pub(super) struct Timekeeper(Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>);

impl Timer for Timekeeper {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { until: Instant::now() + duration, timekeeper: self.clone() })
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { until: deadline.into(), timekeeper: self.clone() })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

/// A wait until a deadline. One at a time is waited for: who waits is who waited last.
struct Wait {
    until: Instant,
    timekeeper: Timekeeper,
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut kept = self.timekeeper.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = kept.get_or_insert_with(|| Box::pin(time::sleep_until(self.until)));
        if sleep.deadline() > self.until {
            sleep.as_mut().reset(self.until);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.until);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_when_it_should() {
        let began = Instant::now();
        let timer = Timekeeper::default();
        let after = |seconds| began + Duration::from_secs(seconds);
        let until = |seconds| timer.sleep_until(after(seconds).into());
        // Given up, as when the head came.
        assert!(timeout(Duration::from_secs(1), until(10)).await.is_err());
        assert!(timeout(Duration::from_secs(1), until(20)).await.is_err());
        until(20).await;
        assert_eq!(Instant::now(), after(20));
        until(30).await;
        assert_eq!(Instant::now(), after(30));
        // One that is due before what was waited for.
        assert!(timeout(Duration::from_secs(1), until(50)).await.is_err());
        timer.sleep(Duration::from_secs(4)).await;
        assert_eq!(Instant::now(), after(35));
    }
}
