//! The one task that drives all watches of a cluster, for as long as anybody watches. It awaits no
//! answer of the API: requests are under way beside it, and it never waits for a consumer.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use drowse_provider::{Action, Error, ErrorKind};
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::time::Instant;

use super::{
    beat::Beat,
    core::{Core, Miss, Read},
    reads::Urgency,
    registry::Registry,
    target::Target,
};
use crate::ClientError;

/// How long the API may be away before it is told as an error.
const GRACE: Duration = Duration::from_secs(5);
/// How much longer a beat that began in time is waited for.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// The pauses between attempts to reach it.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often a container in transition is read.
const TICK: Duration = Duration::from_secs(1);
/// How many of those that vanished are asked for at the same time.
const SETTLED_AT_ONCE: usize = 4;
/// How often whoever follows all containers gets a whole list.
const LIST_EVERY: Duration = Duration::from_mins(1);

/// Starts the poller if the caller was the first to watch.
pub(super) fn ensure_running(core: &Arc<Core>, is_first: bool) {
    if is_first {
        let core = Arc::clone(core);
        core.tasks.clone().spawn(async move {
            let closing = core.closing.clone();
            let orphans = EndOrphans(Some(Arc::clone(&core)));
            closing.run_until_cancelled(Poller::new(core).run()).await;
            orphans.none();
        });
    }
}

/// Ends the watches if their poller does not come to its own end: a watch without one would be
/// silent for ever.
struct EndOrphans(Option<Arc<Core>>);

impl EndOrphans {
    fn none(mut self) {
        self.0 = None;
    }
}

impl Drop for EndOrphans {
    fn drop(&mut self) {
        if let Some(core) = self.0.take() {
            core.registry.end_all();
        }
    }
}

struct Poller {
    core: Arc<Core>,
    standing: Standing,
    /// The last beat that was taken in.
    seen: Option<Arc<Beat>>,
    beating: Option<BoxFuture<'static, Result<Arc<Beat>, ClientError>>>,
    beat_at: Instant,
    /// Attempts in a row that came to nothing.
    failures: u32,
    reads: FuturesUnordered<BoxFuture<'static, (Target, Result<Read, Miss>)>>,
    later: FuturesUnordered<BoxFuture<'static, Due>>,
    tick_at: Instant,
    listing: Option<BoxFuture<'static, ()>>,
    list_at: Instant,
    settling: Option<BoxFuture<'static, ()>>,
    jitter: RandomState,
}

/// How it stands with the API.
enum Standing {
    /// Never yet reached: the first failure is told at once.
    New,
    Up,
    /// Away since a moment ago, which need not be told yet.
    Away {
        since: Instant,
        error: Error,
        /// When something is to be done about it: first a last look, then it is told.
        next: (Instant, Next),
    },
    /// Away, and told.
    Out {
        since: Instant,
        told: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Look,
    Tell,
}

enum Due {
    Read(Target),
    Tell(Target),
}

impl Standing {
    fn away(since: Instant, error: Error) -> Self {
        Self::Away { since, error, next: (since + GRACE, Next::Look) }
    }
}

impl Poller {
    fn new(core: Arc<Core>) -> Self {
        let now = Instant::now();
        Self {
            standing: Standing::New,
            // However old: what happened since is nobody's news.
            seen: core.beats.latest(),
            core,
            beating: None,
            beat_at: now,
            failures: 0,
            reads: FuturesUnordered::new(),
            later: FuturesUnordered::new(),
            tick_at: now,
            listing: None,
            list_at: now + LIST_EVERY,
            settling: None,
            jitter: RandomState::new(),
        }
    }

