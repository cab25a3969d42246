//! The program under test, as a process of its own.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::http::{self, Request};
use crate::logs::Logs;
use crate::wait::{DEADLINE, eventually, free_port, program, scratch_folder, within};

/// What a failed test shows: all that drowse itself says.
const LOG: &str = "info,drowse=debug,drowse_docker=debug,drowse_watcher=debug,drowse_gateway=debug";

/// How `drowse run` is to be started. The same again at each [`Drowse::start_again`].
#[derive(Debug, Clone)]
pub struct DrowseSpec {
    program: PathBuf,
    folder: Arc<TempDir>,
    listen: SocketAddr,
    /// Whether the file says where to listen.
    listens_by_file: bool,
    arguments: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// What a service manager holds.
    handed: Option<Arc<TcpListener>>,
    is_on_one_core: bool,
}

impl Default for DrowseSpec {
    /// The program that the runner has built.
    fn default() -> Self {
        Self::of(program())
    }
}

impl DrowseSpec {
    /// `PROGRAM run --listen` at a free port of the loopback, all its files in a folder of its
    /// own, and no engine but those that the configuration names.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        let folder = Arc::new(scratch_folder());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let home = ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"];
        let home = home.map(|name| (name.into(), folder.path().into()));
        let state = ("DROWSE_STATE_DIR".into(), folder.path().join("state").into());
        let data = ("DROWSE_DATA_DIR".into(), folder.path().join("data").into());
        let log = ("RUST_LOG".into(), LOG.into());
        let env = home.into_iter().chain([state, data, log]).collect();
        let program = program.into();
        Self {
            program,
            folder,
            listen,
            listens_by_file: false,
            arguments: Vec::new(),
            env,
            handed: None,
            is_on_one_core: false,
        }
    }

    /// The configuration file's text; written anew at each call, also while drowse runs.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        let path = self.config_path();
        if !path.exists() {
            self = self.argument("--config").argument(&path);
        }
        std::fs::write(path, yaml).expect("the configuration to be written");
        self
    }

    /// One more argument, after `run --listen ADDR`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The engine that a drowse without a file manages.
    #[must_use]
    pub fn docker_host(self, url: &str) -> Self {
        self.env("DOCKER_HOST", url)
    }

    /// Its socket is bound by us, as by a service manager, and handed over at each start.
    ///
    /// # Panics
    /// If the address cannot be had.
    #[must_use]
    pub fn handed(mut self) -> Self {
        let socket = TcpListener::bind(self.listen).expect("the address to be free");
        self.handed = Some(Arc::new(socket));
        self
    }

    /// Confines it to one core, where it has one thread for all of its work.
    #[must_use]
    pub fn on_one_core(mut self) -> Self {
        self.is_on_one_core = true;
        self
    }

    /// Leaves it to the file where to listen, which must name [`DrowseSpec::address`] among others.
    #[must_use]
    pub fn listening_by_file(mut self) -> Self {
        self.listens_by_file = true;
        self
    }

    /// Where it will listen.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where the configuration is, or would be.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("drowse.yaml")
    }

    /// The folder of all its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it, and returns once it accepts connections.
    ///
    /// # Panics
    /// If it ends before, or does not within the usual deadline.
    pub async fn start(self) -> Drowse {
        let mut drowse = self.spawn();
        drowse.wait_until_it_listens().await;
        drowse
    }

    /// Starts it, and returns at once.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn spawn(self) -> Drowse {
        let logs = Logs::default();
        let child = self.spawn_into(&logs);
        Drowse { spec: self, child, logs }
    }

    fn spawn_into(&self, logs: &Logs) -> Child {
        let listen = self.listen.to_string();
        let mut command = if self.listens_by_file {
            self.command(["run"])
        } else {
            self.command(["run", "--listen", &listen])
        };
        if let Some(socket) = &self.handed {
            command = self.behind_a_service_manager(&command, socket);
        }
        let mut child = command.args(&self.arguments).spawn().expect("drowse to start");
        logs.follow(child.stdout.take().expect("a pipe"));
        logs.follow(child.stderr.take().expect("a pipe"));
        child
    }

    /// Any other command of the program (`check`, `list`, `wake NAME`…), with the same environment.
    pub async fn command_output<const N: usize>(&self, arguments: [&str; N]) -> Output {
        let what = format!("drowse {} to end", arguments.join(" "));
        let output = self.command(arguments).output();
        within(DEADLINE, &what, output).await.expect("drowse to run")
    }

    /// The same command, with the socket as the first descriptor after the standard ones.
    fn behind_a_service_manager(&self, command: &Command, socket: &TcpListener) -> Command {
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
        let mut shell = self.prepared("sh");
        let arguments = command.as_std().get_args();
        shell.arg("-c").arg(script).arg(&self.program).args(arguments);
        let socket = socket.try_clone().expect("a descriptor");
        shell.stdin(Stdio::from(OwnedFd::from(socket)));
        shell
    }

    fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = if self.is_on_one_core {
            let mut confined = self.prepared("taskset");
            confined.arg("--cpu-list").arg(an_allowed_core()).arg(&self.program);
            confined
        } else {
            self.prepared(&self.program)
        };
        command.args(arguments);
        command
    }

    fn prepared(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_remove("DOCKER_HOST")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// One of the cores that this process may use.
fn an_allowed_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let all = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = all.expect("the cores that we may use").trim().split([',', '-']).next();
    first.expect("a core").to_owned()
}

