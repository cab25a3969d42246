//! Who may enter, as it is said of a route, of all routes of a workload, or of all workloads.

use drowse_gateway::{BasicAuth, ForwardAuth, Network};

use super::Given;

/// The key that labels know as well.
pub(crate) const ALLOW: &str = "allow";
/// Those that only the file has: they name files, and whom to ask.
pub(crate) const BASIC_AUTH: &str = "basic_auth";
pub(crate) const FORWARD_AUTH: &str = "forward_auth";

/// What is said about who may enter. Whatever is not said is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessSettings {
    /// From where clients may come.
    pub(crate) allow: Option<Given<Vec<Network>>>,
    /// By which name and password; `off` is none.
    pub(crate) basic: Option<Given<Option<BasicAuth>>>,
    /// Who is asked; `off` is nobody.
    pub(crate) forward: Option<Given<Option<ForwardAuth>>>,
}

impl AccessSettings {
    /// This, and where it says nothing, what `fallback` does.
    pub(crate) fn or(self, fallback: &Self) -> Self {
        Self {
            allow: self.allow.or_else(|| fallback.allow.clone()),
            basic: self.basic.or_else(|| fallback.basic.clone()),
            forward: self.forward.or_else(|| fallback.forward.clone()),
        }
    }
}
