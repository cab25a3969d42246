//! The process in which the clusters run, and how it is spoken to.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The interpreter that has fakepve: set by `cargo xtask`.
const INTERPRETER: &str = "DROWSE_TEST_FAKEPVE";

/// One for all tests of a binary. Each of them has a runtime of its own, so nothing here belongs to
/// one: a thread reads the answers.
pub(crate) struct Driver {
    input: Mutex<ChildStdin>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next_id: AtomicU64,
    next_cluster: AtomicU64,
}

#[derive(Deserialize)]
pub(crate) struct Answer {
    id: u64,
    #[serde(default)]
    ok: Value,
    error: Option<String>,
}

impl Driver {
    /// The one that runs; it is started by whoever comes first, and ends when the test binary does,
    /// with its standard input.
    pub(crate) fn get() -> anyhow::Result<&'static Self> {
        static DRIVER: OnceLock<Result<Driver, String>> = OnceLock::new();
        DRIVER
            .get_or_init(|| Self::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    fn start() -> anyhow::Result<Self> {
        let interpreter = env::var_os(INTERPRETER)
            .map(PathBuf::from)
            .with_context(|| format!("{INTERPRETER} is not set: run this by `cargo xtask test`"))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("driver/main.py");
        let mut child = Command::new(&interpreter)
            // No `__pycache__` in the source tree.
            .arg("-B")
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", interpreter.display()))?;
        let input = child.stdin.take().context("no standard input")?;
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut ready = String::new();
        output.read_line(&mut ready)?;
        if !ready.contains("ready") {
            bail!("{} does not run: see above", script.display());
        }
        thread::Builder::new().name("fakepve".into()).spawn(move || dispatch(child, output))?;
        Ok(Self {
            input: Mutex::new(input),
            waiting: Mutex::default(),
            next_id: AtomicU64::new(1),
            next_cluster: AtomicU64::new(u64::from(std::process::id()) * 97),
        })
    }

    /// A number for another cluster. Test binaries that run at once begin far from each other, since
    /// it becomes the cluster's address.
    pub(crate) fn new_cluster(&self) -> u64 {
        self.next_cluster.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives a command, and waits for its answer.
    pub(crate) async fn call(
        &self,
        cluster: u64,
        name: &str,
        with: Value,
    ) -> anyhow::Result<Value> {
        let answer = self.send(cluster, name, &with)?;
        let answer = answer.await.context("the stand-in has ended")?;
        match answer.error {
            None => Ok(answer.ok),
            Some(error) => bail!("{name} {with}: {error}"),
        }
    }

    /// Gives a command, whose answer need not be waited for.
    pub(crate) fn send(
        &self,
        cluster: u64,
        name: &str,
        with: &Value,
    ) -> anyhow::Result<oneshot::Receiver<Answer>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let line = json!({"id": id, "cluster": cluster, "do": name, "with": with});
        let mut input = lock(&self.input);
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        if written.is_err() {
            lock(&self.waiting).remove(&id);
        }
        written.context("the stand-in has ended")?;
        Ok(receiver)
    }
}

/// Hands out the answers until there are no more.
fn dispatch(mut child: Child, output: BufReader<ChildStdout>) {
    for line in output.lines() {
        let Ok(Ok(answer)) = line.map(|line| serde_json::from_str::<Answer>(&line)) else { break };
        // Nobody waits for the answer to a cluster's end.
        if let Ok(driver) = Driver::get()
            && let Some(waiting) = lock(&driver.waiting).remove(&answer.id)
        {
            waiting.send(answer).ok();
        }
    }
    if let Ok(driver) = Driver::get() {
        lock(&driver.waiting).clear();
    }
    child.wait().ok();
}

/// A test that panics while it holds one leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
