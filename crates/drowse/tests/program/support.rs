//! Runs the program as its users do, and asks what it serves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything here takes: who waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_drowse");

/// A folder for one test: configuration, state, whatever its application leaves.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) listen: SocketAddr,
}

/// A running `drowse run` or `drowse demo`; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), listen: free_address() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, with a state folder of its own and nothing of the caller's environment that
    /// means anything to it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env("DROWSE_STATE_DIR", self.path("state"))
            .env("DROWSE_DATA_DIR", self.path("data"))
            .env("DOCKER_HOST", format!("unix://{}", self.path("docker.sock").display()))
            .env_remove("DROWSE_CONFIG")
            .env_remove("DROWSE_LOG_FORMAT")
            .env_remove("RUST_LOG");
        command
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, text: &str) -> PathBuf {
        let path = self.path("drowse.yaml");
        fs::write(&path, text).unwrap();
        path
    }

    /// One process workload `app` at `app.example`, which takes `start_ms` to start.
    pub(crate) fn configure_app(&self, start_ms: u64, idle: &str, more: &str) {
        let port = free_address().port();
        self.configure(&format!(
            "engines: {{}}\n\
             {more}\n\
             workloads:\n  \
               app:\n    \
                 container:\n      \
                   process:\n        \
                     command: [{PROGRAM}, demo-app]\n        \
                     env: {{ PORT: {port}, DEMO_START_MS: {start_ms}, DEMO_MEMORY_MB: 1 }}\n    \
                 idle: {idle}\n    \
                 routes: [{{ host: app.example, port: {port} }}]\n"
        ));
    }

    /// `drowse run` with the configuration, once it listens.
    pub(crate) fn run(&self) -> Running {
        let config = self.path("drowse.yaml");
        let listen = self.listen.to_string();
        let mut arguments = vec!["run", "--listen", &listen];
        if config.exists() {
            arguments.extend(["--config", config.to_str().unwrap()]);
        }
        let running = Running::start(self.command(&arguments));
        running.says("listening");
        running
    }

    /// Runs a command to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Waits until a workload is in this state.
    pub(crate) fn state_of(&self, workload: &str, state: &str) {
        eventually(&format!("{workload} is {state}"), || {
            let listing = self.json(&["list", "--json"]);
            let rows = listing["workloads"].as_array().unwrap();
            let row = rows.iter().find(|row| row["workload"] == workload);
            if row.is_some_and(|row| row["state"] == state) {
                Ok(())
            } else {
                Err(listing.to_string())
            }
        });
    }

    /// A whole answer to a GET.
    pub(crate) fn get(&self, host: &str) -> String {
        get(self.listen, host)
    }
}

/// The same command with this socket as the first descriptor after the usual ones, as a service manager
/// hands it over.
pub(crate) fn handing_over(command: &Command, socket: OwnedFd) -> Command {
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(socket);
    shell
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self::start_as_it_is(command.stdin(Stdio::null()))
    }

    /// With the input that it was given.
    pub(crate) fn start_as_it_is(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), log.clone());
        collect(child.stderr.take().unwrap(), log.clone());
        Self { child, log }
    }

    /// Everything it has written.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has written this.
    pub(crate) fn says(&self, words: &str) -> String {
        eventually(&format!("it says `{words}`"), || {
            let log = self.log();
            if log.contains(words) { Ok(log) } else { Err(log) }
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("it ends", || child.try_wait().unwrap().ok_or_else(String::new))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            _ = self.child.kill();
            _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- what it wrote:\n{}", self.log());
        }
    }
}

fn collect(from: impl std::io::Read + Send + 'static, log: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Asks again and again until it is so; fails with the last answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let began = SystemTime::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if began.elapsed().is_ok_and(|elapsed| elapsed > PATIENCE) => {
                panic!("never: {what}; last: {last}");
            }
            Err(_) => pause(),
        }
    }
}

/// A moment between two questions.
fn pause() {
    let (_never, receiver) = mpsc::channel::<()>();
    _ = receiver.recv_timeout(Duration::from_millis(20));
}

/// An address of this machine at which nobody listens, and that nobody is given by chance before it is
/// used.
pub(crate) fn free_address() -> SocketAddr {
    // The ports that the system gives to whoever asks for any, and to clients, begin at 32768.
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes that run at once begin at different ones.
        let next =
            std::process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Asked, not taken: another test's child would hold a socket of ours from its fork to its
        // exec, and the port with it.
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
}

pub(crate) fn get(address: SocketAddr, host: &str) -> String {
    get_as(address, host, "/", "test")
}

/// A whole answer to a GET of `path` by this `User-Agent`.
pub(crate) fn get_as(address: SocketAddr, host: &str, path: &str, agent: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The first line of an answer.
pub(crate) fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a process lives that has `argument` and descends from this test's program.
pub(crate) fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/stat")).exists()
}
