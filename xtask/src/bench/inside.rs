//! What runs in the sandbox: the measurements, one after the other.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::engine::Engine;
use super::report;
use super::site::Site;
use super::{Measure, Part, document, fake, herd, idle, machine, proxmox, wake};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Inside {
    /// The drowse that is measured.
    #[arg(long)]
    program: PathBuf,
    /// The scripted Proxmox cluster.
    #[arg(long)]
    pve: PathBuf,
    #[command(flatten)]
    measure: Measure,
}

/// How much is done: enough runs for the spread, or a glance.
struct Extent {
    wakes: usize,
    memory_starts: usize,
    idle_window: Duration,
}

impl Extent {
    const FULL: Self = Self { wakes: 20, memory_starts: 3, idle_window: Duration::from_secs(150) };
    const QUICK: Self = Self { wakes: 5, memory_starts: 1, idle_window: Duration::from_secs(62) };
}

/// Always succeeds if all could be measured, whatever the numbers.
pub(crate) fn run(inside: &Inside) -> anyhow::Result<ExitCode> {
    let Inside { program, pve, measure } = inside;
    let folder = std::env::var_os("DROWSE_TEST_TMP").context("DROWSE_TEST_TMP")?;
    let folder = PathBuf::from(folder);
    let (program, pve) = (program.clone(), pve.clone());
    let site = Site { program, pve, engine: Engine::of_the_sandbox()?, folder };
    let about = machine::describe(&site.program, &site.engine)?;
    fake::serve_as_the_application()?;
    let extent = if measure.quick { Extent::QUICK } else { Extent::FULL };
    let mut rows = Vec::new();
    for part in measure.parts() {
        rows.extend(match part {
            Part::Wake => wake::measure(&site, extent.wakes)?,
            Part::Herd => herd::measure(&site)?,
            Part::Memory => idle::memory(&site, extent.memory_starts)?,
            Part::Idle => idle::time_and_calls(&site, extent.idle_window)?,
            Part::Proxmox => proxmox::measure(&site, extent.idle_window)?,
        });
    }
    let results = format!("{}\n{about}", report::table(&rows));
    write!(std::io::stdout(), "\n{results}")?;
    match rows.iter().filter(|row| row.is_missed()).count() {
        0 => terminal::step("every bar holds"),
        missed => terminal::error(&format!("{missed} of {} rows miss their bar", rows.len())),
    }
    if measure.write {
        document::write(document::Section::Results, &results)?;
    }
    Ok(ExitCode::SUCCESS)
}
