//! The way of commands from the handles of a workload to its task.
//!
//! Not tokio's channel: that takes more than a kilobyte before anything is sent, and there is one for
//! each of many workloads, most of which sleep. This one allocates its room with the first command.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, Semaphore},
    task::coop::consume_budget,
};

use super::Command;

/// A queue for so many commands at most.
pub(crate) fn queue(places: usize) -> (Sender, Receiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        places: Semaphore::new(places),
        news: Notify::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The handles' end. When it is dropped, the task finds what is left, and then that nobody is there.
#[derive(Debug)]
pub(crate) struct Sender(Arc<Shared>);

/// The task's end. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Shared>);

/// The task takes no commands any more.
#[derive(Debug)]
pub(crate) struct Closed;

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// When there is none, whoever sends waits for one, in the order of coming.
    places: Semaphore,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<Command>,
    /// One of the ends is gone, or has closed it: nothing is put into it any more.
    is_closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().is_closed = true;
        self.places.close();
        self.news.notify_one();
    }

    fn take(&self) -> Option<Command> {
        let command = self.queue().commands.pop_front()?;
        self.places.add_permits(1);
        Some(command)
    }
}

impl Sender {
    /// Sends a command, waiting for a place. Cancel safe: dropped before it is through, it has sent
    /// nothing.
    pub(crate) async fn send(&self, command: Command) -> Result<(), Closed> {
        let place = self.0.places.acquire().await.map_err(|_| Closed)?;
        let mut queue = self.0.queue();
        // It may have been closed since there was a place.
        if queue.is_closed {
            return Err(Closed);
        }
        queue.commands.push_back(command);
        drop(queue);
        place.forget();
        self.0.news.notify_one();
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Receiver {
    /// The next command, in the order in which they were sent; `None` when there are none and none will
    /// come. Cancel safe.
    pub(super) async fn next(&self) -> Option<Command> {
        // However many come, others have their turn.
        consume_budget().await;
        loop {
            if let Some(command) = self.try_next() {
                return Some(command);
            }
            if self.0.queue().is_closed {
                // What was sent before that, and after the look.
                return self.try_next();
            }
            // One that comes before this is awaited is kept: nobody else awaits it.
            self.0.news.notified().await;
        }
    }

    /// The next one that is there already.
    pub(super) fn try_next(&self) -> Option<Command> {
        self.0.take()
    }

    /// Whether nothing is there now.
    pub(super) fn is_empty(&self) -> bool {
        self.0.queue().commands.is_empty()
    }

    /// Takes no more commands than are there already.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

impl Drop for Receiver {
    /// Whoever waits for an answer to what is left learns that there will be none.
    fn drop(&mut self) {
        self.close();
        while self.try_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::runtime::{Set, Setting};

    fn command() -> (Command, oneshot::Receiver<()>) {
        let (is_so, told) = oneshot::channel();
        (Command::Set(Box::new(Set { what: Setting::FailuresForgotten, is_so })), told)
    }

    async fn is_pending<T>(future: impl Future<Output = T>) -> bool {
        timeout(Duration::from_secs(1), future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one() {
        let (sender, receiver) = queue(2);
        for _ in 0..2 {
            sender.send(command().0).await.unwrap();
        }
        assert!(is_pending(sender.send(command().0)).await);
        assert!(receiver.next().await.is_some());
        sender.send(command().0).await.unwrap();
        assert!(receiver.next().await.is_some() && receiver.next().await.is_some());
        assert!(receiver.is_empty());
        assert!(is_pending(receiver.next()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_wakes_the_task_that_waits() {
        let (sender, receiver) = queue(1);
        let (next, sent) = tokio::join!(receiver.next(), sender.send(command().0));
        assert!(next.is_some() && sent.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn without_handles_what_is_left_is_taken_and_then_it_ends() {
        let (sender, receiver) = queue(2);
        sender.send(command().0).await.unwrap();
        drop(sender);
        assert!(receiver.next().await.is_some());
        assert!(receiver.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_refuses_those_who_wait_for_a_place() {
        let (sender, receiver) = queue(1);
        sender.send(command().0).await.unwrap();
        let (sent, ()) = tokio::join!(sender.send(command().0), async { receiver.close() });
        assert!(sent.is_err());
        assert!(sender.send(command().0).await.is_err());
        assert!(receiver.next().await.is_some());
        assert!(receiver.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_task_nobody_is_left_waiting() {
        let (sender, receiver) = queue(1);
        let (command, told) = command();
        sender.send(command).await.unwrap();
        drop(receiver);
        assert!(told.await.is_err());
    }
}
