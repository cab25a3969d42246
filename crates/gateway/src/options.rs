//! What bounds the gateway.

use std::time::Duration;

use crate::TrustedProxies;

/// The gateway's limits. The defaults suit one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// How long a request's head may take to arrive; also how long an idle connection is kept.
    /// One minute.
    pub header_read_timeout: Duration,
    /// The largest head of a request, in bytes; larger ones get 431. At least 8 KiB; 64 KiB.
    /// Beside it hyper's own bound of 100 header fields holds.
    pub max_header_bytes: usize,
    /// How many connections are open at once; further ones wait to be accepted. 16,384.
    pub max_connections: usize,
    /// How long, after a shutdown began, what is in flight may take to end. 30 s.
    pub grace: Duration,
    /// How long a browser's navigation is held before it gets the waiting page, in case the
    /// workload wakes faster than a page is read. 300 ms.
    pub page_grace: Duration,
    /// Who is believed about on whose behalf it asks: the reverse proxies in front. Nobody. Of
    /// everybody else, forwarding headers are replaced by what is seen of the connection.
    pub trusted_proxies: TrustedProxies,
}

impl GatewayOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            header_read_timeout: Duration::from_mins(1),
            max_header_bytes: 64 * 1024,
            max_connections: 16 * 1024,
            grace: Duration::from_secs(30),
            page_grace: Duration::from_millis(300),
            trusted_proxies: TrustedProxies::none(),
        }
    }
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self::new()
    }
}
