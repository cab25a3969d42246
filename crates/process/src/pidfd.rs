//! A process by descriptor: one that can never come to mean another process.
#![expect(unsafe_code, reason = "a descriptor is registered with tokio's reactor, which owns it")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{Interest, unix::AsyncFd};

/// A pidfd whose process's end can be awaited, in the runtime in which it was opened.
#[derive(Debug)]
pub(crate) struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Of the process that has this pid now: certain only for a child that is not yet reaped.
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: the descriptor is open, is moved into the `AsyncFd` and is owned by it alone from
        // here on: this type hands out borrows only.
        let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        Ok(Self(registered))
    }

    /// Waits until the process is over, reaped or not. An error means that the runtime ends.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        // It becomes readable at the end, and stays so.
        self.0.readable().await?.retain_ready();
        Ok(())
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
