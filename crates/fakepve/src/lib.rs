//! A stand-in for a Proxmox VE cluster, for tests.
//!
//! [`FakePve`] is one cluster, behind TLS at a loopback address of its own; [`Ct`] a container to be
//! put on it; [`Fault`] what goes wrong on the way to it. Behind it runs `fakepve` (under the AGPL), a
//! process of its own that `driver/` starts and makes more like a real cluster where it
//! differs. One process serves all clusters of a test binary, and ends with it.

mod cluster;
mod container;
mod driver;
mod fault;

pub use cluster::{FakePve, Options, Power, Renewal, Request, Task};
pub use container::{App, Ct, GuestInterface, State};
pub use fault::{Fault, Harm};
