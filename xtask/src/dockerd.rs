//! A private dockerd.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::certificates::Certificates;
use crate::{cargo, sandbox, scratch, terminal};

/// How long an engine may take until it answers. Usually 2 to 8 seconds.
const START_DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// In a network namespace of its own every port is free.
const TLS_ADDRESS: &str = "127.0.0.1:2376";

/// How long one request to it may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines of its log that are shown when it does not start.
const LOG_TAIL: usize = 40;

/// An engine with all its state below one folder. Not stopped: it dies with its namespace.
#[derive(Debug)]
pub(crate) struct Dockerd {
    socket: PathBuf,
    /// The files of a client for the port with TLS, as Docker's own client names them.
    certificates: Certificates,
}

impl Dockerd {
    /// Starts it, and returns when it answers.
    pub(crate) fn start(scratch: &Path) -> anyhow::Result<Self> {
        let log = scratch.join("dockerd.log");
        let certificates = Certificates::make(&scratch.join("tls"))?;
        let dockerd = Self { socket: scratch.join("docker.sock"), certificates };
        let mut process = dockerd.spawn(scratch, &log)?;
        dockerd.wait_until_it_answers(&mut process).inspect_err(|_| show_tail(&log))?;
        Ok(dockerd)
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Where it listens with TLS, and demands a certificate.
    pub(crate) fn tls_url() -> String {
        format!("tcp://{TLS_ADDRESS}")
    }

    /// The folder with the files for that.
    pub(crate) fn certificates(&self) -> &Path {
        self.certificates.folder()
    }

    fn spawn(&self, scratch: &Path, log: &Path) -> anyhow::Result<Child> {
        // Instead of the machine's own settings in /etc/docker.
        let config = scratch.join("daemon.json");
        fs::write(&config, "{}")?;
        let log = File::create(log)?;
        Command::new("dockerd")
            .arg("--config-file")
            .arg(config)
            .arg("--data-root")
            .arg(scratch.join("data"))
            .arg("--exec-root")
            .arg(scratch.join("exec"))
            .arg("--pidfile")
            .arg(scratch.join("docker.pid"))
            .args(["--host", &self.url()])
            .args(["--host", &Self::tls_url(), "--tlsverify"])
            .args(self.certificates.for_dockerd())
            .args(["--cgroup-parent", &format!("/{}", scratch::cgroup_name(scratch))])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--bip", "10.213.0.1/16"])
            .args(["--default-address-pool", "base=10.214.0.0/16,size=24"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting dockerd")
    }

    fn wait_until_it_answers(&self, process: &mut Child) -> anyhow::Result<()> {
        let attempts = START_DEADLINE.as_millis() / POLL.as_millis();
        for _ in 0..attempts {
            if self.request("GET", "/_ping", &[]).is_ok() {
                return Ok(());
            }
            if let Some(status) = process.try_wait()? {
                bail!("dockerd ended while it started: {status}");
            }
            sandbox::pause(POLL);
        }
        bail!("dockerd did not answer within {START_DEADLINE:?}")
    }

    /// Makes the image `drowse-testapp:1`, whose only file is the test application.
    pub(crate) fn import_testapp(&self, testapp: &Path, scratch: &Path) -> anyhow::Result<()> {
        let root = scratch.join("image");
        fs::create_dir_all(root.join("tmp"))?;
        fs::copy(testapp, root.join("drowse-testapp"))
            .with_context(|| format!("copying {}", testapp.display()))?;
        let archive = scratch.join("image.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&root).arg("-cf").arg(&archive).args(["--owner=0", "--group=0", "."]);
        cargo::run_quietly(&mut tar)?;
        // CMD ["/drowse-testapp"]
        let path = "/images/create?fromSrc=-&repo=drowse-testapp&tag=1\
                    &changes=CMD%20%5B%22%2Fdrowse-testapp%22%5D";
        self.request("POST", path, &fs::read(archive)?).context("importing drowse-testapp:1")
    }

    /// One request, whose answer must be a success.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n")?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        // An import that fails half-way says so in the body, under status 200.
        if !status.starts_with('2') || answer.contains("\"errorDetail\"") {
            bail!("{method} {path}: {answer}");
        }
        Ok(())
    }
}

fn show_tail(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    terminal::error("the end of dockerd's log:");
    for line in &lines[lines.len().saturating_sub(LOG_TAIL)..] {
        terminal::note(line);
    }
}
