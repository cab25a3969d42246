//! Cargo, as the subcommands call it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::terminal;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        xtask.parent().unwrap_or(xtask).to_owned()
    });
    &ROOT
}

/// A cargo command, run at the root, by the cargo that runs xtask.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // Set by the outer cargo for xtask alone. Passed on, they would make build scripts and the
    // fingerprints of what is built differ from those of a plain `cargo test`.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end, with its output shown. An error if it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    terminal::step(&shown);
    let status = command.stdin(Stdio::null()).status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs a command whose output is of interest only if it fails.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("`{shown}`: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<_> = std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

/// Which packages `cargo metadata` is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Packages {
    /// Our own.
    Workspace,
    /// Our own, and all that they depend on, on this machine's platform.
    Tree,
}

/// `cargo metadata`.
pub(crate) fn metadata(packages: Packages) -> anyhow::Result<Value> {
    let mut command = cargo(["metadata", "--format-version", "1"]);
    match packages {
        Packages::Workspace => command.arg("--no-deps"),
        Packages::Tree => command.args(["--all-features", "--filter-platform", &host_triple()?]),
    };
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("reading what `cargo metadata` says")
}

/// Where cargo builds to.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let metadata = metadata(Packages::Workspace)?;
    let path = metadata["target_directory"].as_str().context("cargo names no target directory")?;
    Ok(path.into())
}

/// The triple that this machine's compiler builds for.
pub(crate) fn host_triple() -> anyhow::Result<String> {
    let version = rustc_version()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host triple")
}

/// What `rustc -vV` prints.
pub(crate) fn rustc_version() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(root()).output()?;
    if !output.status.success() {
        bail!("`rustc -vV` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).context("reading what `rustc -vV` says")
}
