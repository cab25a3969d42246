//! What a Proxmox cluster costs while nothing happens, whatever its number of containers, and how
//! soon it is noticed when one ends.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::clock::Moment;
use super::drowse::Drowse;
use super::fake;
use super::process::Memory;
use super::pve::Pve;
use super::relay::Call;
use super::report::{Row, Unit};
use super::site::Site;
use super::spread::Spread;
use crate::sandbox::pause;
use crate::{cargo, terminal};

const SIZES: [usize; 3] = [1, 100, 5_000];
/// Of this one, containers end.
const OF_THE_ENDS: usize = 100;

const INTERVAL: Duration = Duration::from_secs(4);
/// Less its jitter.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(3_600);
/// For drowse to be done with its start.
const SETTLED: Duration = Duration::from_secs(12);
/// The number of the first container.
const FIRST: usize = 100;

/// A cluster, and the drowse that has read all of it.
struct Managed {
    containers: usize,
    pve: Pve,
    drowse: Drowse,
    /// From the start of drowse until all its workloads were as they should be.
    read_in: Duration,
}

/// Gives this machine the networks that are set apart for benchmarks (RFC 2544): the scripted
/// containers are there, and what serves for them listens on every address. Loopback would not be
/// believed of a container.
fn take_their_addresses() -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["route", "replace", "local", "198.18.0.0/15", "dev", "lo"]);
    cargo::run_quietly(&mut command)
}

/// Clusters of all sizes, over the same time; then containers of one of them end.
pub(super) fn measure(site: &Site, window: Duration) -> anyhow::Result<Vec<Row>> {
    take_their_addresses()?;
    let mut managed = Vec::new();
    for containers in SIZES {
        terminal::step(&format!("drowse reads a Proxmox cluster of {containers} containers"));
        managed.push(Managed::start(site, containers)?);
    }
    pause(SETTLED);
    terminal::step(&format!("processor time and requests over {window:?}, idle"));
    let began = Moment::now();
    let before = managed.iter().map(|one| one.drowse.processor_time());
    let before = before.collect::<anyhow::Result<Vec<_>>>()?;
    pause(window);
    let mut rows = Vec::new();
    for (one, before) in managed.iter().zip(before) {
        let used = one.drowse.processor_time()?.saturating_sub(before);
        rows.extend(one.rows(used, began)?);
    }
    managed.retain(|one| one.containers == OF_THE_ENDS);
    let ends = managed.first_mut().context("no cluster whose containers end")?;
    rows.extend(ends.ends()?);
    Ok(rows)
}

impl Managed {
    fn start(site: &Site, containers: usize) -> anyhow::Result<Self> {
        let folder = site.folder.join(format!("pve-{containers}"));
        fs::create_dir_all(&folder)?;
        let pve = Pve::start(&site.pve, &folder, containers)?;
        let began = Moment::now();
        let mut drowse = Drowse::start(&site.program, folder, &pve.config())?;
        drowse.wait_until(containers, containers.div_ceil(fake::ONE_RUNS_OF))?;
        Ok(Self { containers, pve, drowse, read_in: began.elapsed() })
    }

    fn rows(&self, used: Duration, began: Moment) -> anyhow::Result<[Row; 2]> {
        let over = began.elapsed();
        let calls = self.pve.calls.since(began);
        let of = format!("a Proxmox cluster of {}", self.containers);
        let share = 100.0 * used.div_duration_f64(over);
        let cpu = format!(
            "{} of a core ({used:?} in {:.0} s)",
            Unit::Percent.show(share),
            over.as_secs_f64()
        );
        let Memory { resident, .. } = self.drowse.memory()?;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let resident = Unit::Bytes.show(resident as f64);
        let read_in = self.read_in.as_secs_f64();
        let beside = format!(
            "1 of {} ready, the others asleep; {resident} resident; all were read {read_in:.1} s \
             after drowse's start",
            fake::ONE_RUNS_OF
        );
        Ok([
            requests_row(&format!("requests while idle, {of}"), &calls, over),
            Row::new(format!("idle CPU, {of}"), cpu).beside(beside),
        ])
    }

    /// Each that runs ends, one after the other, at moments that are spread over an interval.
    fn ends(&mut self) -> anyhow::Result<[Row; 2]> {
        terminal::step("containers of a Proxmox cluster end");
        let (mut from_end, mut from_read) = (Vec::new(), Vec::new());
        let running = (0..self.containers).step_by(fake::ONE_RUNS_OF);
        let share = INTERVAL / u32::try_from(running.len())?;
        for (number, shares) in running.zip(0..) {
            // The one before was told right after the beginning of an interval.
            pause(share * shares);
            let vmid = FIRST + number;
            let log = self.drowse.log_end()?;
            let ended = Moment::now();
            self.pve.end(vmid)?;
            let workload = format!("workload=service{number} ");
            let told = self.drowse.has_logged(log, &[&workload, "from=ready"])?;
            let calls = self.pve.calls.since(ended);
            let read = calls.iter().find(|call| is_live(call, vmid)).context("no live read")?.at;
            from_end.push(told.since(ended));
            from_read.push(told.since(read));
        }
        let row = |what: &str, times| -> anyhow::Result<Row> {
            let of = format!("a Proxmox cluster of {}", self.containers);
            Ok(Row::new(format!("{what}, {of}"), Spread::of(times)?.to_string()))
        };
        Ok([
            row("a container's end → told", from_end)?
                .beside("an interval of 4 s; a real cluster's own lag of up to 12 s comes on top"),
            row("its end seen live → told", from_read)?
                .beside("from the arrival of the live read that shows it to the line in the log"),
        ])
    }
}

/// Of the container itself, or of its node's.
fn is_live(call: &Call, vmid: usize) -> bool {
    call.line.ends_with(&format!("/lxc/{vmid}/status/current")) || call.line.ends_with("/lxc")
}

fn requests_row(what: &str, calls: &[Call], window: Duration) -> Row {
    let allowed = window.as_nanos().div_ceil(SHORTEST_INTERVAL.as_nanos());
    let mut lines: Vec<_> = calls.iter().map(|call| call.line.as_str()).collect();
    lines.sort_unstable();
    lines.dedup();
    let shown = lines.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let others = lines.len().saturating_sub(3);
    let others = if others == 0 { String::new() } else { format!(", {others} more") };
    let measured = format!("{} in {:.0} s ({shown}{others})", calls.len(), window.as_secs_f64());
    Row::new(what, measured).required("1 an interval", calls.len() as u128 <= allowed)
}
