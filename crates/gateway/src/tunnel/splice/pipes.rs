//! The pipes through which bytes are handed on.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

/// How much is in one at most: what a slow reader makes the kernel keep of a connection beyond its
/// windows.
const ROOM: usize = 256 * 1024;

/// With less it is not worth it: a user that has many pipes gets small ones (`pipe-user-pages-soft`).
const LEAST: usize = 64 * 1024;

/// How many are kept open for the next: about as many as are used at the same moment.
const SPARE: usize = 8;

/// The most of all connections: what reads slowly is copied beyond it.
const MOST: usize = 64;

/// The pipes of all connections. A cheap handle.
#[derive(Clone)]
pub(crate) struct Pipes(Arc<Pool>);

struct Pool {
    most: usize,
    state: Mutex<State>,
}

/// Locked for a moment, twice for each time that a connection has something to pass on.
#[derive(Default)]
struct State {
    spare: Vec<Ends>,
    /// How many there are, the spare ones among them.
    open: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe in use. When it is dropped it serves the next one, unless something is left in it.
pub(super) struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    held: usize,
    pipes: Pipes,
}

impl Pipes {
    /// As many as this many connections may come to need, and as leave them their descriptors.
    pub(crate) fn for_connections(connections: usize) -> Self {
        Self::new((connections / 32).min(MOST))
    }

    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Pool { most, state: Mutex::default() }))
    }

    /// An empty one; `None` if there are as many as may be, or this machine has none to give.
    pub(super) fn take(&self) -> Option<Pipe> {
        let pipe = |ends| Some(Pipe { ends: Some(ends), held: 0, pipes: self.clone() });
        let mut state = self.state();
        if let Some(ends) = state.spare.pop() {
            return pipe(ends);
        }
        if state.open == self.0.most {
            return None;
        }
        let ends = Ends::open().ok()?;
        state.open += 1;
        pipe(ends)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.state().open
    }
}

impl Ends {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // What it has without is enough.
        _ = fcntl_setpipe_size(&write, ROOM);
        if fcntl_getpipe_size(&write)? < LEAST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { read, write })
    }
}

impl Pipe {
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes in what has come; how much that is, 0 at the end. It must be empty, or whoever asks does
    /// not know what blocks.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let read = splice(from, None, &ends.write, None, ROOM, flags())?;
        self.held += read;
        Ok(read)
    }

    /// Gives out what is in it; how much was taken.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let written = splice(&ends.read, None, to, None, self.held, flags())?;
        self.held -= written;
        Ok(written)
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = self.pipes.state();
        match self.ends.take() {
            Some(ends) if self.held == 0 && state.spare.len() < SPARE => state.spare.push(ends),
            // Nobody else's bytes.
            _ => state.open -= 1,
        }
    }
}
