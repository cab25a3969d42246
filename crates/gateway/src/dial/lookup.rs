//! Where an upstream is: a name is looked up once for all who connect to a run, and again when nobody is
//! found there.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{not_resolved_within, resolve};
use crate::upstream::Target;

/// How old what was found has to be until it is looked up again, however many connect in vain.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// What was found for one target. Locked while it is looked up: the others wait for that.
#[derive(Default)]
pub(crate) struct Lookup(Mutex<Option<Found>>);

struct Found {
    addresses: Arc<[SocketAddr]>,
    at: Instant,
}

impl Lookup {
    /// The addresses of `target`, within `bound`: also for whoever waits behind others.
    pub(crate) async fn addresses(
        &self,
        target: &Target,
        bound: Duration,
    ) -> io::Result<Arc<[SocketAddr]>> {
        let looking = timeout(bound, self.look(target));
        looking.await.unwrap_or_else(|_| Err(not_resolved_within(bound, target)))
    }

    async fn look(&self, target: &Target) -> io::Result<Arc<[SocketAddr]>> {
        let mut found = self.0.lock().await;
        if let Some(Found { addresses, .. }) = &*found {
            return Ok(Arc::clone(addresses));
        }
        let addresses: Arc<[SocketAddr]> = resolve(target).await?.into();
        *found = Some(Found { addresses: Arc::clone(&addresses), at: Instant::now() });
        Ok(addresses)
    }

    /// Nobody could be connected to there: it may be elsewhere by now.
    pub(crate) fn was_in_vain(&self) {
        // While it is looked up there is nothing to forget.
        let Ok(mut found) = self.0.try_lock() else { return };
        found.take_if(|found| found.at.elapsed() >= LONG_ENOUGH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_found_is_kept_until_it_was_in_vain_for_a_while() {
        let lookup = Lookup::default();
        let at = |port| Target::Socket(SocketAddr::from(([127, 0, 0, 1], port)));
        let port = async |asked| lookup.addresses(&at(asked), LONG_ENOUGH).await.unwrap()[0].port();
        assert_eq!(port(1).await, 1);
        lookup.was_in_vain();
        assert_eq!(port(2).await, 1, "it was looked up a moment ago");
        tokio::time::advance(LONG_ENOUGH).await;
        assert_eq!(port(2).await, 1);
        lookup.was_in_vain();
        assert_eq!(port(2).await, 2);
    }
}
