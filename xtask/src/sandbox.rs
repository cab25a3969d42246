//! Namespaces of their own for a command and private engines.
//!
//! Whatever happens, nothing is left running. The chain is `xtask` → `unshare` → process 1 of a
//! process namespace → the rest. `xtask`'s death kills `unshare` (`setpriv --pdeathsig`), its
//! death kills process 1 (`--kill-child`), and with process 1 the kernel kills everything in the
//! namespace; then the mounts and the network go as well. So stopping is one SIGKILL, and no
//! engine needs to be asked.

pub(crate) mod inside;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engine::Kind;
use crate::scratch::Scratch;
use crate::setup;

/// Where the command's standard output goes.
pub(crate) enum Output<'a> {
    /// To xtask's own.
    Inherit,
    /// To xtask's own, and line by line to this. There is no standard input then.
    Tee(&'a mut dyn FnMut(&str)),
}

/// How a command in a sandbox ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// Killed, since xtask got this signal.
    Interrupted(i32),
    /// Killed at the deadline.
    TimedOut(Duration),
}

impl Ended {
    pub(crate) fn success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }

    /// As a shell reports it: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> ExitCode {
        use std::os::unix::process::ExitStatusExt;
        let code = match self {
            Self::Exited(status) => {
                status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
            }
            Self::Interrupted(signal) => 128 + signal,
            Self::TimedOut(_) => 124,
        };
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }
}

/// A place for one command. On drop everything of it is gone.
#[derive(Debug)]
pub(crate) struct Sandbox {
    engines: Vec<Kind>,
    scratch: Scratch,
    interruption: Interruption,
}

impl Sandbox {
    /// A place in which these engines are to run.
    pub(crate) fn open(engines: &[Kind]) -> anyhow::Result<Self> {
        // Before the folder is made: no signal may end xtask while there is one to be removed.
        let interruption = Interruption::listen()?;
        Ok(Self { engines: engines.to_vec(), scratch: Scratch::create()?, interruption })
    }

    /// Starts the engines, runs `command` beside them, and kills all at the latest after `deadline`.
    ///
    /// # Errors
    /// If an engine could not be started; its log is shown. The command has not run then.
    pub(crate) fn run(
        &self,
        command: &Command,
        output: Output<'_>,
        deadline: Option<Duration>,
    ) -> anyhow::Result<Ended> {
        let ended = guarded(self.enter(command)?, output, deadline, &self.interruption)?;
        if started_marker(self.scratch.path()).exists() || matches!(ended, Ended::Interrupted(_)) {
            Ok(ended)
        } else {
            let names: Vec<_> = self.engines.iter().map(|kind| kind.name()).collect();
            bail!("{} could not be started (see above)", names.join(" and "));
        }
    }

    /// The same command, at the end of the chain into the namespaces.
    fn enter(&self, command: &Command) -> anyhow::Result<Command> {
        // A copy: building the tests may have replaced the file that xtask was started from.
        let xtask = self.scratch.path().join("xtask");
        std::fs::copy("/proc/self/exe", &xtask).context("copying xtask itself")?;
        let mut chain = Command::new("setpriv");
        if let Some(folder) = command.get_current_dir() {
            chain.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => chain.env(name, value),
                None => chain.env_remove(name),
            };
        }
        chain
            .args(["--pdeathsig", "KILL", "--"])
            .args(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "--"])
            .arg(xtask)
            .args(["sandbox-init", "--scratch"])
            .arg(self.scratch.path())
            .args(self.engines.iter().flat_map(|kind| ["--engine", kind.name()]))
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args())
            .env("PATH", setup::search_path());
        Ok(chain)
    }
}

/// Exists once the command was about to be started, so that its failure is told from the
/// engine's.
fn started_marker(scratch: &Path) -> PathBuf {
    scratch.join("started")
}

/// Runs a command to its end, its deadline or an interruption, whichever comes first.
pub(crate) fn guarded(
    mut command: Command,
    output: Output<'_>,
    deadline: Option<Duration>,
    interruption: &Interruption,
) -> anyhow::Result<Ended> {
    if matches!(output, Output::Tee(_)) {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
    }
    let mut child = command.spawn().with_context(|| crate::cargo::show(&command))?;
    let killer = Killer::of(&child)?;
    interruption.kill_when_interrupted(killer.clone());
    let (_running, ended) = mpsc::channel::<()>();
    let timed_out = Arc::new(AtomicBool::new(false));
    if let Some(deadline) = deadline {
        let timed_out = timed_out.clone();
        thread::spawn(move || {
            // Disconnected when this function returns.
            if ended.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
                timed_out.store(true, Ordering::SeqCst);
                killer.kill();
            }
        });
    }
    if let (Output::Tee(each_line), Some(stdout)) = (output, child.stdout.take()) {
        tee(stdout, each_line)?;
    }
    let status = child.wait()?;
    Ok(match (interruption.signal(), deadline) {
        (Some(signal), _) => Ended::Interrupted(signal),
        (None, Some(deadline)) if timed_out.load(Ordering::SeqCst) => Ended::TimedOut(deadline),
        _ => Ended::Exited(status),
    })
}

fn tee(from: impl std::io::Read, each_line: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let mut from = BufReader::new(from);
    let mut to = std::io::stdout();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        each_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

/// Kills one process, and never another that got its number later.
#[derive(Debug, Clone)]
struct Killer(Arc<OwnedFd>);

impl Killer {
    fn of(child: &Child) -> anyhow::Result<Self> {
        let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
            .context("watching the process that was started")?;
        Ok(Self(Arc::new(pidfd)))
    }

    fn kill(&self) {
        // An error means that it is gone already.
        pidfd_send_signal(&*self.0, Signal::KILL).ok();
    }
}

/// The signals that ask xtask to end. From `listen` on they kill the command that runs; xtask
/// itself ends in its own time, after cleaning up.
#[derive(Debug)]
pub(crate) struct Interruption {
    signal: Arc<AtomicI32>,
    victim: Arc<std::sync::Mutex<Option<Killer>>>,
}

impl Interruption {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("handling signals")?;
        let interruption = Self { signal: Arc::default(), victim: Arc::default() };
        let (first, victim) = (interruption.signal.clone(), interruption.victim.clone());
        thread::spawn(move || {
            for signal in signals.forever() {
                first.store(signal, Ordering::SeqCst);
                if let Ok(Some(killer)) = victim.lock().as_deref() {
                    killer.kill();
                }
            }
        });
        Ok(interruption)
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Also when the signal came before the command was started.
    fn kill_when_interrupted(&self, killer: Killer) {
        let Ok(mut victim) = self.victim.lock() else { return };
        if self.signal().is_some() {
            killer.kill();
        }
        *victim = Some(killer);
    }
}

/// Waits before something is looked at again that cannot be waited on.
#[expect(clippy::disallowed_methods, reason = "xtask has no runtime, and tells no time")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
