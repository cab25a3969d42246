//! The tables of one kind of traffic each: a row for each proxy.

use std::time::Duration;

use anyhow::ensure;

use super::super::report;
use super::load::Run;
use super::proxy::Proxy;
use super::shape::{Bar, Shape};

/// The turns of one proxy with one kind of traffic.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) proxy: Proxy,
    turns: Vec<Turn>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    per_second: f64,
    median: Duration,
    p99: Duration,
    /// Of the proxy's processes, in microseconds for each request.
    processor: f64,
}

impl Measured {
    pub(super) fn new(proxy: Proxy) -> Self {
        Self { proxy, turns: Vec::new() }
    }

    /// `used`: the processor time of the proxy during the run.
    pub(super) fn note(&mut self, run: &Run, used: Duration) -> anyhow::Result<()> {
        ensure!(!used.is_zero(), "{} has used no processor time", self.proxy.title());
        #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 requests")]
        let requests = run.requests as f64;
        self.turns.push(Turn {
            per_second: requests / run.over.as_secs_f64(),
            median: run.median,
            p99: run.p99,
            processor: used.as_secs_f64() * 1e6 / requests,
        });
        Ok(())
    }

    fn of(&self, figure: impl Fn(&Turn) -> f64) -> [f64; 3] {
        let mut figures: Vec<_> = self.turns.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        // One that was really seen.
        [figures[(figures.len() - 1) / 2], figures[0], figures[figures.len() - 1]]
    }

    fn processor(&self) -> f64 {
        self.of(|turn| turn.processor)[0]
    }

    fn cells(&self, against: String) -> [String; 6] {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        [
            self.proxy.title().to_owned(),
            spread(self.of(|turn| turn.per_second), 0, ""),
            spread(self.of(|turn| milliseconds(turn.median)), 2, " ms"),
            spread(self.of(|turn| milliseconds(turn.p99)), 2, " ms"),
            spread(self.of(|turn| turn.processor), 1, " µs"),
            against,
        ]
    }
}

/// The median, and in parentheses the least and the most.
fn spread([median, least, most]: [f64; 3], digits: usize, unit: &str) -> String {
    format!("{median:.digits$}{unit} ({least:.digits$} … {most:.digits$})")
}

/// One table, with its title. Nothing if nobody carries such traffic.
pub(super) fn of_shape(shape: Shape, rows: &[Measured]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header =
        ["proxy", "requests/s", "p50", "p99", "CPU per request", "drowse's CPU against it"];
    let drowse = rows.iter().find(|row| row.proxy == Proxy::Drowse).map(Measured::processor);
    let lines: Vec<_> =
        rows.iter().map(|row| row.cells(against(row, drowse, shape.bar()))).collect();
    let table = report::aligned(&header, &lines);
    let connections = shape.connections();
    format!("### {}\n\n{connections} connections.\n\n{table}\n", shape.title())
}

/// What drowse takes beside this one; of the one that the bar is about, with the verdict.
fn against(row: &Measured, drowse: Option<f64>, bar: Option<Bar>) -> String {
    let Some(drowse) = drowse.filter(|_| row.proxy != Proxy::Drowse) else {
        return String::new();
    };
    let ratio = drowse / row.processor();
    match bar.filter(|bar| bar.other == row.proxy) {
        Some(Bar { ratio: bar, .. }) if ratio > bar => {
            format!("{ratio:.2} × (**BAR MISSED**: {bar:.2} ×)")
        }
        Some(Bar { ratio: bar, .. }) => format!("{ratio:.2} × (bar held: {bar:.2} ×)"),
        None => format!("{ratio:.2} ×"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(proxy: Proxy, milliseconds_used: u64) -> Measured {
        let mut measured = Measured::new(proxy);
        for requests in [1_000, 900, 1_100] {
            let (median, p99) = (Duration::from_millis(2), Duration::from_millis(9));
            let run = Run { requests, over: Duration::from_secs(1), median, p99 };
            measured.note(&run, Duration::from_millis(milliseconds_used)).unwrap();
        }
        measured
    }

    #[test]
    fn the_bar_is_a_ratio_of_medians() {
        let rows = [measured(Proxy::Drowse, 24), measured(Proxy::Nginx, 20)];
        let table = of_shape(Shape::Small, &rows);
        assert!(table.contains("| 1000 (900 … 1100) |"), "{table}");
        assert!(table.contains("| 24.0 µs (21.8 … 26.7) |"), "{table}");
        assert!(table.contains("1.20 × (bar held: 1.25 ×)"), "{table}");
        let rows = [measured(Proxy::Drowse, 26), measured(Proxy::Nginx, 20)];
        let table = of_shape(Shape::Small, &rows);
        assert!(table.contains("1.30 × (**BAR MISSED**: 1.25 ×)"), "{table}");
        assert_eq!(of_shape(Shape::Tcp, &[]), "");
    }
}
