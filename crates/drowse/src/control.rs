//! How `list`, `wake` and `sleep` talk to the running drowse: HTTP over a socket in the state
//! folder, which only its user can open.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/workloads` | [`Listing`](crate::view::Listing) |
//! | `POST /v1/workloads/NAME/wake?timeout_ms=N` | [`Done`] when it is ready, or [`Refusal`] |
//! | `POST /v1/workloads/NAME/sleep?timeout_ms=N` | [`Done`] when it is asleep, or [`Refusal`] |
//!
//! Both sides bound what they read in size and in time. A request carries no body.

pub(crate) mod client;
pub(crate) mod server;

use serde::{Deserialize, Serialize};

/// An order was carried out.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Done {
    pub(crate) workload: String,
    /// Its state now.
    pub(crate) state: String,
    pub(crate) took_ms: u64,
}

/// Why an order was not carried out.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    pub(crate) class: Class,
}

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// There is no workload of that name.
    UnknownWorkload,
    /// There is no such container.
    NotFound,
    /// It is in use.
    InUse,
    /// Not done in time; drowse goes on with it.
    Timeout,
    /// The engine cannot be reached.
    EngineUnavailable,
    /// The attempt failed.
    Failed,
}
