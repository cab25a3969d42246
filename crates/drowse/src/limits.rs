//! What the system lets one process have.

use drowse_gateway::GatewayOptions;
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

/// What engines, the control socket, the store, certificates and listeners need.
const RESERVE: usize = 128;

/// So few connections are felt: a browser takes six for each host.
const FEW: usize = 1000;

/// Keeps what clients can take within the limit of descriptors, so that there are always some for what
/// answers them: a connection may need two, a session of UDP one.
pub(crate) fn fit(options: &mut GatewayOptions) {
    fit_within(options, getrlimit(Resource::Nofile).current);
}

fn fit_within(options: &mut GatewayOptions, limit: Option<u64>) {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let free = limit.saturating_sub(RESERVE).max(8);
    options.max_udp_sessions = options.max_udp_sessions.min(free / 16);
    let most = options.max_connections.min(free / 32 * 15).max(3);
    if most == options.max_connections {
        return;
    }
    options.max_connections = most;
    // Nobody may have all of what is not much.
    let of_source = options.max_connections_per_source.min(most / 4);
    options.max_connections_per_source = of_source.max(1);
    if most < FEW {
        warn!(
            limit,
            most,
            "the limit of descriptors leaves few connections: raise it (LimitNOFILE, ulimit -n)"
        );
    } else {
        debug!(
            limit,
            most, "the limit of descriptors bounds how many connections are open at once"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_take_all_descriptors() {
        for limit in [64, 1024, 4096, 65_536, 1 << 20] {
            let mut options = GatewayOptions::new();
            fit_within(&mut options, Some(limit));
            let taken = 2 * options.max_connections + options.max_udp_sessions;
            let limit = usize::try_from(limit).unwrap();
            assert!(limit < 1024 || taken + RESERVE <= limit, "{limit}: {options:?}");
            assert!(options.max_connections >= 3 && options.max_connections_per_source >= 1);
        }
        let mut options = GatewayOptions::new();
        fit_within(&mut options, None);
        assert_eq!(options, GatewayOptions::new());
    }
}
