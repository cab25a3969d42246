//! Reading files while others wait for that. A file may be on a disk that does not answer, of a network say:
//! whoever reads it stays for as long as that lasts, and nobody can end that.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, spawn_blocking},
    time::{Instant, timeout},
};

/// How long a look may take, and how long one waits for those before it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The looks at some files: one at a time, so that a disk that hangs takes one thread.
#[derive(Debug)]
pub(crate) struct Looks {
    turn: Arc<Semaphore>,
    /// Since when the one whose turn it is has been looking.
    since: Arc<Mutex<Option<Instant>>>,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSeen {
    /// The disk hangs. That many wait for it says nothing.
    #[error("its disk has not answered within {PATIENCE:?}")]
    Stuck,
    #[error("too many others look at it")]
    Crowded,
    /// The look panicked, or the runtime ends.
    #[error(transparent)]
    Ended(#[from] JoinError),
}

/// The turn to look. It is over when the thread is free again, however long ago that was given up.
struct Turn {
    since: Arc<Mutex<Option<Instant>>>,
    _permit: OwnedSemaphorePermit,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), since: Arc::default() }
    }

    /// Looks, from a thread that may block. While the disk hangs it says so at once. Dropping the future does
    /// not end a look that has begun.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotSeen> {
        if self.is_stuck() {
            return Err(NotSeen::Stuck);
        }
        let Some(turn) = self.turn().await else { return Err(self.late()) };
        let looking = spawn_blocking(move || {
            let _turn = turn;
            look()
        });
        match timeout(PATIENCE, looking).await {
            Ok(seen) => Ok(seen?),
            Err(_) => Err(self.late()),
        }
    }

    /// `None`: that takes too long.
    async fn turn(&self) -> Option<Turn> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turn).acquire_owned());
        // The semaphore is never closed.
        let permit = turn.await.ok()?.ok()?;
        *held(&self.since) = Some(Instant::now());
        Some(Turn { since: Arc::clone(&self.since), _permit: permit })
    }

    fn late(&self) -> NotSeen {
        if self.is_stuck() { NotSeen::Stuck } else { NotSeen::Crowded }
    }

    fn is_stuck(&self) -> bool {
        held(&self.since).is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// Whether somebody is looking.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// What keeps everybody else from looking.
    #[cfg(test)]
    pub(crate) async fn taken(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.turn).acquire_owned().await.unwrap()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *held(&self.since) = None;
    }
}

fn held(since: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    since.lock().unwrap_or_else(PoisonError::into_inner)
}
