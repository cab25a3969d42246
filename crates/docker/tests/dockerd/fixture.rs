//! What the contract suite needs of a real engine: dockerd, or Podman.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drowse_docker::{DockerEngine, DockerOptions, Location};
use drowse_provider::{
    Deadline, Engine, Provider, Reference, Watch, WatchItem,
    contract::{Behaviour, Fixture, Outside, PATIENCE},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, sync::OnceCell};

#[cfg(feature = "ssh")]
use crate::sshd::Sshd;
use crate::{api::Api, relay::Relay};
#[cfg(feature = "tls")]
use crate::{certificates::Files, link::Link};

pub(crate) const TESTAPP: &str = "drowse-testapp:1";
/// How many items a watch holds: few, since engines take 10 to 100 signals a second, and less on a
/// machine that is busy.
const WATCH_BUFFER: usize = 16;
/// Busybox, for what the test application cannot be: deaf to TERM, and not to INT.
const SHELL: &str = "drowse-docker-shell:1";

/// Which engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    Dockerd,
    Podman,
    RootlessPodman,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Self::Dockerd => "dockerd",
            Self::Podman => "podman",
            Self::RootlessPodman => "rootless-podman",
        }
    }

    /// Where the runner says that it is.
    fn variable(self) -> &'static str {
        match self {
            Self::Dockerd => "DROWSE_TEST_DOCKER",
            Self::Podman => "DROWSE_TEST_PODMAN",
            Self::RootlessPodman => "DROWSE_TEST_ROOTLESS_PODMAN",
        }
    }
}

/// A private engine, behind a relay, as one test uses it.
pub(crate) struct RealEngine {
    runtime: Runtime,
    pub(crate) api: Api,
    /// Before the engine's socket; unused by whoever goes another way.
    pub(crate) relay: Relay,
    pub(crate) way: Way,
    pub(crate) engine: Arc<DockerEngine>,
    made: Mutex<Vec<String>>,
    _folder: TempDir,
}

/// How the engine under test is reached.
pub(crate) enum Way {
    /// By the relay's socket.
    Socket,
    /// By the engine's port for TLS, and this link before it.
    #[cfg(feature = "tls")]
    Tls(Link),
    /// By this sshd to the relay's socket.
    #[cfg(feature = "ssh")]
    Ssh(Sshd),
}

impl RealEngine {
    pub(crate) async fn dockerd() -> Self {
        Self::with_options(Runtime::Dockerd, options()).await
    }

    pub(crate) async fn podman() -> Self {
        Self::with_options(Runtime::Podman, options()).await
    }

    pub(crate) async fn with_options(runtime: Runtime, options: DockerOptions) -> Self {
        let ground = prepare(runtime).await;
        let location = ground.relay.socket.to_str().unwrap().into();
        Self::by(Way::Socket, location, ground, options)
    }

    #[cfg(feature = "tls")]
    pub(crate) async fn by_tls() -> Self {
        let ground = prepare(Runtime::Dockerd).await;
        let link = Link::to(tls_address()).await;
        let url = format!("tcp://{}", link.address);
        let location = Location::new(url).with_tls(Files(&tls_folder()).named());
        Self::by(Way::Tls(link), location, ground, options())
    }

    #[cfg(feature = "ssh")]
    pub(crate) async fn by_ssh() -> Self {
        let ground = prepare(Runtime::Dockerd).await;
        let sshd = Sshd::new().await;
        let location = sshd.location(&ground.relay.socket);
        Self::by(Way::Ssh(sshd), location, ground, options())
    }

    fn by(way: Way, location: Location, ground: Ground, options: DockerOptions) -> Self {
        let Ground { runtime, api, relay, folder } = ground;
        let engine = Arc::new(DockerEngine::connect(runtime.name(), location, options).unwrap());
        Self { runtime, api, relay, way, engine, made: Mutex::default(), _folder: folder }
    }

    #[cfg(feature = "ssh")]
    pub(crate) fn sshd(&self) -> &Sshd {
        match &self.way {
            Way::Ssh(sshd) => sshd,
            _ => panic!("it is not reached by ssh"),
        }
    }

    /// A name that no other test uses, removed at the end.
    pub(crate) fn name(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}-x", std::process::id());
        self.made.lock().unwrap().push(name.clone());
        name
    }

    /// Makes a container of this definition; gives its name.
    pub(crate) async fn make(&self, definition: &Value) -> String {
        let name = self.name();
        self.api.create(&name, definition).await;
        name
    }

    pub(crate) fn provider(&self, name: &str) -> Arc<dyn Provider> {
        self.engine.provider(&Reference::Name(name.to_owned())).unwrap()
    }

    /// Waits until the present run has written this.
    pub(crate) async fn written(&self, name: &str, text: &str) {
        let written = async {
            while !self.api.log(name).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, written).await.expect("the application writes it");
    }
}

/// What there is before anything is connected to the engine.
struct Ground {
    runtime: Runtime,
    api: Api,
    relay: Relay,
    folder: TempDir,
}

async fn prepare(runtime: Runtime) -> Ground {
    // `RUST_LOG=debug` shows each call and event of a test that fails.
    _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    let (api, folder) = (Api::of(runtime.variable()), tempfile::tempdir().unwrap());
    let relay = Relay::new(folder.path(), &api.socket);
    make_shell_image(runtime, &api, folder.path()).await;
    Ground { runtime, api, relay, folder }
}

