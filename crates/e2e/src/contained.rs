//! drowse in a container, from the image that the Dockerfile makes.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::container::{ContainerSpec, TestContainer};
use crate::dockerd::Dockerd;
use crate::http::{self as client, Request};
use crate::network::TestNetwork;
use crate::wait::{DEADLINE, eventually, required, scratch_folder, within};

/// The image's name on the engine.
const IMAGE: &str = "drowse:test";

/// Where it listens, unless told otherwise.
const PORT: u16 = 8080;

/// Where the engine's socket is mounted: where drowse looks for it.
const SOCKET: &str = "/var/run/docker.sock";

/// How long the engine may take for the image. It copies one program.
const BUILD_DEADLINE: Duration = Duration::from_mins(2);

/// How drowse is to be run in a container: as root, with the site's part of the engine.
#[derive(Debug, Clone)]
pub struct ContainedSpec {
    container: ContainerSpec,
    arguments: Vec<String>,
    binds: Vec<String>,
    folder: Arc<TempDir>,
}

impl ContainedSpec {
    pub(crate) async fn new(engine: &Dockerd, container: ContainerSpec, socket: &Path) -> Self {
        image(engine).await;
        let container = container.config("Image", json!(IMAGE)).config("User", json!("0:0"));
        let container = container.env("RUST_LOG", "info,drowse=debug,drowse_docker=debug");
        Self {
            container,
            arguments: vec!["run".to_owned()],
            binds: vec![format!("{}:{SOCKET}", socket.display())],
            folder: Arc::new(scratch_folder()),
        }
    }

    /// The configuration file's text. The engine's socket is where it is by default.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        let path = self.folder.path().join("drowse.yaml");
        std::fs::write(&path, yaml).expect("the configuration to be written");
        self.binds.push(format!("{}:/etc/drowse.yaml:ro", path.display()));
        self.container = self.container.env("DROWSE_CONFIG", "/etc/drowse.yaml");
        self
    }

    /// Changes how its container is made.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(ContainerSpec) -> ContainerSpec) -> Self {
        self.container = change(self.container);
        self
    }

    /// Another command than `run`.
    #[must_use]
    pub fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments = arguments.map(str::to_owned).to_vec();
        self
    }

    /// Runs it on these networks as well, and returns at once.
    pub async fn start(self, networks: &[&TestNetwork]) -> Contained {
        let Self { container, arguments, binds, folder } = self;
        let container =
            container.config("Cmd", json!(arguments)).host_config("Binds", json!(binds));
        let container = container.create().await;
        for network in networks {
            network.connect(&container).await;
        }
        container.start().await;
        Contained { container, _folder: folder }
    }

    /// Runs it to its end.
    pub async fn run_to_end(self, networks: &[&TestNetwork]) -> RunEnded {
        let contained = self.start(networks).await;
        let ended = contained.container.wait_for("exited", DEADLINE).await;
        RunEnded {
            code: ended.exit_code,
            stdout: contained.container.stdout().await,
            log: contained.log().await,
        }
    }
}

/// What a command in a container came to.
#[derive(Debug)]
pub struct RunEnded {
    /// Its exit code.
    pub code: i64,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// All that it wrote.
    pub log: String,
}

/// drowse in a container. Removed on drop; if the test failed, its log has been shown by whoever
/// waited in vain.
#[derive(Debug)]
pub struct Contained {
    container: TestContainer,
    _folder: Arc<TempDir>,
}

impl Contained {
    /// Its container.
    pub fn container(&self) -> &TestContainer {
        &self.container
    }

    /// A request through it, at its address on this network.
    pub async fn get_on(&self, network: &str, host: &str, target: &str) -> Request {
        let address = self.container.ip_on(network).await;
        self.get_at(address, host, target)
    }

    /// A request through it, at this address of its own or of its host.
    pub fn get_at(&self, address: IpAddr, host: &str, target: &str) -> Request {
        client::get(SocketAddr::new(address, PORT), target).host(host)
    }

    /// What it wrote so far.
    pub async fn log(&self) -> String {
        self.container.log().await
    }

    /// Waits until one line of its log has all of these texts in it.
    ///
    /// # Panics
    /// If none has within the usual deadline; the log is shown.
    pub async fn logged(&self, texts: &[&str]) -> String {
        let is_such = |line: &&str| texts.iter().all(|text| line.contains(text));
        let looking = eventually(DEADLINE, "a line of drowse's log", || async {
            self.log().await.lines().find(is_such).map(str::to_owned)
        });
        tokio::select! {
            biased;
            line = looking => line,
            () = tokio::time::sleep(DEADLINE.mul_f64(0.9)) => {
                panic!("no line with {texts:?}:\n{}", self.log().await)
            }
        }
    }

    /// Waits until a request at this network is answered with this status.
    ///
    /// # Panics
    /// If none is within the usual deadline; the log is shown.
    pub async fn answers(&self, network: &str, host: &str, status: u16) -> client::Response {
        let asking = async {
            loop {
                let request = self.get_on(network, host, "/").await.deadline(DEADLINE);
                if let Ok(answer) = request.try_send().await
                    && answer.status == status
                {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if let Ok(answer) = tokio::time::timeout(DEADLINE * 2, asking).await {
            answer
        } else {
            panic!("{host} is not answered with {status}:\n{}", self.log().await)
        }
    }
}

/// Makes the image, once for all tests of this process.
async fn image(engine: &Dockerd) {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let context = scratch_folder();
        let root = context.path();
        lay_out(root);
        let tar = Command::new("tar")
            .arg("-C")
            .arg(root)
            .args(["--owner=0", "--group=0", "-cf", "-", "."])
            .stdin(Stdio::null())
            .output();
        let tar = within(BUILD_DEADLINE, "the image's context", tar).await.expect("tar to run");
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let path = format!("/build?t={IMAGE}&forcerm=1");
        let answer = engine.send_body(Method::POST, &path, "application/x-tar", tar.stdout).await;
        let said = answer.text();
        // A build that fails says so in the body, under status 200.
        assert!(answer.status == 200 && !said.contains("\"errorDetail\""), "{said}");
    })
    .await;
}

/// What the Dockerfile's last stage is built from: that stage itself, word for word, and in the place
/// of what the first one builds the program that the runner has built in the same way.
fn lay_out(root: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Dockerfile");
    let dockerfile = std::fs::read_to_string(dockerfile).expect("the Dockerfile");
    let last = dockerfile.rfind("\nFROM ").expect("its last stage");
    let first = "FROM scratch AS build\nCOPY image/ /image/\n";
    std::fs::write(root.join("Dockerfile"), format!("{first}{}", &dockerfile[last..]))
        .expect("the Dockerfile to be written");

    let programs = root.join("image/usr/local/bin");
    std::fs::create_dir_all(&programs).expect("a folder");
    for open_to_all in ["image/run", "image/data"].map(|folder| root.join(folder)) {
        std::fs::create_dir_all(&open_to_all).expect("a folder");
        std::fs::set_permissions(&open_to_all, PermissionsExt::from_mode(0o1777))
            .expect("its mode");
    }
    std::fs::copy(required("DROWSE_STATIC_BIN"), programs.join("drowse")).expect("drowse, static");
}
