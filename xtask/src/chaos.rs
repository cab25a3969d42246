//! `cargo xtask chaos`: load and faults on a real engine, for longer than a test takes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::engine::Kind;
use crate::sandbox::{Ended, Output, Sandbox};
use crate::{cargo, setup, terminal, testapp};

/// Beyond the time that was asked for: the engine's start, and until all is asleep.
const MARGIN: Duration = Duration::from_mins(10);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long it goes on.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// What happens: the same choices at each run, though not at the same moments.
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds what the test needs, and runs it beside a private dockerd.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    setup::engines()?;
    testapp::build()?;
    cargo::run(&mut cargo::cargo(["build", "-p", "drowse", "-p", "xtask"]))?;
    let mut test = cargo::cargo(["test", "-p", "drowse-e2e", "--test", "chaos"]);
    cargo::run(test.arg("--no-run"))?;
    let lasting = Duration::from_mins(options.minutes);
    let mut test = cargo::cargo(["test", "--offline", "-p", "drowse-e2e", "--test", "chaos"]);
    test.args(["--", "--nocapture"])
        .env("DROWSE_CHAOS_SECONDS", lasting.as_secs().to_string())
        .env("DROWSE_BIN", cargo::target_dir()?.join("debug/drowse"))
        .env("DROWSE_TESTAPP", testapp::path()?);
    if let Some(seed) = options.seed {
        test.env("DROWSE_CHAOS_SEED", seed.to_string());
    }
    let sandbox = Sandbox::open(&[Kind::Dockerd])?;
    let ended = sandbox.run(&test, Output::Inherit, Some(lasting + MARGIN))?;
    if let Ended::TimedOut(after) = ended {
        terminal::error(&format!("killed after {after:?}"));
    }
    Ok(ended.exit_code())
}
