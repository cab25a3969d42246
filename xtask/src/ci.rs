//! `cargo xtask ci`: every check that is no test.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{cargo, dependencies, setup, terminal};

/// Stops at the first check that fails.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    cargo::run(&mut cargo::cargo(["fmt", "--all", "--check"]))?;
    lints()?;
    documentation()?;
    each_library_alone()?;
    dependencies()?;
    terminal::step("all checks passed");
    Ok(ExitCode::SUCCESS)
}

fn lints() -> anyhow::Result<()> {
    for features in [[].as_slice(), &["--all-features"]] {
        let mut clippy = cargo::cargo(["clippy", "--workspace", "--all-targets"]);
        cargo::run(clippy.args(features).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn documentation() -> anyhow::Result<()> {
    let mut doc = cargo::cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    cargo::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// A library that builds only because another crate of the workspace turns a feature of their
/// common dependency on would break for its users. And they may have the oldest compiler we name.
fn each_library_alone() -> anyhow::Result<()> {
    let metadata = cargo::metadata(cargo::Packages::Workspace)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    for package in packages.iter().filter(|package| is_published_library(package)) {
        let name = text(package, "name")?;
        let toolchain = Toolchain::of_version(text(package, "rust_version")?)?;
        cargo::run(toolchain.check(name).arg("--no-default-features"))?;
        for feature in package["features"].as_object().into_iter().flat_map(|map| map.keys()) {
            let mut check = toolchain.check(name);
            cargo::run(check.args(["--no-default-features", "--features", feature]))?;
        }
    }
    Ok(())
}

fn is_published_library(package: &Value) -> bool {
    let never_published = package["publish"].as_array().is_some_and(Vec::is_empty);
    let targets = package["targets"].as_array().into_iter().flatten();
    let mut kinds = targets.filter_map(|target| target["kind"].as_array()).flatten();
    !never_published && kinds.any(|kind| kind == "lib")
}

fn text<'a>(package: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    package[key].as_str().with_context(|| format!("a package without `{key}`: {}", package["id"]))
}

/// The compiler that a check is made with.
enum Toolchain {
    /// The one that runs xtask.
    Current,
    /// Another one, of this version.
    Installed(String),
}

impl Toolchain {
    /// The one of this version, or the current one where that is missing. Under `CI=true` that is
    /// an error.
    fn of_version(version: &str) -> anyhow::Result<Self> {
        let release = cargo::rustc_version()?;
        let current = release.lines().find_map(|line| line.strip_prefix("release: "));
        let is_same = |release: &str| {
            release == version || release.strip_prefix(version).is_some_and(|r| r.starts_with('.'))
        };
        if current.is_some_and(is_same) {
            return Ok(Self::Current);
        }
        let mut probe = Command::new("rustup");
        probe.args(["run", version, "rustc", "--version"]).stdout(Stdio::null());
        if probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Ok(Self::Installed(version.to_owned()));
        }
        let remedy =
            format!("Rust {version} is not installed: `rustup toolchain install {version}`");
        if std::env::var("CI").is_ok_and(|value| value == "true") {
            bail!(remedy);
        }
        terminal::note(&format!("{remedy}; checking with the current one"));
        Ok(Self::Current)
    }

    fn check(&self, package: &str) -> Command {
        let arguments = ["check", "--lib", "-p", package];
        match self {
            Self::Current => cargo::cargo(arguments),
            Self::Installed(version) => {
                let mut command = Command::new("rustup");
                command.args(["run", version, "cargo"]).args(arguments);
                command.current_dir(cargo::root());
                command
            }
        }
    }
}

/// cargo-deny where it is installed. Building it would take longer than all other checks
/// together, so without it our own reading of deny.toml must do.
fn dependencies() -> anyhow::Result<()> {
    if setup::has_tool("cargo-deny") {
        let checks = ["deny", "--all-features", "check", "bans", "licenses", "sources"];
        return cargo::run(&mut cargo::cargo(checks));
    }
    terminal::step("licences, sources and banned packages (cargo-deny is not installed)");
    dependencies::check()
}
