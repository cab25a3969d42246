//! Docker and Podman behind drowse's lifecycle contract.
//!
//! [`DockerEngine`] implements [`drowse_provider::Engine`] over the daemon's HTTP API: one client
//! and one connection for events, whatever the number of containers. See the crate's README for
//! what it promises and what it works around.
//!
//! # Layout
//!
//! `location` and `context` say where an engine is, `endpoint` reads its URL, and `dial` connects
//! to it; `transport` speaks HTTP over such a connection and knows nothing of Docker; `client` makes typed, bounded,
//! logged calls of it; `facts` is what is learnt about the engine on the way; `provider` are the
//! operations on one container; `watch` is the one stream of events behind all watches. `wire`,
//! `state` and `details` translate the engine's JSON.

mod client;
mod context;
mod details;
mod dial;
mod endpoint;
mod engine;
mod facts;
mod location;
mod options;
mod provider;
mod state;
mod target;
mod transport;
mod watch;
mod wire;

pub use endpoint::DEFAULT_URL;
pub use engine::DockerEngine;
pub use location::{Location, LocationError, SshFiles, TlsFiles};
pub use options::DockerOptions;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
