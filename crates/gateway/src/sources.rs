//! How many connections come from one place: nobody takes all that there are.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The open connections by where they come from. Locked when one is opened or closed.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// An open connection, until it is dropped.
pub(crate) struct OfSource {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// Counts one more connection from this address; `None` if there are as many as there may be.
    pub(crate) fn enter(&self, address: IpAddr, most: usize) -> Option<OfSource> {
        let source = source_of(address);
        let mut open = self.open();
        if open.get(&source).copied().unwrap_or_default() >= most {
            return None;
        }
        *open.entry(source).or_default() += 1;
        Some(OfSource { sources: self.clone(), source })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfSource {
    fn drop(&mut self) {
        let mut open = self.sources.open();
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

/// Whoever has an address of IPv6 has a whole network of them: the first 64 bits tell who it is.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_share_of_its_own() {
        let sources = Sources::default();
        let enter = |address: &str| sources.enter(address.parse().unwrap(), 2);
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        drop(first);
        assert!(enter("192.0.2.1").is_some());

        let _one = enter("2001:db8::1").unwrap();
        let _next = enter("2001:db8::2").unwrap();
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
    }

    #[test]
    fn nothing_is_kept_of_what_is_closed() {
        let sources = Sources::default();
        drop(sources.enter("192.0.2.1".parse().unwrap(), 1));
        // One that is refused leaves nothing either, wherever it came from.
        assert!(sources.enter("192.0.2.2".parse().unwrap(), 0).is_none());
        assert_eq!(sources.open().len(), 0);
    }
}
