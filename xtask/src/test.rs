//! `cargo xtask test`: every test, beside private engines.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::sandbox::{self, Ended, Interruption, Output, Sandbox};
use crate::summary::Summary;
use crate::{cargo, setup, terminal, testapp};

/// Tests with this in their path need a Docker engine.
const NEEDS_DOCKER: &str = "on_dockerd::";

/// How many tests run at once, unless `RUST_TEST_THREADS` says: more than there are cores, since most
/// of them wait for an engine most of the time.
const TEST_THREADS: &str = "6";

/// The same for each cargo command, or cargo would build everything once more.
const SCOPE: [&str; 2] = ["--workspace", "--all-features"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the tests with this in their path.
    #[arg(long)]
    filter: Option<String>,
    /// Skip the tests that need an engine.
    #[arg(long)]
    no_engines: bool,
    /// Kill what still runs after so many minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 20)]
    timeout: u64,
}

impl Options {
    fn deadline(&self) -> Duration {
        Duration::from_mins(self.timeout)
    }
}

/// Prints the summary line last; fails if a test failed, or, under `CI=true`, was skipped.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let engines = if options.no_engines {
        Err(anyhow::anyhow!("--no-engines was given"))
    } else {
        setup::engines()
    };
    build()?;
    let mut summary = Summary::default();
    let ended = match engines.and_then(|()| beside_engines(options, &mut summary)) {
        Ok(ended) => ended,
        Err(reason) => {
            terminal::note(&format!("no private engines: {reason:#}"));
            without_engines(options, &mut summary)?
        }
    };
    match ended {
        Ended::Exited(_) => {}
        Ended::Interrupted(signal) => terminal::error(&format!("interrupted by signal {signal}")),
        Ended::TimedOut(after) => terminal::error(&format!("killed after {after:?}")),
    }
    if !ended.success() {
        summary.note_failed_run();
    }
    writeln!(std::io::stdout(), "{summary}")?;
    if let Ended::Interrupted(_) = ended {
        return Ok(ended.exit_code());
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    if summary.failed > 0 || (strict && summary.skipped > 0) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds all that the tests need: inside the sandbox there is no network to fetch anything from.
pub(crate) fn build() -> anyhow::Result<()> {
    cargo::run(cargo::cargo(["test", "--no-run"]).args(SCOPE))?;
    // The test targets are named again so that the programs are built from the same features.
    cargo::run(cargo::cargo(["build", "--bins", "--tests"]).args(SCOPE))?;
    testapp::build()?;
    testapp::build_drowse()
}

fn beside_engines(options: &Options, summary: &mut Summary) -> anyhow::Result<Ended> {
    let tests = cargo_test(options, &[])?;
    let output = Output::Tee(&mut |line| summary.add_line(line));
    Sandbox::open()?.run(&tests, output, Some(options.deadline()))
}

fn without_engines(options: &Options, summary: &mut Summary) -> anyhow::Result<Ended> {
    let skipped = list_skipped(options)?;
    for test in &skipped {
        terminal::note(&format!("skipped: {test}"));
    }
    summary.skipped += skipped.len() as u64;
    let tests = cargo_test(options, &["--skip", NEEDS_DOCKER])?;
    let output = Output::Tee(&mut |line| summary.add_line(line));
    sandbox::guarded(tests, output, Some(options.deadline()), &Interruption::listen()?)
}

/// The tests that need an engine, by name.
fn list_skipped(options: &Options) -> anyhow::Result<Vec<String>> {
    let output = cargo_test(options, &["--list", "--format", "terse"])?
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("listing the tests")?;
    if !output.status.success() {
        bail!("listing the tests: {}", output.status);
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.filter(|test| test.contains(NEEDS_DOCKER)).map(str::to_owned).collect())
}

/// The command that runs the tests, with `arguments` for the test binaries.
fn cargo_test(options: &Options, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = cargo::cargo(["test", "--offline", "--no-fail-fast"]);
    command
        .args(SCOPE)
        .args(&options.filter)
        .arg("--")
        .args(arguments)
        .env("RUST_TEST_THREADS", test_threads())
        .env("DROWSE_BIN", cargo::target_dir()?.join("debug/drowse"))
        .env("DROWSE_TESTAPP", testapp::path()?)
        .env("DROWSE_STATIC_BIN", testapp::path_of_drowse()?);
    Ok(command)
}

fn test_threads() -> String {
    std::env::var("RUST_TEST_THREADS").unwrap_or_else(|_| TEST_THREADS.to_owned())
}
