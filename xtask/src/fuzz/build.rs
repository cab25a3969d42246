//! The tests that are fuzz targets, with counters in our own crates, and libFuzzer.
//!
//! libFuzzer is Debian's (of compiler-rt), and the counters are LLVM's, which every rustc can set: no
//! nightly compiler is needed, nor a package that ordinary builds would have to compile. Only our own
//! crates are built anew, whatever they depend on is that of `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use super::target::Target;
use crate::{cargo, setup};

/// Those that have targets.
const PACKAGES: [&str; 5] =
    ["drowse", "drowse-docker", "drowse-gateway", "drowse-provider", "drowse-proxmox"];

/// The module of a target: `proxy_protocol::fuzz::proxy_protocol`.
const MODULE: &str = "fuzz::";

/// Where LLVM's libraries are, by its version.
const LLVM: &str = "/usr/lib/llvm-";

/// Builds them.
pub(super) fn targets() -> anyhow::Result<Vec<Target>> {
    let engine = engine()?;
    let mut command = cargo::cargo(["test", "--no-run", "--lib", "--bins", "--all-features"]);
    command.args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    command.args(["--message-format", "json-render-diagnostics"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", cargo::root().join("crates/fuzz/rustc-with-counters"));
    command.env("DROWSE_LIBFUZZER", engine);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("`{}` failed: {}", cargo::show(&command), output.status);
    }
    let mut targets = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let said: Value = serde_json::from_str(line).context("reading what cargo says")?;
        let is_test = said["profile"]["test"] == true;
        if let Some(executable) = said["executable"].as_str().filter(|_| is_test) {
            targets.extend(targets_of(Path::new(executable))?);
        }
    }
    Ok(targets)
}

fn targets_of(executable: &Path) -> anyhow::Result<Vec<Target>> {
    let mut command = Command::new(executable);
    let output = command.args(["--list", "--format", "terse"]).stdin(Stdio::null()).output()?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    let is_target = |test: &&str| test.starts_with(MODULE) || test.contains("::fuzz::");
    Ok(tests.filter(is_target).map(|test| Target::new(executable, test)).collect())
}

/// libFuzzer's library without `main`, of the newest LLVM that is installed.
fn engine() -> anyhow::Result<PathBuf> {
    if let Some(engine) = installed() {
        return Ok(engine);
    }
    setup::install_for_fuzzing(&["libclang-rt-dev", "g++"])?;
    installed().context("there is no libFuzzer: install Debian's `libclang-rt-dev` by hand")
}

fn installed() -> Option<PathBuf> {
    let version = |version: u32| {
        let clang = PathBuf::from(format!("{LLVM}{version}/lib/clang"));
        let folders = clang.read_dir().ok()?.filter_map(Result::ok);
        let arch = std::env::consts::ARCH;
        let library = format!("lib/linux/libclang_rt.fuzzer_no_main-{arch}.a");
        folders.map(|folder| folder.path().join(&library)).find(|path| path.is_file())
    };
    (10..40).rev().find_map(version)
}
