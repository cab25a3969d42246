//! LXC containers of Proxmox VE behind drowse's lifecycle contract.
//!
//! [`Client`] speaks the API of one cluster; [`Cluster`] implements [`drowse_provider::Engine`] on
//! it with one poll for all containers; `provider` are the operations on one container.

mod client;
mod cluster;
mod provider;
mod upid;

pub use client::{
    Cause, Client, ClientError, ContainerConfig, CurrentStatus, Interface, NetworkInterface, Node,
    Resource, TaskOutcome, TaskStatus, TaskSummary, Version,
};
pub use upid::{ParseUpidError, Upid};
