//! `cargo xtask test`: every test, beside private engines.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::engine::Kind;
use crate::sandbox::{self, Ended, Interruption, Output, Sandbox};
use crate::summary::Summary;
use crate::{cargo, fakepve, setup, terminal, testapp};

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
    #[arg(long, value_name = "MINUTES", default_value_t = 45)]
    timeout: u64,
}

impl Options {
    fn deadline(&self) -> Duration {
        Duration::from_mins(self.timeout)
    }
}

/// Prints the summary line last; fails if a test failed, or, under `CI=true`, was skipped.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut engines = if options.no_engines {
        terminal::note("no private engines: --no-engines was given");
        Vec::new()
    } else {
        setup::engines().unwrap_or_else(|reason| {
            terminal::note(&format!("no private engines: {reason:#}"));
            Vec::new()
        })
    };
    let fakepve = fakepve::Preparation::begin_if_among(&engines);
    build()?;
    fakepve.finish(&mut engines);
    setup::chromium(&mut engines);
    let mut summary = Summary::default();
    let ended = loop {
        match run_beside(&engines, options, &mut summary) {
            Ok(ended) => break ended,
            Err(error) if engines.is_empty() => return Err(error),
            // Without the last one, and in the end without any.
            Err(reason) => {
                terminal::note(&format!("{reason:#}"));
                engines.pop();
            }
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

/// Runs the tests beside these engines. Those that need another are skipped, and counted.
fn run_beside(engines: &[Kind], options: &Options, summary: &mut Summary) -> anyhow::Result<Ended> {
    let missing: Vec<_> = Kind::ALL.into_iter().filter(|kind| !engines.contains(kind)).collect();
    let skipped = if missing.is_empty() { Vec::new() } else { list_needing(&missing, options)? };
    let skip: Vec<_> = missing.iter().flat_map(|kind| ["--skip", kind.marker()]).collect();
    let tests = cargo_test(options, &skip)?;
    let output = Output::Tee(&mut |line| summary.add_line(line));
    let ended = if engines.is_empty() {
        sandbox::guarded(tests, output, Some(options.deadline()), &Interruption::listen()?)?
    } else {
        Sandbox::open(engines)?.run(&tests, output, Some(options.deadline()))?
    };
    for test in &skipped {
        terminal::note(&format!("skipped: {test}"));
    }
    summary.skipped += skipped.len() as u64;
    Ok(ended)
}

/// The tests that need one of these engines, by name.
fn list_needing(engines: &[Kind], options: &Options) -> anyhow::Result<Vec<String>> {
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
    let needs_one = |test: &&str| engines.iter().any(|kind| test.contains(kind.marker()));
    Ok(tests.filter(needs_one).map(str::to_owned).collect())
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
