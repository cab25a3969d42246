//! Lines of lists.

use std::sync::Arc;

use drowse_provider::{Deadline, Owner, Summary};
use futures::StreamExt;

use super::{
    beat::Beat,
    core::Core,
    labels::labels_of,
    reads::Urgency,
    row::{Doing, NOT_MANAGED, Row},
    target::Target,
};

/// How many configurations are read at the same time.
const READS_MAX: usize = 8;
/// What one of them may take.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

impl Core {
    /// Reads what the lines of a list need beside a beat.
    pub(super) async fn prepare_list(self: &Arc<Self>, beat: &Beat) {
        let contradicted = self.registry.contradicted(beat).into_iter();
        // What cannot be read is told as it was last seen.
        let reads = contradicted
            .map(|vmid| async move { _ = self.live(&Target::Vmid(vmid), Urgency::Usual).await });
        futures::future::join(futures::future::join_all(reads), self.read_notes(beat)).await;
    }

    /// Reads the notes of those that carry our tag and to which something happened since they were last
    /// read. One that cannot be read keeps what it said. Cancel safe.
    async fn read_notes(&self, beat: &Beat) {
        let has_notes = |row: &&Row| {
            self.is_tagged(row) && row.doing != Doing::Unknown && self.configs.is_wanted(row.vmid)
        };
        let reads = beat.rows().iter().filter(has_notes).map(|row| async move {
            let deadline = Deadline::after(TIMEOUT);
            match self.api.config(&row.node, row.vmid, deadline).await {
                Ok(config) => self.configs.took(row.vmid, Some(row), Arc::new(config)),
                Err(error) => self.configs.failed(&self.name, row, &error),
            }
        });
        let reads: Vec<_> = reads.collect();
        futures::stream::iter(reads).buffer_unordered(READS_MAX).collect::<()>().await;
    }

    /// A line of a list, with the notes as they were last read.
    pub(super) fn summary_of(&self, row: &Row) -> Summary {
        let config = if self.is_tagged(row) { self.configs.last(row.vmid) } else { None };
        let notes = config.as_ref().map_or("", |config| &config.description);
        let labels = labels_of(&row.tags, notes, &self.options.notes_prefix);
        // As in the details: what it ignores is nobody's but ours.
        let under_ha = row.ha_state.as_deref().filter(|state| *state != NOT_MANAGED);
        Summary::new(row.vmid.to_string(), row.shown_name(), labels, row.status())
            .on_node(&*row.node)
            .owned_by(under_ha.map(|state| Owner::HighAvailability(state.to_owned())))
    }

    fn is_tagged(&self, row: &Row) -> bool {
        row.tags.contains(&self.options.tag)
    }
}
