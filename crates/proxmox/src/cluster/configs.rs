//! Containers' configurations, as far as they were read: for their notes above all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{beat::Beat, row::Row};
use crate::{ClientError, ContainerConfig};

/// What was read, and for what it is good. Read again only when a beat shows that something
/// happened: never per interval.
#[derive(Debug, Default)]
pub(super) struct Configs {
    known: Mutex<HashMap<u32, Known>>,
}

#[derive(Debug)]
struct Known {
    /// The last that could be read.
    config: Option<Arc<ContainerConfig>>,
    /// What a beat said of the container when it was read; `None`: it has to be read again.
    of: Option<Row>,
    /// Whether the last attempt failed, which was said once.
    has_failed: bool,
}

impl Configs {
    /// The configuration, if nothing happened to the container since it was read.
    pub(super) fn current(&self, vmid: u32) -> Option<Arc<ContainerConfig>> {
        let known = self.known();
        let known = known.get(&vmid)?;
        known.config.clone().filter(|_| known.of.is_some() && !known.has_failed)
    }

    /// Whether it is to be read (again). One that could not be read is not, until something happens.
    pub(super) fn is_wanted(&self, vmid: u32) -> bool {
        self.known().get(&vmid).is_none_or(|known| known.of.is_none())
    }

    /// The last that could be read, whatever happened since.
    pub(super) fn last(&self, vmid: u32) -> Option<Arc<ContainerConfig>> {
        self.known().get(&vmid)?.config.clone()
    }

    /// It was read. `row`: what the beat said before the read began.
    pub(super) fn took(&self, vmid: u32, row: Option<&Row>, config: Arc<ContainerConfig>) {
        let of = row.cloned();
        self.known().insert(vmid, Known { config: Some(config), of, has_failed: false });
    }

    /// It could not be read for a list: the last one has to do, which is said once. What passes is
    /// tried again with the next list.
    pub(super) fn failed(&self, engine: &str, row: &Row, error: &ClientError) {
        let mut all = self.known();
        let unread = Known { config: None, of: None, has_failed: false };
        let known = all.entry(row.vmid).or_insert(unread);
        if matches!(error, ClientError::Forbidden { .. } | ClientError::Refused { .. }) {
            known.of = Some(row.clone());
        }
        if !std::mem::replace(&mut known.has_failed, true) {
            tracing::warn!(
                engine,
                container = row.vmid,
                error = error as &dyn std::error::Error,
                "its notes cannot be read: what they say is not known"
            );
        }
    }

    /// Has one read again when it is next needed.
    pub(super) fn forget(&self, vmid: u32) {
        if let Some(known) = self.known().get_mut(&vmid) {
            known.of = None;
        }
    }

    /// Takes notice of what happened since.
    pub(super) fn heed(&self, beat: &Beat) {
        let mut all = self.known();
        all.retain(|vmid, known| {
            let row = beat.find(*vmid);
            if let (Some(of), Some(row)) = (&known.of, row)
                && key(of) != key(row)
            {
                known.of = None;
            }
            // What cannot be seen for a while keeps what it said.
            row.is_some() || known.config.is_some()
        });
    }

    /// The container is gone.
    pub(super) fn remove(&self, vmid: u32) {
        self.known().remove(&vmid);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a configuration worth another read when it changes.
fn key(row: &Row) -> impl PartialEq + '_ {
    let Row { node, name, tags, lock, doing, .. } = row;
    (node, name, tags, lock, doing)
}
