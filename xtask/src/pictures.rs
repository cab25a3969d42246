//! `cargo xtask pictures`: takes the pictures of the waiting page anew.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::{cargo, chromium, setup, terminal};

/// Where they are kept.
const FOLDER: &str = "docs/pictures";

/// What makes them small, which is Debian's package of it as well. The tests can do without.
const SHRINK: &str = "pngquant";

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    setup::install_for_pictures(SHRINK)?;
    chromium::prepare()?;
    let folder = cargo::root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| FOLDER.to_owned())?;
    terminal::step("taking pictures");
    let mut test = cargo::cargo(["test", "--package", "drowse-gateway", "--test", "gateway"]);
    test.args(["--", "in_chromium::pictures"])
        .env("DROWSE_PICTURES", &folder)
        .env("DROWSE_TEST_CHROMIUM", chromium::folder()?);
    cargo::run(&mut test)?;
    shrink(&folder)?;
    Ok(ExitCode::SUCCESS)
}

/// 256 colours are as good as all of them on a page of three.
fn shrink(folder: &Path) -> anyhow::Result<()> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "png") {
            pictures.push(path);
        }
    }
    if pictures.is_empty() {
        bail!("no pictures were taken");
    }
    let mut command = Command::new(SHRINK);
    command.args(["--force", "--strip", "--speed", "1", "--ext", ".png", "--"]).args(pictures);
    cargo::run(&mut command)
}
