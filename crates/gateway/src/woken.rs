//! Futures within a task that are polled only when it is they that were woken, as if they were tasks.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Whether something was woken, and who is to be told.
pub(crate) struct Woken {
    shared: Arc<Shared>,
    /// The same, for what is waited for.
    waker: Waker,
}

struct Shared {
    is_woken: AtomicBool,
    /// Who waits, if anybody does.
    user: AtomicWaker,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.user.wake();
    }
}

impl Woken {
    /// Woken: what was never polled is to be polled.
    pub(crate) fn new() -> Self {
        let (is_woken, user) = (AtomicBool::new(true), AtomicWaker::new());
        let shared = Arc::new(Shared { is_woken, user });
        Self { waker: Waker::from(Arc::clone(&shared)), shared }
    }

    /// What it is polled with.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Whether it was woken since this was last asked.
    pub(crate) fn take(&self) -> bool {
        self.shared.is_woken.swap(false, Ordering::AcqRel)
    }

    /// From now on nobody is told. Whoever drives it looks again before it waits.
    pub(crate) fn tell_nobody(&self) {
        self.shared.user.take();
    }

    /// From now on this one is told; at once, if it was woken while nobody was.
    pub(crate) fn tell(&self, user: &Waker) {
        self.shared.user.register(user);
        if self.shared.is_woken.load(Ordering::Acquire) {
            user.wake_by_ref();
        }
    }
}

/// A future that is seldom woken, beside others that often are. To poll some, as a cancellation that
/// thousands wait for, is to lock what all of them share.
pub(crate) struct WhenWoken<'a, F> {
    future: Pin<&'a mut F>,
    woken: Woken,
}

impl<'a, F> WhenWoken<'a, F> {
    pub(crate) fn new(future: Pin<&'a mut F>) -> Self {
        Self { future, woken: Woken::new() }
    }
}

impl<F: Future> Future for WhenWoken<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        // Before it is asked: whoever wakes it from now on tells.
        this.woken.shared.user.register(context.waker());
        if !this.woken.take() {
            return Poll::Pending;
        }
        this.future.as_mut().poll(&mut this.woken.context())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use futures::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken() {
        let (tell, told) = oneshot::channel();
        let mut told = pin!(told);
        let mut polled = 0;
        let counted = poll_fn(|context| {
            polled += 1;
            told.as_mut().poll(context)
        });
        let mut counted = pin!(counted);
        let mut seldom = WhenWoken::new(counted.as_mut());
        for _ in 0..3 {
            assert!(poll!(&mut seldom).is_pending());
        }
        let waiting = async {
            tokio::task::yield_now().await;
            tell.send(7).unwrap();
        };
        let (told, ()) = tokio::join!(&mut seldom, waiting);
        assert_eq!(told, Ok(7));
        assert_eq!(polled, 2);
    }

    #[tokio::test]
    async fn what_wakes_it_while_nobody_is_told_is_told_later() {
        let woken = Woken::new();
        assert!(woken.take() && !woken.take());
        woken.tell_nobody();
        woken.waker.wake_by_ref();
        let mut times = 0;
        // Pending without a waker of its own: `tell` wakes it.
        poll_fn(|context| {
            times += 1;
            woken.tell(context.waker());
            if times == 2 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(woken.take());
    }
}
