//! Connections to the upstream of one route. A pool belongs to one run of the container and is
//! dropped with it: what was connected to an earlier run is never used for a later one. When the
//! workload leaves ready, what is unused is closed: no application ends the later for it.

mod alone;
mod multiplexed;
mod obtain;

use std::{
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use drowse_watcher::{PhaseName, ReadyRun, Snapshot, Workload};
use futures::future::OptionFuture;
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

pub(crate) use self::obtain::{NotObtained, Obtained};
use self::{
    alone::{Alone, Rest},
    multiplexed::{Multiplexed, Share},
};
use crate::{
    dial::{Dialer, Lookup, Protocols, Spoken},
    upstream::{Chooser, NoUpstream, Target, Upstream},
};

/// How long an unused connection is kept: shorter than the 5 s after which Node's server closes
/// its end, so that a request seldom meets a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How many unused connections are kept per route.
const MAX_IDLE: usize = 256;

/// How many connections there are per route and run. Further requests wait for one of them.
const MAX_CONNECTIONS: usize = 8 * 1024;

/// How long a connection may take to be made. The kernel says "no route to host" after about 3 s:
/// that reason is worth waiting for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests of one route open connections at a time: thousands that were held during a
/// wake must not hit the application's listen queue at once.
const OPENINGS: usize = 256;

/// How long an upload may go on after its answer is through: an upstream that answers before it has read
/// everything may still do so, and one that does not must not be kept awake by it.
pub(crate) const LINGER: Duration = Duration::from_secs(30);

/// The connections of one route, over all runs.
pub(crate) struct Pools {
    workload: Workload,
    chooser: Chooser,
    dialer: Arc<Dialer>,
    current: ArcSwapOption<Pool>,
    /// What the upstream was last found to speak, where that is not known beforehand.
    found: AtomicU8,
}

impl Pools {
    pub(crate) fn new(workload: Workload, chooser: Chooser, dialer: Dialer) -> Self {
        Self {
            workload,
            chooser,
            dialer: Arc::new(dialer),
            current: ArcSwapOption::empty(),
            found: AtomicU8::new(0),
        }
    }

    /// The pool of this run.
    pub(crate) fn of(&self, run: &Arc<ReadyRun>) -> Arc<Pool> {
        if let Some(pool) = &*self.current.load()
            && pool.epoch == run.epoch
        {
            return Arc::clone(pool);
        }
        let new = Arc::new(Pool::new(self, run));
        let kept = self.current.rcu(|current| match current {
            // A request that lags behind keeps its own; the later run's pool stays.
            Some(pool) if pool.epoch >= new.epoch => Some(Arc::clone(pool)),
            _ => Some(Arc::clone(&new)),
        });
        match kept {
            Some(pool) if pool.epoch == new.epoch => pool,
            _ => new,
        }
    }

    /// What makes its connections.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Waits for the turn to open a connection. The semaphores are never closed.
    async fn turn<'a>(&self, pool: &'a Pool, protocols: Protocols) -> Option<SemaphorePermit<'a>> {
        loop {
            let spoken = self.spoken(protocols);
            let turns = if spoken == Some(Spoken::Http1) { &pool.alone } else { &pool.shared };
            let turn = turns.acquire().await.ok()?;
            if self.spoken(protocols) == spoken {
                return Some(turn);
            }
            // It is known better by now.
        }
    }

    fn spoken(&self, protocols: Protocols) -> Option<Spoken> {
        self.dialer.spoken(protocols).or(match self.found.load(Ordering::Relaxed) {
            1 => Some(Spoken::Http1),
            2 => Some(Spoken::Http2),
            _ => None,
        })
    }

    /// Remembers what a connection that might have been either turned out to be.
    fn note(&self, connection: &Connection, protocols: Protocols) {
        if protocols == Protocols::Any {
            let found = if connection.is_shared() { 2 } else { 1 };
            self.found.store(found, Ordering::Relaxed);
        }
    }
}

