//! What every measurement needs.

use std::path::PathBuf;

use super::engine::Engine;

/// The place where a bench runs.
#[derive(Debug)]
pub(super) struct Site {
    /// The drowse that is measured.
    pub(super) program: PathBuf,
    /// The scripted Proxmox cluster.
    pub(super) pve: PathBuf,
    /// The private engine.
    pub(super) engine: Engine,
    /// For sockets, configurations and logs; removed with the sandbox.
    pub(super) folder: PathBuf,
}
