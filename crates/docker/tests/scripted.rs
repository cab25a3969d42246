//! Against a scripted engine, for what a real one does only rarely.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

#[path = "scripted/engine.rs"]
mod engine;

mod contract {
    drowse_provider::contract_tests!(crate::engine::Scripted::new());
}

#[path = "scripted/faults.rs"]
mod faults;
#[path = "scripted/orders.rs"]
mod orders;
#[path = "scripted/reaching.rs"]
mod reaching;
