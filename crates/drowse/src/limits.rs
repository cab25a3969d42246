//! What the system lets one process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Takes as many descriptors as the system allows: each request that is held is one, and each
/// container that answers it another. The usual soft limit of 1,024 is meant for programs that use
/// `select`, which we do not.
pub(crate) fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => debug!(before = ?current, now = ?maximum, "raised the limit of descriptors"),
        Err(error) => warn!(
            limit = ?current,
            error = &error as &(dyn std::error::Error + 'static),
            "the limit of descriptors stays low: at most about half as many requests can be held"
        ),
    }
}
