//! What drowse costs while nothing happens: memory, processor time, calls of the engine.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Moment;
use super::drowse::{self, Drowse};
use super::fake::{self, FakeEngine};
use super::herd::{bytes, growth};
use super::process::Memory;
use super::relay::{Call, Relay};
use super::report::{Row, Unit};
use super::site::Site;
use crate::sandbox::pause;
use crate::terminal;

/// For drowse to be done with its start, and to have given back what that took: it looks every 5 s.
const SETTLED: Duration = Duration::from_secs(12);

const FEW: usize = 100;
const MANY: usize = 1_100;
/// Of which the processor time is measured.
const THOUSAND: usize = 1_000;

/// On the real engine: so many of each, asleep and ready.
const REAL_CONTAINERS: usize = 3;

/// Resident memory with few and with many workloads, each read from as many starts of drowse.
pub(super) fn memory(site: &Site, starts: usize) -> anyhow::Result<Vec<Row>> {
    terminal::step(&format!("memory with {FEW} and {MANY} workloads, {starts} × each"));
    let mut few = Vec::new();
    let mut many = Vec::new();
    for start in 0..starts {
        few.push(memory_with(site, FEW, start)?);
        many.push(memory_with(site, MANY, start)?);
    }
    // Not the least: that would be luck.
    let few = worst(&few);
    let many = worst(&many);
    let each = growth(few.resident, many.resident, MANY - FEW);
    let show = |memory: Memory| {
        let resident = Unit::Bytes.show(bytes(memory.resident));
        format!(
            "{resident}, of which heap and stacks {}",
            Unit::Bytes.show(bytes(memory.anonymous))
        )
    };
    let shares = format!("scripted engine; 1 of {} ready, the others asleep", fake::ONE_RUNS_OF);
    Ok(vec![
        Row::new(format!("resident memory, {FEW} workloads, idle"), show(few))
            .beside(format!("{shares}; the worst of {starts}"))
            .against(Unit::Bytes, bytes(few.resident), 16e6, 12e6),
        Row::new("each further workload", Unit::Bytes.show(each))
            .beside(format!("{MANY} workloads: {}", show(many)))
            .against(Unit::Bytes, each, 16.0 * 1024.0, 4.0 * 1024.0),
    ])
}

fn worst(measured: &[Memory]) -> Memory {
    let worst = measured.iter().max_by_key(|memory| memory.resident);
    worst.copied().unwrap_or(Memory { resident: 0, anonymous: 0 })
}

fn memory_with(site: &Site, workloads: usize, start: usize) -> anyhow::Result<Memory> {
    let (_engine, drowse) =
        drowse_with(site, workloads, site.folder.join(format!("memory-{workloads}-{start}")))?;
    pause(SETTLED);
    drowse.memory()
}

/// A drowse whose scripted engine has so many containers, and that has read them all.
fn drowse_with(
    site: &Site,
    workloads: usize,
    folder: PathBuf,
) -> anyhow::Result<(FakeEngine, Drowse)> {
    let engine = FakeEngine::start(folder.with_extension("sock"), workloads)?;
    let config = format!("engines: {{ scripted: {{ docker: \"{}\" }} }}\n", engine.url());
    let mut drowse = Drowse::start(&site.program, folder, &config)?;
    drowse.wait_until(workloads, workloads.div_ceil(fake::ONE_RUNS_OF))?;
    Ok((engine, drowse))
}

/// Processor time with a thousand workloads, and the calls of an engine, over the same time.
pub(super) fn time_and_calls(site: &Site, window: Duration) -> anyhow::Result<Vec<Row>> {
    let (scripted, thousand) = drowse_with(site, THOUSAND, site.folder.join("thousand"))?;
    let relay = Relay::start(site.folder.join("few.sock"), site.engine.socket())?;
    let few = drowse_with_real_containers(site, &relay)?;
    pause(SETTLED);

    terminal::step(&format!("processor time and engine calls over {window:?}, idle"));
    let began = Moment::now();
    let before = thousand.processor_time()?;
    pause(window);
    let used = thousand.processor_time()?.saturating_sub(before);
    let over = began.elapsed();
    let share = 100.0 * used.div_duration_f64(over);
    let calls = relay.calls.since(began);
    let scripted_calls = scripted.calls.since(began);
    drop((few, thousand));
    Ok(vec![
        Row::new(
            format!("idle CPU, {THOUSAND} workloads"),
            format!(
                "{} of a core ({used:?} in {:.0} s)",
                Unit::Percent.show(share),
                over.as_secs_f64()
            ),
        )
        .beside(format!("scripted engine; 1 of {} ready, the others asleep", fake::ONE_RUNS_OF))
        .against(Unit::Percent, share, 0.2, 0.05),
        calls_row(
            format!("engine calls while idle, {} workloads", 2 * REAL_CONTAINERS),
            &calls,
            over,
        )
        .beside("dockerd; half of them ready, half asleep"),
        calls_row(format!("engine calls while idle, {THOUSAND} workloads"), &scripted_calls, over)
            .beside("scripted engine"),
    ])
}

fn drowse_with_real_containers(site: &Site, relay: &Relay) -> anyhow::Result<Drowse> {
    let containers: Vec<_> =
        (0..2 * REAL_CONTAINERS).map(|count| format!("idle-{count}")).collect();
    for container in &containers {
        site.engine.create(container, &[])?;
    }
    for container in &containers[..REAL_CONTAINERS] {
        site.engine.start(container)?;
    }
    let config = drowse::config(&relay.url(), &containers);
    let mut drowse = Drowse::start(&site.program, site.folder.join("few"), &config)?;
    drowse.wait_until(2 * REAL_CONTAINERS, REAL_CONTAINERS)?;
    Ok(drowse)
}

/// At one call a minute, a window may hold one call more than it has whole minutes.
fn calls_row(what: String, calls: &[Call], window: Duration) -> Row {
    let allowed = window.as_secs().div_ceil(60);
    let mut lines: Vec<_> = calls.iter().map(|call| call.line.as_str()).collect();
    lines.sort_unstable();
    lines.dedup();
    let apart = match calls {
        [first, .., last] => {
            let gaps = u32::try_from(calls.len() - 1).unwrap_or(u32::MAX);
            format!(", {:.1} s apart", (last.at.since(first.at) / gaps).as_secs_f64())
        }
        _ => String::new(),
    };
    let measured =
        format!("{} in {:.0} s{apart} ({})", calls.len(), window.as_secs_f64(), lines.join(", "));
    Row::new(what, measured).required("1 a minute", calls.len() as u64 <= allowed)
}
