//! Who holds leases of a workload, by name.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Holder, lease::HolderSlot};

/// Everybody who holds leases, or may come to.
#[derive(Default)]
pub(crate) struct Holders(Mutex<Vec<Holder>>);

impl Holders {
    pub(crate) fn get(&self, name: &str) -> Holder {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = holders.iter().find(|holder| holder.name() == name) {
            return known.clone();
        }
        // Nobody else has them: they hold nothing, and never will.
        holders.retain(|holder| Arc::strong_count(&holder.0) > 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_gone_is_forgotten_when_another_comes() {
        let holders = Holders::default();
        let kept = holders.get("route wiki");
        for number in 0..100 {
            drop(holders.get(&format!("dependent {number}")));
        }
        assert_eq!(holders.0.lock().unwrap().len(), 2);
        assert!(Arc::ptr_eq(&kept.0, &holders.get("route wiki").0));
    }
}
