//! A real sshd: one process for each connection, as inetd starts it. With keys only.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use drowse_docker::{Location, SshFiles};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    task::JoinHandle,
};

pub(crate) struct Sshd {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    served: Arc<Mutex<Served>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Served {
    is_down: bool,
    made: usize,
    sessions: Vec<Session>,
}

struct Session {
    stream: std::net::TcpStream,
    process: Child,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Also if sshd has forked: both ends of the connection go.
        _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Sshd {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "client", "stranger"] {
            key(&folder.path().join(name)).await;
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::copy(path("client.pub"), path("authorized")).unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            path("host"),
            path("authorized")
        );
        std::fs::write(path("config"), config).unwrap();
        // Where sshd locks itself in before anybody is let in.
        std::fs::create_dir_all("/run/sshd").unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::<Mutex<Served>>::default();
        let accepting = tokio::spawn({
            let (served, config, log) = (Arc::clone(&served), path("config"), path("log"));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let mut served = served.lock().unwrap();
                    if served.is_down {
                        continue;
                    }
                    served.made += 1;
                    let session = session(stream.into_std().unwrap(), &config, &log);
                    served.sessions.push(session);
                }
            }
        });
        let sshd = Self { address, folder, served, accepting };
        let host_key = std::fs::read_to_string(sshd.path("host.pub")).unwrap();
        sshd.know(&host_key);
        sshd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file of known hosts.
    fn know(&self, key: &str) {
        let line = format!("[127.0.0.1]:{} {key}", self.address.port());
        std::fs::write(self.path("known_hosts"), line).unwrap();
    }

    pub(crate) fn know_nobody(&self) {
        std::fs::write(self.path("known_hosts"), "").unwrap();
    }

    pub(crate) fn know_another(&self) {
        self.know(&std::fs::read_to_string(self.path("stranger.pub")).unwrap());
    }

    /// The private key that is let in.
    pub(crate) fn key(&self) -> PathBuf {
        self.path("client")
    }

    /// One that is not.
    pub(crate) fn strangers_key(&self) -> PathBuf {
        self.path("stranger")
    }

    /// Forbids all but a shell to whoever has the key.
    pub(crate) fn restrict(&self) {
        let key = std::fs::read_to_string(self.path("client.pub")).unwrap();
        std::fs::write(self.path("authorized"), format!("restrict {key}")).unwrap();
    }

    pub(crate) fn files(&self) -> SshFiles {
        SshFiles::new()
            .with_identity(self.key())
            .with_known_hosts(self.path("known_hosts"))
            .with_config("/dev/null")
    }

    /// The location of an engine with this socket, "there".
    pub(crate) fn location(&self, socket: &Path) -> Location {
        let url = format!("ssh://root@{}{}", self.address, socket.display());
        Location::new(url).with_ssh(self.files())
    }

    /// A configuration of ssh in which this machine is called `nas`.
    pub(crate) fn write_alias(&self) -> PathBuf {
        let text = format!(
            "Host nas\n  HostName 127.0.0.1\n  Port {}\n  User root\n  LocalCommand exit 1\n  \
             RequestTTY force\n  RemoteCommand true\n  ControlMaster auto\n",
            self.address.port()
        );
        let path = self.path("ssh_config");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Ends all connections, and those that come.
    pub(crate) fn down(&self) {
        let mut served = self.served.lock().unwrap();
        served.is_down = true;
        served.sessions.clear();
    }

    pub(crate) fn up(&self) {
        self.served.lock().unwrap().is_down = false;
    }

    /// How many connections were ever made.
    pub(crate) fn made(&self) -> usize {
        self.served.lock().unwrap().made
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        let mut served = self.served.lock().unwrap();
        served.sessions.retain_mut(|session| session.process.try_wait().unwrap().is_none());
        served.sessions.len()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.accepting.abort();
        self.down();
    }
}

fn session(stream: std::net::TcpStream, config: &str, log: &str) -> Session {
    stream.set_nonblocking(false).unwrap();
    let end = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
    let process = Command::new("/usr/sbin/sshd")
        .args(["-i", "-f", config, "-E", log])
        .stdin(end())
        .stdout(end())
        .kill_on_drop(true)
        .spawn()
        .expect("openssh-server is installed");
    Session { stream, process }
}

async fn key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()
        .await;
    assert!(made.expect("openssh-client is installed").success());
}
