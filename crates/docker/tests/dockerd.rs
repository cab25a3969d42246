//! Against a real dockerd, named by `DROWSE_TEST_DOCKER`; the tests run in its network namespace.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets one has failed"
)]

#[path = "dockerd/api.rs"]
mod api;
#[path = "dockerd/fixture.rs"]
mod fixture;
#[path = "dockerd/relay.rs"]
mod relay;

#[path = "dockerd"]
mod on_dockerd {
    mod contract {
        drowse_provider::contract_tests!(crate::fixture::Dockerd::new());
    }

    #[path = "facts.rs"]
    mod facts;
    #[path = "services.rs"]
    mod services;
}
