//! drowse behind real reverse proxies, by the very configurations that the documentation shows:
//! only ports, names and paths are replaced.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod front;
mod on_dockerd;
