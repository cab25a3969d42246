//! Reads of single containers: which are under way, what they show, and what becomes of those that fail.

use std::sync::Arc;

use drowse_provider::{
    ContainerStatus, Deadline, Details, Error, ErrorKind, NetworkMode, Reference, compose,
};
use futures::{FutureExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    ASK_AGAIN_WHAT_IS_FORBIDDEN, FAILING_READS_AT_ONCE, Failing, Follower, QUIET, READ_AGAIN,
    READ_AGAIN_MAX, READ_TIMEOUT, READS_AT_ONCE,
};

type Read = BoxFuture<'static, (String, Result<Details, Error>)>;

impl Follower {
    pub(super) fn begin_reads(&mut self, reads: &mut FuturesUnordered<Read>) {
        while reads.len() < READS_AT_ONCE
            && let Some(id) = self.next_to_read()
        {
            self.to_read.remove(&id);
            self.reading.insert(id.clone(), false);
            let provider = self.engine.provider(&Reference::Id(id.clone()));
            reads.push(
                async move {
                    let outcome = match provider {
                        Ok(provider) => provider.inspect(Deadline::after(READ_TIMEOUT)).await,
                        Err(error) => Err(error),
                    };
                    (id, outcome)
                }
                .boxed(),
            );
        }
    }

    /// Those first whose last read did not fail.
    fn next_to_read(&self) -> Option<String> {
        let is_failing = |id: &&String| self.failing.contains_key(*id);
        let is_idle = |id: &&String| !self.reading.contains_key(*id);
        let mut idle = self.to_read.iter().filter(is_idle);
        let failing_now = self.reading.keys().filter(is_failing).count();
        idle.clone()
            .find(|id| !is_failing(id))
            .or_else(|| idle.next().filter(|_| failing_now < FAILING_READS_AT_ONCE))
            .cloned()
    }

    /// Whether whatever is still to be read could not be read before.
    pub(super) fn is_each_tried(&self) -> bool {
        self.to_read.iter().chain(self.reading.keys()).all(|id| self.failing.contains_key(id))
    }

    pub(super) fn read(&mut self, id: String, mut outcome: Result<Details, Error>) {
        if let Ok(details) = &mut outcome {
            details.labels = self.wanted.of_concern(std::mem::take(&mut details.labels));
        }
        let is_superseded = self.reading.remove(&id).unwrap_or(false);
        if outcome.is_ok() && self.failing.remove(&id).is_some() {
            info!(
                engine = self.engine.name(),
                container = self.name_of(&id),
                "it can be read again"
            );
        }
        match outcome {
            // Only a read that begins now tells what is true now.
            _ if is_superseded => {
                self.to_read.insert(id);
            }
            // Its start, if it comes, has it read before that.
            Ok(details)
                if self.is_shown
                    && !self.wanted.has_notes()
                    && is_half_made(&details)
                    && self.half_made.insert(id.clone()) =>
            {
                self.read_again.insert(id, Instant::now() + READ_AGAIN);
            }
            // Perhaps an updater's work, which will make another one of that name. Until then, or until
            // nothing has come of it, it is what it was.
            Ok(details)
                if self.is_shown
                    && !self.is_put_aside(&id, &details.name)
                    && self.goes_by_another_name(&id, &details) =>
            {
                self.put_aside.insert(id.clone(), details.name);
                self.leaves(&id);
            }
            Ok(details) => {
                self.leaving.remove(&id);
                self.put_aside.remove(&id);
                self.read_again.remove(&id);
                self.half_made.remove(&id);
                let succeeded: Vec<String> = self
                    .leaving
                    .keys()
                    .filter(|gone| {
                        self.known.get(*gone).is_some_and(|gone| is_successor(&details, gone))
                    })
                    .cloned()
                    .collect();
                for gone in succeeded {
                    self.forget(&gone);
                    // Whoever makes a successor may take some time to remove the one before.
                    if self.put_aside.contains_key(&gone) {
                        self.read_again.insert(gone, Instant::now() + QUIET);
                    }
                }
                if !self.known.contains_key(&id) && self.has_sibling(&id, &details.labels) {
                    // What was read of them before may not be so any more.
                    let service = compose::service_of(&details.labels);
                    let siblings = self.known.iter().filter(|(other, known)| {
                        !self.leaving.contains_key(*other)
                            && compose::service_of(&known.labels) == service
                    });
                    self.to_read.extend(siblings.map(|(other, _)| other.clone()));
                }
                self.unread.remove(&id);
                self.census.learn(&self.wanted, &details);
                // Whoever has what is known shares it: the same is not kept twice.
                if self.known.get(&id).is_none_or(|known| **known != details) {
                    self.known.insert(id, Arc::new(details));
                }
                self.read_whom_it_concerns();
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {
                self.census.forget(&id);
                self.leaves(&id);
            }
            Err(error) => self.cannot_read(id, &error),
        }
    }

    /// Tries again later, and says so the first time.
    fn cannot_read(&mut self, id: String, error: &Error) {
        let shown: &(dyn std::error::Error + 'static) = error;
        let (engine, container) = (self.engine.name(), self.name_of(&id));
        let reads = self.failing.get(&id).map_or(0, |failing| failing.reads);
        if reads == 0 {
            warn!(engine, container, error = shown, "cannot read a container; trying again");
        } else {
            debug!(engine, container, error = shown, "cannot read a container");
        }
        let again = match error.kind() {
            ErrorKind::Forbidden { .. } => ASK_AGAIN_WHAT_IS_FORBIDDEN,
            _ => READ_AGAIN.saturating_mul(1 << reads.min(8)).min(READ_AGAIN_MAX),
        };
        let why = error.kind().to_string();
        self.failing.insert(id.clone(), Failing { reads: reads.saturating_add(1), why });
        self.read_again.insert(id, Instant::now() + again);
    }

    /// Whether a container that does not run has another name than it was known by. Of a compose service
    /// and of what has a number the name means nothing.
    fn goes_by_another_name(&self, id: &str, now: &Details) -> bool {
        self.known.get(id).is_some_and(|known| known.name != now.name)
            && !self.wanted.has_notes()
            && !now.observation.status.is_alive()
            && compose::service_of(&now.labels).is_none()
    }

    /// Whether it is known to go by this name until it is known what becomes of it.
    pub(super) fn is_put_aside(&self, id: &str, name: &str) -> bool {
        self.put_aside.get(id).is_some_and(|aside| aside == name)
    }
}

/// Whether whoever has the name, or the place in a compose service, is what another one was.
fn is_successor(now: &Details, gone: &Details) -> bool {
    let service = compose::service_of(&now.labels);
    now.name == gone.name || (service.is_some() && service == compose::service_of(&gone.labels))
}

/// Whether a container looks as if somebody were still at work on it: docker-compose 1 takes a new one
/// off its network and puts it back, before it starts it.
fn is_half_made(details: &Details) -> bool {
    details.network_mode == NetworkMode::Networks
        && details.networks.is_empty()
        && details.observation.status == ContainerStatus::Stopped
}
