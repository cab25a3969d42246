//! Connections to the upstream of one route. A pool belongs to one run of the container and is
//! dropped with it: what was connected to an earlier run is never used for a later one.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use drowse_watcher::ReadyRun;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    runtime::Handle,
    sync::{OnceCell, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use crate::{
    body::RequestBody,
    dial,
    upstream::{Chooser, NoUpstream, Target, Upstream},
};

/// How long an unused connection is kept: shorter than the 5 s after which Node's server closes
/// its end, so that a request seldom meets a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How many unused connections are kept per route.
const MAX_IDLE: usize = 256;

/// How long a connection may take to be made. The kernel says "no route to host" after about 3 s:
/// that reason is worth waiting for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests of one route open connections at a time: thousands that were held during a
/// wake must not hit the application's listen queue at once.
const OPENINGS: usize = 256;

/// The connections of one route, over all runs.
pub(crate) struct Pools {
    chooser: Chooser,
    current: ArcSwapOption<Pool>,
    pub(crate) openings: Semaphore,
}

impl Pools {
    pub(crate) fn new(chooser: Chooser) -> Self {
        let openings = Semaphore::new(OPENINGS);
        Self { chooser, current: ArcSwapOption::empty(), openings }
    }

    /// The pool of this run.
    pub(crate) fn of(&self, run: &ReadyRun) -> Arc<Pool> {
        if let Some(pool) = &*self.current.load()
            && pool.epoch == run.epoch
        {
            return Arc::clone(pool);
        }
        let new = Arc::new(Pool::new(run, self.chooser.choose(&run.details)));
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
}

/// The connections of one route to one run.
pub(crate) struct Pool {
    epoch: u64,
    upstream: Result<Upstream, NoUpstream>,
    /// A name is looked up once per run.
    addresses: OnceCell<Vec<SocketAddr>>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one used last is at the end; so the first has been idle for the longest time.
    connections: Vec<(SendRequest<RequestBody>, Instant)>,
    /// Closes what has been idle for too long; there only while there is something idle.
    reaper: Option<AbortHandle>,
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(reaper) = &self.reaper {
            reaper.abort();
        }
    }
}

impl Pool {
    fn new(run: &ReadyRun, upstream: Result<Upstream, NoUpstream>) -> Self {
        Self { epoch: run.epoch, upstream, addresses: OnceCell::new(), idle: Mutex::default() }
    }

    /// What is dialled.
    pub(crate) fn target(&self) -> Result<&Target, NoTarget<'_>> {
        let upstream = self.upstream.as_ref().map_err(NoTarget::NoUpstream)?;
        upstream.target.as_ref().ok_or(NoTarget::NotKnown)
    }

    /// A connection that is not in use, and that nothing was seen to be wrong with.
    pub(crate) fn take_idle(self: &Arc<Self>) -> Option<Connection> {
        let mut idle = self.idle();
        let now = Instant::now();
        while let Some((sender, since)) = idle.connections.pop() {
            if !sender.is_closed() && now.duration_since(since) < IDLE_TIMEOUT {
                return Some(Connection { sender, pool: Arc::clone(self) });
            }
        }
        None
    }

    /// A new connection.
    pub(crate) async fn open(self: &Arc<Self>, target: &Target) -> io::Result<Connection> {
        let addresses = self.addresses.get_or_try_init(|| dial::resolve(target)).await?;
        let stream = dial::connect(addresses, CONNECT_TIMEOUT).await?;
        let handshake = http1::Builder::new().handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        // It ends when its sender is dropped, or with the connection.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "an upstream connection ended");
            }
        });
        Ok(Connection { sender, pool: Arc::clone(self) })
    }

    fn put_idle(self: &Arc<Self>, sender: SendRequest<RequestBody>) {
        // Without a runtime everything is being torn down.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut idle = self.idle();
        if idle.connections.len() >= MAX_IDLE {
            return;
        }
        idle.connections.push((sender, Instant::now()));
        if idle.reaper.is_none() {
            idle.reaper = Some(runtime.spawn(reap(Arc::downgrade(self))).abort_handle());
        }
    }

    /// Drops what has been idle for too long. Returns when to look again; `None` if nothing is idle.
    fn reap(&self) -> Option<Instant> {
        let mut idle = self.idle();
        let now = Instant::now();
        idle.connections.retain(|(sender, since)| {
            !sender.is_closed() && now.duration_since(*since) < IDLE_TIMEOUT
        });
        let oldest = idle.connections.first().map(|(_, since)| *since + IDLE_TIMEOUT);
        if oldest.is_none() {
            idle.reaper = None;
        }
        oldest
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn reap(pool: Weak<Pool>) {
    let mut next = Instant::now() + IDLE_TIMEOUT;
    loop {
        sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.reap()) {
            Some(oldest) => next = oldest,
            None => return,
        }
    }
}

/// Why a pool has nothing to dial.
#[derive(Debug)]
pub(crate) enum NoTarget<'a> {
    NoUpstream(&'a NoUpstream),
    /// The container ran no longer when it was read.
    NotKnown,
}

/// A connection in use. Dropping it closes it.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    pool: Arc<Pool>,
}

impl Connection {
    /// Keeps it for the next request.
    pub(crate) fn give_back(self) {
        if !self.sender.is_closed() {
            self.pool.put_idle(self.sender);
        }
    }
}
