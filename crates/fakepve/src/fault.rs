//! What goes wrong between a cluster and its client.

use serde::Serialize;

/// Something that happens to requests.
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Fault {
    method: Option<String>,
    path: String,
    times: Option<u32>,
    #[serde(flatten)]
    harm: Harm,
}

/// What happens to them.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Harm {
    /// The connection breaks before anything was done.
    CutBefore,
    /// What was asked is done; the connection breaks before the answer.
    CutAfter,
    /// No answer ever comes, and nothing is done.
    Silent,
    /// What was asked is done, but no answer ever comes.
    SilentAfter,
    /// The answer comes so many seconds late.
    Delay {
        /// Real ones.
        seconds: f64,
    },
    /// An answer without a body.
    Status {
        /// Its status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// A success with this body.
    Body {
        /// Whatever it is.
        body: String,
    },
    /// The first half of the true answer.
    Half,
    /// A hundred megabytes.
    Huge,
}

impl Fault {
    /// Of all requests, until the faults are cleared.
    pub fn new(harm: Harm) -> Self {
        Self { method: None, path: ".*".into(), times: None, harm }
    }

    /// Only of these: a method, and a regular expression for the whole path below `/api2/json`.
    pub fn of(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.into());
        self.path = path.into();
        self
    }

    /// Only so often.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}
