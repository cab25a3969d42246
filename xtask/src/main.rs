//! `cargo xtask`: sets up, tests, checks and measures drowse.

mod bench;
mod cargo;
mod certificates;
mod chaos;
mod chromium;
mod ci;
mod dependencies;
mod dockerd;
mod engine;
mod fakepve;
mod fuzz;
mod pictures;
mod podman;
mod sandbox;
mod scratch;
mod setup;
mod simulate;
mod summary;
mod terminal;
mod test;
mod testapp;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::engine::Kind;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Sets up, tests, checks and measures drowse", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test, beside a private dockerd, private Podmans and stand-ins for Proxmox.
    ///
    /// Installs what is missing where it can (Debian, as root). Where an engine cannot be had it
    /// says why, and skips the tests that need it; with `CI=true` anything skipped is a failure. The
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
    Bench(bench::Bench),
    /// Put drowse under load on a real Docker engine, and let everything go wrong around it.
    ///
    /// drowse is killed and begins anew, the engine is started again, users stop, start and make
    /// containers again; what the clients and the engine have seen is judged in the end. The short form
    /// is a test of `cargo xtask test`. The same seed makes the same choices; the engine's own timing
    /// cannot be repeated.
    Chaos(chaos::Options),
    /// Let libFuzzer look for inputs for which a property of a parser does not hold.
    ///
    /// The targets are tests beside the parsers, which try what is kept in `crates/fuzz/corpus` in every
    /// `cargo test`. Here they are built with counters, and run for a while; what gets further than all
    /// that is kept is added to it. The exit code is 1 if something did not hold: the input is kept.
    Fuzz(fuzz::Options),
    /// Let whole worlds happen in virtual time, and see that the invariants hold at each step.
    ///
    /// Engines fail in every way that is known, containers crash, people act past drowse, drowse is
    /// killed. Each world is a function of its seed. When an invariant does not hold: the smallest world
    /// in which that is so, its trace, and how to see it again; the exit code is 1.
    Simulate(simulate::Options),
    /// Take the pictures of the waiting page anew, in a real Chromium, into `docs/pictures`.
    Pictures,
    /// Run a command beside a private dockerd and, where they can be had, private Podmans.
    ///
    /// The engines live in network, mount and process namespaces of their own and die with the
    /// command. Inside, `DROWSE_TEST_DOCKER` and `DOCKER_HOST` are dockerd's URL,
    /// `DROWSE_TEST_DOCKER_TLS` that of its port with TLS, with the files for it in
    /// `DROWSE_TEST_TLS`, `DROWSE_TEST_PODMAN` is that of root's Podman,
    /// `DROWSE_TEST_ROOTLESS_PODMAN` that of another user's, `DROWSE_TEST_FAKEPVE` the Python that
    /// has fakepve, `DROWSE_TEST_CHROMIUM` the folder with what drives Chromium, `DROWSE_TESTAPP` the path of the test
    /// application (in the engines: the image `drowse-testapp:1`), `DROWSE_TEST_TMP` a folder that
    /// is removed afterwards. The working directory stays; the exit code is the command's.
    WithEngines {
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    BenchInside(bench::inside::Inside),
    #[command(hide = true)]
    BenchGateway(bench::gateway::Inside),
    #[command(hide = true)]
    SandboxInit {
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long = "engine")]
        engines: Vec<Kind>,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    SandboxPodman {
        #[arg(long)]
        user: podman::User,
        #[arg(long)]
        folder: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    SandboxMain {
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long = "engine")]
        engines: Vec<Kind>,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Ci => ci::run(),
        Command::Chaos(options) => chaos::run(&options),
        Command::Bench(bench) => bench::run(&bench),
        Command::Pictures => pictures::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::BenchInside(inside) => bench::inside::run(&inside),
        Command::BenchGateway(inside) => bench::gateway::inside(&inside),
        Command::WithEngines { command } => with_engines(&command),
        Command::SandboxInit { scratch, engines, command } => {
            sandbox::inside::init(&scratch, &engines, &command)
        }
        Command::SandboxMain { scratch, engines, command } => {
            sandbox::inside::main(&scratch, &engines, &command)
        }
        Command::SandboxPodman { user, folder, command } => podman::enter(user, &folder, &command),
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
    let mut engines = setup::engines()?;
    let fakepve = fakepve::Preparation::begin_if_among(&engines);
    testapp::build()?;
    fakepve.finish(&mut engines);
    setup::chromium(&mut engines);
    loop {
        let sandbox = sandbox::Sandbox::open(&engines)?;
        match sandbox.run(&command, sandbox::Output::Inherit, None) {
            Ok(ended) => return Ok(ended.exit_code()),
            // Without the last one, but never without any.
            Err(reason) if engines.len() > 1 => {
                terminal::note(&format!("{reason:#}"));
                engines.pop();
            }
            Err(reason) => return Err(reason),
        }
    }
}
