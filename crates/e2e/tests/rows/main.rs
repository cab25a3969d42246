//! The whole program on real engines: the built `drowse`, containers of the test application, and
//! requests through the gateway. Tests whose names begin with `row_NN` are that row of the table of
//! what must not happen.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod on_dockerd;
mod on_fakepve;
mod on_podman;
mod on_rootless_podman;
