//! Sockets that were handed over and that no route has: who connects there waits in silence.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use drowse_provider::Transport;
use tracing::warn;

use super::{
    At,
    wanted::{Wanted, name_of},
};
use crate::handed::HandedSockets;

/// Tells of each once, and again when a route that had it is gone.
#[derive(Debug)]
pub(super) struct Unclaimed {
    handed: Arc<HandedSockets>,
    told: Mutex<BTreeSet<At>>,
}

impl Unclaimed {
    pub(super) fn new(handed: Arc<HandedSockets>) -> Self {
        Self { handed, told: Mutex::default() }
    }

    /// To be called with all that is wanted.
    pub(super) fn tell(&self, wanted: &Wanted) {
        // A route at another address of the port cannot have it, and says so.
        let is_claimed = |(transport, bound): &At| {
            wanted.0.keys().any(|(its, at)| its == transport && at.port() == bound.port())
        };
        let unclaimed = self.handed.bound().filter(|at| !is_claimed(at)).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for at in BTreeSet::difference(&unclaimed, &told) {
            warn!(port = name_of(at), name = self.handed.name_at(*at), "{}", words(at));
        }
        *told = unclaimed;
    }
}

fn words((transport, address): &At) -> String {
    match transport {
        Transport::Udp => format!(
            "no route has this socket of the service manager: what is sent there waits in vain; give a \
             route `udp: \"{address}\"`, or take it out of the socket unit"
        ),
        _ => format!(
            "no route has this socket of the service manager: who connects there waits in vain; give a \
             route `tcp: \"{address}\"`, listen there for HTTP (`listen`), or take it out of the socket unit"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_to_add() {
        let at = |transport| (transport, "127.0.0.1:5432".parse().unwrap());
        insta::assert_snapshot!([words(&at(Transport::Tcp)), words(&at(Transport::Udp))].join("\n"), @r#"
        no route has this socket of the service manager: who connects there waits in vain; give a route `tcp: "127.0.0.1:5432"`, listen there for HTTP (`listen`), or take it out of the socket unit
        no route has this socket of the service manager: what is sent there waits in vain; give a route `udp: "127.0.0.1:5432"`, or take it out of the socket unit
        "#);
    }
}
