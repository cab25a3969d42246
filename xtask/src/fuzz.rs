//! `cargo xtask fuzz`: lets libFuzzer look for inputs that get further, or for which something does not hold.

mod build;
mod target;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long, all targets together.
    #[arg(long, value_name = "N", default_value_t = 20)]
    minutes: u64,
    /// Only the targets with this in their name.
    #[arg(long, value_name = "T")]
    target: Option<String>,
}

/// Builds the targets with counters, and runs one after the other. What gets further than all that is
/// kept is added to it; so is an input for which something does not hold, and then this fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut targets = build::targets()?;
    if let Some(wanted) = &options.target {
        targets.retain(|target| target.name().contains(wanted));
    }
    let Some(share) = u32::try_from(targets.len()).ok().filter(|count| *count > 0) else {
        bail!("there is no such target");
    };
    let time = Duration::from_mins(options.minutes) / share;
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        terminal::step(&format!("fuzz {} for {} s", target.name(), time.as_secs()));
        if let Err(reason) = target.run(time) {
            terminal::error(&format!("{reason:#}"));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
