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
#[cfg(feature = "tls")]
#[path = "dockerd/certificates.rs"]
mod certificates;
#[path = "dockerd/fixture.rs"]
mod fixture;
#[cfg(feature = "tls")]
#[path = "dockerd/link.rs"]
mod link;
#[path = "dockerd/relay.rs"]
mod relay;
#[cfg(feature = "ssh")]
#[path = "dockerd/sshd.rs"]
mod sshd;

#[path = "dockerd"]
mod on_dockerd {
    mod contract {
        drowse_provider::contract_tests!(crate::fixture::RealEngine::dockerd());
    }

    #[path = "facts.rs"]
    mod facts;
    #[path = "services.rs"]
    mod services;
    #[cfg(feature = "ssh")]
    #[path = "ssh.rs"]
    mod ssh;
    #[cfg(feature = "tls")]
    #[path = "tls.rs"]
    mod tls;
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
