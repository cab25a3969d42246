//! One run: a process group from its start to its end.

use std::{io, os::fd::AsFd as _};

use drowse_provider::{RunId, Signal};
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};
use tokio::sync::watch;

use crate::{group::Stat, guard::Token, pidfd::Pidfd};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Frozen,
    /// Its leader was reaped and its group is gone. The exit code; `None` if somebody else reaped
    /// the leader.
    Ended(Option<i64>),
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    /// The leader's pid and the group's number: its own until the leader is reaped.
    pub(crate) leader: Pid,
    pub(crate) token: Token,
    pidfd: Pidfd,
    phase: watch::Sender<Phase>,
}

/// What the kernel tells of a leader that lives.
pub(crate) enum Turn {
    Stopped,
    Continued,
}

impl Run {
    /// The run of a child that is not yet reaped. To be called in the engine's runtime.
    pub(crate) fn of(leader: Pid, token: Token) -> io::Result<Self> {
        let pidfd = Pidfd::open(leader)?;
        let started = Stat::read(leader)?.started;
        Ok(Self {
            id: RunId::new(format!("{leader}@{started}")),
            leader,
            token,
            pidfd,
            phase: watch::Sender::new(Phase::Running),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until the phase is one that `wanted` takes.
    pub(crate) async fn until(&self, wanted: impl Fn(Phase) -> bool) -> Phase {
        match self.phase.subscribe().wait_for(|phase| wanted(*phase)).await {
            Ok(phase) => *phase,
            // Only without a sender, which lives in `self`.
            Err(_) => self.phase(),
        }
    }

    /// Waits for the end, and gives the exit code.
    pub(crate) async fn ended(&self) -> Option<i64> {
        match self.until(|phase| matches!(phase, Phase::Ended(_))).await {
            Phase::Ended(code) => code,
            Phase::Running | Phase::Frozen => None,
        }
    }

    /// Sends a signal to the leader. Nothing is done if it is over.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal to the whole group. Nothing is done once the run has ended: the number may be
    /// somebody else's by then.
    pub(crate) fn signal_group(&self, signal: rustix::process::Signal) -> io::Result<()> {
        if matches!(self.phase(), Phase::Ended(_)) {
            return Ok(());
        }
        match kill_process_group(self.leader, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the leader has exited; it stays unreaped.
    pub(crate) async fn leader_exited(&self) -> io::Result<()> {
        self.pidfd.exited().await
    }

    /// Whether the leader has exited, or was reaped by somebody else.
    pub(crate) fn has_leader_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(self.wait_id(), options), Ok(None))
    }

    /// What became of the leader since the last call, short of its end.
    pub(crate) fn next_turn(&self) -> Option<Turn> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        // A zombie has no such state: an error.
        let status = waitid(self.wait_id(), options).ok()??;
        if status.stopped() {
            Some(Turn::Stopped)
        } else if status.continued() {
            Some(Turn::Continued)
        } else {
            None
        }
    }

    /// Reaps the leader and gives its exit code, 128 + n for signal n. `None` if somebody else has
    /// reaped it. From here on its numbers are not its own.
    pub(crate) fn reap(&self) -> Option<i64> {
        let status =
            waitid(self.wait_id(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok()??;
        let by_signal = status.terminating_signal().map(|signal| 128 + signal);
        status.exit_status().or(by_signal).map(i64::from)
    }

    fn wait_id(&self) -> WaitId<'_> {
        WaitId::PidFd(self.pidfd.as_fd())
    }
}

/// The same signal for the system call; `None` for real-time signals, which a C library keeps for
/// itself in part.
pub(crate) fn native(signal: Signal) -> Option<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(signal.number().into())
}
