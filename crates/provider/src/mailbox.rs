//! What one consumer of a watch has still to read.
//!
//! Not needed to use the contract; here for whoever writes an engine that reads its state from
//! elsewhere. One reader of the engine tells any number of mailboxes and waits for none of them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use crate::Error;

/// The bounded buffer between the engine's reader and one watch. Nothing ever waits for the
/// consumer: when the buffer is full it is emptied, and the consumer gets a fresh snapshot as soon
/// as it reads again.
#[derive(Debug)]
pub struct Mailbox<T> {
    capacity: usize,
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<Result<T, Error>>,
    standing: Standing,
    has_ended: bool,
    waker: Option<Waker>,
}

/// What the consumer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// All that was told so far: hints make sense to it.
    InStep,
    /// It needs a snapshot, and one has been asked for.
    Awaiting,
    /// It needs a snapshot, which is asked for when it has read what there is.
    Behind,
}

/// What a consumer finds.
#[derive(Debug)]
pub enum Mail<T> {
    /// The next item.
    Item(Result<T, Error>),
    /// Nothing comes any more.
    End,
    /// Nothing, and it needs a snapshot that nobody has asked for yet.
    AskForSnapshot,
}

impl<T> Mailbox<T> {
    /// An empty one for at most so many items, for a consumer that awaits its first snapshot.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                standing: Standing::Awaiting,
                has_ended: false,
                waker: None,
            }),
        }
    }

    /// Tells a hint, if the consumer knows what it is about.
    pub fn hint(&self, item: T) {
        let mut inner = self.inner();
        if inner.standing == Standing::InStep {
            self.put(&mut inner, Ok(item));
        }
    }

    /// Tells a snapshot: to a consumer that awaits one, and with `to_all` to one in step as well.
    pub fn snapshot(&self, item: T, to_all: bool) {
        let mut inner = self.inner();
        let is_wanted = match inner.standing {
            Standing::InStep => to_all,
            Standing::Awaiting => true,
            // It would be old by the time it is read.
            Standing::Behind => false,
        };
        if is_wanted {
            inner.standing = Standing::InStep;
            self.put(&mut inner, Ok(item));
        }
    }

    /// Tells an error. Whatever comes after it begins with a snapshot.
    pub fn fail(&self, error: Error) {
        let mut inner = self.inner();
        self.put(&mut inner, Err(error));
        if inner.standing == Standing::InStep {
            inner.standing = Standing::Awaiting;
        }
    }

    /// Nothing comes any more; what is there can still be read.
    pub fn end(&self) {
        let mut inner = self.inner();
        inner.has_ended = true;
        inner.wake();
    }

    /// What there is to read. Wakes `waker` when there is something again.
    pub fn poll(&self, waker: &Waker) -> Poll<Mail<T>> {
        let mut inner = self.inner();
        if let Some(item) = inner.items.pop_front() {
            return Poll::Ready(Mail::Item(item));
        }
        if inner.has_ended {
            return Poll::Ready(Mail::End);
        }
        if inner.standing == Standing::Behind {
            inner.standing = Standing::Awaiting;
            return Poll::Ready(Mail::AskForSnapshot);
        }
        // Mostly it is quiet for long now: what the last news needed is given back.
        inner.items.shrink_to_fit();
        inner.waker = Some(waker.clone());
        Poll::Pending
    }

    fn put(&self, inner: &mut Inner<T>, item: Result<T, Error>) {
        if inner.items.len() >= self.capacity {
            inner.items.clear();
            inner.standing = Standing::Behind;
        } else {
            inner.items.push_back(item);
        }
        inner.wake();
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mailbox: &Mailbox<u32>) -> Vec<u32> {
        let mut read = Vec::new();
        while let Poll::Ready(Mail::Item(Ok(item))) = mailbox.poll(Waker::noop()) {
            read.push(item);
        }
        read
    }

    #[test]
    fn hints_before_the_first_snapshot_are_not_told() {
        let mailbox = Mailbox::new(4);
        mailbox.hint(1);
        mailbox.snapshot(2, false);
        mailbox.hint(3);
        assert_eq!(read(&mailbox), [2, 3]);
    }

    #[test]
    fn a_consumer_that_lags_is_emptied_and_asks_for_a_snapshot_when_it_reads_again() {
        let mailbox = Mailbox::new(2);
        mailbox.snapshot(0, false);
        mailbox.hint(1);
        mailbox.hint(2);
        mailbox.snapshot(3, true);
        assert!(matches!(mailbox.poll(Waker::noop()), Poll::Ready(Mail::AskForSnapshot)));
        mailbox.snapshot(4, false);
        mailbox.hint(5);
        assert_eq!(read(&mailbox), [4, 5]);
    }

    #[test]
    fn a_snapshot_for_others_is_not_told_to_one_in_step() {
        let mailbox = Mailbox::new(2);
        mailbox.snapshot(1, false);
        mailbox.snapshot(2, false);
        mailbox.snapshot(3, true);
        assert_eq!(read(&mailbox), [1, 3]);
    }

    #[test]
    fn what_was_told_can_be_read_after_the_end() {
        let mailbox = Mailbox::new(2);
        mailbox.snapshot(1, false);
        mailbox.end();
        assert_eq!(read(&mailbox), [1]);
        assert!(matches!(mailbox.poll(Waker::noop()), Poll::Ready(Mail::End)));
    }
}
