//! Against real engines: the dockerd that `DROWSE_TEST_DOCKER` names, and the Podman that
//! `DROWSE_TEST_PODMAN` names. The tests run in their network namespace.
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
        drowse_provider::contract_tests!(crate::fixture::RealEngine::dockerd());
    }

    #[path = "facts.rs"]
    mod facts;
}

#[path = "dockerd"]
mod on_podman {
    mod contract {
        drowse_provider::contract_tests!(crate::fixture::RealEngine::podman());
    }

    #[path = "podman.rs"]
    mod facts;
}

#[path = "dockerd"]
mod on_rootless_podman {
    #[path = "rootless.rs"]
    mod facts;
}
