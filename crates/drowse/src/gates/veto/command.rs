//! A command that says whether a workload may sleep.

use std::{io, process::Stdio, time::Duration};

use drowse_process::INHERITED;
use drowse_provider::Details;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};

use super::{Answer, first_line};

/// As many run at a time, of all workloads together: what hangs, on a mount that is away, must not fill
/// the gateway's machine with processes. Whoever finds no place within a gate's time is busy.
const AT_A_TIME: usize = 8;
static PLACES: Semaphore = Semaphore::const_new(AT_A_TIME);

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long its output is waited for after its end, if somebody else holds the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How much of its output is kept; the rest is read and forgotten.
const MAX_OUTPUT: usize = 1024;

/// The largest exit code that says busy. Shells have meanings of their own for those from 126 on.
const LARGEST_BUSY: i32 = 99;

/// A program with its arguments, run on drowse's own machine.
#[derive(Debug)]
pub(super) struct VetoCommand {
    workload: String,
    engine: String,
    command: Vec<String>,
    timeout: Duration,
    places: &'static Semaphore,
}

impl VetoCommand {
    pub(super) fn new(workload: &str, engine: &str, command: Vec<String>) -> Self {
        let (workload, engine) = (workload.to_owned(), engine.to_owned());
        Self { workload, engine, command, timeout: TIMEOUT, places: &PLACES }
    }

    #[cfg(test)]
    pub(super) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    #[cfg(test)]
    pub(super) fn at(self, places: &'static Semaphore) -> Self {
        Self { places, ..self }
    }

    pub(super) fn program(&self) -> String {
        self.command.first().map(|program| program.escape_debug().to_string()).unwrap_or_default()
    }

    /// Runs it, once there is a place for it. Cancel safe: dropping the future kills it, with its whole
    /// group.
    pub(super) async fn ask(&self, details: &Details) -> Answer {
        // Given back last, when the child is gone. It is never closed.
        let _place = self.places.acquire().await;
        let mut child = match self.spawn(details) {
            Ok(child) => child,
            Err(error) => return Answer::None(format!("it cannot be started: {error}")),
        };
        // Dropped before the child, which is reaped only then: until that its group is its own.
        let mut group = Group::of(&child);
        let mut output = Vec::new();
        let mut complaints = Vec::new();
        let ended = {
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let said = async {
                tokio::join!(read(stdout, &mut output), read(stderr, &mut complaints));
            };
            let mut said = std::pin::pin!(said);
            let ended = async {
                tokio::select! {
                    ended = child.wait() => (ended, true),
                    () = &mut said => (child.wait().await, false),
                }
            };
            match timeout(self.timeout, ended).await {
                Ok((ended, is_more)) => {
                    group.has_ended();
                    if is_more {
                        // Late is as good as never.
                        _ = timeout(LAST_WORDS, said).await;
                    }
                    ended
                }
                Err(_) => return Answer::None(format!("it did not end within {:?}", self.timeout)),
            }
        };
        let words = || {
            let said = if output.trim_ascii().is_empty() { &complaints } else { &output };
            first_line(said, "it says nothing")
        };
        match ended {
            Ok(status) => match status.code() {
                Some(0) => Answer::MaySleep,
                Some(1..=LARGEST_BUSY) => Answer::Busy(words()),
                _ => Answer::None(format!("it ended with {status}: {}", words())),
            },
            Err(error) => Answer::None(format!("its end was not seen: {error}")),
        }
    }

    fn spawn(&self, details: &Details) -> io::Result<Child> {
        let (program, arguments) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .env("DROWSE_WORKLOAD", &self.workload)
            .env("DROWSE_ENGINE", &self.engine)
            .env("DROWSE_CONTAINER_NAME", &details.name)
            .env("DROWSE_CONTAINER_ID", &details.id)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Keeps the beginning of what a pipe says, and reads it to its end: who writes must not wait.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; 1024];
    // An error is an end, too.
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        let free = MAX_OUTPUT - kept.len();
        kept.extend_from_slice(&chunk[..length.min(free)]);
    }
}

/// A process group, killed when this is dropped, unless its leader has ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: &Child) -> Self {
        Self(leader.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw))
    }

    /// Its leader was reaped: the number may be somebody else's.
    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended just now.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}
