//! Who speaks through the labels of an engine's containers: that decides what they may say.

use std::sync::Arc;

use drowse_gateway::HostPattern;

use super::TAG;
use crate::config::{Definition, Origin};

/// How the containers of an engine say what they want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// By labels. Whoever sets these commands the engine already.
    #[default]
    Labels,
    /// By a tag and by lines of their notes (Proxmox). Whoever may edit these may do little else, so
    /// they are believed less.
    Notes {
        /// The engine, for words about what to add to it.
        engine: Arc<str>,
        /// The hosts that notes may claim.
        hosts: Arc<[HostPattern]>,
    },
}

impl Dialect {
    /// A label of this name, for messages.
    pub(crate) fn names(&self, label: &str) -> String {
        match self {
            Self::Labels => format!("label `{label}`"),
            Self::Notes { .. } => format!("`{label}` in its notes"),
        }
    }

    /// How a container is enabled, after "set" or "give it".
    pub(crate) fn how_to_enable(&self) -> String {
        match self {
            Self::Labels => "set `drowse.enable=true`".to_owned(),
            Self::Notes { .. } => format!("give it the tag `{TAG}`"),
        }
    }

    /// One of them.
    pub(super) fn one(&self) -> &'static str {
        match self {
            Self::Labels => "label",
            Self::Notes { .. } => "key",
        }
    }

    pub(super) fn origin(&self, label: &str) -> Origin {
        match self {
            Self::Labels => Origin::Label(label.to_owned()),
            Self::Notes { .. } => Origin::Note(label.to_owned()),
        }
    }

    /// Whether this key may be said so.
    pub(super) fn permits<T>(&self, key: &Definition<T>) -> Result<(), String> {
        if key.in_notes { Ok(()) } else { self.permits_what_notes_cannot_say() }
    }

    /// Whether changes of headers may be said so: an application may be told by these who asks.
    pub(super) fn permits_headers(&self) -> Result<(), String> {
        self.permits_what_notes_cannot_say()
    }

    fn permits_what_notes_cannot_say(&self) -> Result<(), String> {
        match self {
            Self::Notes { .. } => Err(
                "notes cannot say this, since others may edit them: take the line out of the notes, \
                 and say it of a workload in the configuration file"
                    .to_owned(),
            ),
            Self::Labels => Ok(()),
        }
    }

    /// Whether a route may have this host.
    pub(super) fn permits_host(&self, host: &HostPattern) -> Result<(), String> {
        let Self::Notes { engine, hosts } = self else { return Ok(()) };
        if hosts.iter().any(|allowed| covers(allowed, host)) {
            return Ok(());
        }
        let allowed = match &**hosts {
            [] => "none is allowed".to_owned(),
            some => {
                let some: Vec<_> = some.iter().map(|host| format!("`{host}`")).collect();
                format!("only {}", some.join(", "))
            }
        };
        Err(format!(
            "`{host}` is no host that notes may claim ({allowed}): add `discover_hosts: \
             [\"{host}\"]` to engine `{engine}` in the configuration file"
        ))
    }
}

/// Whether each name that `host` matches is matched by `allowed`.
pub(crate) fn covers(allowed: &HostPattern, host: &HostPattern) -> bool {
    let is_below = |name: &str, domain: &str| {
        name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    };
    match (allowed, host) {
        (HostPattern::Exact(_), _) => allowed == host,
        (HostPattern::Below(domain), HostPattern::Exact(name)) => is_below(name, domain),
        (HostPattern::Below(domain), HostPattern::Below(name)) => {
            name == domain || is_below(name, domain)
        }
    }
}
