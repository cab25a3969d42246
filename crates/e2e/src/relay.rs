//! A relay between drowse and an engine's socket, which counts the requests and can be broken.

mod connection;
mod requests;
mod scope;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use requests::Recorded;

use crate::wait::scratch_folder;
use scope::Scope;

/// A socket that passes everything on to another one, until it is told otherwise.
#[derive(Debug)]
pub struct SocketRelay {
    _folder: TempDir,
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    engine: PathBuf,
    scope: Option<Scope>,
    faults: watch::Sender<Faults>,
    state: Mutex<State>,
}

/// What is wrong with the line at present.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// Nothing passes, in either direction; connections stay open.
    stalled: bool,
    /// Each piece of an answer is held for so long.
    delay: Duration,
    /// What the engine sends on event streams is thrown away.
    events_lost: bool,
}

#[derive(Debug, Default)]
struct State {
    accepted: u64,
    recorded: Vec<Recorded>,
    lost: Vec<u8>,
    refusals: Vec<Refusals>,
    open: HashMap<u64, Open>,
}

/// Orders that are refused, so many more of them.
#[derive(Debug)]
struct Refusals {
    order: &'static str,
    left: usize,
}

/// A connection that is open.
#[derive(Debug)]
struct Open {
    last: Option<Recorded>,
    cut: CancellationToken,
}

impl Shared {
    /// The tests' harness holds the lock for a few lines without an await, and does not panic
    /// there.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the relay's state")
    }

    /// Whether this one is refused; it is counted then.
    fn refuses(&self, request: &Recorded) -> bool {
        let mut state = self.state();
        let refusals = state.refusals.iter_mut().find(|one| request.is_order(one.order));
        match refusals {
            Some(Refusals { left, .. }) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

impl SocketRelay {
    /// A relay to the socket of an engine; see [`crate::Dockerd::socket`].
    pub fn to(engine: &Path) -> Self {
        Self::with_scope(engine, None)
    }

    /// The same, showing only the containers that carry this label (`key=value`) in lists and
    /// events.
    pub fn scoped(engine: &Path, label: &str) -> Self {
        Self::with_scope(engine, Some(Scope { label: label.to_owned() }))
    }

    fn with_scope(engine: &Path, scope: Option<Scope>) -> Self {
        let folder = scratch_folder();
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            scope,
            faults: watch::Sender::default(),
            state: Mutex::default(),
        });
        let socket = folder.path().join("relay.sock");
        let mut relay = Self { _folder: folder, socket, shared, accepting: None };
        relay.up();
        relay
    }

    /// Its own socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The URL to give to drowse.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The engine is there (again). Nothing changes if it was.
    pub fn up(&mut self) {
        if self.accepting.is_none() {
            let listener = UnixListener::bind(&self.socket).expect("the relay's socket");
            let accepting = tokio::spawn(accept(listener, self.shared.clone()));
            self.accepting = Some(AbortOnDropHandle::new(accepting));
        }
    }

    /// The engine is gone: open connections break, there is no socket to connect to.
    pub fn down(&mut self) {
        if self.accepting.take().is_some() {
            std::fs::remove_file(&self.socket).expect("the relay's socket to be removed");
        }
        self.cut();
    }

    /// Breaks every open connection.
    pub fn cut(&self) {
        self.cut_where(|_| true);
    }

    /// Breaks the open connections whose last request is such a one.
    pub fn cut_where(&self, such: impl Fn(&Recorded) -> bool) {
        // Not the cancelled ones' own business: the map must be right when this returns.
        self.shared.state().open.retain(|_, open| {
            let hit = open.last.as_ref().is_none_or(&such);
            if hit {
                open.cut.cancel();
            }
            !hit
        });
    }

    /// Breaks the open event streams.
    pub fn cut_events(&self) {
        self.cut_where(Recorded::is_event_stream);
    }

    /// From now on nothing passes in either direction; connections stay open.
    pub fn stall(&self) {
        self.shared.faults.send_modify(|faults| faults.stalled = true);
    }

    /// Everything passes again, with what was held.
    pub fn resume(&self) {
        self.shared.faults.send_modify(|faults| faults.stalled = false);
    }

    /// The next so many orders of a kind (`start`, `stop`…) are answered with status 500 instead of
    /// being passed on. Not for orders with a body, which would be passed on alone.
    pub fn refuse(&self, order: &'static str, times: usize) {
        let mut state = self.shared.state();
        state.refusals.retain(|one| one.order != order);
        state.refusals.push(Refusals { order, left: times });
    }

    /// Each piece of an answer is held for so long from now on.
    pub fn delay(&self, delay: Duration) {
        self.shared.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Whether events are lost inside their unbroken streams.
    pub fn lose_events(&self, lost: bool) {
        self.shared.faults.send_modify(|faults| faults.events_lost = lost);
    }

    /// What was thrown away so far, as it came from the engine: a test that wants an event lost
    /// waits until it is in here.
    pub fn lost(&self) -> String {
        String::from_utf8_lossy(&self.shared.state().lost).into_owned()
    }

    /// The requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state().recorded.clone()
    }

    /// How many requests there were of such a kind.
    pub fn count(&self, such: impl Fn(&Recorded) -> bool) -> usize {
        self.shared.state().recorded.iter().filter(|request| such(request)).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.state().recorded.clear();
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.shared.state().accepted
    }

    /// How many connections that carry such a request are open.
    pub fn open_where(&self, such: impl Fn(&Recorded) -> bool) -> usize {
        let state = self.shared.state();
        state.open.values().filter(|open| open.last.as_ref().is_some_and(&such)).count()
    }
}

impl Drop for SocketRelay {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let cut = CancellationToken::new();
        let id = {
            let mut state = shared.state();
            state.accepted += 1;
            let id = state.accepted;
            state.open.insert(id, Open { last: None, cut: cut.clone() });
            id
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            cut.run_until_cancelled(connection::relay(client, id, &shared)).await;
            shared.state().open.remove(&id);
        });
    }
}
