//! The one task that drives all watches of an engine. It awaits no engine call: calls are under way
//! beside it, and it never waits for a consumer.

use std::{sync::Arc, time::Duration};

use drowse_provider::{Action, Error, ErrorKind};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    link::{Heard, Link},
    registry::{After, Registry},
};
use crate::{
    client::{Call, Client},
    engine::Handle,
    state::observation_of,
    target::Target,
    wire::{Inspected, Listed},
};

/// How many containers are read at the same time.
const READS_MAX: usize = 8;
/// How long a stream may be away before it is told as an error.
const GRACE: Duration = Duration::from_secs(5);
/// By how much an answer may overtake the event that it belongs to: they come on two connections, and
/// Podman looks for events four times a second.
const OVERTAKEN: Duration = Duration::from_millis(250);
/// The same on Podman, which tells of an end up to some 300 ms after it can be read.
pub(crate) const OVERTAKEN_ON_PODMAN: Duration = Duration::from_millis(500);
/// How long after an event its container is read. A stop is three events within milliseconds, and
/// whoever gave an order reads for himself at its end: both reads at once would only be slower, since
/// an engine answers for one container one at a time.
pub(crate) const SETTLING: Duration = Duration::from_millis(25);
/// How long it takes to read again what could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the hub if the caller was the first to watch.
pub(super) fn ensure_running(handle: &Handle, is_first: bool) {
    if is_first {
        let client = Arc::clone(&handle.client);
        let registry = Arc::clone(&handle.registry);
        let tasks = &handle.client.tasks;
        tasks.spawn(async move {
            let closing = client.closing.clone();
            let orphans = EndOrphans(Some(Arc::clone(&registry)));
            closing.run_until_cancelled(Hub::new(client, registry).run()).await;
            orphans.none();
        });
    }
}

/// Ends the watches if their hub does not come to its own end: a watch without a hub would be
/// silent for ever.
struct EndOrphans(Option<Arc<Registry>>);

impl EndOrphans {
    fn none(mut self) {
        self.0 = None;
    }
}

impl Drop for EndOrphans {
    fn drop(&mut self) {
        if let Some(registry) = self.0.take() {
            registry.end_all();
        }
    }
}

type ReadDone = (Target, Result<Option<(Inspected, Option<i128>)>, Error>);

struct Hub {
    client: Arc<Client>,
    registry: Arc<Registry>,
    link: Link,
    standing: Standing,
    reads: FuturesUnordered<BoxFuture<'static, ReadDone>>,
    retries: FuturesUnordered<BoxFuture<'static, Target>>,
    /// Containers to which something happened, until it is time to read them.
    settling: FuturesUnordered<BoxFuture<'static, Target>>,
    listing: Option<BoxFuture<'static, Result<Vec<Listed>, Error>>>,
    list_at: Instant,
}

/// How it stands with the connection for events.
enum Standing {
    /// Never yet subscribed: the first failure is told at once.
    New,
    Up,
    /// Away since a moment ago, which need not be told yet.
    Away {
        since: Instant,
        error: Error,
    },
    /// Away, and told.
    Out {
        since: Instant,
        told: String,
    },
}

impl Hub {
    fn new(client: Arc<Client>, registry: Arc<Registry>) -> Self {
        Self {
            link: Link::new(Arc::clone(&client)),
            client,
            registry,
            standing: Standing::New,
            reads: FuturesUnordered::new(),
            retries: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            listing: None,
            list_at: Instant::now(),
        }
    }

    async fn run(mut self) {
        while !self.registry.stop_if_unwatched() {
            let is_up = matches!(self.standing, Standing::Up);
            if is_up {
                self.begin_reads();
                self.begin_list();
            }
            let grace = match &self.standing {
                Standing::Away { since, .. } => Some(*since + GRACE),
                _ => None,
            };
            let registry = Arc::clone(&self.registry);
            tokio::select! {
                heard = self.link.next() => self.heard(heard),
                Some((target, outcome)) = self.reads.next() => self.was_read(&target, outcome),
                Some(target) = self.retries.next() => self.registry.read_again(&target),
                Some(target) = self.settling.next() => self.registry.settled(&target),
                outcome = async { self.listing.as_mut()?.as_mut().await.into() },
                    if self.listing.is_some() => self.was_listed(outcome),
                () = tokio::time::sleep_until(self.list_at), if is_up && self.listing.is_none() => {
                    self.registry.want_list();
                }
                () = sleep_until(grace), if grace.is_some() => self.tell_outage(),
                () = registry.changed.notified() => {}
            }
        }
    }

    fn begin_reads(&mut self) {
        while self.reads.len() < READS_MAX
            && let Some(target) = self.registry.next_read()
        {
            let client = Arc::clone(&self.client);
            self.reads.push(read(client, target).boxed());
        }
    }

