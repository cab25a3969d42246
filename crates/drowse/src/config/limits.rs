//! What bounds clients: the few limits that somebody may have to turn.

use std::time::Duration;

use drowse_gateway::GatewayOptions;

/// The key `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long a client may keep an application waiting for the rest of a request.
    pub(crate) body_timeout: Duration,
    /// How long a client may take nothing of what it is sent.
    pub(crate) client_timeout: Duration,
    /// How many requests and connections wait for wakes, in all and for one workload.
    pub(crate) waiting: usize,
    pub(crate) waiting_per_workload: usize,
    /// How many connections one address may have open.
    pub(crate) connections_per_source: usize,
}

impl Limits {
    /// Sets them.
    pub(crate) fn apply(&self, options: &mut GatewayOptions) {
        options.body_timeout = self.body_timeout;
        options.user_timeout = self.client_timeout;
        options.max_waiting = self.waiting;
        options.max_waiting_per_workload = self.waiting_per_workload;
        options.max_connections_per_source = self.connections_per_source;
    }
}

impl Default for Limits {
    /// The gateway's own.
    fn default() -> Self {
        let options = GatewayOptions::new();
        Self {
            body_timeout: options.body_timeout,
            client_timeout: options.user_timeout,
            waiting: options.max_waiting,
            waiting_per_workload: options.max_waiting_per_workload,
            connections_per_source: options.max_connections_per_source,
        }
    }
}
