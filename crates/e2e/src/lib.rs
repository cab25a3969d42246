//! The harness of drowse's end-to-end tests: private engines, containers on them, a relay between
//! drowse and the engine that can be broken, a proxy that can be strict, the program itself, and clients.
//!
//! It fails as a test does: by a panic that says what was expected. Every wait has a deadline.

#![expect(clippy::expect_used, reason = "a harness fails by panicking, as a test does")]

mod cable;
mod contained;
mod container;
mod dockerd;
mod drowse;
mod events;
pub mod http;
mod logs;
mod network;
mod proxmox;
mod proxy;
mod relay;
mod second;
mod site;
mod wait;
pub mod websocket;

pub use cable::Cable;
pub use contained::{Contained, ContainedSpec, RunEnded};
pub use container::{ContainerSpec, State, TestContainer};
pub use dockerd::Dockerd;
pub use drowse::{Drowse, DrowseSpec};
pub use events::EventLog;
pub use logs::Logs;
pub use network::TestNetwork;
pub use proxmox::{Guest, ProxmoxSite};
pub use proxy::{Precedence, Right, SocketProxy};
pub use relay::{Recorded, SocketRelay};
pub use rustix::process::Signal;
pub use second::SecondEngine;
pub use site::{Site, Workload};
pub use wait::{DEADLINE, eventually, free_port, program, runner, scratch_folder, testapp, within};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