    async fn run(mut self) {
        let core = Arc::clone(&self.core);
        let registry = &core.registry;
        while !registry.stop_if_unwatched() {
            let is_up = matches!(self.standing, Standing::Up);
            if is_up {
                self.begin_reads();
                self.begin_list();
            }
            let grace = match &self.standing {
                Standing::Away { next: (at, _), .. } => Some(*at),
                _ => None,
            };
            let is_ticking = is_up && registry.is_any_held();
            tokio::select! {
                beat = core.beats.newer_than(self.seen.as_ref()) => self.beat(beat),
                outcome = async { self.beating.as_mut()?.as_mut().await.into() },
                    if self.beating.is_some() => self.has_beaten(outcome),
                () = tokio::time::sleep_until(self.beat_at), if self.beating.is_none() => {
                    let core = Arc::clone(&core);
                    self.beating = Some(async move { core.beats.fresh(&core).await }.boxed());
                }
                Some((target, outcome)) = self.reads.next() => self.was_read(&target, outcome),
                Some(due) = self.later.next() => self.is_due(due),
                () = tokio::time::sleep_until(self.tick_at), if is_ticking => {
                    self.tick_at = Instant::now() + TICK;
                    registry.read_held();
                }
                () = done(&mut self.listing), if self.listing.is_some() => self.has_listed(),
                () = tokio::time::sleep_until(self.list_at), if is_up => {
                    self.list_at = Instant::now() + LIST_EVERY;
                    registry.want_list();
                    registry.settle_again();
                }
                () = done(&mut self.settling), if self.settling.is_some() => self.settling = None,
                () = sleep_until(grace), if grace.is_some() => self.lasts(),
                () = registry.changed.notified() => {}
            }
        }
    }

    // === Beats ===

    fn beat(&mut self, beat: Arc<Beat>) {
        // Also after a gap that was too short to be told: a restart in it may show nowhere but in a
        // live read.
        let was_up = matches!(self.standing, Standing::Up);
        if let Standing::Out { since, .. } = &self.standing {
            tracing::info!(
                engine = self.core.name, elapsed = ?since.elapsed(),
                "the cluster is back"
            );
        }
        self.standing = Standing::Up;
        self.failures = 0;
        self.core.registry.beat(&beat);
        self.seen = Some(beat);
        if !was_up {
            self.core.registry.up();
        }
        self.begin_to_settle();
    }

    fn has_beaten(&mut self, outcome: Option<Result<Arc<Beat>, ClientError>>) {
        self.beating = None;
        if let Some(Err(error)) = outcome {
            let longest = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
            self.failures = self.failures.saturating_add(1);
            self.beat_at = Instant::now() + longest.mul_f64(self.between(0.5, 1.0));
            self.lost(error.into_error(&self.core.name, Action::Watch, None));
        } else {
            // The beat itself is taken in like everybody's.
            let interval = self.core.options.interval;
            self.beat_at = Instant::now() + interval.mul_f64(self.between(0.9, 1.1));
        }
    }

    /// So that many clients of one cluster do not ask at the same moment.
    fn between(&self, least: f64, most: f64) -> f64 {
        let hash = self.jitter.hash_one((self.failures, Instant::now()));
        let [a, b, ..] = hash.to_ne_bytes();
        let fraction = f64::from(u16::from_ne_bytes([a, b])) / f64::from(u16::MAX);
        least + (most - least) * fraction
    }

    fn lost(&mut self, error: Error) {
        tracing::debug!(
            engine = self.core.name,
            error = &error as &dyn std::error::Error,
            "the cluster does not tell of its containers"
        );
        if matches!(error.kind(), ErrorKind::Closed) {
            return;
        }
        let is_told_at_once = !error.is_retryable();
        match &mut self.standing {
            Standing::New => {
                self.standing = Standing::away(Instant::now(), error);
                self.tell_outage();
            }
            Standing::Up => {
                self.standing = Standing::away(Instant::now(), error);
                if is_told_at_once {
                    self.tell_outage();
                }
            }
            Standing::Away { since, error: last, .. } => {
                *last = error;
                if is_told_at_once || since.elapsed() >= GRACE {
                    self.tell_outage();
                }
            }
            Standing::Out { since, told } => {
                // Another reason is news; the same one is not.
                if *told != error.kind().to_string() {
                    self.standing = Standing::away(*since, error);
                    self.tell_outage();
                }
            }
        }
    }

