//! What this machine lacks: no upstream is to blame for it, and no run in doubt.

use std::{error::Error as StdError, io, time::Duration};

use rustix::io::Errno;

use crate::problem::{Problem, Reason};

/// When it is worth trying again: what others use becomes free, and resolvers come back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why this machine could not even try to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// It has no descriptor, port or memory left, or forbids it itself.
    Means,
    /// It finds no address for a name.
    Name,
}

/// A name was not resolved.
#[derive(Debug, thiserror::Error)]
#[error("the address of `{name}` cannot be found")]
pub(crate) struct Unresolved {
    pub(crate) name: String,
    #[source]
    pub(crate) source: Option<io::Error>,
}

impl From<Unresolved> for io::Error {
    fn from(unresolved: Unresolved) -> Self {
        Self::new(io::ErrorKind::NotFound, unresolved)
    }
}

impl Shortage {
    /// What of ours was lacking when a connection failed with this; `None` if it is the upstream's.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        if let Some(inner) = error.get_ref()
            && inner.is::<Unresolved>()
        {
            return Some(Self::Name);
        }
        match Errno::from_io_error(error)? {
            Errno::MFILE
            | Errno::NFILE
            | Errno::ADDRNOTAVAIL
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::AGAIN
            | Errno::PERM => Some(Self::Means),
            _ => None,
        }
    }

    /// What the log says of it.
    pub(crate) fn tell(self, workload: &str, error: &io::Error) {
        let error = error as &dyn StdError;
        match self {
            Self::Means => tracing::warn!(
                workload,
                error,
                "cannot connect to applications: this machine lacks descriptors, ports or memory, or \
                 forbids it; raise the limit of descriptors, or see what uses them"
            ),
            Self::Name => tracing::warn!(
                workload,
                error,
                "cannot connect to an application: its name is not resolved; see to the resolver, or \
                 to the route's `address`"
            ),
        }
    }

    /// What a client is told.
    pub(crate) fn problem(self, workload: &str) -> Problem {
        let (reason, detail) = match self {
            Self::Means => (
                Reason::OutOfMeans,
                format!(
                    "{workload}: drowse has no means left to connect to it; its log says more."
                ),
            ),
            Self::Name => (
                Reason::Unresolved,
                format!("{workload}: its address cannot be found; drowse's log says more."),
            ),
        };
        Problem::new(reason, detail).retry_after(RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_here_is_no_fault_of_an_upstream() {
        let of = |errno: Errno| Shortage::of(&io::Error::from(errno));
        for ours in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::ADDRNOTAVAIL,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PERM,
        ] {
            assert_eq!(of(ours), Some(Shortage::Means), "{ours}");
        }
        for theirs in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::CONNRESET] {
            assert_eq!(of(theirs), None, "{theirs}");
        }
        assert_eq!(Shortage::of(&io::ErrorKind::TimedOut.into()), None);
        let unresolved = Unresolved { name: "nas".to_owned(), source: None };
        assert_eq!(Shortage::of(&unresolved.into()), Some(Shortage::Name));
    }

    #[test]
    fn what_clients_are_told() {
        let told = [Shortage::Means, Shortage::Name].map(|it| it.problem("wiki").detail);
        insta::assert_snapshot!(told.join("\n"), @r"
        wiki: drowse has no means left to connect to it; its log says more.
        wiki: its address cannot be found; drowse's log says more.
        ");
    }
}
