//! Process groups, as `/proc` shows them.

use std::{fs, io, path::Path};

use rustix::process::Pid;

/// What `/proc/<pid>/stat` tells of one process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The scheduler's letter: R, S, D, T, t, Z, X, I.
    pub(crate) state: u8,
    pub(crate) group: i32,
    /// In clock ticks since boot: with the pid it names one process for good.
    pub(crate) started: u64,
}

impl Stat {
    pub(crate) fn read(pid: Pid) -> io::Result<Self> {
        Self::read_from(Path::new(&format!("/proc/{pid}/stat")))
    }

    fn read_from(path: &Path) -> io::Result<Self> {
        let text = fs::read(path)?;
        Self::parse(&text).ok_or_else(|| io::Error::other("`/proc` has an unknown format"))
    }

    /// The second field is the program's name in parentheses and may itself hold parentheses,
    /// spaces and any byte; everything after the last `)` is plain.
    fn parse(text: &[u8]) -> Option<Self> {
        let name_end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
        // From the third field on: state, ppid, pgrp, …, and starttime as the 22nd.
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let group = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(16)?.parse().ok()?;
        Some(Self { state, group, started })
    }

    /// Whether it can no longer run by itself: stopped, traced, or over.
    pub(crate) fn is_still(&self) -> bool {
        matches!(self.state, b'T' | b't' | b'Z' | b'X')
    }
}

/// The processes of a group, also its zombies. Reads all of `/proc`: milliseconds, on a thread that
/// may block.
pub(crate) fn members(group: Pid) -> io::Result<Vec<(Pid, Stat)>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        // One that ended since it was listed is no member.
        if let Ok(stat) = Stat::read(pid)
            && stat.group == group.as_raw_nonzero().get()
        {
            members.push((pid, stat));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = b"42 (a) R 1 (x) T 1 40 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 2\n";
        assert_eq!(Stat::parse(text), Some(Stat { state: b'T', group: 40, started: 123_456 }));
    }

    #[test]
    fn what_is_no_stat_is_refused() {
        for text in [b"".as_slice(), b"42", b"42 (sh)", b"42 (sh) S 1 x", b"42 (sh) S 1 40 40"] {
            assert_eq!(Stat::parse(text), None);
        }
    }

    #[test]
    fn we_are_a_member_of_our_own_group() {
        let own = rustix::process::getpid();
        let found = members(rustix::process::getpgrp()).unwrap();
        assert!(found.iter().any(|(pid, _)| *pid == own));
    }
}
