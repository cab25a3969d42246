//! The proxies, each as its users run it, and with what belongs to a reverse proxy's work: kept
//! connections to the application, and the headers that tell it who asks.

mod config;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::super::clock::Moment;
use super::super::process::{self, Memory};
use super::application::nginx;
use super::shape::Shape;
use super::written;
use crate::sandbox::pause;

/// How long a proxy, or the application, may take until it answers.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// The doors of every proxy. There is only one proxy at a time.
pub(super) const PORT: u16 = 8080;
/// HTTP/2 with prior knowledge.
pub(super) const H2C_PORT: u16 = 8081;
pub(super) const TLS_PORT: u16 = 8443;
pub(super) const TCP_PORT: u16 = 8090;
/// drowse alone: of a workload that never becomes ready.
pub(super) const ASLEEP_HOST: &str = "asleep.localhost";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Proxy {
    Drowse,
    Nginx,
    Haproxy,
    Caddy,
}

/// Where and how the proxies are started.
#[derive(Debug)]
pub(super) struct Place {
    /// The drowse that is measured.
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    /// The folder of `server-cert.pem` and `server-key.pem`.
    pub(super) certificates: PathBuf,
    /// Whose the proxy is.
    pub(super) core: usize,
}

impl Proxy {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Drowse => "drowse",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
        }
    }

    /// Whether it is one that carries such traffic at all. What drowse does is seen by trying.
    pub(super) fn carries(self, shape: Shape) -> bool {
        // Debian's Caddy has no module for it.
        !(self == Self::Caddy && shape.is_raw())
    }

    /// Starts it, and returns when it answers.
    pub(super) fn start(self, place: &Place) -> anyhow::Result<Running> {
        let folder = place.folder.join(self.title());
        fs::create_dir_all(&folder)?;
        let command = match self {
            Self::Drowse => drowse(place, &folder)?,
            Self::Nginx => nginx(&written(&folder, "nginx.conf", &config::nginx(place, &folder))?),
            Self::Haproxy => haproxy(place, &folder)?,
            Self::Caddy => caddy(place, &folder)?,
        };
        let mut pinned = Command::new("taskset");
        pinned
            .args(["--cpu-list", &place.core.to_string()])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            pinned.env(name, value.unwrap_or_default());
        }
        let log = fs::File::create(folder.join("log"))?;
        pinned.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = pinned.spawn().with_context(|| format!("starting {}", self.title()))?;
        let mut running = Running { process, log: folder.join("log") };
        running.until_it_answers().with_context(|| self.title())?;
        Ok(running)
    }
}

/// A proxy that runs, with all its processes. Killed on drop.
#[derive(Debug)]
pub(super) struct Running {
    process: Child,
    log: PathBuf,
}

impl Running {
    /// What all its processes have used so far.
    pub(super) fn processor_time(&self) -> anyhow::Result<Duration> {
        process::family(self.process.id())?.into_iter().map(process::processor_time).sum()
    }

    /// What of all its processes' memory is resident now, in bytes.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        let family = process::family(self.process.id())?;
        family.into_iter().map(|one| Ok(Memory::of(one)?.resident)).sum()
    }

    fn until_it_answers(&mut self) -> anyhow::Result<()> {
        let began = Moment::now();
        while !Shape::Small.is_served()? {
            if let Some(status) = self.process.try_wait()? {
                bail!("it ended: {status}\n{}", self.log());
            }
            if began.elapsed() > DEADLINE {
                bail!("it does not answer within {DEADLINE:?}\n{}", self.log());
            }
            pause(POLL);
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The youngest first: nobody is left who would start another. An error means that it is gone.
        let family = process::family(self.process.id()).unwrap_or_default();
        for one in family.iter().rev() {
            process::kill(*one);
        }
        self.process.wait().ok();
    }
}

fn drowse(place: &Place, folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(&place.program);
    command.args(["run", "--config"]).arg(written(folder, "drowse.yaml", &config::drowse(place))?);
    command.env("DROWSE_STATE_DIR", folder.join("state"));
    command.env("DROWSE_DATA_DIR", folder.join("data"));
    Ok(command)
}

fn haproxy(place: &Place, folder: &Path) -> anyhow::Result<Command> {
    // It wants both in one file.
    let both = ["server-cert.pem", "server-key.pem"].map(|file| place.certificates.join(file));
    let both = both.iter().map(fs::read_to_string).collect::<Result<String, _>>()?;
    let both = written(folder, "both.pem", &both)?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]);
    command.arg(written(folder, "haproxy.cfg", &config::haproxy(&both))?);
    Ok(command)
}

fn caddy(place: &Place, folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]);
    command.arg(written(folder, "Caddyfile", &config::caddy(place))?);
    command.env("HOME", folder);
    Ok(command)
}
