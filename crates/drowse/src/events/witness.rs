//! How the daemon comes to know what happens to a workload.

use drowse_watcher::{Change, Observer};
use jiff::Timestamp;

use crate::{
    store::{Event, Store},
    wall::Wall,
};

/// Puts each change of one workload into the store, from where whoever follows reads it at their own
/// pace: it waits for nobody.
#[derive(Debug)]
pub(crate) struct Witness {
    store: Store,
    engine: Box<str>,
    container: Box<str>,
}

impl Witness {
    /// Of a workload of this engine, whose container is called so.
    pub(crate) fn new(store: Store, engine: &str, container: &str) -> Self {
        Self { store, engine: engine.into(), container: container.into() }
    }
}

impl Observer for Witness {
    fn changed(&self, workload: &str, change: &Change) {
        self.store.append_event(Event {
            at: Timestamp::from(Wall::of(change.at)),
            workload: workload.to_owned(),
            engine: self.engine.to_string(),
            container: self.container.to_string(),
            from: change.from.to_string(),
            to: change.to.to_string(),
            reason: change.reason.clone(),
            took_ms: u64::try_from(change.took.as_millis()).unwrap_or(u64::MAX),
        });
    }
}
