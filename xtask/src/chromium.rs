//! A real Chromium for the tests of the waiting page: Debian's, and the packages that drive it. The
//! tests start it themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::{cargo, setup, terminal};

/// Each tool that it needs, with Debian's package of it.
pub(crate) const TOOLS: &[(&str, &str)] =
    &[("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// Attempts to fetch the packages: a registry that fails once is common.
const ATTEMPTS: u32 = 2;

/// Where the packages are, once they are installed.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    Ok(cargo::target_dir()?.join("chromium"))
}

/// Installs the packages where they are not there yet, or others are asked for. To use them needs no
/// network.
pub(crate) fn prepare() -> anyhow::Result<()> {
    let (folder, wanted) = (folder()?, cargo::root().join("crates/gateway/tests/chromium"));
    let lock = fs::read_to_string(wanted.join("package-lock.json")).context("the packages")?;
    // Written last, so a folder that was left half made has none.
    let stamp = folder.join("made-of.json");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == lock) {
        return Ok(());
    }
    terminal::step("installing what drives Chromium");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(wanted.join(name), folder.join(name)).with_context(|| name.to_owned())?;
    }
    let mut outcome = install(&folder);
    for _ in 1..ATTEMPTS {
        outcome = outcome.or_else(|_| install(&folder));
    }
    outcome?;
    fs::write(&stamp, lock).with_context(|| stamp.display().to_string())
}

fn install(folder: &Path) -> anyhow::Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .env("PATH", setup::search_path());
    cargo::run_quietly(&mut npm)
}
