//! On what and of what the numbers are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit};

use super::engine::Engine;
use crate::cargo;

/// The lines below a table that an engine had to do with: date, versions, machine.
pub(super) fn describe(program: &Path, engine: &Engine) -> anyhow::Result<String> {
    lines(program, &format!(", dockerd {}", engine.version()?))
}

/// The same where no engine had.
pub(super) fn describe_alone(program: &Path) -> anyhow::Result<String> {
    lines(program, "")
}

fn lines(program: &Path, further_versions: &str) -> anyhow::Result<String> {
    let date = told(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let commit = told(&mut git(&["rev-parse", "--short=12", "HEAD"])).unwrap_or_default();
    let changes = told(&mut git(&["status", "--porcelain", "--untracked-files=no"]));
    let state = if changes.is_ok_and(|changes| changes.is_empty()) { "" } else { " with changes" };
    let version = told(Command::new(program).arg("--version"))?;
    let rustc = cargo::rustc_version()?;
    let rustc = rustc.lines().next().unwrap_or_default();
    let uname = rustix::system::uname();
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or_else(|| "no limit of".to_owned(), |limit| limit.to_string());
    Ok(format!(
        "- date: {date}\n\
         - versions: {version} (commit {commit}{state}, profile `dist`), {rustc}{further_versions}\n\
         - machine: {}, {} cores, {}, Linux {} {}, {limit} descriptors a process\n\
         - load average when it began: {}\n",
        processor(),
        std::thread::available_parallelism()?,
        memory(),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy(),
        load(),
    ))
}

/// How busy the machine is: over the last one, five and fifteen minutes.
pub(super) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(", ")
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
    model.unwrap_or_else(|| "unknown processor".to_owned())
}

fn memory() -> String {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total: Option<f64> = total.and_then(|total| total.trim().strip_suffix(" kB")?.parse().ok());
    total.map_or_else(
        || "unknown memory".to_owned(),
        |kib| format!("{:.1} GiB", kib / f64::from(1 << 20)),
    )
}

fn git(arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(cargo::root());
    git
}

fn told(command: &mut Command) -> anyhow::Result<String> {
    let shown = cargo::show(command);
    let output = command.stdin(Stdio::null()).output().context(shown.clone())?;
    if !output.status.success() {
        bail!("`{shown}`: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
