//! How `list`, `why`, `events`, `wake`, `sleep` and `release` talk to the running drowse: HTTP over a socket in the
//! state folder, which only its user can open.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/workloads` | [`Listing`](crate::listing::Listing) |
//! | `POST /v1/workloads/NAME/wake?timeout_ms=N` | [`Done`] when it is ready, or [`Refusal`] |
//! | `POST /v1/workloads/NAME/sleep?timeout_ms=N&force=BOOL` | [`Done`] when it is asleep, or [`Refusal`] |
//! | `GET /v1/workloads/NAME/why` | [`Why`](crate::why::Why), or [`Refusal`] |
//! | `GET /v1/events?last=N&after=N&workload=NAME&follow=BOOL` | an [`events::Line`](crate::events::Line) on a line of its own for each change that is kept, or, followed, as it happens |
//! | `POST /v1/workloads/NAME/hold?timeout_ms=N&asleep=BOOL&for_ms=N&reason=TEXT&force=BOOL` | [`Held`], or [`Refusal`] |
//! | `POST /v1/workloads/NAME/unhold` | [`Unheld`], or [`Refusal`] |
//! | `POST /v1/wake?timeout_ms=N` | a [`Told`] on a line of its own for each workload, as it is known |
//! | `POST /v1/release?timeout_ms=N&force=BOOL` | the same; then, if drowse ends, [`Told::Ending`], and the answer ends when drowse does |
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

/// A workload is held from now on.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    pub(crate) workload: String,
    /// Its state now.
    pub(crate) state: String,
    /// `awake` or `asleep`.
    pub(crate) hold: String,
    /// Until when; RFC 3339. Else until somebody ends it.
    pub(crate) until: Option<String>,
    pub(crate) reason: Option<String>,
    /// Whether it outlasts a restart of drowse.
    pub(crate) lasting: bool,
    /// Why it does not act yet, if there is nothing that it could act upon.
    #[serde(default)]
    pub(crate) not_yet: Option<String>,
    pub(crate) took_ms: u64,
}

/// A workload is no longer held.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Unheld {
    pub(crate) workload: String,
    /// How it was held: `awake` or `asleep`.
    pub(crate) hold: String,
}

/// Why an order was not carried out.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    pub(crate) class: Class,
}

/// A line of the answer to an order for everything.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// A workload is awake.
    Awake(Done),
    /// Something is not known to be awake.
    Refused {
        /// The workload, if it is one.
        workload: Option<String>,
        /// Why.
        refusal: Refusal,
    },
    /// What is awake stays awake; drowse ends when all that is in flight is through, or after this
    /// time.
    Ending { grace_ms: u64 },
}

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// There is no workload of that name.
    UnknownWorkload,
    /// There is no such container.
    NotFound,
    /// It is in error, and therefore not managed.
    NotManaged,
    /// It is in use.
    InUse,
    /// Somebody holds it asleep.
    HeldAsleep,
    /// Nobody holds it.
    NotHeld,
    /// Not done in time; drowse goes on with it.
    Timeout,
    /// The engine cannot be reached.
    EngineUnavailable,
    /// The attempt failed.
    Failed,
}
