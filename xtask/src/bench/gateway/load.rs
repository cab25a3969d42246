//! What asks: wrk for HTTP/1.1 and for raw TCP, h2load for HTTP/2, our own for the WebSocket.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::proxy::PORT;
use super::shape::Shape;
use super::{websocket, written};
use crate::cargo;

/// One turn, as whoever asked has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) requests: u64,
    pub(super) over: Duration,
    pub(super) median: Duration,
    pub(super) p99: Duration,
}

impl Run {
    /// From the times of all requests.
    pub(super) fn of(mut times: Vec<Duration>, over: Duration) -> anyhow::Result<Self> {
        ensure!(!times.is_empty(), "not one request was answered");
        times.sort_unstable();
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Ok(Self { requests: times.len() as u64, over, median: rank(50), p99: rank(99) })
    }
}

/// Tells the figures in a form that is meant to be read by a program.
const WRK_SCRIPT: &str = "done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('told %d %d %d %d %d\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
";

/// Asks for about so long, over as many connections as the kind of traffic has.
pub(super) fn run(shape: Shape, time: Duration) -> anyhow::Result<Run> {
    let run = match shape {
        Shape::WebSocket => websocket::run(PORT, shape.connections(), time),
        Shape::Http2 | Shape::Http2Tls => http2(shape, time),
        Shape::Connections | Shape::TlsConnections => {
            wrk(shape, time, &["--header", "Connection: close"])
        }
        Shape::Small | Shape::Bodies | Shape::Tcp | Shape::TcpBodies => wrk(shape, time, &[]),
    };
    run.with_context(|| shape.title().to_owned())
}

fn wrk(shape: Shape, time: Duration, arguments: &[&str]) -> anyhow::Result<Run> {
    let folder = std::env::var_os("DROWSE_TEST_TMP").context("DROWSE_TEST_TMP")?;
    let script = written(Path::new(&folder), "told.lua", WRK_SCRIPT)?;
    let mut command = Command::new("wrk");
    command
        .args(["--threads", "1", "--timeout", "10"])
        .args(["--connections", &shape.connections().to_string()])
        // Whole seconds, at least one.
        .args(["--duration", &format!("{}s", time.as_secs().max(1))])
        .arg("--script")
        .arg(script)
        .args(arguments)
        .arg(shape.url());
    parse_wrk(&told(&mut command)?)
}

fn parse_wrk(output: &str) -> anyhow::Result<Run> {
    let line = output.lines().find_map(|line| line.strip_prefix("told "));
    let numbers: Option<Vec<u64>> =
        line.and_then(|line| line.split(' ').map(|word| word.parse().ok()).collect());
    let Some(&[requests, over, median, p99, errors]) = numbers.as_deref() else {
        bail!("wrk has told nothing: {output}");
    };
    ensure!(errors == 0 && requests > 0, "{requests} requests, {errors} errors");
    let [over, median, p99] = [over, median, p99].map(Duration::from_micros);
    Ok(Run { requests, over, median, p99 })
}

fn http2(shape: Shape, time: Duration) -> anyhow::Result<Run> {
    let folder = std::env::var_os("DROWSE_TEST_TMP").context("DROWSE_TEST_TMP")?;
    let log = Path::new(&folder).join("h2load.log");
    // It adds to a log that is there.
    drop(fs::remove_file(&log));
    let (connections, time) = (shape.connections().to_string(), time.as_secs().max(1));
    let log_file = format!("--log-file={}", log.display());
    let duration = format!("--duration={time}");
    let arguments = ["-c", &connections, "-m32", "--warm-up-time=0", &duration, &log_file];
    let output = h2load(&shape.url(), &arguments)?;
    ensure!(output.contains(" 0 failed, 0 errored, 0 timeout"), "{output}");
    let log = fs::read_to_string(&log)?;
    let times = log.lines().map(parse_h2load).collect::<anyhow::Result<Vec<_>>>()?;
    Run::of(times, Duration::from_secs(time))
}

/// Of one request: when it began, its status, and how long it took, in microseconds.
fn parse_h2load(line: &str) -> anyhow::Result<Duration> {
    let mut words = line.split('\t').skip(1);
    let status = words.next().unwrap_or_default();
    ensure!(status == "200", "status {status}");
    let took = words.next().and_then(|word| word.trim().parse().ok());
    took.map(Duration::from_micros).with_context(|| format!("h2load has logged `{line}`"))
}

pub(super) fn h2load(url: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let authority = url.split('/').nth(2).unwrap_or_default();
    let connect = authority.replace("localhost", "127.0.0.1");
    let mut command = Command::new("h2load");
    command.arg(format!("--connect-to={connect}")).args(arguments).arg(url);
    told(&mut command)
}

fn told(command: &mut Command) -> anyhow::Result<String> {
    let shown = cargo::show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("`{shown}`: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_tells_numbers_or_what_went_wrong() {
        let run = parse_wrk("Running…\ntold 1200 2000000 900 4000 0\n").unwrap();
        assert_eq!((run.requests, run.over), (1200, Duration::from_secs(2)));
        assert_eq!((run.median, run.p99), (Duration::from_micros(900), Duration::from_millis(4)));
        assert!(parse_wrk("told 1200 2000000 900 4000 7").is_err());
        assert!(parse_wrk("unable to connect").is_err());
    }

    #[test]
    fn h2load_logs_a_time_for_each_request() {
        let took = parse_h2load("1764143000000000\t200\t1234").unwrap();
        assert_eq!(took, Duration::from_micros(1234));
        assert!(parse_h2load("1764143000000000\t502\t1234").is_err());
    }

    #[test]
    fn ranks_are_times_that_were_seen() {
        let times = (1..=100).map(Duration::from_millis).collect();
        let run = Run::of(times, Duration::from_secs(1)).unwrap();
        assert_eq!((run.median, run.p99), (Duration::from_millis(50), Duration::from_millis(99)));
        assert!(Run::of(Vec::new(), Duration::from_secs(1)).is_err());
    }
}
