//! `cargo xtask simulate`: whole worlds in virtual time, until one fails or so many steps are made.

use std::process::{ExitCode, Stdio};

use anyhow::Context;
use clap::Args;

use crate::cargo;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many steps: inputs to workloads, and what happens in their worlds.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    steps: u64,
    /// The first world; the next ones follow. With `--trace`: the only one.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Tell all that happens in the one world of the seed.
    #[arg(long)]
    trace: bool,
}

/// Builds the simulation in its own profile, and runs it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut command =
        cargo::cargo(["run", "--package", "drowse-simulation", "--profile", "simulate"]);
    command.args(["--quiet", "--", "--steps", &options.steps.to_string()]);
    command.args(["--seed", &options.seed.to_string()]);
    if options.trace {
        command.arg("--trace");
    }
    let status = command.stdin(Stdio::null()).status().with_context(|| cargo::show(&command))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
