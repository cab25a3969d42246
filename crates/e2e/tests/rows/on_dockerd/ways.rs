//! Engines that are reached in other ways than by their socket.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use drowse_e2e::{DEADLINE, DrowseSpec, Site, Workload, eventually, free_port, scratch_folder};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::NEVER;

/// A real sshd of this machine, with keys only. Ended when it is dropped.
struct Sshd {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Sshd {
    async fn start() -> Self {
        let (folder, port) = (scratch_folder(), free_port());
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["host", "id"] {
            let key = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(name)])
                .status();
            assert!(key.unwrap().success());
        }
        let host_key = std::fs::read_to_string(path("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{port} {host_key}");
        std::fs::write(path("known_hosts"), known).unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n             StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n",
            path("host"),
            path("id.pub")
        );
        std::fs::write(path("config"), config).unwrap();
        // Where sshd locks itself in before anybody is let in.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f", &path("config"), "-E", &path("log")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let listens = || async move { TcpStream::connect(("127.0.0.1", port)).await.ok() };
        eventually(DEADLINE, "sshd to listen", listens).await;
        Self { folder, port, process }
    }

    /// The engine with this socket, as the configuration names it.
    fn engine(&self, socket: &Path) -> String {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        format!(
            "{{ url: 'ssh://root@127.0.0.1:{}{}', ssh: {{ identity: {}, known_hosts: {} }} }}",
            self.port,
            socket.display(),
            path("id"),
            path("known_hosts")
        )
    }
}

/// The process that forwards to this socket.
fn forwarding(socket: &Path) -> Option<u32> {
    let target = format!(":{}", socket.display());
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&command).contains(&target).then_some(pid)
    })
}

#[tokio::test]
async fn by_ssh_a_request_wakes_what_is_asleep_and_ssh_goes_with_drowse() {
    let (site, sshd) = (Site::new().await, Sshd::start().await);
    let app = site.container("far").create().await;
    let url = site.relay.url();
    let socket = Path::new(url.strip_prefix("unix://").unwrap());
    let config = site.config(&[Workload::of(&app).idle(NEVER)]);
    let config = config.replace(&format!("\"{url}\""), &sshd.engine(socket));
    let mut drowse = DrowseSpec::default().config(&config).start().await;
    drowse.wait_until_read(app.name()).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
    assert!(forwarding(socket).is_some());

    drowse.kill().await;
    let gone = || async { forwarding(socket).is_none().then_some(()) };
    eventually(DEADLINE, "ssh to be gone after a SIGKILL of drowse", gone).await;
    drowse.start_again().await;
    drowse.wait_until_read(app.name()).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert!(forwarding(socket).is_some());
    assert!(drowse.terminate(DEADLINE).await.success());
    assert_eq!(forwarding(socket), None);
}

/// `printf lab | sha256sum`
const LAB: &str = "a51146d38077ff992eba84cf1d5e9b249073503eb74868699016153b031a38f7";

#[tokio::test]
async fn a_docker_context_names_an_engine_with_its_certificates() {
    let site = Site::new().await;
    let app = site.container("context").create().await;
    let config = site.config(&[Workload::of(&app).idle(NEVER)]);
    let by_context = |name: &str| {
        config.replace(&format!("\"{}\"", site.relay.url()), &format!("{{ context: {name} }}"))
    };
    let spec = DrowseSpec::default().config(&by_context("lab"));
    let contexts = spec.folder().join(".docker/contexts");
    let (meta, tls) = (contexts.join("meta").join(LAB), contexts.join("tls").join(LAB));
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::create_dir_all(tls.join("docker")).unwrap();
    let url = std::env::var("DROWSE_TEST_DOCKER_TLS").unwrap();
    let text = format!(r#"{{"Name":"lab","Endpoints":{{"docker":{{"Host":"{url}"}}}}}}"#);
    std::fs::write(meta.join("meta.json"), text).unwrap();
    let good = std::env::var("DROWSE_TEST_TLS").unwrap();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::copy(Path::new(&good).join(name), tls.join("docker").join(name)).unwrap();
    }
    let path = spec.config_path().display().to_string();
    let checked = spec.command_output(["check", "--config", &path]).await;
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    let line = told.lines().find(|line| line.starts_with(app.name()));
    assert!(line.is_some_and(|line| line.contains("exited") || line.contains("stopped")), "{told}");

    let spec = spec.config(&by_context("lob"));
    let refused = spec.command_output(["check", "--config", &path]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("unknown Docker context `lob`: did you mean `lab`?"), "{told}");
    assert_eq!(refused.status.code(), Some(64));
}
