//! An engine's socket on another machine, by one long-lived `ssh`.
//!
//! The system's own program, so that its user's configuration, agent and known hosts count. It is
//! started at the first dial and forwards a socket in a private folder to the engine's; every
//! connection to the engine is one to that socket. When it ends, the next dial starts another.

mod command;
mod explain;
mod process;
mod said;
mod tunnel;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::UnixStream, sync::watch, time::Instant};

use self::{
    command::Command,
    explain::Failure,
    tunnel::{Phase, Tunnel},
};
use super::{DialError, Surroundings};
use crate::{SshFiles, endpoint::Destination};

/// How long a socket that refuses is waited for to be that of an `ssh` that has ended.
const NOTICED: Duration = Duration::from_secs(1);
/// After a failed start, the next one waits so long: whoever knocks too often is locked out.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// An `ssh` that was connected for so long was no failed start.
const LASTED: Duration = Duration::from_secs(5);

/// Makes connections to one engine's socket by ssh.
pub(crate) struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    command: Command,
    surroundings: Surroundings,
    /// The host that ssh connects to, once it was asked.
    host: Mutex<Option<String>>,
    state: Mutex<State>,
}

/// The one `ssh` that there is, or was.
#[derive(Default)]
struct State {
    phase: Option<watch::Receiver<Phase>>,
    /// Failed starts in a row.
    failures: u32,
    not_before: Option<Instant>,
}

impl Connector {
    /// Starts nothing. The error is a lower-case fragment.
    pub(crate) fn new(
        destination: &Destination,
        files: &SshFiles,
        surroundings: Surroundings,
    ) -> Result<Self, String> {
        let command = Command::new(destination, files, surroundings.connect_timeout)?;
        let (host, state) = (Mutex::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { command, surroundings, host, state }) })
    }

    /// Connects. However many dials come at once, one `ssh` is started; it goes on if they are
    /// dropped.
    pub(crate) async fn dial(&self) -> Result<UnixStream, DialError> {
        let (mut phase, tunnel) = self.tunnel().await?;
        let error = match UnixStream::connect(tunnel.socket()).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        // It ends this very moment. Another one is worth one attempt.
        drop(tunnel);
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended(_)));
        if tokio::time::timeout(NOTICED, ended).await.is_err() {
            return Err(self.socket_failed(error));
        }
        let (_, tunnel) = self.tunnel().await?;
        UnixStream::connect(tunnel.socket()).await.map_err(|error| self.socket_failed(error))
    }

    fn socket_failed(&self, error: io::Error) -> DialError {
        let host = self.shared.command.host();
        DialError::new(format!("the local end of the ssh to `{host}` cannot be opened"), error)
    }

    /// Waits for the `ssh` that there is, or for one that is started now.
    async fn tunnel(&self) -> Result<(watch::Receiver<Phase>, Arc<Tunnel>), DialError> {
        let mut phase = self.shared.join();
        loop {
            let now = phase.borrow_and_update().clone();
            let failure = match now {
                Phase::Up(tunnel) => return Ok((phase, tunnel)),
                Phase::Ended(failure) => failure,
                Phase::Starting => match phase.changed().await {
                    Ok(()) => continue,
                    // Its task was dropped with the runtime.
                    Err(_) => Arc::new(Failure::closed()),
                },
            };
            return Err(DialError::new(failure.reason.clone(), failure.source.clone()));
        }
    }

    /// What ssh itself said of the end of a connection.
    pub(crate) fn explain_break(&self) -> Option<String> {
        let phase = self.shared.state().phase.as_ref()?.borrow().clone();
        match phase {
            Phase::Starting => None,
            Phase::Up(tunnel) => {
                tunnel.was_just_refused().then(|| explain::refused(&self.shared.command))
            }
            Phase::Ended(failure) => Some(failure.reason.clone()),
        }
    }

    pub(crate) fn host(&self) -> Option<String> {
        self.shared.host().clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self) -> MutexGuard<'_, Option<String>> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phase of the `ssh` that there is; of a new one if that has ended, unless it has failed
    /// a moment ago.
    fn join(self: &Arc<Self>) -> watch::Receiver<Phase> {
        let mut state = self.state();
        let may_start = state.not_before.is_none_or(|moment| Instant::now() >= moment);
        if let Some(phase) = &state.phase
            && !(may_start && matches!(*phase.borrow(), Phase::Ended(_)))
        {
            return phase.clone();
        }
        let (sender, receiver) = watch::channel(Phase::Starting);
        let live = tunnel::live(Arc::clone(self), sender);
        self.surroundings.tasks.spawn(live);
        state.phase = Some(receiver.clone());
        receiver
    }

    /// Notes how one went, before anybody is told of its end.
    fn note_end(&self, was_up_for: Option<Duration>) {
        let mut state = self.state();
        if was_up_for.is_some_and(|time| time >= LASTED) {
            (state.failures, state.not_before) = (0, None);
            return;
        }
        let pause = PAUSE_MIN.saturating_mul(1 << state.failures.min(8)).min(PAUSE_MAX);
        state.failures = state.failures.saturating_add(1);
        state.not_before = Some(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_each_failed_start_the_next_one_waits_longer() {
        let surroundings = Surroundings {
            engine: "nas".to_owned(),
            connect_timeout: Duration::from_secs(5),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let destination = Destination::parse("nas").unwrap();
        let connector = Connector::new(&destination, &SshFiles::new(), surroundings).unwrap();
        let shared = &connector.shared;
        let pause = || {
            shared.note_end(None);
            (shared.state().not_before.unwrap() - Instant::now()).as_secs()
        };
        let pauses: Vec<u64> = std::iter::repeat_with(pause).take(7).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        // One that was connected for a moment only was no success, and one that lasted was.
        shared.note_end(Some(Duration::from_secs(1)));
        assert!(shared.state().not_before.is_some());
        shared.note_end(Some(LASTED));
        assert_eq!(shared.state().not_before, None);
    }
}
