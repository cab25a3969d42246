//! What bounds the gateway.

use std::time::Duration;

use crate::{PageOptions, TrustedProxies};

/// The gateway's limits. The defaults suit one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// How long a request's head may take to arrive; also how long an idle connection is kept.
    /// One minute.
    pub header_read_timeout: Duration,
    /// How long a client may keep an upstream waiting for the next piece of a request's body; then it gets
    /// 408, or its connection is cut if its answer has begun. Time in which the upstream takes nothing is
    /// not counted, nor is any of a gRPC call over HTTP/2: in a conversation both may be silent. One minute.
    pub body_timeout: Duration,
    /// The largest head of a request, in bytes; larger ones get 431. At least 8 KiB; 64 KiB.
    /// Beside it hyper's own bound of 100 header fields holds.
    pub max_header_bytes: usize,
    /// How many connections are open at once; further ones wait. Raw TCP has half of them at most.
    /// Each takes a descriptor, and what answers it another. 16,384.
    pub max_connections: usize,
    /// How long, after a shutdown began, what is in flight may take to end. 30 s.
    pub grace: Duration,
    /// How long a browser's navigation is held before it gets the waiting page, in case the
    /// workload wakes faster than a page is read. 300 ms.
    pub page_grace: Duration,
    /// Who is believed about on whose behalf it asks: the reverse proxies in front. Nobody. Of
    /// everybody else, forwarding headers are replaced by what is seen of the connection.
    pub trusted_proxies: TrustedProxies,
    /// How many requests and TCP connections wait at once, for workloads to wake or, of requests, for a
    /// connection to one that is awake; a quarter of them of [one source](Self::max_connections_per_source).
    /// Further connections are closed, and requests get 503 with `Retry-After`, and wake nothing. Each takes
    /// some 16 KiB. 20,000.
    pub max_waiting: usize,
    /// How many of them wait for one workload. 12,000.
    pub max_waiting_per_workload: usize,
    /// How many bytes the clients of those that wait may have sent over HTTP/2 of bodies that nobody has read
    /// yet, in all: each counts for its [window](Self::stream_window), or for its whole length if that is
    /// less; a quarter of them those of one source, beyond its first. Further ones get 503 with
    /// `Retry-After`. Over HTTP/1.1 a body waits on its client's side. 256 MiB.
    pub max_unread_bytes: usize,
    /// How many requests an HTTP/2 connection has in flight at most. 100.
    pub max_streams: u32,
    /// How many bytes of a request's body a client of HTTP/2 may send before anybody has read of it:
    /// what a sleeping workload's uploads take of memory, at most [`max_streams`](Self::max_streams)
    /// times per connection. 256 KiB.
    pub stream_window: u32,
    /// How often the client of an HTTP/2 connection is asked whether it is still there. 30 s.
    pub ping_interval: Duration,
    /// How long it may take to answer that; then the connection is closed. 20 s.
    pub ping_timeout: Duration,
    /// How long a TLS handshake may take, and a header of the PROXY protocol. How many are unfinished is
    /// bounded by the connections alone. 10 s.
    pub handshake_timeout: Duration,
    /// How many connections are open at once from one address, or one /64 of IPv6; further ones are
    /// closed at once. This machine's own and those of trusted proxies are not counted. 4,096.
    pub max_connections_per_source: usize,
    /// How long what is sent to a client may go without being taken before the client counts as gone
    /// (`TCP_USER_TIMEOUT`). One that is connected and never reads is gone, too. Over HTTP/2 a stream of
    /// which its client takes nothing for so long gives its lease back until it does, unless its route says
    /// [`quiet_after`](crate::RouteSpec::quiet_after). 2 min.
    pub user_timeout: Duration,
    /// How many UDP sessions are open at once, of all ports; half of them of one. For a further client
    /// one ends that was quiet for longest: first of those whose client said nothing more after a reply.
    /// 4,096.
    pub max_udp_sessions: usize,
    /// How many bytes of UDP packets are queued at most while workloads wake, in all sessions
    /// together. One session queues at most 32 packets and 128 KiB. 16 MiB.
    pub max_udp_queued_bytes: usize,
    /// How the waiting page looks and speaks. The built-in one, in everybody's own language.
    pub page: PageOptions,
    /// After how many bytes of one direction of a raw TCP connection the kernel hands on what follows
    /// (`splice`), without a copy in this program; `None`: never. Of that are at most 64 connections at
    /// the same moment, and fewer where few may be open at all. 4 MiB.
    pub splice_after: Option<u64>,
    /// How many UDP sessions are open at once from one address, or one /64 of IPv6. For a further one
    /// another of the same source ends. 512.
    pub max_udp_sessions_per_source: usize,
}

impl GatewayOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            header_read_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_mins(1),
            max_header_bytes: 64 * 1024,
            max_connections: 16 * 1024,
            grace: Duration::from_secs(30),
            page_grace: Duration::from_millis(300),
            trusted_proxies: TrustedProxies::none(),
            max_waiting: 20_000,
            max_waiting_per_workload: 12_000,
            max_unread_bytes: 256 * 1024 * 1024,
            max_streams: 100,
            stream_window: 256 * 1024,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
            max_connections_per_source: 4096,
            user_timeout: Duration::from_mins(2),
            max_udp_sessions: 4096,
            max_udp_queued_bytes: 16 * 1024 * 1024,
            page: PageOptions::new(),
            splice_after: Some(4 * 1024 * 1024),
            max_udp_sessions_per_source: 512,
        }
    }

    /// How many bytes a client may send on a whole HTTP/2 connection before anybody has read of them:
    /// more than on all its streams together, so that bodies which nobody reads yet never stall the
    /// other streams.
    pub(crate) fn connection_window(&self) -> u32 {
        // HTTP/2 knows no larger window (RFC 9113 section 6.9.1).
        const LARGEST: u32 = (1 << 31) - 1;
        self.max_streams.saturating_add(1).saturating_mul(self.stream_window).min(LARGEST)
    }
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self::new()
    }
}
