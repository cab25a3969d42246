//! What containers need that could not be read. Their engine's list tells of it, and that is all there is
//! to go by: what they need may be in use.

use std::collections::BTreeMap;

use super::Settling;
use crate::plan::{Planned, PlannedContainer};

impl Settling<'_> {
    /// The names of the workloads that such containers need, each with who needs it.
    pub(super) fn awaited(&self) -> BTreeMap<String, String> {
        let mut awaited = BTreeMap::new();
        for (engine, view) in self.inventory.iter().filter(|(_, view)| !view.is_refused) {
            for unread in view.unread.values() {
                for target in unread.needs.iter().flatten() {
                    let found = self.find_enabled(engine, target).map(|at| &self.workloads[at]);
                    let nameless =
                        self.workloads[..self.enabled].iter().filter(|it| it.is_nameless(engine));
                    for planned in found.into_iter().chain(nameless) {
                        awaited.insert(planned.name.clone(), unread.in_words(engine));
                    }
                }
            }
        }
        awaited
    }
}

impl Planned {
    /// Whether its own container could not be read either, on the same engine: it may go by any name.
    fn is_nameless(&self, engine: &str) -> bool {
        self.engine == engine
            && self.details.is_none()
            && matches!(self.container, PlannedContainer::OnEngine(_))
    }
}
