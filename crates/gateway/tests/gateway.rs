//! The gateway over real sockets: an application in this process, a scripted engine that says
//! whether it runs, and clients that behave and misbehave.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

#[path = "gateway/application.rs"]
mod application;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/ports.rs"]
mod ports;
#[path = "gateway/site.rs"]
mod site;

#[path = "gateway/access.rs"]
mod access;
#[path = "gateway/answers.rs"]
mod answers;
#[path = "gateway/crowded.rs"]
mod crowded;
#[path = "gateway/doubt.rs"]
mod doubt;
#[path = "gateway/events.rs"]
mod events;
#[path = "gateway/framing.rs"]
mod framing;
#[path = "gateway/holding.rs"]
mod holding;
#[path = "gateway/http2.rs"]
mod http2;
#[path = "gateway/in_chromium.rs"]
mod in_chromium;
#[path = "gateway/in_flight.rs"]
mod in_flight;
#[path = "gateway/leases.rs"]
mod leases;
#[path = "gateway/messages.rs"]
mod messages;
#[path = "gateway/page.rs"]
mod page;
#[path = "gateway/passive.rs"]
mod passive;
#[path = "gateway/pressure.rs"]
mod pressure;
#[path = "gateway/protocols.rs"]
mod protocols;
#[path = "gateway/proxies.rs"]
mod proxies;
#[path = "gateway/quiet.rs"]
mod quiet;
#[path = "gateway/rewriting.rs"]
mod rewriting;
#[path = "gateway/routed.rs"]
mod routed;
#[path = "gateway/routing.rs"]
mod routing;
#[path = "gateway/shutdown.rs"]
mod shutdown;
#[path = "gateway/stalls.rs"]
mod stalls;
#[path = "gateway/tcp.rs"]
mod tcp;
#[path = "gateway/tls.rs"]
mod tls;
#[path = "gateway/udp.rs"]
mod udp;
#[path = "gateway/upstreams.rs"]
mod upstreams;
