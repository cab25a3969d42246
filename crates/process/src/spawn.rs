//! Starting processes: what has to be done between fork and exec.
//!
//! The only unsafe code of the crate. `pre_exec` is unsafe because its closure runs in a fork of a
//! process with many threads: it may use only what is async-signal-safe, so it must not allocate,
//! lock or panic. Both closures here do system calls on values made before the fork.
#![expect(unsafe_code, reason = "`CommandExt::pre_exec` has no safe equivalent")]

use std::{
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use rustix::{
    net::{SendFlags, send},
    process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid},
};

use crate::guard::{Announcement, Guard, Token};

/// Makes `command` a group of its own, known to the guard before its program runs, and killed with
/// the calling thread.
///
/// The child announces itself, so that there is no moment at which it runs unknown to the guard.
pub(crate) fn guarded(command: &mut Command, guard: &Guard, token: Token) {
    let announcement = Announcement::new(token);
    let socket: RawFd = guard.socket().as_raw_fd();
    let parent = getpid();
    command.process_group(0);
    // SAFETY: see the module. `socket` stays open until exec: it is the parent's, inherited by the
    // fork, and `guard` is borrowed by the caller until `spawn` has returned.
    unsafe {
        command.pre_exec(move || announce_and_bind(socket, parent, announcement));
    }
}

fn announce_and_bind(socket: RawFd, parent: Pid, mut line: Announcement) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before that call: then there is no signal to come.
    if getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
    }
    // SAFETY: the descriptor is open, as said above.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    let line = line.of(getpid());
    // Without a signal if the guard is gone, and without waiting if it does not read.
    let sent = send(socket, line, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    if sent == line.len() { Ok(()) } else { Err(rustix::io::Errno::AGAIN.into()) }
}

/// Makes `command` the leader of a session: no signal of a terminal or to our group reaches it.
pub(crate) fn in_a_session_of_its_own(command: &mut Command) {
    // SAFETY: see the module.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(())
        });
    }
}
