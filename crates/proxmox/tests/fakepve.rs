//! Against a stand-in for a cluster that is disturbed on purpose: see `drowse-fakepve`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets one has failed"
)]

#[path = "fakepve/support.rs"]
mod support;

#[path = "fakepve/contract.rs"]
mod fixture;
#[path = "fakepve/scene.rs"]
mod scene;

#[path = "fakepve"]
mod on_fakepve {
    mod contract_by_vmid {
        use crate::fixture::{By, Proxmox};
        drowse_provider::contract_tests!(Proxmox::new(By::Vmid));
    }

    mod contract_by_name {
        use crate::fixture::{By, Proxmox};
        drowse_provider::contract_tests!(Proxmox::new(By::Name));
    }

    #[path = "client.rs"]
    mod client;
    #[path = "cluster.rs"]
    mod cluster;
    #[path = "faults.rs"]
    mod faults;
    #[path = "orders.rs"]
    mod orders;
}
