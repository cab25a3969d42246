//! What an engine can do, said before it is asked to.

use std::borrow::Cow;

/// Whether an engine can do something, and if not, why: the words go into configuration errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot, for this reason. A lower-case fragment that also says what to do instead.
    No(Cow<'static, str>),
}

impl Support {
    /// Whether it is supported.
    pub fn is_supported(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// What an engine can do. An operation that is not supported fails with
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), always and at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `pause` and `unpause`.
    pub pause: Support,
    /// `kill` with other signals than KILL.
    pub signals: Support,
    /// A signal of one's own choice for `stop`, whatever the container's definition. Where this is
    /// `No`, a provider may still accept a signal that its container makes harmless.
    pub stop_signal: Support,
    /// `stats`.
    pub stats: Support,
    /// A health check of the container's own.
    pub health: Support,
    /// The exit code of a run that ended.
    pub exit_code: Support,
    /// Addresses that a container got from elsewhere (DHCP), while it runs. Where this is `No`,
    /// only fixed ones are known.
    pub dynamic_addresses: Support,
}

impl Capabilities {
    /// Everything supported: start from here and take away.
    pub fn all() -> Self {
        Self {
            pause: Support::Yes,
            signals: Support::Yes,
            stop_signal: Support::Yes,
            stats: Support::Yes,
            health: Support::Yes,
            exit_code: Support::Yes,
            dynamic_addresses: Support::Yes,
        }
    }
}