/// A running `drowse run`. On drop it is killed, and if the test failed its log is shown.
#[derive(Debug)]
pub struct Drowse {
    spec: DrowseSpec,
    child: Child,
    logs: Logs,
}

impl Drowse {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.spec.listen
    }

    /// A request through it to a host: `GET target`.
    pub fn get(&self, host: &str, target: &str) -> Request {
        http::get(self.spec.listen, target).host(host)
    }

    /// Its resident memory, in KiB.
    ///
    /// # Panics
    /// If it runs no more.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().expect("drowse to run"));
        let status = std::fs::read_to_string(path).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("its resident memory")
    }

    /// How many descriptors it has open.
    ///
    /// # Panics
    /// If it runs no more.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid().expect("drowse to run"));
        std::fs::read_dir(path).expect("its descriptors").count()
    }

    /// How it was started.
    pub fn spec(&self) -> &DrowseSpec {
        &self.spec
    }

    /// What it wrote, to standard output and standard error, over all its lives.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL: no clean-up.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("drowse to be killed");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it runs no more.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.expect("drowse to run"), signal).expect("the signal to be sent");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended within the deadline.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        within(deadline, "drowse to end", self.child.wait()).await.expect("drowse's exit status")
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// If it has not ended within the deadline.
    pub async fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(deadline).await
    }

    /// Starts it again, with the same configuration, folder and port, after it has ended.
    ///
    /// # Panics
    /// If it ends again, or does not listen within the usual deadline.
    pub async fn start_again(&mut self) {
        self.child = self.spec.spawn_into(&self.logs);
        self.wait_until_it_listens().await;
    }

    /// Waits until it accepts connections.
    ///
    /// # Panics
    /// If it ends before, or does not within the usual deadline.
    pub async fn wait_until_it_listens(&mut self) {
        let listen = self.spec.listen;
        let listening = eventually(DEADLINE, "drowse to listen", || async move {
            TcpStream::connect(listen).await.ok()
        });
        tokio::select! {
            _ = listening => {}
            status = self.child.wait() => panic!(
                "drowse ended while it started: {}\n{}",
                status.expect("drowse's exit status"),
                self.logs.lines().join("\n"),
            ),
        }
    }
}

impl Drop for Drowse {
    #[expect(clippy::print_stderr, reason = "shown with the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- drowse's log:\n{}\n---", self.logs.lines().join("\n"));
        }
    }
}
