//! Holds a request's body back until the upstream asks for it.

use std::{
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::Sending;

/// How long an upstream is waited for that may not know of asking.
const PATIENCE: Duration = Duration::from_secs(3);

/// Open from the beginning, or from when it is told, or when nobody has told it for a while.
pub(super) struct Gate {
    is_open: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    waker: Option<Waker>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    pub(super) fn new(sending: Sending) -> Self {
        let is_open = AtomicBool::new(sending != Sending::WhenAsked);
        Self { is_open, waiting: Mutex::default() }
    }

    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        if let Some(waker) = self.waiting().waker.take() {
            waker.wake();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Ready when it is open.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_open() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        waiting.waker = Some(context.waker().clone());
        let patience = waiting.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if patience.as_mut().poll(context).is_ready() {
            self.is_open.store(true, Ordering::Release);
        }
        // It may have been opened before there was a waker.
        if self.is_open() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
