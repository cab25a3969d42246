//! What the engines have, as they were last read.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use drowse_gateway::Vantage;
use drowse_provider::{Capabilities, Details, Reach, Reference};

use super::{Crowds, NeedTarget, is_named};
use crate::{config::Problem, entrance::Entrance, labels::Dialect, whereabouts::Here};

/// An engine as it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineView {
    pub(crate) capabilities: Capabilities,
    /// From where its containers can be dialled.
    pub(crate) reach: Reach,
    /// drowse itself, as this engine has it.
    pub(crate) here: Here,
    /// Who else is on its networks.
    pub(crate) crowds: Arc<Crowds>,
    /// What the engine's machine calls itself, if it is known.
    pub(crate) machine: Option<String>,
    /// The addresses of the machine that drowse runs on, when the engine was last listed.
    pub(crate) own_addresses: Arc<BTreeSet<IpAddr>>,
    /// The containers that concern us; `None` before the first read.
    pub(crate) containers: Option<Vec<Arc<Details>>>,
    /// What concerns us, too, and could never be read, by id: hosts that nobody has may belong there.
    pub(crate) unread: BTreeMap<String, UnreadContainer>,
    /// Why none of its containers can be seen, if that is so; the same goes for hosts.
    pub(crate) blindness: Option<Problem>,
    /// Why the engine cannot be reached, while it cannot.
    pub(crate) trouble: Option<String>,
    /// Whether nothing of it will ever be managed: another engine is the same one.
    pub(crate) is_refused: bool,
    /// The ways to engines that may lead through one of its containers.
    pub(crate) entrances: Vec<Entrance>,
    /// How its containers say what they want.
    pub(crate) dialect: Dialect,
}

/// A container of which only its list tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadContainer {
    pub(crate) name: String,
    pub(crate) problem: Problem,
    /// What it needs; `None` if the list does not tell all of it.
    pub(crate) needs: Option<Vec<NeedTarget>>,
}

impl UnreadContainer {
    /// Who it is: the holder of what it may need.
    pub(crate) fn in_words(&self, engine: &str) -> String {
        format!("container `{}` on engine `{engine}`, not read yet", self.name)
    }
}

impl EngineView {
    /// What keeps it from being known whole.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = &Problem> {
        self.unread.values().map(|unread| &unread.problem).chain(&self.blindness)
    }

    /// Whether a host that nobody has may turn out to be of one of its containers. What is refused is
    /// not waited for.
    pub(crate) fn may_bring_hosts(&self) -> bool {
        !self.is_refused && self.containers.is_none() || self.unseen().next().is_some()
    }

    /// Whether the container of that name or number is there, and could not be read.
    pub(crate) fn is_unread(&self, reference: &Reference) -> bool {
        let nothing = BTreeMap::new();
        self.unread.iter().any(|(id, unread)| is_named(id, &unread.name, &nothing, reference))
    }

    /// Whether an address of one of its containers means that container here, and nobody else.
    pub(crate) fn addresses_are_ours(&self) -> bool {
        matches!(self.here.vantage, Vantage::Inside(_))
            || matches!(self.reach, Reach::Local | Reach::Routed)
    }

    /// Whether its containers are known by a number for good, and their names are anybody's.
    pub(crate) fn is_numbered(&self) -> bool {
        matches!(self.dialect, Dialect::Notes { .. })
    }

    /// An engine that was not read yet.
    pub(crate) fn unread(capabilities: Capabilities, reach: Reach) -> Self {
        Self {
            capabilities,
            reach,
            here: Here::default(),
            machine: None,
            crowds: Arc::default(),
            own_addresses: Arc::default(),
            containers: None,
            unread: BTreeMap::new(),
            blindness: None,
            trouble: None,
            is_refused: false,
            entrances: Vec::new(),
            dialect: Dialect::default(),
        }
    }
}

/// All engines as they were last read, by name.
pub(crate) type Inventory = BTreeMap<String, EngineView>;