/// The connections of one route to one run.
pub(crate) struct Pool {
    epoch: u64,
    run: Arc<ReadyRun>,
    workload: Workload,
    dialer: Arc<Dialer>,
    upstream: Result<Upstream, NoUpstream>,
    lookup: Lookup,
    kept: Mutex<Kept>,
    /// Turns to open a connection for one request at a time. They are the run's: who waits for one
    /// that is gone is in nobody's way.
    alone: Semaphore,
    /// The turn to open one for many: the others wait for it, and share it.
    shared: Semaphore,
    places: Arc<Semaphore>,
    waiters: Arc<Waiters>,
}

/// Requests that wait for a place, a connection or a share of one, and how they learn of it.
#[derive(Default)]
struct Waiters {
    waiting: AtomicUsize,
    freed: Notify,
}

impl Waiters {
    /// Something was freed: tells that, if anybody waits. It was freed under a lock that those who look for it
    /// take, too, or by a sequentially consistent operation: none who counts before looking misses it.
    fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

#[derive(Default)]
struct Kept {
    /// The one used last is at the end; so the first has been idle for the longest time.
    idle: Vec<(Alone, Instant)>,
    /// Those that carry many requests, whether any is on them or not.
    shared: Vec<Arc<Multiplexed>>,
    /// Closes what is not used any more; there only while something is kept.
    keeper: Option<AbortHandle>,
    /// The run is over, or in doubt: nothing is kept any more.
    is_over: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// A connection's place among those that there may be, as long as it is open.
struct Place {
    _permit: OwnedSemaphorePermit,
    /// Dropped after the permit is given back.
    _tell: Tell,
}

struct Tell(Arc<Waiters>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.freed.notify_one();
    }
}

/// Which connections a request may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) protocols: Protocols,
    /// Whether it is not to be one that lay idle: those were probably all closed meanwhile.
    pub(crate) is_fresh: bool,
}

/// What a request that needs a connection finds.
enum Free {
    Connection(Connection),
    Place(Place),
}

impl Pool {
    fn new(pools: &Pools, run: &Arc<ReadyRun>) -> Self {
        Self {
            epoch: run.epoch,
            run: Arc::clone(run),
            workload: pools.workload.clone(),
            dialer: Arc::clone(&pools.dialer),
            upstream: pools.chooser.choose(&run.details),
            lookup: Lookup::default(),
            kept: Mutex::default(),
            alone: Semaphore::new(OPENINGS),
            shared: Semaphore::new(1),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            waiters: Arc::default(),
        }
    }

