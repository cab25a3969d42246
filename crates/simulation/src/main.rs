//! `cargo xtask simulate`.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use drowse_simulation::{Budget, Failure, Outcome, Plan, minimise, run, search};

/// What is told of the end of a long trace.
const LINES: usize = 400;

#[derive(Debug, Parser)]
#[command(about = "Lets worlds happen until one fails, or so many steps are made")]
struct Cli {
    /// How many steps: inputs to workloads, and what happens in their worlds.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// The first world; the next ones follow. With `--trace`: the only one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell all that happens in the one world of the seed.
    #[arg(long)]
    trace: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if cli.trace {
        let outcome = run(Arc::new(Plan::of_seed(cli.seed)), true);
        print(&outcome, usize::MAX)?;
        let is_well = outcome.violation.is_none();
        return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let began = tokio::time::Instant::now();
    let forever = Duration::from_hours(24 * 365);
    let budget = Budget { seed: cli.seed, worlds: u64::MAX, steps: cli.steps, time: forever };
    let report = search(budget, || ());
    let took = began.elapsed();
    let rate = u128::from(report.steps) * 1_000 / took.as_millis().max(1);
    writeln!(
        std::io::stdout(),
        "{} steps in {} worlds from seed {} on, {:.1} s, {rate} steps a second",
        report.steps,
        report.worlds,
        cli.seed,
        took.as_secs_f64()
    )?;
    let Some(failure) = report.failure else { return Ok(ExitCode::SUCCESS) };
    explain(&failure)?;
    Ok(ExitCode::FAILURE)
}

fn print(outcome: &Outcome, lines: usize) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let left_out = outcome.trace.len().saturating_sub(lines);
    if left_out > 0 {
        writeln!(out, "({left_out} lines before)")?;
    }
    for line in &outcome.trace[left_out..] {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{} steps, trace {:016x}", outcome.steps, outcome.hash)?;
    Ok(())
}

/// The smallest world in which the same goes wrong, and how to see it again.
fn explain(failure: &Failure) -> anyhow::Result<()> {
    let seed = failure.seed;
    let mut out = std::io::stdout();
    let again = format!("cargo xtask simulate --seed {seed} --trace");
    let Some(found) = &failure.violation else {
        writeln!(out, "seed {seed}: a task spins, and the world comes to no end: {again}")?;
        return Ok(());
    };
    let smallest = minimise(Plan::of_seed(seed), found.invariant);
    let outcome = run(Arc::new(smallest.clone()), true);
    writeln!(out, "\nthe smallest world in which this happens:\n{smallest}")?;
    print(&outcome, LINES)?;
    let at = found.at;
    let smaller = outcome.violation.context("the smallest world has changed")?;
    writeln!(
        out,
        "\nseed {seed}: invariant {} does not hold after {at:?}: {}\nin the smallest world: {}\nto \
         see all of it again: {again}",
        found.invariant, found.what, smaller.what
    )?;
    Ok(())
}
