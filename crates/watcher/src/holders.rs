//! Who holds leases of a workload, by name.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Holder, lease::HolderSlot};

/// Everybody who holds leases, or ever did under a name of their own.
#[derive(Default)]
pub(crate) struct Holders(Mutex<Vec<Holder>>);

impl Holders {
    pub(crate) fn get(&self, name: &str) -> Holder {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = holders.iter().find(|holder| holder.name() == name) {
            return known.clone();
        }
        let new = Holder(Arc::new(HolderSlot::new(name)));
        holders.push(new.clone());
        new
    }

    pub(crate) fn holds_since(&self, name: &str) -> Option<u64> {
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.iter().find(|holder| holder.name() == name)?.holds_since()
    }

    /// Those of which there is more than nothing, by this count.
    pub(crate) fn by(&self, count: impl Fn(&Holder) -> u32) -> Vec<(String, u32)> {
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders
            .iter()
            .map(|holder| (holder.name().to_owned(), count(holder)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
