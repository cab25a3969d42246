//! What the kernel knows of a process.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// A process's resident memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// All of it, the program's own pages included.
    pub(super) resident: u64,
    /// Of that, what belongs to no file: heap and stacks.
    pub(super) anonymous: u64,
}

impl Memory {
    pub(super) fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/smaps_rollup");
        Self::parse(&fs::read_to_string(&path).with_context(|| path.clone())?).context(path)
    }

    fn parse(rollup: &str) -> anyhow::Result<Self> {
        let bytes = |field: &str| {
            let value = rollup.lines().find_map(|line| line.strip_prefix(field));
            let number = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
            number.map(|kib: u64| kib * 1024).with_context(|| format!("no {field}"))
        };
        Ok(Self { resident: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
    }
}

/// The processor time that a process has used so far, in itself and for it in the kernel.
pub(super) fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let ticks = parse_ticks(&fs::read_to_string(&path).with_context(|| path.clone())?);
    let seconds = ticks.context(path)? / f64::from(ticks_per_second());
    Ok(Duration::from_secs_f64(seconds))
}

/// Fields 14 and 15. The second field is the program's name, which may contain anything.
fn parse_ticks(stat: &str) -> Option<f64> {
    let fields = stat.rsplit_once(')')?.1;
    let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse().ok());
    let (user, system): (f64, f64) = (times.next()?, times.next()?);
    Some(user + system)
}

/// A process and all that descend from it, the eldest first.
pub(super) fn family(process: u32) -> anyhow::Result<Vec<u32>> {
    let parents = fs::read_dir("/proc")?.filter_map(|entry| {
        let number: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        // One that has ended meanwhile is left out.
        Some((number, parse_parent(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?)?))
    });
    let parents: Vec<(u32, u32)> = parents.collect();
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|one| one.1 == parent).map(|one| one.0));
        next += 1;
    }
    Ok(family)
}

/// Field 4.
fn parse_parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Kills it, if it is there.
pub(super) fn kill(process: u32) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // An error means that it has ended already.
        kill_process(pid, Signal::KILL).ok();
    }
}

fn ticks_per_second() -> u32 {
    u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_field() {
        let rollup =
            "55-7f ---p 0 00:00 0 [rollup]\nRss:    1024 kB\nPss:  7 kB\nAnonymous: 512 kB\n";
        let memory = Memory::parse(rollup).unwrap();
        assert_eq!(memory, Memory { resident: 1024 * 1024, anonymous: 512 * 1024 });
        assert!(Memory::parse("Rss: 1 kB").is_err());
    }

    #[test]
    fn a_family_has_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let family = family(std::process::id()).unwrap();
        kill(child.id());
        child.wait().unwrap();
        assert_eq!(family[0], std::process::id());
        assert!(family.contains(&child.id()));
    }

    #[test]
    fn processor_time_is_read_past_a_name_with_blanks() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 5";
        assert_eq!(parse_ticks(stat), Some(300.0));
        assert!(processor_time(std::process::id()).is_ok());
        assert_eq!(parse_parent(stat), Some(1));
    }
}