    fn begin_list(&mut self) {
        if self.listing.is_none() && self.registry.take_list_wanted() {
            self.registry.listing();
            self.list_at = Instant::now() + self.client.options.reread_every;
            let client = Arc::clone(&self.client);
            self.listing = Some(Box::pin(async move {
                client.list(Call::about_engine(Action::List, client.own_deadline())).await
            }));
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Up => {
                if let Standing::Out { since, .. } = &self.standing {
                    tracing::info!(
                        engine = self.client.name, elapsed = ?since.elapsed(),
                        "the engine is back"
                    );
                }
                self.standing = Standing::Up;
                self.link.take_was_heard();
                self.registry.up();
            }
            Heard::Event(told) => {
                for target in self.registry.event(&told.event, told.nanoseconds) {
                    self.settling.push(after(SETTLING, target));
                }
            }
            // Whatever it was: soon everything is compared, at most once a second.
            Heard::Garbled => self.list_at = self.list_at.min(Instant::now() + RETRY),
            Heard::Down(error) => self.lost(error),
        }
    }

    fn lost(&mut self, error: Error) {
        tracing::debug!(
            engine = self.client.name, action = %error.action(),
            error = &error as &dyn std::error::Error,
            "no stream of events"
        );
        let is_refusal = !error.is_retryable();
        match &mut self.standing {
            Standing::New => {
                self.standing = Standing::Away { since: Instant::now(), error };
                self.tell_outage();
            }
            Standing::Up => {
                self.standing = Standing::Away { since: Instant::now(), error };
                if is_refusal {
                    self.tell_outage();
                }
            }
            Standing::Away { error: last, .. } => {
                *last = error;
                if is_refusal {
                    self.tell_outage();
                }
            }
            Standing::Out { since, told } => {
                // Another reason is news; the same one is not.
                if *told != error.kind().to_string() {
                    self.standing = Standing::Away { since: *since, error };
                    self.tell_outage();
                }
            }
        }
    }

    fn tell_outage(&mut self) {
        if let Standing::Away { since, error } = &self.standing {
            tracing::warn!(
                engine = self.client.name, elapsed = ?since.elapsed(),
                error = error as &dyn std::error::Error,
                "the engine is out of reach; trying again until it is back"
            );
            self.registry.down(error);
            self.standing = Standing::Out { since: *since, told: error.kind().to_string() };
        }
    }

    fn was_read(
        &mut self,
        target: &Target,
        outcome: Result<Option<(Inspected, Option<i128>)>, Error>,
    ) {
        match outcome {
            Ok(Some((inspected, engine_time))) => {
                let observation = observation_of(&inspected.state);
                let found = Some((&inspected, observation));
                let after = self.registry.read(target, found, engine_time);
                self.was_told(target, after);
            }
            Ok(None) => {
                let after = self.registry.read(target, None, None);
                self.was_told(target, after);
            }
            Err(error) => {
                let is_passing = error.is_retryable();
                // What passes is told by the connection for events if it lasts.
                self.registry.read_failed(target, (!is_passing).then_some(&error));
                let pause = if is_passing { RETRY } else { self.client.options.reread_every };
                self.read_after(pause, target);
            }
        }
    }

    fn was_told(&mut self, target: &Target, after: After) {
        if after == After::ReadAgainSoon {
            let is_podman = self.client.facts.is_podman();
            self.read_after(if is_podman { OVERTAKEN_ON_PODMAN } else { OVERTAKEN }, target);
        }
    }

    fn read_after(&mut self, pause: Duration, target: &Target) {
        self.retries.push(after(pause, target.clone()));
    }

    fn was_listed(&mut self, outcome: Option<Result<Vec<Listed>, Error>>) {
        self.listing = None;
        match outcome {
            None => {}
            Some(Ok(lines)) => {
                let changed = self.registry.listed(&lines);
                // Things happened and nothing was told: the connection may be half open.
                if !self.link.take_was_heard() && changed > 0 {
                    tracing::debug!(engine = self.client.name, changed, "events were lost");
                    self.link.restart();
                }
            }
            Some(Err(error)) => {
                let is_passing = error.is_retryable();
                self.registry.list_failed((!is_passing).then_some(&error));
                if is_passing {
                    self.list_at = Instant::now() + RETRY;
                }
                if matches!(error.kind(), ErrorKind::Timeout { .. }) {
                    self.link.restart();
                }
            }
        }
    }
}

async fn read(client: Arc<Client>, target: Target) -> ReadDone {
    let call = Call::about(Action::Watch, &target, client.own_deadline());
    let outcome = match client.inspect(call, &target).await {
        Ok(inspected) => {
            let engine_time = client.facts.engine_time().map(jiff::Timestamp::as_nanosecond);
            Ok(Some((inspected, engine_time)))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    };
    (target, outcome)
}

fn after(pause: Duration, target: Target) -> BoxFuture<'static, Target> {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        target
    })
}

async fn sleep_until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment).await;
    }
}