    /// It is away for long.
    fn lasts(&mut self) {
        match &mut self.standing {
            // What is back in time is no error.
            Standing::Away { next, .. } if next.1 == Next::Look => {
                *next = (Instant::now() + LAST_LOOK, Next::Tell);
                self.beat_at = Instant::now();
            }
            _ => self.tell_outage(),
        }
    }

    fn tell_outage(&mut self) {
        if let Standing::Away { since, error, .. } = &self.standing {
            tracing::warn!(
                engine = self.core.name, elapsed = ?since.elapsed(),
                error = error as &dyn std::error::Error,
                "the cluster is out of reach; trying again until it is back"
            );
            self.core.registry.down(error);
            self.standing = Standing::Out { since: *since, told: error.kind().to_string() };
        }
    }

    // === Live reads ===

    fn begin_reads(&mut self) {
        while let Some((target, urgency)) = self.core.registry.next_read() {
            let core = Arc::clone(&self.core);
            self.reads.push(
                async move {
                    let outcome = core.live(&target, urgency).await;
                    (target, outcome)
                }
                .boxed(),
            );
        }
    }

    fn was_read(&mut self, target: &Target, outcome: Result<Read, Miss>) {
        let registry: &Registry = &self.core.registry;
        match outcome {
            // Where the client is closed, all of it ends.
            Ok(_) | Err(Miss::Failed(ClientError::Closed)) => registry.was_read(target),
            Err(Miss::NotFound) => registry.was_absent(target),
            // The beats tell of that.
            Err(_) if !matches!(self.standing, Standing::Up) => registry.read_later(target),
            Err(miss) => {
                let error = self.core.error(miss, Action::Watch, target);
                let Some(later) = registry.read_failed(target, error) else { return };
                self.later.push(at(later.retry_at, Due::Read(target.clone())));
                if let Some(tell_at) = later.tell_at {
                    self.later.push(at(tell_at, Due::Tell(target.clone())));
                }
            }
        }
    }

    fn is_due(&self, due: Due) {
        match due {
            Due::Read(target) => self.core.registry.retry(&target),
            Due::Tell(target) if matches!(self.standing, Standing::Up) => {
                self.core.registry.lasts(&target);
            }
            Due::Tell(_) => {}
        }
    }

    // === All containers ===

    /// Whoever follows all containers gets a list: first what its lines need is read.
    fn begin_list(&mut self) {
        if self.listing.is_none()
            && self.core.registry.take_list_wanted()
            && let Some(beat) = self.seen.clone()
        {
            let core = Arc::clone(&self.core);
            self.listing = Some(async move { core.prepare_list(&beat).await }.boxed());
        }
    }

    fn has_listed(&mut self) {
        self.listing = None;
        self.list_at = Instant::now() + LIST_EVERY;
        let core = &self.core;
        core.registry.tell_list(|row| core.summary_of(row));
    }

    /// Whether what vanished is gone, or only not to be seen.
    fn begin_to_settle(&mut self) {
        if self.settling.is_some() {
            return;
        }
        let vanished = self.core.registry.take_to_settle();
        if vanished.is_empty() {
            return;
        }
        let core = Arc::clone(&self.core);
        let settle = async move {
            let each = vanished.into_iter().map(async |vmid| {
                match core.unseen(&Target::Vmid(vmid), Urgency::Usual).await {
                    // The last one is looked for again each minute.
                    Ok(_) | Err(Miss::NotFound | Miss::Failed(ClientError::Forbidden { .. })) => {}
                    Err(_) => core.registry.settle_later(vmid),
                }
            });
            let each: Vec<_> = each.collect();
            futures::stream::iter(each).buffer_unordered(SETTLED_AT_ONCE).collect::<()>().await;
        };
        self.settling = Some(settle.boxed());
    }
}

fn at(moment: Instant, due: Due) -> BoxFuture<'static, Due> {
    async move {
        tokio::time::sleep_until(moment).await;
        due
    }
    .boxed()
}

async fn done(work: &mut Option<BoxFuture<'static, ()>>) {
    if let Some(work) = work {
        work.as_mut().await;
    }
}

async fn sleep_until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment).await;
    }
}
