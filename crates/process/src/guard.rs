//! The guard: kills every process group that is left when the embedding process dies.
//!
//! A shell with a socket as its standard input. It is told of each group before that group's
//! program runs, and when it is over; when the socket ends, which the kernel sees to however the
//! embedding process dies, it kills those that are left. It lives in a session of its own, so that
//! neither a terminal's Ctrl-C nor a kill of our group takes it along.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
};

use rustix::{
    net::{SendFlags, send},
    process::Pid,
};

use crate::spawn;

/// Only builtins of a POSIX shell, so that nothing else needs to be installed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM QUIT
groups=
while read -r sign token pid; do
  case $sign in
    +) groups="$groups $token:$pid" ;;
    -) kept=
       for entry in $groups; do
         [ "${entry%%:*}" = "$token" ] || kept="$kept $entry"
       done
       groups=$kept ;;
  esac
done
for entry in $groups; do
  kill -s KILL -- "-${entry#*:}"
done
"#;

/// Names one run to the guard. Not the pid: a run that failed to start has one that nobody learns,
/// and its entry must be struck out all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

#[derive(Debug)]
pub(crate) struct Guard {
    socket: UnixStream,
    shell: Child,
    next_token: u64,
}

impl Guard {
    /// # Errors
    /// If there is no `/bin/sh`, or no room for one more process.
    pub(crate) fn start() -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "drowse-guard"])
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        spawn::in_a_session_of_its_own(&mut command);
        let shell = command.spawn()?;
        Ok(Self { socket, shell, next_token: 0 })
    }

    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    pub(crate) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Names a group that already runs.
    pub(crate) fn announce(&self, token: Token, group: Pid) -> io::Result<()> {
        self.tell(Announcement::new(token).of(group))
    }

    /// Strikes a group out. To be called while its number still belongs to it.
    pub(crate) fn forget(&self, token: Token) -> io::Result<()> {
        self.tell(format!("- {} \n", token.0).as_bytes())
    }

    /// Never waits: a guard that does not read its few bytes is of no use.
    fn tell(&self, line: &[u8]) -> io::Result<()> {
        let sent = send(&self.socket, line, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Ends it without its doing anything.
    pub(crate) fn dismiss(mut self) -> io::Result<()> {
        self.shell.kill()?;
        self.shell.wait()?;
        Ok(())
    }
}

/// The engine's guard: started with the first process, and again if somebody ended it.
#[derive(Debug, Default)]
pub(crate) struct Watchman {
    guard: Option<Guard>,
    /// Told in the log with each restart.
    engine: String,
}

impl Watchman {
    pub(crate) fn of(engine: &str) -> Self {
        Self { guard: None, engine: engine.to_owned() }
    }

    /// A guard that lives and knows the groups that `groups` lists.
    pub(crate) fn ready(
        &mut self,
        groups: impl FnOnce() -> Vec<(Token, Pid)>,
    ) -> io::Result<&mut Guard> {
        let known = self.guard.take();
        let next_token = known.as_ref().map_or(0, |guard| guard.next_token);
        let was_there = known.is_some();
        let living = known.and_then(|mut guard| guard.is_alive().then_some(guard));
        if let Some(guard) = living {
            return Ok(self.guard.insert(guard));
        }
        if was_there {
            tracing::warn!(engine = self.engine, "the guard was ended and is started again");
        }
        let mut guard = Guard::start()?;
        guard.next_token = next_token;
        for (token, group) in groups() {
            guard.announce(token, group)?;
        }
        Ok(self.guard.insert(guard))
    }

    /// Strikes a group out, while its number still belongs to it. A guard that cannot be told is
    /// replaced by one that knows only `others`: the number must not be killed later on.
    pub(crate) fn forget(&mut self, token: Token, others: impl FnOnce() -> Vec<(Token, Pid)>) {
        let Some(guard) = &self.guard else { return };
        let Err(error) = guard.forget(token) else { return };
        tracing::warn!(engine = self.engine, %error, "the guard cannot be told and is replaced");
        self.dismiss();
        if let Err(error) = self.ready(others) {
            tracing::error!(
                engine = self.engine,
                %error,
                "no guard: grandchildren would outlive a kill of this program"
            );
        }
    }

    /// Ends the guard, which then kills nothing.
    pub(crate) fn dismiss(&mut self) {
        if let Some(guard) = self.guard.take()
            && let Err(error) = guard.dismiss()
        {
            tracing::debug!(engine = self.engine, %error, "the guard was gone already");
        }
    }
}

/// The line by which a child names its group: prepared before the fork, since nothing may allocate
/// after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcement {
    line: [u8; Self::CAPACITY],
    length: usize,
}

impl Announcement {
    /// `+ `, 20 digits, a space, 10 digits, a line end.
    const CAPACITY: usize = 2 + 20 + 1 + 10 + 1;

    pub(crate) fn new(token: Token) -> Self {
        let mut new = Self { line: [0; Self::CAPACITY], length: 0 };
        new.push(b'+');
        new.push(b' ');
        new.push_number(token.0);
        new.push(b' ');
        new
    }

    /// The whole line for the group `group`. Async-signal-safe.
    pub(crate) fn of(&mut self, group: Pid) -> &[u8] {
        self.push_number(u64::from(group.as_raw_nonzero().get().unsigned_abs()));
        self.push(b'\n');
        self.line.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.line.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_number(&mut self, number: u64) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        // A remainder of ten fits.
        self.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_line_fits() {
        let group = Pid::from_raw(i32::MAX).unwrap();
        let mut line = Announcement::new(Token(u64::MAX));
        assert_eq!(line.of(group), format!("+ {} {}\n", u64::MAX, i32::MAX).as_bytes());
    }

    #[test]
    fn the_guard_kills_what_was_announced_and_not_forgotten() {
        let group_of = |child: &Child| Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let sleep = || {
            let mut command = Command::new("sleep");
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            command.arg("1000").spawn().unwrap()
        };
        let (mut kept, mut forgotten) = (sleep(), sleep());

        let mut guard = Guard::start().unwrap();
        for child in [&kept, &forgotten] {
            let token = guard.token();
            guard.announce(token, group_of(child)).unwrap();
        }
        guard.forget(Token(2)).unwrap();
        drop(guard.socket);
        guard.shell.wait().unwrap();

        assert!(!kept.wait().unwrap().success());
        assert!(forgotten.try_wait().unwrap().is_none(), "a forgotten group was killed");
        forgotten.kill().unwrap();
        forgotten.wait().unwrap();
    }
}