fn options() -> DockerOptions {
    DockerOptions::new().with_watch_buffer(WATCH_BUFFER)
}

pub(crate) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Reads a watch until `wanted`; error items fail the test.
pub(crate) async fn until(
    watch: &mut Watch,
    mut wanted: impl FnMut(&WatchItem) -> bool,
) -> WatchItem {
    let wait = async {
        loop {
            let item = watch.next().await.expect("the watch goes on").expect("no error item");
            if wanted(&item) {
                return item;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it is told")
}

/// Once for all tests of this process: the engine takes the same image again without harm.
async fn make_shell_image(runtime: Runtime, api: &Api, folder: &Path) {
    static MADE: [OnceCell<()>; 3] = [const { OnceCell::const_new() }; 3];
    MADE[runtime as usize]
        .get_or_init(async || {
            let root = folder.join("root");
            std::fs::create_dir_all(root.join("bin")).unwrap();
            let busybox =
                ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
            std::fs::copy(busybox.expect("busybox-static is installed"), root.join("bin/busybox"))
                .unwrap();
            for applet in ["sh", "sleep"] {
                std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
            let tar = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output();
            let path = "/images/create?fromSrc=-&repo=drowse-docker-shell:1";
            api.must("POST", path, &tar.await.unwrap().stdout).await;
        })
        .await;
}

/// Where the engine listens with TLS.
#[cfg(feature = "tls")]
pub(crate) fn tls_address() -> std::net::SocketAddr {
    let url = std::env::var("DROWSE_TEST_DOCKER_TLS").expect("the private engine's own");
    url.strip_prefix("tcp://").unwrap().parse().unwrap()
}

/// The folder with the certificate of the engine's CA, and a client's that it takes.
#[cfg(feature = "tls")]
pub(crate) fn tls_folder() -> std::path::PathBuf {
    std::env::var_os("DROWSE_TEST_TLS").expect("the private engine's own").into()
}

pub(crate) fn testapp(environment: &[&str]) -> Value {
    json!({"Image": TESTAPP, "Cmd": ["/drowse-testapp"], "Env": environment})
}

pub(crate) fn shell(script: &str) -> Value {
    json!({"Image": SHELL, "Cmd": ["/bin/sh", "-c", script]})
}

fn definition(behaviour: Behaviour) -> Value {
    match behaviour {
        Behaviour::Serves => testapp(&["HANDLE_HUP=1"]),
        Behaviour::IgnoresTerm => shell(
            "trap '' TERM; trap 'exit 0' INT; trap : HUP; echo ready; \
             while :; do sleep 1000 & wait $!; done",
        ),
        Behaviour::Exits(code) => {
            testapp(&["EXIT_AFTER_MS=0", format!("EXIT_CODE={code}").as_str()])
        }
        other => panic!("{other:?} is not known here"),
    }
}

fn word(reference: &Reference) -> &str {
    match reference {
        Reference::Id(word) | Reference::Name(word) => word,
        other => panic!("{other:?} is not of this fixture"),
    }
}

#[async_trait]
impl Fixture for RealEngine {
    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    async fn create(&self, behaviour: Behaviour) -> Reference {
        Reference::Name(self.make(&definition(behaviour)).await)
    }

    async fn serving(&self, reference: &Reference) {
        self.written(word(reference), "ready").await;
    }

    /// Podman tells nothing before the end.
    async fn sees_stop_begin(&self, reference: &Reference) -> bool {
        if matches!(self.runtime, Runtime::Dockerd) {
            return false;
        }
        let begun = async {
            while self.api.inspect(word(reference)).await["State"]["Status"] != "stopping" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.expect("the stop begins");
        true
    }

    async fn remove(&self, reference: &Reference) {
        self.api.remove(word(reference)).await;
    }

    async fn outside(&self, reference: &Reference, act: Outside) -> bool {
        let verb = match act {
            Outside::Start => "start".to_owned(),
            Outside::Kill(signal) => format!("kill?signal={}", signal.number()),
            Outside::Pause => "pause".to_owned(),
            Outside::Unpause => "unpause".to_owned(),
            _ => return false,
        };
        self.api.post(word(reference), &verb).await;
        true
    }

    async fn recreate(&self, name: &Reference, behaviour: Behaviour) -> bool {
        self.api.create(word(name), &definition(behaviour)).await;
        true
    }

    async fn break_events(&self) -> bool {
        match &self.way {
            Way::Socket => self.relay.cut(),
            #[cfg(feature = "tls")]
            Way::Tls(link) => link.cut(),
            #[cfg(feature = "ssh")]
            Way::Ssh(sshd) => sshd.down(),
        }
        true
    }

    async fn mend_events(&self) {
        match &self.way {
            Way::Socket => self.relay.mend(),
            #[cfg(feature = "tls")]
            Way::Tls(link) => link.mend(),
            #[cfg(feature = "ssh")]
            Way::Ssh(sshd) => sshd.up(),
        }
    }

    fn overrun(&self) -> usize {
        3 * WATCH_BUFFER
    }

    async fn tear_down(&self) {
        self.engine.close().await;
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        for name in made {
            self.api.remove(&name).await;
        }
    }
}
