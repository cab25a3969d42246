//! `cargo xtask bench`: the numbers that the design asks for, beside private engines.
//!
//! drowse is built as for packages and run as a black box, in the same sandbox as the tests. The
//! measurements themselves are below `inside`; they share the sandbox's network with drowse, the
//! engine and its containers, and one clock with all of them.

mod clock;
mod document;
mod drowse;
mod engine;
mod exchange;
mod fake;
pub(crate) mod gateway;
mod herd;
mod idle;
pub(crate) mod inside;
mod machine;
mod process;
mod proxmox;
mod pve;
mod relay;
mod report;
mod site;
mod spread;
mod wake;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::engine::Kind;
use crate::sandbox::{Ended, Output, Sandbox};
use crate::{cargo, setup, terminal, testapp};

/// Longer than all measurements take, by far.
const DEADLINE: Duration = Duration::from_mins(30);

/// What is measured: all that the design has numbers for, or a part that is measured on its own.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(flatten)]
    measure: Measure,
    #[command(subcommand)]
    alone: Option<Alone>,
}

#[derive(Debug, Subcommand)]
enum Alone {
    /// Measure the gateway beside nginx, HAProxy and Caddy, without any engine.
    Gateway(gateway::Options),
}

/// What is measured beside an engine, and how.
#[derive(Debug, Args)]
pub(crate) struct Measure {
    /// Fewer runs and shorter windows: five minutes.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Part>,
    /// Put the results into BENCHMARKS.md.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    write: bool,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From request to start order, and from `listen()` to the first byte.
    Wake,
    /// Thousands of requests at once on one sleeping container.
    Herd,
    /// Resident memory of few and of many workloads.
    Memory,
    /// Processor time and engine calls while nothing happens.
    Idle,
    /// The same of Proxmox clusters of up to thousands of containers, and how soon an end is noticed.
    Proxmox,
}

impl Measure {
    fn parts(&self) -> &[Part] {
        if self.only.is_empty() { Part::value_variants() } else { &self.only }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        arguments.extend(self.write.then(|| "--write".to_owned()));
        let names = self.only.iter().filter_map(ValueEnum::to_possible_value);
        arguments.extend(names.map(|name| format!("--only={}", name.get_name())));
        arguments
    }
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    match &bench.alone {
        None => beside_an_engine(&bench.measure),
        Some(Alone::Gateway(options)) => gateway::run(options),
    }
}

/// Builds drowse, opens the sandbox, and measures in it.
fn beside_an_engine(measure: &Measure) -> anyhow::Result<ExitCode> {
    setup::engines()?;
    testapp::build()?;
    cargo::run(&mut cargo::cargo(["build", "--profile", "dist", "--bin", "drowse"]))?;
    cargo::run(&mut cargo::cargo(["build", "-p", "xtask", "--example", pve::EXAMPLE]))?;
    terminal::note(&format!("the machine's load average is {}", machine::load()));
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["bench-inside", "--program"])
        .arg(cargo::target_dir()?.join("dist/drowse"))
        .arg("--pve")
        .arg(cargo::target_dir()?.join("debug/examples").join(pve::EXAMPLE))
        .args(measure.arguments());
    let ended = Sandbox::open(&[Kind::Dockerd])?.run(&command, Output::Inherit, Some(DEADLINE))?;
    if let Ended::TimedOut(after) = ended {
        terminal::error(&format!("killed after {after:?}"));
    }
    Ok(ended.exit_code())
}
