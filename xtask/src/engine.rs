//! A private engine: what dockerd and Podman have in common, which is their API.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::podman::{self, User};
use crate::{cargo, chromium, dockerd, fakepve, sandbox, scratch, terminal};

/// How long an engine may take until it answers. Usually up to 8 seconds.
const START_DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// How long one request to it may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines of its log that are shown when it does not start.
const LOG_TAIL: usize = 40;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Dockerd,
    /// Which the tests start themselves, as often as they need it.
    Fakepve,
    /// No engine, but as much needed by some tests, which start it themselves.
    Chromium,
    /// Of root.
    Podman,
    /// Of a user who is not root.
    RootlessPodman,
}

impl Kind {
    /// All, the most needed one first.
    pub(crate) const ALL: [Self; 5] =
        [Self::Dockerd, Self::Fakepve, Self::Chromium, Self::Podman, Self::RootlessPodman];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dockerd => "dockerd",
            Self::Fakepve => "fakepve",
            Self::Chromium => "chromium",
            Self::Podman => "podman",
            Self::RootlessPodman => "rootless-podman",
        }
    }

    /// What the paths of the tests that need it contain.
    pub(crate) fn marker(self) -> &'static str {
        match self {
            Self::Dockerd => "on_dockerd::",
            Self::Fakepve => "on_fakepve::",
            Self::Chromium => "in_chromium::",
            Self::Podman => "on_podman::",
            Self::RootlessPodman => "on_rootless_podman::",
        }
    }

    /// Each tool that it needs, with Debian's package of it.
    pub(crate) fn tools(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dockerd => dockerd::TOOLS,
            Self::Fakepve => fakepve::TOOLS,
            Self::Chromium => chromium::TOOLS,
            Self::Podman => podman::TOOLS,
            Self::RootlessPodman => podman::ROOTLESS_TOOLS,
        }
    }
}

/// The name of each engine's socket, in its folder.
const SOCKET: &str = "engine.sock";

/// An engine with all its state below one folder. Not stopped: it dies with its namespace.
#[derive(Debug)]
pub(crate) struct Engine {
    kind: Kind,
    folder: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    process: Child,
}

impl Engine {
    /// Begins to start it; `None` if it is not to be started here.
    pub(crate) fn spawn(kind: Kind, scratch: &Path) -> anyhow::Result<Option<Self>> {
        let name = kind.name();
        let log = scratch.join(format!("{name}.log"));
        let folder = scratch.join(name);
        fs::create_dir(&folder)?;
        let mut command = match kind {
            Kind::Fakepve | Kind::Chromium => return Ok(None),
            Kind::Dockerd => dockerd::command(&folder, SOCKET, &scratch::cgroup_name(scratch))?,
            Kind::Podman => podman::command(User::Root, &folder, SOCKET)?,
            Kind::RootlessPodman => podman::command(User::Daemon, &folder, SOCKET)?,
        };
        let output = File::create(&log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Some(Self { kind, socket: folder.join(SOCKET), folder, log, process }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// With all its state.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Waits until it answers.
    pub(crate) fn wait(&mut self) -> anyhow::Result<()> {
        self.wait_until_it_answers().inspect_err(|_| self.show_tail())
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let name = self.kind.name();
        let attempts = START_DEADLINE.as_millis() / POLL.as_millis();
        for _ in 0..attempts {
            if self.request("GET", "/_ping", &[]).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("{name} ended while it started: {status}");
            }
            sandbox::pause(POLL);
        }
        bail!("{name} did not answer within {START_DEADLINE:?}")
    }

    /// Makes the image `drowse-testapp:1` of this archive.
    pub(crate) fn import_testapp(&self, archive: &Path) -> anyhow::Result<()> {
        // CMD ["/drowse-testapp"]. The tag is part of `repo`, since Podman looks for it nowhere
        // else.
        let path = "/images/create?fromSrc=-&repo=drowse-testapp:1\
                    &changes=CMD%20%5B%22%2Fdrowse-testapp%22%5D";
        self.request("POST", path, &fs::read(archive)?).context("importing drowse-testapp:1")
    }

    /// One request, whose answer must be a success.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/x-tar\r\n\
             Content-Length: {length}\r\n\r\n"
        )?;
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

    fn show_tail(&self) {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        terminal::error(&format!("the end of {}'s log:", self.kind.name()));
        for line in &lines[lines.len().saturating_sub(LOG_TAIL)..] {
            terminal::note(line);
        }
    }
}

/// Makes the root file system of the image whose only file is the test application, as an archive.
pub(crate) fn archive_of_testapp(testapp: &Path, scratch: &Path) -> anyhow::Result<PathBuf> {
    let root = scratch.join("image");
    fs::create_dir_all(root.join("tmp"))?;
    fs::copy(testapp, root.join("drowse-testapp"))
        .with_context(|| format!("copying {}", testapp.display()))?;
    let archive = scratch.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).arg("-cf").arg(&archive).args(["--owner=0", "--group=0", "."]);
    cargo::run_quietly(&mut tar)?;
    Ok(archive)
}
