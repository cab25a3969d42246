//! The harness itself, tried on the test application and the private engine.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "harness/application.rs"]
mod application;
#[path = "harness/on_dockerd.rs"]
mod on_dockerd;
