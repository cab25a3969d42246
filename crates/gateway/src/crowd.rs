//! How many requests and TCP connections may wait for workloads to wake.

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
    by_workload: HashMap<String, usize>,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMany {
    #[error("{0} wait for workloads already, which is the most")]
    InAll(usize),
    #[error("{0} wait for the workload already, which is the most")]
    OfWorkload(usize),
}

/// A request that waits, until it is dropped.
pub(crate) struct Waiting<'a> {
    crowd: &'a Crowd,
    workload: &'a str,
}

impl Crowd {
    /// One more that waits for this workload, if there is room.
    pub(crate) fn join<'a>(
        &'a self,
        workload: &'a str,
        options: &GatewayOptions,
    ) -> Result<Waiting<'a>, TooMany> {
        let mut numbers = self.numbers();
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
        Ok(Waiting { crowd: self, workload })
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut numbers = self.crowd.numbers();
        numbers.all -= 1;
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
}
