//! One `ssh` as a child process that never outlives drowse.
//!
//! A thread of its own starts it, waits for it and reaps it: the kernel kills a child that asked
//! for it when the *thread* dies that started it, and a runtime's threads come and go.
#![expect(unsafe_code, reason = "`CommandExt::pre_exec` has no safe equivalent")]

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    thread,
};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, setsid,
};
use tokio::sync::oneshot;

/// A running `ssh`. It is killed when this is dropped, and reaped in any case.
pub(super) struct Process {
    killer: Killer,
    ended: oneshot::Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

/// Kills on drop. A descriptor, so that it is never another process that is killed.
struct Killer(OwnedFd);

impl Drop for Killer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

type Started = io::Result<(Killer, ChildStderr)>;

impl Process {
    /// Starts it; gives what it will say on standard error. If the future is dropped, the process
    /// is killed.
    pub(super) async fn start(command: Command) -> io::Result<(Self, ChildStderr)> {
        let (started, start) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("drowse-ssh".to_owned())
            .spawn(move || see_to_the_end(command, started, end))?;
        let gone = |_| io::Error::other("the thread that starts ssh has ended");
        let (killer, stderr) = start.await.map_err(gone)??;
        Ok((Self { killer, ended, status: None }, stderr))
    }

    /// Waits for its end. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        // The thread cannot end without saying so, but by a panic.
        let status = (&mut self.ended).await.unwrap_or_default();
        *self.status.insert(status)
    }

    /// Kills it, and waits until it is reaped.
    pub(super) async fn kill(mut self) {
        let Self { killer, .. } = &self;
        // An error means that it has ended already.
        _ = pidfd_send_signal(&killer.0, Signal::KILL);
        self.ended().await;
    }
}

fn see_to_the_end(
    command: Command,
    started: oneshot::Sender<Started>,
    end: oneshot::Sender<ExitStatus>,
) {
    let mut child = match spawn(command) {
        Ok((child, start)) => {
            // Nobody waits any more: what comes back unsent kills it.
            _ = started.send(Ok(start));
            child
        }
        Err(error) => {
            _ = started.send(Err(error));
            return;
        }
    };
    if let Ok(status) = child.wait() {
        // Nobody needs to know any more.
        _ = end.send(status);
    }
}

fn spawn(mut command: Command) -> io::Result<(Child, (Killer, ChildStderr))> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    bind_to_us(&mut command);
    let mut child = command.spawn()?;
    let killer = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map(Killer);
    match (killer, child.stderr.take()) {
        (Ok(killer), Some(stderr)) => Ok((child, (killer, stderr))),
        (killer, _) => {
            child.kill()?;
            child.wait()?;
            Err(killer.err().map_or_else(|| io::Error::other("no standard error"), Into::into))
        }
    }
}

/// Makes it die with us, and no signal of a terminal reach it: a Ctrl-C ends drowse, which still
/// needs its engine while it does so.
fn bind_to_us(command: &mut Command) {
    let parent = getpid();
    // SAFETY: `pre_exec` runs in a fork of a process with many threads, where only what is
    // async-signal-safe may be used. These are system calls on values made before the fork, which
    // neither allocate nor lock nor panic.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // We may have died before that call: then there is no signal to come.
            if getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
            Ok(())
        });
    }
}
