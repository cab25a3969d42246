//! `cargo xtask bench gateway`: drowse beside nginx, HAProxy and Caddy, in front of the same
//! application.
//!
//! Whichever proxy is measured has one core for itself, and is the only one that runs; what asks it and
//! what answers it have another. The proxies take turns, several times, so that what the machine does
//! meanwhile meets all of them.

mod application;
mod connections;
mod load;
mod proxy;
mod shape;
mod table;
mod tools;
mod websocket;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::application::Application;
use self::proxy::{Place, Proxy};
use self::shape::Shape;
use self::table::Measured;
use super::{document, machine};
use crate::certificates::Certificates;
use crate::sandbox::{Ended, Output, Sandbox};
use crate::{cargo, setup, terminal, testapp};

/// Longer than all measurements take, by far.
const DEADLINE: Duration = Duration::from_hours(1);

/// What is measured, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fewer turns and shorter ones: five minutes.
    #[arg(long)]
    quick: bool,
    /// Only these kinds of traffic.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<Shape>,
    /// Only these proxies.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROXIES")]
    proxies: Vec<Proxy>,
    /// Leave out what thousands of open connections take.
    #[arg(long)]
    no_memory: bool,
    /// Put the results into BENCHMARKS.md.
    #[arg(long, conflicts_with_all = ["quick", "only", "proxies", "no_memory"])]
    write: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Inside {
    /// The drowse that is measured.
    #[arg(long)]
    program: PathBuf,
    #[command(flatten)]
    options: Options,
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        arguments.extend(self.no_memory.then(|| "--no-memory".to_owned()));
        arguments.extend(self.write.then(|| "--write".to_owned()));
        arguments.extend(self.only.iter().map(|shape| format!("--only={}", name_of(shape))));
        arguments.extend(self.proxies.iter().map(|proxy| format!("--proxies={}", name_of(proxy))));
        arguments
    }

    fn shapes(&self) -> &[Shape] {
        if self.only.is_empty() { Shape::value_variants() } else { &self.only }
    }

    fn proxies(&self) -> &[Proxy] {
        if self.proxies.is_empty() { Proxy::value_variants() } else { &self.proxies }
    }

    fn turns(&self) -> Turns {
        if self.quick { Turns::QUICK } else { Turns::FULL }
    }
}

fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// How often each proxy has its turn, and for how long.
#[derive(Debug, Clone, Copy)]
struct Turns {
    count: usize,
    each: Duration,
}

impl Turns {
    const FULL: Self = Self { count: 5, each: Duration::from_secs(2) };
    // An odd number has a median.
    const QUICK: Self = Self { count: 3, each: Duration::from_secs(1) };
}

/// Builds drowse as for packages, opens the sandbox, and measures in it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    setup::tools(tools::ALL)?;
    testapp::build()?;
    cargo::run(&mut cargo::cargo(["build", "--profile", "dist", "--bin", "drowse"]))?;
    terminal::note(&format!("the machine's load average is {}", machine::load()));
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["bench-gateway", "--program"])
        .arg(cargo::target_dir()?.join("dist/drowse"))
        .args(options.arguments());
    let ended = Sandbox::open(&[])?.run(&command, Output::Inherit, Some(DEADLINE))?;
    if let Ended::TimedOut(after) = ended {
        terminal::error(&format!("killed after {after:?}"));
    }
    Ok(ended.exit_code())
}

/// In the sandbox. Succeeds if all could be measured, whatever the numbers.
pub(crate) fn inside(inside: &Inside) -> anyhow::Result<ExitCode> {
    let Inside { program, options } = inside;
    let about = machine::describe_alone(program)?;
    let core = two_cores()?;
    let folder = std::env::var_os("DROWSE_TEST_TMP").context("DROWSE_TEST_TMP")?;
    let folder = PathBuf::from(folder);
    let certificates = folder.join("certificates");
    Certificates::make(&certificates)?;
    let application = Application::start(&folder)?;
    let place = Place { program: program.clone(), folder, certificates, core };
    let mut results = String::new();
    for shape in options.shapes() {
        let rows = measure(*shape, options, &place)?;
        results += &table::of_shape(*shape, &rows);
    }
    if !options.no_memory {
        results += &connections::measure(&place, options.proxies())?;
    }
    drop(application);
    let results = format!("{results}{}{about}", tools::versions()?);
    write!(std::io::stdout(), "\n{results}")?;
    if options.write {
        document::write(document::Section::Gateway, &results)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The core for the proxies. This process and all that it starts keep to another, unless they are told
/// otherwise.
fn two_cores() -> anyhow::Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let (Some(first), Some(second)) = (cores.next(), cores.next()) else {
        bail!("two cores are needed: one for the proxy, one for what asks and answers it");
    };
    let mut own = CpuSet::new();
    own.set(second);
    sched_setaffinity(None, &own)?;
    Ok(first)
}

/// Each proxy that can carry this traffic has its turns.
fn measure(shape: Shape, options: &Options, place: &Place) -> anyhow::Result<Vec<Measured>> {
    let turns = options.turns();
    let mut rows: Vec<_> = options.proxies().iter().map(|proxy| Measured::new(*proxy)).collect();
    rows.retain(|row| row.proxy.carries(shape));
    for turn in 0..turns.count {
        terminal::step(&format!("{}, turn {} of {}", shape.title(), turn + 1, turns.count));
        // Nobody always comes first.
        rows.rotate_left(1);
        let mut unable = Vec::new();
        for row in &mut rows {
            let running = row.proxy.start(place)?;
            if turn == 0 && !shape.is_served()? {
                unable.push(row.proxy);
                continue;
            }
            load::run(shape, turns.each / 4)?;
            let before = running.processor_time()?;
            let run = load::run(shape, turns.each)?;
            let used = running.processor_time()?.saturating_sub(before);
            row.note(&run, used)?;
        }
        for proxy in &unable {
            terminal::note(&format!("{} does not serve {}", proxy.title(), shape.title()));
        }
        rows.retain(|row| !unable.contains(&row.proxy));
    }
    rows.sort_by_key(|row| row.proxy);
    Ok(rows)
}

/// Writes a configuration file, and returns where.
fn written(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}
