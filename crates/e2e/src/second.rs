//! A second engine on a machine of its own, as far as the network is concerned.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::container::ContainerSpec;
use crate::dockerd::Dockerd;
use crate::network::TestNetwork;
use crate::wait::{DEADLINE, eventually, required, scratch_folder, within};

/// Where its API is, beside its socket.
const PORT: u16 = 2375;

/// How long it may take until it answers. Usually 2 to 8 seconds.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// A dockerd in network, mount and process namespaces of its own, behind a cable. Its bridge has the
/// same addresses as the first engine's. On drop everything of it is gone: with process 1 of its
/// namespace the kernel kills all others, and the cable goes with the network.
#[derive(Debug)]
pub struct SecondEngine {
    engine: Dockerd,
    folder: TempDir,
    /// Ends with `namespaces`.
    first_process: u32,
    _namespaces: Child,
    dockerd: Option<Child>,
    ours: Ipv4Addr,
    its: Ipv4Addr,
    number: u8,
    arguments: &'static [&'static str],
}

impl SecondEngine {
    /// Starts it, with the test application's image, and returns when it answers.
    ///
    /// # Panics
    /// If it cannot be started; its log is shown.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, of an engine whose containers go on when it is started again.
    ///
    /// # Panics
    /// If it cannot be started; its log is shown.
    pub async fn start_with_live_restore() -> Self {
        Self::start_with(&["--live-restore"]).await
    }