    /// What is dialled.
    pub(crate) fn target(&self) -> Result<&Target, NoTarget<'_>> {
        let upstream = self.upstream.as_ref().map_err(NoTarget::NoUpstream)?;
        upstream.target.as_ref().ok_or(NoTarget::NotKnown)
    }

    /// A connection with room for a request, and that nothing was seen to be wrong with when it was
    /// used last.
    fn take(self: &Arc<Self>, wanted: Wanted) -> Option<Connection> {
        let mut kept = self.kept();
        if wanted.protocols == Protocols::Any && !kept.shared.is_empty() {
            kept.shared.retain(|shared| !shared.is_closed());
            if let Some(share) = kept.shared.iter().find_map(Multiplexed::share) {
                return Some(self.connection(Carrier::Shared(share)));
            }
        }
        if wanted.is_fresh {
            return None;
        }
        let now = Instant::now();
        // One that was closed meanwhile says so when it is used, before anything is sent on it.
        let (alone, since) = kept.idle.pop()?;
        if now.duration_since(since) < IDLE_TIMEOUT {
            return Some(self.connection(Carrier::Alone(alone)));
        }
        // Those before it have been idle for longer.
        kept.idle.clear();
        None
    }

    /// Waits until there is a connection, or room for one more.
    async fn free(self: &Arc<Self>, wanted: Wanted) -> Free {
        let look = || {
            let place = || Arc::clone(&self.places).try_acquire_owned().ok();
            match self.take(wanted) {
                Some(connection) => Some(Free::Connection(connection)),
                None => place().map(|permit| {
                    Free::Place(Place { _permit: permit, _tell: Tell(Arc::clone(&self.waiters)) })
                }),
            }
        };
        if let Some(free) = look() {
            return free;
        }
        // Counted before it looks again: whoever frees something from now on tells.
        let _counted = Counted::one_more(&self.waiters.waiting);
        loop {
            let mut freed = pin!(self.waiters.freed.notified());
            // Before it looks: of two that are freed at once two learn.
            freed.as_mut().enable();
            if let Some(free) = look() {
                return free;
            }
            freed.await;
        }
    }

    /// A new connection.
    async fn open(
        self: &Arc<Self>,
        target: &Target,
        protocols: Protocols,
        place: Place,
    ) -> io::Result<Connection> {
        let addresses = self.lookup.addresses(target, CONNECT_TIMEOUT).await?;
        let dialled = match self.dialer.dial(&addresses, protocols, CONNECT_TIMEOUT).await {
            Ok(dialled) => dialled,
            Err(error) => {
                self.lookup.was_in_vain();
                return Err(error);
            }
        };
        if dialled.spoken == Spoken::Http2 {
            let over = until_run_ended(self.workload.clone(), Arc::clone(&self.run));
            let shared = Multiplexed::greet(dialled.stream, place, over, &self.waiters).await?;
            let share = shared.share().ok_or_else(|| io::Error::other("it takes no request"))?;
            self.keep(|kept| kept.shared.push(shared));
            return Ok(self.connection(Carrier::Shared(share)));
        }
        let alone = Alone::on(dialled.stream, place).await?;
        Ok(self.connection(Carrier::Alone(alone)))
    }

    fn connection(self: &Arc<Self>, carrier: Carrier) -> Connection {
        Connection { carrier, pool: Arc::clone(self) }
    }

    /// Keeps something, unless the run is over.
    fn keep(self: &Arc<Self>, add: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept();
        if kept.is_over {
            return;
        }
        if kept.keeper.is_none() {
            // Without a runtime everything is being torn down.
            let Ok(runtime) = Handle::try_current() else { return };
            let keeper = keep_until_over(Arc::downgrade(self), self.workload.clone(), self.epoch);
            kept.keeper = Some(runtime.spawn(keeper).abort_handle());
        }
        add(&mut kept);
    }

    fn put_idle(self: &Arc<Self>, alone: Alone) {
        self.keep(|kept| {
            if kept.idle.len() < MAX_IDLE {
                kept.idle.push((alone, Instant::now()));
            }
        });
        self.waiters.tell();
    }

    /// Drops what has been unused for too long. Returns when to look again; `None` if nothing is
    /// kept.
    fn reap(&self) -> Option<Instant> {
        let mut kept = self.kept();
        let now = Instant::now();
        kept.idle.retain_mut(|(alone, since)| {
            now.duration_since(*since) < IDLE_TIMEOUT && alone.is_open()
        });
        kept.shared.retain(|shared| !shared.is_closed() && !shared.is_long_quiet());
        let oldest = kept.idle.first().map(|(_, since)| *since + IDLE_TIMEOUT);
        let next = oldest.or_else(|| (!kept.shared.is_empty()).then(|| now + IDLE_TIMEOUT));
        if next.is_none() {
            kept.keeper = None;
        }
        next
    }

    /// Closes what is unused; what is in use closes when it is through.
    fn end(&self) {
        let mut kept = self.kept();
        kept.is_over = true;
        kept.idle.clear();
        kept.shared.clear();
        kept.keeper = None;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what is not used any more, and all that is unused when the run is over or in doubt.
async fn keep_until_over(pool: Weak<Pool>, workload: Workload, epoch: u64) {
    let mut news = workload.watch();
    // Each change of that is told after it was made.
    let is_over =
        news.wait_for(|_| workload.ready_run().is_none_or(|serving| serving.epoch != epoch));
    let reaping = async {
        let mut next = Instant::now() + IDLE_TIMEOUT;
        loop {
            sleep_until(next).await;
            match pool.upgrade().and_then(|pool| pool.reap()) {
                Some(then) => next = then,
                None => return,
            }
        }
    };
    tokio::select! {
        () = reaping => {}
        _ = is_over => {
            if let Some(pool) = pool.upgrade() {
                pool.end();
            }
        }
    }
}

/// Waits until this run was observed ended. One that is merely in doubt, or being stopped, still answers.
async fn until_run_ended(workload: Workload, run: Arc<ReadyRun>) {
    use PhaseName::{Asleep, Failed, Gone, Starting};
    let has_ended = |now: &Snapshot| {
        let is_other = now.run.is_some() && run.run.is_some() && now.run != run.run;
        is_other || matches!(now.phase, Asleep | Starting | Failed | Gone)
    };
    // An error says that it is no longer managed: then nobody knows.
    if workload.watch().wait_for(has_ended).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Why a pool has nothing to dial.
#[derive(Debug)]
pub(crate) enum NoTarget<'a> {
    NoUpstream(&'a NoUpstream),
    /// The container ran no longer when it was read.
    NotKnown,
}

/// A connection in use, or a share of one. Dropping it closes it, or ends its share.
pub(crate) struct Connection {
    pub(crate) carrier: Carrier,
    pool: Arc<Pool>,
}

/// What carries a request.
pub(crate) enum Carrier {
    /// HTTP/1.1.
    Alone(Alone),
    /// HTTP/2.
    Shared(Share),
}

impl Connection {
    /// Whether other requests may be on it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.carrier, Carrier::Shared(_))
    }

    /// Polls what comes on it.
    pub(crate) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut fed: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.carrier {
            Carrier::Alone(alone) => alone.poll(context, fed),
            Carrier::Shared(_) => fed(context),
        }
    }

    /// Lets it go on also while nothing that comes on it is polled: an upload that its answer has
    /// overtaken must not wait for a client to read, nor an upgrade for anybody. It carries no further
    /// request.
    pub(crate) fn go_on(&mut self) {
        // Without a runtime everything is being torn down.
        if let (Carrier::Alone(alone), Ok(runtime)) = (&mut self.carrier, Handle::try_current()) {
            alone.go_on(&runtime);
        }
    }

    /// Keeps it for the next request.
    pub(crate) fn give_back(self) {
        let Self { carrier, pool } = self;
        match carrier {
            Carrier::Alone(alone) => match alone.rest() {
                Rest::Idle(alone) => pool.put_idle(alone),
                Rest::Busy(mut alone) => {
                    if let Ok(runtime) = Handle::try_current() {
                        runtime.spawn(async move {
                            if timeout(LINGER, alone.is_through()).await == Ok(true) {
                                pool.put_idle(alone);
                            }
                        });
                    }
                }
                Rest::Gone => {}
            },
            Carrier::Shared(share) => drop(share),
        }
    }

    /// Ends what is still on its way, at whatever stage: nobody waits for it. `upload`: whether that has
    /// ended by then.
    pub(crate) fn cut(self, upload: Option<impl Future<Output = bool> + Send + 'static>) {
        match self.carrier {
            Carrier::Alone(alone) => alone.cut(),
            Carrier::Shared(share) => share.end_after(upload),
        }
    }

    /// Lets an upload go on whose answer is through, for a while. `upload`: whether it has ended by then.
    pub(crate) fn linger(mut self, upload: Option<impl Future<Output = bool> + Send + 'static>) {
        self.go_on();
        match self.carrier {
            Carrier::Alone(alone) => {
                if let Ok(runtime) = Handle::try_current() {
                    let upload = OptionFuture::from(upload);
                    runtime.spawn(async { tokio::join!(upload, alone.end_within(LINGER)) });
                }
            }
            Carrier::Shared(share) => share.end_after(upload),
        }
    }
}

/// One more of a number, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::SeqCst);
        Self(number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
