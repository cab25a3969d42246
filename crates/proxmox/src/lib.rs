//! LXC containers of Proxmox VE behind drowse's lifecycle contract.
//!
//! [`Client`] speaks the API of one cluster; [`Cluster`] implements [`drowse_provider::Engine`] on
//! it with one poll for all containers; [`ProxmoxProvider`] is one container.

mod client;
mod cluster;
mod provider;
mod upid;

pub use client::{
    Cause, Client, ClientError, ClientOptions, ContainerConfig, Credentials, CurrentStatus,
    Endpoint, Fingerprint, Interface, NetworkInterface, Node, OptionsError, ParseEndpointError,
    ParseFingerprintError, ParseTokenIdError, Resource, Secret, TaskOutcome, TaskStatus,
    TaskSummary, TokenId, Trust, Version,
};
pub use cluster::{Cluster, ClusterOptions};
pub use provider::ProxmoxProvider;
pub use upid::{ParseUpidError, Upid};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
