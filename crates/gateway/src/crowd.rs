//! How many requests and TCP connections may wait for workloads to wake, and how much their clients may send
//! meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::GatewayOptions;

/// What waits, by workload. Touched only by what finds its workload not ready.
#[derive(Default)]
pub(crate) struct Crowd(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    all: usize,
    /// What their clients may have sent that nobody has read.
    unread: usize,
    by_workload: HashMap<String, usize>,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMany {
    #[error("{0} wait for workloads already, which is the most")]
    InAll(usize),
    #[error("{0} wait for the workload already, which is the most")]
    OfWorkload(usize),
    #[error("the bodies of those that wait may have {0} bytes already, which is the most")]
    Unread(usize),
}

/// A request that waits, until it is dropped.
pub(crate) struct Waiting<'a> {
    crowd: &'a Crowd,
    workload: &'a str,
    unread: usize,
}

impl Crowd {
    /// One more that waits for this workload, if there is room.
    pub(crate) fn join<'a>(
        &'a self,
        workload: &'a str,
        options: &GatewayOptions,
    ) -> Result<Waiting<'a>, TooMany> {
        self.join_with(0, workload, options)
    }

    /// Likewise one whose client may send so many bytes before anybody reads of them.
    pub(crate) fn join_with<'a>(
        &'a self,
        unread: usize,
        workload: &'a str,
        options: &GatewayOptions,
    ) -> Result<Waiting<'a>, TooMany> {
        let mut numbers = self.numbers();
        let all_unread = numbers.unread.saturating_add(unread);
        if unread > 0 && all_unread > options.max_unread_bytes {
            return Err(TooMany::Unread(options.max_unread_bytes));
        }
        if numbers.all >= options.max_waiting {
            return Err(TooMany::InAll(options.max_waiting));
        }
        match numbers.by_workload.get_mut(workload) {
            Some(number) if *number >= options.max_waiting_per_workload => {
                return Err(TooMany::OfWorkload(options.max_waiting_per_workload));
            }
            Some(number) => *number += 1,
            None => _ = numbers.by_workload.insert(workload.to_owned(), 1),
        }
        numbers.all += 1;
        numbers.unread = all_unread;
        Ok(Waiting { crowd: self, workload, unread })
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut numbers = self.crowd.numbers();
        numbers.all -= 1;
        numbers.unread -= self.unread;
        if let Some(number) = numbers.by_workload.get_mut(self.workload) {
            *number -= 1;
            if *number == 0 {
                numbers.by_workload.remove(self.workload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_makes_room_and_is_forgotten() {
        let mut options = GatewayOptions::new();
        (options.max_waiting, options.max_waiting_per_workload) = (3, 2);
        let crowd = Crowd::default();
        let join = |workload| crowd.join(workload, &options);
        let first = join("a").ok().unwrap();
        let second = join("a").ok().unwrap();
        assert_eq!(join("a").err(), Some(TooMany::OfWorkload(2)));
        let third = join("b").ok().unwrap();
        assert_eq!(join("b").err(), Some(TooMany::InAll(3)));
        drop(first);
        let fourth = join("a").ok().unwrap();
        drop((second, third, fourth));
        assert_eq!(crowd.numbers().all, 0);
        assert!(crowd.numbers().by_workload.is_empty());
    }
    #[test]
    fn what_waits_has_unread_bodies_up_to_a_bound() {
        let mut options = GatewayOptions::new();
        options.max_unread_bytes = 100;
        let crowd = Crowd::default();
        let join = |unread| crowd.join_with(unread, "a", &options);
        let first = join(60).ok().unwrap();
        assert_eq!(join(41).err(), Some(TooMany::Unread(100)));
        let second = join(40).ok().unwrap();
        assert_eq!(join(1).err(), Some(TooMany::Unread(100)));
        // Who sends none is in nobody's way.
        let third = join(0).ok().unwrap();
        drop(first);
        let fourth = join(60).ok().unwrap();
        drop((second, third, fourth));
        assert_eq!(crowd.numbers().unread, 0);
    }
}
