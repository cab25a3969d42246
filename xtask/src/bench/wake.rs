//! From the first request to the first byte of its answer, beside a bare start and connect loop.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};

use super::clock::Moment;
use super::drowse::{self, Drowse};
use super::exchange::{self, Answer};
use super::relay::Relay;
use super::report::{Row, Unit};
use super::site::Site;
use super::spread::Spread;
use crate::sandbox::pause;
use crate::terminal;

/// How long the applications wait before they listen.
const START_DELAYS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)];

/// Between two attempts of the bare loop.
const ATTEMPTS_EVERY: Duration = Duration::from_millis(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(100);
const START_DEADLINE: Duration = Duration::from_secs(30);

/// For drowse to have accepted a connection, and to have nothing else to do.
const SETTLED: Duration = Duration::from_millis(50);

/// One wake by drowse.
#[derive(Debug, Clone, Copy)]
struct Wake {
    request_to_order: Duration,
    order_to_listen: Duration,
    listen_to_byte: Duration,
    request_to_byte: Duration,
}

/// One start without drowse.
#[derive(Debug, Clone, Copy)]
struct BareStart {
    listen_to_byte: Duration,
    order_to_byte: Duration,
}

/// Wakes a container of each start delay so many times, each time with a bare start of its twin
/// right after it, so that both meet the machine in the same mood.
pub(super) fn measure(site: &Site, runs: usize) -> anyhow::Result<Vec<Row>> {
    let relay = Relay::start(site.folder.join("wake.sock"), site.engine.socket())?;
    for delay in START_DELAYS {
        let environment = format!("START_DELAY_MS={}", delay.as_millis());
        site.engine.create(&container(delay), &[&environment])?;
        site.engine.create(&twin(delay), &[&environment])?;
    }
    let config = drowse::config(&relay.url(), &START_DELAYS.map(container));
    let mut drowse = Drowse::start(&site.program, site.folder.join("wake"), &config)?;
    drowse.wait_until(START_DELAYS.len(), 0)?;

    let mut orders = Vec::new();
    let mut rows = Vec::new();
    for delay in START_DELAYS {
        terminal::step(&format!("{runs} wakes of an application that listens after {delay:?}"));
        let (container, twin) = (container(delay), twin(delay));
        let mut wakes = Vec::new();
        let mut bare_starts = Vec::new();
        for _ in 0..runs {
            let wake = wake(&drowse, &relay, &container);
            wakes.push(wake.with_context(|| format!("waking {container}"))?);
            drowse.sleep(&container)?;
            let bare_start = bare_start(site, &twin);
            bare_starts.push(bare_start.with_context(|| format!("starting {twin}"))?);
            site.engine.stop(&twin)?;
        }
        rows.extend(rows_of_delay(delay, &wakes, &bare_starts)?);
        orders.extend(wakes.iter().map(|wake| wake.request_to_order));
        site.engine.remove(&container)?;
        site.engine.remove(&twin)?;
    }
    let orders = Spread::of(orders)?;
    let row = Row::new("request in → start order written, median", orders.to_string());
    rows.insert(0, row.against(Unit::Seconds, orders.median.as_secs_f64(), 2e-3, 0.5e-3));
    Ok(rows)
}

fn container(delay: Duration) -> String {
    format!("wake-{}", delay.as_millis())
}

fn twin(delay: Duration) -> String {
    format!("twin-{}", delay.as_millis())
}

fn wake(drowse: &Drowse, relay: &Relay, container: &str) -> anyhow::Result<Wake> {
    let mut connection = exchange::connect(drowse.address, exchange::TIMEOUT)?;
    pause(SETTLED);
    let request = exchange::get(&drowse::host_of(container), "/stamp");
    let asked = Moment::now();
    connection.write_all(request.as_bytes())?;
    let answer = exchange::read(connection)?.successful()?;
    let calls = relay.calls.since(asked);
    let order = calls.iter().find(|call| call.is_start()).context("no start was ordered")?.at;
    let listened = listened(&answer)?;
    Ok(Wake {
        request_to_order: order.since(asked),
        order_to_listen: listened.since(order),
        listen_to_byte: answer.first_byte.since(listened),
        request_to_byte: answer.first_byte.since(asked),
    })
}

/// The same without drowse: a start by the engine's API, and attempts until the application
/// answers.
fn bare_start(site: &Site, container: &str) -> anyhow::Result<BareStart> {
    let ordered = Moment::now();
    site.engine.start(container)?;
    let address = SocketAddr::from((site.engine.address(container)?, 80));
    let request = exchange::get("bare", "/stamp");
    let answer = loop {
        match exchange::connect(address, ATTEMPT_TIMEOUT) {
            Ok(connection) => break exchange::ask(connection, request.as_bytes())?.successful()?,
            Err(error) if is_too_early(error.kind()) && ordered.elapsed() < START_DEADLINE => {
                pause(ATTEMPTS_EVERY);
            }
            Err(error) => bail!("{address}: {error}"),
        }
    };
    let listened = listened(&answer)?;
    Ok(BareStart {
        listen_to_byte: answer.first_byte.since(listened),
        order_to_byte: answer.first_byte.since(ordered),
    })
}

fn is_too_early(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::ConnectionRefused | ErrorKind::TimedOut | ErrorKind::HostUnreachable)
}

/// When the application that gave this answer had called `listen()`.
fn listened(stamp: &Answer) -> anyhow::Result<Moment> {
    let stamp = stamp.json()?;
    let nanoseconds =
        stamp["listen"]["boottime_ns"].as_u64().context("a stamp without `listen`")?;
    Ok(Moment::from_nanoseconds(nanoseconds))
}

fn rows_of_delay(
    delay: Duration,
    wakes: &[Wake],
    bare_starts: &[BareStart],
) -> anyhow::Result<[Row; 3]> {
    let start = Spread::of(wakes.iter().map(|wake| wake.order_to_listen))?.median.as_secs_f64();
    let gap = Spread::of(wakes.iter().map(|wake| wake.listen_to_byte))?;
    let bare_gap = Spread::of(bare_starts.iter().map(|start| start.listen_to_byte))?;
    let whole = Spread::of(wakes.iter().map(|wake| wake.request_to_byte))?;
    let bare = Spread::of(bare_starts.iter().map(|start| start.order_to_byte))?;
    let show = |time: Duration| Unit::Seconds.show(time.as_secs_f64());
    let application = format!("application with a start of {}", Unit::Seconds.show(start));
    let (bar, goal) = (5e-3 + 0.01 * start, 1e-3 + 0.01 * start);
    Ok([
        Row::new(format!("listen() → first byte, median; {application}"), gap.to_string())
            .beside(format!("bare loop: median {}", show(bare_gap.median)))
            .against(Unit::Seconds, gap.median.as_secs_f64(), bar, goal),
        Row::new(format!("listen() → first byte, p95; {application}"), show(gap.p95))
            .beside(format!("bare loop: p95 {}", show(bare_gap.p95)))
            .against(Unit::Seconds, gap.p95.as_secs_f64(), 2.0 * bar, 2.0 * goal),
        Row::new(
            format!("request → first byte, {} ms of start delay", delay.as_millis()),
            whole.to_string(),
        )
        .beside(format!(
            "{:.3} × bare loop (median {})",
            whole.median.div_duration_f64(bare.median),
            show(bare.median)
        )),
    ])
}
