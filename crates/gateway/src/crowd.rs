//! How many requests and TCP connections may wait, for workloads to wake or for a connection to one, and how
//! much their clients may send meanwhile. Nobody takes all of that: one source has a quarter at most.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use drowse_watcher::Workload;

use crate::{GatewayOptions, sources::source_of};

/// What waits. Touched only by what finds its workload not ready, or no connection at hand.
#[derive(Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<Numbers>>);

#[derive(Default)]
struct Numbers {
    all: Number,
    by_workload: HashMap<String, usize>,
    by_source: HashMap<IpAddr, Number>,
}

#[derive(Clone, Copy, Default)]
struct Number {
    waiting: usize,
    /// What their clients may have sent that nobody has read.
    unread: usize,
}

/// Who wants to wait.
pub(crate) struct Who<'a> {
    pub(crate) workload: &'a Workload,
    /// The address that it comes from; `None`: those are not counted.
    pub(crate) source: Option<IpAddr>,
    /// How many bytes its client may send before anybody reads of them.
    pub(crate) unread: usize,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMany {
    #[error("{0} wait already, which is the most")]
    InAll(usize),
    #[error("{0} wait for the workload already, which is the most")]
    OfWorkload(usize),
    #[error("{0} of one source wait already, which is the most")]
    OfSource(usize),
    #[error("the bodies of those that wait may have {0} bytes already, which is the most")]
    Unread(usize),
    #[error("the bodies of those of one source may have {0} bytes already, which is the most")]
    UnreadOfSource(usize),
}

/// A place among those who wait, until it is dropped.
pub(crate) struct Waiting {
    crowd: Crowd,
    workload: Workload,
    source: Option<IpAddr>,
    unread: usize,
}

/// Where a request has its place while it waits: it keeps that from its wake until it has a connection, so
/// that nobody who came later has it meanwhile.
#[derive(Default)]
pub(crate) struct Seat(Mutex<Option<Waiting>>);

impl TooMany {
    /// Whether others may still wait.
    pub(crate) fn is_of_source(self) -> bool {
        matches!(self, Self::OfSource(_) | Self::UnreadOfSource(_))
    }
}

impl Crowd {
    /// One more that waits, if there is room.
    pub(crate) fn join(&self, who: &Who<'_>, options: &GatewayOptions) -> Result<Waiting, TooMany> {
        let &Who { workload, source, unread } = who;
        let source = source.map(source_of);
        let name = workload.name();
        let mut numbers = self.numbers();
        let all = numbers.all.and_one(unread);
        if unread > 0 && all.unread > options.max_unread_bytes {
            return Err(TooMany::Unread(options.max_unread_bytes));
        }
        if all.waiting > options.max_waiting {
            return Err(TooMany::InAll(options.max_waiting));
        }
        let of_workload = numbers.by_workload.get(name).copied().unwrap_or_default();
        if of_workload >= options.max_waiting_per_workload {
            return Err(TooMany::OfWorkload(options.max_waiting_per_workload));
        }
        if let Some(source) = source {
            let before = numbers.by_source.get(&source).copied().unwrap_or_default();
            let of_source = before.and_one(unread);
            let [most, most_unread] = [options.max_waiting, options.max_unread_bytes].map(share);
            if of_source.waiting > most {
                return Err(TooMany::OfSource(most));
            }
            // The first may be larger than that.
            if unread > 0 && before.unread > 0 && of_source.unread > most_unread {
                return Err(TooMany::UnreadOfSource(most_unread));
            }
            numbers.by_source.insert(source, of_source);
        }
        match numbers.by_workload.get_mut(name) {
            Some(number) => *number += 1,
            None => _ = numbers.by_workload.insert(name.to_owned(), 1),
        }
        numbers.all = all;
        Ok(Waiting { crowd: self.clone(), workload: workload.clone(), source, unread })
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one source may have of so many.
fn share(most: usize) -> usize {
    (most / 4).max(1)
}

impl Number {
    fn and_one(self, unread: usize) -> Self {
        Self { waiting: self.waiting.saturating_add(1), unread: self.unread.saturating_add(unread) }
    }

    fn less_one(self, unread: usize) -> Self {
        Self { waiting: self.waiting - 1, unread: self.unread - unread }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut numbers = self.crowd.numbers();
        numbers.all = numbers.all.less_one(self.unread);
        if let Some(number) = numbers.by_workload.get_mut(self.workload.name()) {
            *number -= 1;
            if *number == 0 {
                numbers.by_workload.remove(self.workload.name());
            }
        }
        let Some(source) = self.source else { return };
        if let Some(number) = numbers.by_source.get_mut(&source) {
            *number = number.less_one(self.unread);
            if number.waiting == 0 {
                numbers.by_source.remove(&source);
            }
        }
    }
}

impl Seat {
    /// Takes one, if it has none.
    pub(crate) fn take(
        &self,
        join: impl FnOnce() -> Result<Waiting, TooMany>,
    ) -> Result<(), TooMany> {
        let mut place = self.place();
        if place.is_none() {
            *place = Some(join()?);
        }
        Ok(())
    }

    /// It waits no longer.
    pub(crate) fn leave(&self) {
        self.place().take();
    }

    fn place(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
