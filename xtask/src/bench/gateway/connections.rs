//! What thousands of open connections take of a proxy's memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Resource, getrlimit};

use super::super::exchange;
use super::super::herd::{bytes, growth};
use super::super::report::{self, Unit};
use super::proxy::{ASLEEP_HOST, PORT, Place, Proxy};
use crate::sandbox::pause;
use crate::terminal;

/// What the design asks for.
const WANTED: u64 = 10_000;
/// Descriptors of a process that are for other things.
const DESCRIPTORS_RESERVED: u64 = 1_000;

/// From the last request on, until memory is read.
const SETTLING: Duration = Duration::from_secs(2);

/// What the connections do while the memory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Each has had an answer, and is kept.
    Idle,
    /// Each has sent a request, for a workload that does not become ready.
    Waiting,
}

/// A table of the memory of each proxy, with the connections and without them.
pub(super) fn measure(place: &Place, proxies: &[Proxy]) -> anyhow::Result<String> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // HAProxy takes no more than half as many as it has descriptors.
    let count = WANTED.min((limit / 2).saturating_sub(DESCRIPTORS_RESERVED));
    let count = usize::try_from(count)?;
    let mut lines = Vec::new();
    for proxy in proxies {
        for state in [State::Idle, State::Waiting] {
            // The others hold no requests.
            if state == State::Idle || *proxy == Proxy::Drowse {
                terminal::step(&format!("{count} {} of {}", state.title(), proxy.title()));
                lines.push(row(*proxy, state, count, place)?);
            }
        }
    }
    let header = ["proxy", "connections", "resident before", "with them", "each"];
    let table = report::aligned(&header, &lines);
    Ok(format!(
        "### {count} connections\n\n{WANTED} asked for; limit of {limit} descriptors.\n\n{table}\n"
    ))
}

fn row(proxy: Proxy, state: State, count: usize, place: &Place) -> anyhow::Result<[String; 5]> {
    let running = proxy.start(place)?;
    let before = running.resident()?;
    let connections = open(state, count).with_context(|| proxy.title())?;
    pause(SETTLING);
    let after = running.resident()?;
    drop(connections);
    let show = |count| Unit::Bytes.show(bytes(count));
    Ok([
        proxy.title().to_owned(),
        format!("{count} {}", state.title()),
        show(before),
        show(after),
        Unit::Bytes.show(growth(before, after, count)),
    ])
}

fn open(state: State, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let host = if state == State::Idle { "localhost" } else { ASLEEP_HOST };
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = exchange::connect(([127, 0, 0, 1], PORT).into(), exchange::TIMEOUT)?;
        stream.write_all(request.as_bytes())?;
        if state == State::Idle {
            let mut answer = [0; 2048];
            let count = stream.read(&mut answer)?;
            ensure!(answer.starts_with(b"HTTP/1.1 200 ") && count > 0, "no answer");
        }
        connections.push(stream);
    }
    Ok(connections)
}

impl State {
    fn title(self) -> &'static str {
        match self {
            Self::Idle => "idle keep-alive connections",
            Self::Waiting => "waiting requests",
        }
    }
}
