//! drowse, as a black box.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::clock::Moment;
use super::process::{self, Memory};
use crate::sandbox::pause;

/// How long it may take until all its workloads are as they should be, and how much longer for each
/// of them.
const DEADLINE: Duration = Duration::from_secs(30);
const DEADLINE_EACH: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(100);
/// Between two looks at its log.
const LOG_POLL: Duration = Duration::from_millis(1);

/// A running `drowse run`. Killed on drop.
#[derive(Debug)]
pub(super) struct Drowse {
    program: PathBuf,
    folder: PathBuf,
    process: Child,
    pub(super) address: SocketAddr,
}

impl Drowse {
    /// Starts it with a state folder, a configuration and a log in `folder`, which is made. To the
    /// configuration the address where it listens is added.
    pub(super) fn start(program: &Path, folder: PathBuf, config: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let file = folder.join("drowse.yaml");
        fs::write(&file, config)?;
        let address = free_address()?;
        let log = File::create(folder.join("log"))?;
        let process = Command::new(program)
            .args(["run", "--config"])
            .arg(file)
            .args(["--listen", &address.to_string()])
            .env("DROWSE_STATE_DIR", folder.join("state"))
            .env("DROWSE_DATA_DIR", folder.join("data"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { program: program.to_owned(), folder, process, address })
    }

    /// Waits until it manages so many workloads, of which so many are ready and the others asleep.
    pub(super) fn wait_until(&mut self, workloads: usize, ready: usize) -> anyhow::Result<()> {
        let began = Moment::now();
        let deadline = DEADLINE + DEADLINE_EACH * u32::try_from(workloads)?;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("drowse ended: {status}\n{}", self.log());
            }
            // Until it has made its control socket it cannot be asked.
            let states = self.states().unwrap_or_default();
            let count = |state| states.iter().filter(|other| *other == state).count();
            let (are_ready, asleep) = (count("ready"), count("asleep"));
            if states.len() == workloads && are_ready == ready && asleep + ready == workloads {
                return Ok(());
            }
            if began.elapsed() > deadline {
                bail!(
                    "of {workloads} workloads, drowse has {} after {deadline:?}, {are_ready} ready \
                     and {asleep} asleep\n{}",
                    states.len(),
                    self.log()
                );
            }
            // To be asked costs it something, too.
            pause(POLL.max(began.elapsed() / 10));
        }
    }

    /// Where its log ends now.
    pub(super) fn log_end(&self) -> anyhow::Result<u64> {
        Ok(fs::metadata(self.folder.join("log"))?.len())
    }

    /// Waits until a line of its log, from `start` on, has all of these in it; returns the moment at
    /// which it was seen.
    pub(super) fn has_logged(&self, start: u64, wanted: &[&str]) -> anyhow::Result<Moment> {
        let mut log = File::open(self.folder.join("log"))?;
        log.seek(SeekFrom::Start(start))?;
        let (began, mut text) = (Moment::now(), String::new());
        loop {
            let count = log.read_to_string(&mut text)?;
            let is_wanted = |line: &str| wanted.iter().all(|word| line.contains(word));
            if count > 0 && text.lines().any(is_wanted) {
                return Ok(Moment::now());
            }
            if began.elapsed() > DEADLINE {
                bail!("drowse has not logged {wanted:?} within {DEADLINE:?}\n{}", self.log());
            }
            pause(LOG_POLL);
        }
    }

    /// Puts a workload to sleep, and returns when it is.
    pub(super) fn sleep(&self, workload: &str) -> anyhow::Result<()> {
        let began = Moment::now();
        loop {
            let output = self.command(&["sleep", workload])?;
            if output.status.success() {
                return Ok(());
            }
            // In use, for as long as it has not noticed that its client has gone.
            if began.elapsed() > DEADLINE {
                bail!("`drowse sleep`: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            pause(POLL);
        }
    }

    /// What of its memory is resident now.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.process.id())
    }

    /// The processor time that it has used so far.
    pub(super) fn processor_time(&self) -> anyhow::Result<Duration> {
        process::processor_time(self.process.id())
    }

    fn states(&self) -> anyhow::Result<Vec<String>> {
        let output = self.command(&["list", "--json"])?;
        let list: Value = serde_json::from_slice(&output.stdout)?;
        let rows = list["workloads"].as_array().context("no workloads")?;
        Ok(rows.iter().filter_map(|row| row["state"].as_str()).map(str::to_owned).collect())
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("DROWSE_STATE_DIR", self.folder.join("state"));
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// The end of what it has written.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Drowse {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A configuration with one engine, and these of its containers under host names of their own. The
/// idle time is longer than any bench.
pub(super) fn config<S: AsRef<str>>(engine: &str, containers: &[S]) -> String {
    let head = format!("engines: {{ private: {{ docker: \"{engine}\" }} }}\nworkloads:\n");
    let workloads = containers.iter().map(|container| {
        let (name, host) = (container.as_ref(), host_of(container.as_ref()));
        format!(
            "  {name}: {{ container: {{ name: {name} }}, idle: 1h, \
             routes: [{{ host: {host}, port: 80 }}] }}\n"
        )
    });
    std::iter::once(head).chain(workloads).collect()
}

/// The host name of a container of [`config`].
pub(super) fn host_of(container: &str) -> String {
    format!("{container}.example.com")
}

/// The kernel does not give this port to anybody else so soon.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
