//! `cargo xtask`: sets up, tests, checks and measures drowse.

mod bench;
mod cargo;
mod certificates;
mod ci;
mod dependencies;
mod dockerd;
mod sandbox;
mod scratch;
mod setup;
mod summary;
mod terminal;
mod test;
mod testapp;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Sets up, tests, checks and measures drowse", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test, beside a private Docker engine.
    ///
    /// Installs what is missing where it can (Debian, as root). Where no engine can be had it says
    /// why, and skips the tests that need one; with `CI=true` anything skipped is a failure. The
    /// last line is the summary: `N passed, N failed, N skipped`.
    Test(test::Options),
    /// Run every check that is no test.
    ///
    /// Format, lints, documentation, each library alone with each of its features on the oldest
    /// Rust it names, and the dependencies' licences and sources. `.ci/run` runs it, and then
    /// `cargo xtask test`.
    Ci,
    /// Measure drowse against the numbers that it is to reach, beside a private Docker engine.
    ///
    /// Prints a table, in which a missed bar is marked; succeeds whatever the numbers.
    Bench(bench::Measure),
    /// Run a command beside a private Docker engine.
    ///
    /// The engine lives in network, mount and process namespaces of its own and dies with the
    /// command. Inside, `DROWSE_TEST_DOCKER` and `DOCKER_HOST` are its URL, `DROWSE_TEST_DOCKER_TLS`
    /// that of its port with TLS, with the files for it in `DROWSE_TEST_TLS`, `DROWSE_TESTAPP` is
    /// the path of the test application (in the engine: the image `drowse-testapp:1`),
    /// `DROWSE_TEST_TMP` a folder that is removed afterwards. The working directory stays; the exit code is the
    /// command's.
    WithEngines {
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    BenchInside(bench::inside::Inside),
    #[command(hide = true)]
    SandboxInit {
        #[arg(long)]
        scratch: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    SandboxMain {
        #[arg(long)]
        scratch: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Ci => ci::run(),
        Command::Bench(measure) => bench::run(&measure),
        Command::BenchInside(inside) => bench::inside::run(&inside),
        Command::WithEngines { command } => with_engines(&command),
        Command::SandboxInit { scratch, command } => sandbox::inside::init(&scratch, &command),
        Command::SandboxMain { scratch, command } => sandbox::inside::main(&scratch, &command),
    };
    outcome.unwrap_or_else(|error| {
        terminal::error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn with_engines(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = words.split_first().context("no command")?;
    let mut command = process::Command::new(program);
    command.args(arguments);
    setup::engines()?;
    testapp::build()?;
    let ended = sandbox::Sandbox::open()?.run(&command, sandbox::Output::Inherit, None)?;
    Ok(ended.exit_code())
}
