//! Which certificate a client is shown.

use std::{collections::HashMap, sync::Arc};

use super::identity::Identity;

/// Certificates by the hosts that they are for; never none.
pub(super) struct Identities {
    /// Exact names, and wildcards as they are written: `*.example.com`.
    by_name: HashMap<String, Arc<Identity>>,
    default: Arc<Identity>,
}

impl Identities {
    /// The earlier one counts, and is the default. `None`: there are none.
    pub(super) fn new<'a>(all: impl IntoIterator<Item = &'a Arc<Identity>>) -> Option<Self> {
        let mut by_name = HashMap::new();
        let mut default = None;
        for identity in all {
            default.get_or_insert_with(|| Arc::clone(identity));
            for name in identity.names() {
                by_name.entry(name.clone()).or_insert_with(|| Arc::clone(identity));
            }
        }
        Some(Self { by_name, default: default? })
    }

    /// The one for this host, in lower case, or for whoever names none.
    pub(super) fn of(&self, name: Option<&str>) -> &Arc<Identity> {
        let found = name.and_then(|name| {
            let wild = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(name).or_else(wild)
        });
        found.unwrap_or(&self.default)
    }
}
