//! fakepve, the stand-in for a Proxmox cluster: a virtual environment that has it. The tests start it
//! themselves, a cluster for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};

use crate::engine::Kind;
use crate::{cargo, setup, terminal};

/// Each tool that it needs, with Debian's package of it. What makes virtual environments is no tool
/// of its own: see [`lacks_venv`].
pub(crate) const TOOLS: &[(&str, &str)] = &[("python3", "python3")];

/// Debian's package of what makes virtual environments. Python itself comes without it.
pub(crate) const VENV_PACKAGE: &str = "python3-venv";

/// What an interpreter can import that makes virtual environments.
const VENV_IMPORTS: &str = "import ensurepip, venv";

/// What a usable environment can import.
const IMPORTS: &str = "import fakepve.server, cryptography.x509";

/// Attempts to fetch the packages: a registry that fails once is common.
const ATTEMPTS: u32 = 2;

/// Whether there is nothing that makes virtual environments: no Python, or one without it.
pub(crate) fn lacks_venv() -> bool {
    !makes_venv(&mut python())
}

fn makes_venv(interpreter: &mut Command) -> bool {
    succeeds(interpreter.args(["-c", VENV_IMPORTS]))
}

/// The interpreter that has it.
pub(crate) fn interpreter() -> anyhow::Result<PathBuf> {
    Ok(folder()?.join("bin/python"))
}

/// The environment, while it is being made.
pub(crate) struct Preparation(Option<JoinHandle<anyhow::Result<()>>>);

impl Preparation {
    /// Makes it unless it is there or not asked for. Meanwhile something else can be done.
    pub(crate) fn begin_if_among(engines: &[Kind]) -> Self {
        Self(engines.contains(&Kind::Fakepve).then(|| thread::spawn(prepare)))
    }

    /// Waits for it. Takes fakepve out of the engines if there is none, and says why.
    pub(crate) fn finish(self, engines: &mut Vec<Kind>) {
        let Some(thread) = self.0 else { return };
        let outcome = thread.join().unwrap_or_else(|_| Err(anyhow!("that panicked")));
        if let Err(reason) = outcome {
            terminal::note(&format!("no fakepve: {reason:#}"));
            engines.retain(|kind| *kind != Kind::Fakepve);
        }
    }
}

/// An environment is made once, and again when other packages are asked for or when it is broken. To
/// use one needs no network.
fn prepare() -> anyhow::Result<()> {
    let folder = folder()?;
    let requirements = cargo::root().join("crates/fakepve/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("fakepve's requirements")?;
    // Written last, so an environment that was left half made has none.
    let stamp = folder.join("made-of.txt");
    let is_made = fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == wanted);
    if is_made && is_usable(&interpreter()?) {
        return Ok(());
    }
    terminal::step("making an environment with fakepve");
    make(&folder, &requirements)?;
    fs::write(&stamp, wanted).with_context(|| stamp.display().to_string())
}

fn make(folder: &Path, requirements: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    cargo::run_quietly(python().args(["-m", "venv"]).arg(folder))?;
    let install = || {
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--no-input", "--only-binary=:all:", "-r"])
            .arg(requirements);
        cargo::run_quietly(&mut pip)
    };
    let mut outcome = install();
    for _ in 1..ATTEMPTS {
        outcome = outcome.or_else(|_| install());
    }
    outcome
}

fn is_usable(interpreter: &Path) -> bool {
    succeeds(Command::new(interpreter).args(["-c", IMPORTS]))
}

fn succeeds(command: &mut Command) -> bool {
    cargo::run_quietly(command).is_ok()
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PATH", setup::search_path());
    command
}

fn folder() -> anyhow::Result<PathBuf> {
    Ok(cargo::target_dir()?.join("fakepve"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the package is found missing only after Python was installed, when nothing more is.
    #[test]
    fn a_machine_without_python_lacks_what_makes_environments() {
        assert!(!makes_venv(&mut Command::new("/nowhere/python3")));
        assert!(!makes_venv(&mut Command::new("false")));
        assert!(makes_venv(&mut Command::new("true")));
    }
}