    async fn start_with(arguments: &'static [&'static str]) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = scratch_folder();
        let namespaces = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            // A shell buries orphans: an engine that is started again must not find the last one's
            // containerd, dead and unburied, and take it for alive.
            .args(["--", "sh", "-c", "while :; do sleep 1000; done"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare to run");
        let parent = namespaces.id().expect("unshare to run");
        let first_process =
            eventually(DEADLINE, "the namespaces", || async { first_child(parent, "sh") }).await;
        let mut second = Self {
            engine: Dockerd::at(folder.path().join("docker.sock")),
            folder,
            first_process,
            _namespaces: namespaces,
            dockerd: None,
            ours: Ipv4Addr::new(10, 216, number, 1),
            its: Ipv4Addr::new(10, 216, number, 2),
            number,
            arguments,
        };
        second.plug_in().await;
        second.start_dockerd().await;
        second.import_testapp().await;
        second
    }

    /// Its API, over the cable.
    pub fn url(&self) -> String {
        format!("tcp://{}:{PORT}", self.its)
    }

    /// Its socket, which only this machine's processes reach: for a relay.
    pub fn socket(&self) -> &Path {
        self.engine.socket()
    }

    /// Its machine, as the tests' machine reaches it.
    pub fn address(&self) -> IpAddr {
        self.its.into()
    }

    /// A container that is to be made on it.
    pub fn container(&self, name: &str) -> ContainerSpec {
        self.engine.container(name)
    }

    /// A bridge network on it, with the addresses `10.215.NUMBER.0/24`.
    pub async fn network_numbered(&self, name: &str, number: u8) -> TestNetwork {
        TestNetwork::create(self.engine.clone(), name.to_owned(), Some(number)).await
    }

    /// SIGKILL for the engine. Its containers go on, as they do without live-restore when an engine
    /// dies and is not told to end.
    pub async fn kill(&mut self) {
        self.end_by(Signal::KILL).await;
    }

    /// SIGTERM for the engine. Without live-restore it stops its containers first.
    pub async fn terminate(&mut self) {
        self.end_by(Signal::TERM).await;
    }

    async fn end_by(&mut self, signal: Signal) {
        // nsenter has to have a child of its own in the namespace, and ends with it.
        let mut nsenter = self.dockerd.take().expect("the second engine to run");
        let nsenter_id = nsenter.id().expect("the second engine to run");
        let dockerd =
            eventually(DEADLINE, "its process", || async { first_child(nsenter_id, "dockerd") });
        let dockerd = Pid::from_raw(dockerd.await.cast_signed());
        kill_process(dockerd.expect("a process"), signal).expect("it to be sent a signal");
        within(DEADLINE, "its end", nsenter.wait()).await.expect("its end");
    }

    /// Starts it again, on the same data.
    ///
    /// # Panics
    /// If it does not answer within the deadline; its log is shown.
    pub async fn start_again(&mut self) {
        assert!(self.dockerd.is_none(), "it runs");
        self.start_dockerd().await;
    }

    /// The cable: one end here, one there.
    async fn plug_in(&self) {
        let (here, there) =
            (format!("drowse-h{}", self.number), format!("drowse-t{}", self.number));
        let inside = self.first_process.to_string();
        run(&[
            "ip", "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &inside,
        ])
        .await;
        run(&["ip", "addr", "add", &format!("{}/24", self.ours), "dev", &here]).await;
        run(&["ip", "link", "set", &here, "up"]).await;
        let enter = ["nsenter", "--target", &inside, "--net", "--"];
        let its = format!("{}/24", self.its);
        for command in [
            ["ip", "addr", "add", &its, "dev", &there].as_slice(),
            &["ip", "link", "set", &there, "up"],
            &["ip", "link", "set", "lo", "up"],
        ] {
            run(&[enter.as_slice(), command].concat()).await;
        }
    }

    async fn start_dockerd(&mut self) {
        let folder = self.folder.path();
        std::fs::write(folder.join("daemon.json"), "{}").expect("its configuration");
        let log = std::fs::File::create(folder.join("dockerd.log")).expect("its log");
        let flag = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
        let child = Command::new("nsenter")
            .args(["--target", &self.first_process.to_string()])
            .args(["--net", "--mount", "--pid", "--"])
            .arg("dockerd")
            .args([flag("config-file", "daemon.json"), flag("data-root", "data")])
            .args([flag("exec-root", "exec"), flag("pidfile", "docker.pid")])
            .arg(format!("--host={}", self.engine.url()))
            .arg(format!("--host={}", self.url()))
            // Said so explicitly, it does not wait for us to think it over.
            .arg("--tls=false")
            .arg(format!("--cgroup-parent=/{}/second-{}", sandbox(), self.number))
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(self.arguments)
            // The same as the first engine's: see xtask.
            .args(["--bip", "10.213.0.1/16"])
            .args(["--default-address-pool", "base=10.214.0.0/16,size=24"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("dockerd to be started");
        self.dockerd = Some(child);
        let answering = eventually(START_DEADLINE, "the second engine to answer", || async {
            let socket = self.engine.socket();
            tokio::net::UnixStream::connect(socket).await.ok()?;
            let ping = crate::http::get(SocketAddr::new(self.address(), PORT), "/_ping");
            let answer = ping.deadline(Duration::from_secs(5)).try_send().await.ok()?;
            answer.status.is_success().then_some(())
        });
        let log = folder.join("dockerd.log");
        tokio::select! {
            biased;
            () = answering => {}
            () = tokio::time::sleep(START_DEADLINE.mul_f64(0.9)) => {
                panic!("{}", std::fs::read_to_string(log).unwrap_or_default())
            }
        }
    }

    async fn import_testapp(&self) {
        let first = Dockerd::from_env();
        let saved = first.request(Method::GET, "/images/drowse-testapp:1/get", None).await;
        assert!(saved.status.is_success(), "{}", saved.status);
        let body = saved.body.to_vec();
        let loaded =
            self.engine.send_body(Method::POST, "/images/load", "application/x-tar", body).await;
        assert!(loaded.status.is_success(), "{}", loaded.text());
    }
}

/// The parent of all control groups of this sandbox, which it removes in the end.
fn sandbox() -> String {
    let tests = PathBuf::from(required("DROWSE_TEST_TMP"));
    let scratch = tests.parent().and_then(Path::file_name);
    scratch.expect("the sandbox's folder").to_string_lossy().into_owned()
}

/// The first child of a process, once it is this program: from then on its namespaces are whole.
fn first_child(parent: u32, program: &str) -> Option<u32> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let children = std::fs::read_to_string(children).ok()?;
    let child = children.split_whitespace().next()?.parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == program).then_some(child)
}

async fn run(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let output = within(DEADLINE, command[0], output).await.expect("a program to run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
