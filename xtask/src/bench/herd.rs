//! Thousands of requests at once on one sleeping container.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, getrlimit};

use super::clock::Moment;
use super::drowse::{self, Drowse};
use super::exchange;
use super::process::Memory;
use super::relay::Relay;
use super::report::{Row, Unit};
use super::site::Site;
use crate::sandbox::pause;
use crate::terminal;

/// What the design asks for.
const REQUESTS: u64 = 10_000;
/// Descriptors of a process that are for other things.
const DESCRIPTORS_RESERVED: u64 = 1_000;

/// Long enough for every request to have arrived, and its memory to have been counted.
const LONG_START: Duration = Duration::from_secs(8);
/// From the last request on.
const COUNTED_AFTER: Duration = Duration::from_secs(3);

/// What came of one herd.
#[derive(Debug)]
struct Herd {
    requests: usize,
    starts: usize,
    /// Answers and errors other than status 200, with their numbers.
    failures: BTreeMap<String, usize>,
    last_answer: Duration,
    before: Memory,
    /// While all wait; of a herd whose container takes long to start.
    waiting: Option<Memory>,
    after: Memory,
}

/// One herd on a container that listens at once, one on a container that lets all wait.
pub(super) fn measure(site: &Site) -> anyhow::Result<Vec<Row>> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // If drowse held an upstream connection for each request, it would need two descriptors.
    let requests = REQUESTS.min((limit / 2).saturating_sub(DESCRIPTORS_RESERVED));
    let requests = usize::try_from(requests)?;
    let mut rows = Vec::new();
    for delay in [Duration::ZERO, LONG_START] {
        terminal::step(&format!("{requests} requests at once; the application needs {delay:?}"));
        let herd = run(site, requests, delay)?;
        rows.extend(herd.rows(delay, limit));
    }
    Ok(rows)
}

fn run(site: &Site, requests: usize, delay: Duration) -> anyhow::Result<Herd> {
    let container = format!("herd-{}", delay.as_millis());
    site.engine.create(&container, &[&format!("START_DELAY_MS={}", delay.as_millis())])?;
    let folder = site.folder.join(&container);
    let relay = Relay::start(folder.with_extension("sock"), site.engine.socket())?;
    let config = drowse::config(&relay.url(), &[&container]);
    let mut drowse = Drowse::start(&site.program, folder, &config)?;
    drowse.wait_until(1, 0)?;
    let before = drowse.memory()?;

    let began = Moment::now();
    let mut connections = Vec::with_capacity(requests);
    for _ in 0..requests {
        let connection = exchange::connect(drowse.address, exchange::TIMEOUT);
        connections.push(connection.context("connecting to drowse")?);
    }
    let request = exchange::get(&drowse::host_of(&container), "/");
    let asked = Moment::now();
    for connection in &mut connections {
        connection.write_all(request.as_bytes())?;
    }
    let waiting = if delay < LONG_START {
        None
    } else {
        pause(COUNTED_AFTER);
        Some(drowse.memory()?)
    };
    let mut failures = BTreeMap::new();
    let mut last_answer = Duration::ZERO;
    for connection in connections {
        match answered(connection) {
            Ok(at) => last_answer = last_answer.max(at.since(asked)),
            Err(error) => *failures.entry(format!("{error:#}")).or_default() += 1,
        }
    }
    let starts = relay.calls.since(began).iter().filter(|call| call.is_start()).count();
    let after = drowse.memory()?;
    drop(drowse);
    site.engine.remove(&container)?;
    Ok(Herd { requests, starts, failures, last_answer, before, waiting, after })
}

/// When the first byte of an answer with status 200 came.
fn answered(connection: TcpStream) -> anyhow::Result<Moment> {
    Ok(exchange::read(connection)?.successful()?.first_byte)
}

impl Herd {
    fn rows(&self, delay: Duration, limit: u64) -> Vec<Row> {
        let failed: usize = self.failures.values().sum();
        let told = format!(
            "{}, {failed} failures, last answer after {}",
            plural(self.starts, "start"),
            Unit::Seconds.show(self.last_answer.as_secs_f64())
        );
        let failures = self.failures.iter().map(|(failure, count)| format!("{count} × {failure}"));
        let measured: Vec<_> = std::iter::once(told).chain(failures).collect();
        let what =
            format!("{} requests at once, {} ms of start delay", self.requests, delay.as_millis());
        let held = self.starts == 1 && failed == 0;
        let mut rows = vec![
            Row::new(what, measured.join("; "))
                .beside(format!("{REQUESTS} asked for; limit of {limit} descriptors"))
                .required("1 start, 0 failures", held),
        ];
        if let Some(waiting) = self.waiting {
            let each = growth(self.before.resident, waiting.resident, self.requests);
            let show = |memory: Memory| Unit::Bytes.show(bytes(memory.resident));
            rows.push(
                Row::new("memory per waiting request", Unit::Bytes.show(each))
                    .beside(format!(
                        "resident: {} before, {} while all wait, {} after",
                        show(self.before),
                        show(waiting),
                        show(self.after)
                    ))
                    .against(Unit::Bytes, each, 32.0 * 1024.0, 16.0 * 1024.0),
            );
        }
        rows
    }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What one more of `count` things takes. Zero if it got less.
pub(super) fn growth(before: u64, after: u64, count: usize) -> f64 {
    bytes(after.saturating_sub(before)) / bytes(count as u64).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
pub(super) fn bytes(count: u64) -> f64 {
    count as f64
}
