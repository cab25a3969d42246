//! What a workload and its container say that they need, before it is known who that is.

use drowse_provider::{
    Details, NetworkMode,
    compose::{self, Dependency},
};

use super::{Because, Wanted};

/// One thing that is needed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) target: NeedTarget,
    pub(super) wanted: Wanted,
    pub(super) because: Because,
}

/// How it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NeedTarget {
    /// A workload, or a container of the same engine.
    Called(String),
    /// A compose service of the same engine.
    Service { project: String, service: String },
    /// The container whose network is lived in, by its id or name.
    Holder(String),
}

/// What the key `needs` says.
pub(super) fn by_names(names: Vec<String>) -> Vec<Wish> {
    let wish = |name| Wish {
        target: NeedTarget::Called(name),
        wanted: Wanted::Ready,
        because: Because::Needs,
    };
    names.into_iter().map(wish).collect()
}

/// What a container's network and compose's label say, and what of the label cannot be read.
pub(super) fn of_container(details: &Details) -> (Vec<Wish>, Vec<String>) {
    let (mut wishes, mut unread) = (Vec::new(), Vec::new());
    if let NetworkMode::Container(holder) = &details.network_mode {
        wishes.push(Wish {
            target: NeedTarget::Holder(holder.clone()),
            wanted: Wanted::Started,
            because: Because::Network,
        });
    }
    let Some(project) = compose::project_of(&details.labels) else { return (wishes, unread) };
    for said in compose::dependencies_of(&details.labels) {
        let wish = said.map(|Dependency { service, condition, .. }| {
            let target = NeedTarget::Service { project: project.to_owned(), service };
            let wanted = Wanted::of_compose(condition);
            wanted.map(|wanted| Wish { target, wanted, because: Because::Compose })
        });
        match wish {
            Ok(wish) => wishes.extend(wish),
            Err(why) => unread.push(why),
        }
    }
    (wishes, unread)
}
