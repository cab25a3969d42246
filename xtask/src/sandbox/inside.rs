//! What runs inside the namespaces: process 1, and the one that starts the engines and the command.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use rustix::mount::MountFlags;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process_group, setrlimit, wait,
};
use rustix::termios::tcsetpgrp;

use super::started_marker;
use crate::engine::{Engine, Kind};
use crate::{cargo, chromium, dockerd, engine, fakepve, testapp};

/// Process 1: buries every orphan, and ends with its only own child.
///
/// Tests that look whether a grandchild has died need that: a zombie nobody buries looks alive.
pub(crate) fn init(
    scratch: &Path,
    engines: &[Kind],
    command: &[OsString],
) -> anyhow::Result<ExitCode> {
    let main = Command::new(std::env::current_exe()?)
        .args(["sandbox-main", "--scratch"])
        .arg(scratch)
        .args(engines.iter().flat_map(|kind| ["--engine", kind.name()]))
        .arg("--")
        .args(command)
        .spawn()
        .context("starting the sandbox's main process")?;
    let main = Pid::from_child(&main);
    loop {
        let (pid, status) = match wait(WaitOptions::empty()) {
            Ok(Some(buried)) => buried,
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(error) => bail!("waiting for the sandbox's main process: {error}"),
        };
        if pid == main {
            let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
            return Ok(ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1)));
        }
    }
}

/// Prepares the namespaces, starts the engines, runs the command.
pub(crate) fn main(
    scratch: &Path,
    engines: &[Kind],
    command: &[OsString],
) -> anyhow::Result<ExitCode> {
    hide_the_machines_engines()?;
    cargo::run_quietly(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    raise_descriptor_limit();
    let testapp = testapp::path()?;
    let archive = engine::archive_of_testapp(&testapp, scratch)?;
    // All at once: each takes some seconds.
    let started = engines.iter().filter_map(|kind| Engine::spawn(*kind, scratch).transpose());
    let mut started = started.collect::<anyhow::Result<Vec<_>>>()?;
    for engine in &mut started {
        engine.wait()?;
        engine.import_testapp(&archive)?;
    }

    let stand_in = engines.contains(&Kind::Fakepve).then(fakepve::interpreter).transpose()?;
    let browser = engines.contains(&Kind::Chromium).then(chromium::folder).transpose()?;
    let (program, arguments) = command.split_first().context("no command")?;
    std::fs::write(started_marker(scratch), "")?;
    let mut command = Command::new(program)
        .args(arguments)
        .envs(started.iter().flat_map(variables))
        .envs(stand_in.map(|interpreter| ("DROWSE_TEST_FAKEPVE", interpreter)))
        .envs(browser.map(|folder| ("DROWSE_TEST_CHROMIUM", folder)))
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_TLS_VERIFY")
        .env("DROWSE_TESTAPP", testapp)
        .env("DROWSE_STATIC_BIN", testapp::path_of_drowse()?)
        .env("DROWSE_TEST_TMP", scratch.join("tmp"))
        // The group that xtask was started in has no number in here: `getpgrp()` would be 0.
        .process_group(0)
        .spawn()
        .with_context(|| format!("running {}", program.display()))?;
    give_terminal(Pid::from_child(&command));
    Ok(super::Ended::Exited(command.wait()?).exit_code())
}

/// By which the command finds an engine.
fn variables(engine: &Engine) -> Vec<(&'static str, String)> {
    match engine.kind() {
        Kind::Dockerd => {
            let certificates = dockerd::certificates(engine.folder());
            vec![
                ("DROWSE_TEST_DOCKER", engine.url()),
                ("DOCKER_HOST", engine.url()),
                ("DROWSE_TEST_DOCKER_TLS", dockerd::TLS_URL.to_owned()),
                ("DROWSE_TEST_TLS", certificates.display().to_string()),
            ]
        }
        // Nothing that is started here.
        Kind::Fakepve | Kind::Chromium => Vec::new(),
        Kind::Podman => vec![("DROWSE_TEST_PODMAN", engine.url())],
        Kind::RootlessPodman => vec![("DROWSE_TEST_ROOTLESS_PODMAN", engine.url())],
    }
}

/// Makes a new process group the terminal's foreground, so that a shell in it can be typed into.
fn give_terminal(group: Pid) {
    let stdin = std::io::stdin();
    if stdin.is_terminal() && tcsetpgrp(stdin, group).is_ok() {
        // It was stopped if it has read from the terminal before this.
        kill_process_group(group, Signal::CONT).ok();
    }
}

/// An empty /run: a dockerd would use the machine's own containerd if it found its socket there,
/// and share its names; and no test can reach the machine's own engine.
fn hide_the_machines_engines() -> anyhow::Result<()> {
    rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)
        .context("mounting an empty /run")
}

/// Benches hold thousands of connections. The hard limit itself cannot be raised everywhere.
fn raise_descriptor_limit() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).ok();
}
