//! The table, for the terminal and for BENCHMARKS.md: Markdown, with its columns aligned.

use std::fmt;
use std::time::Duration;

use super::spread::Spread;

/// What a number counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Percent,
}

impl Unit {
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Self::Seconds => format!("{:.2} ms", value * 1e3),
            Self::Bytes if value >= 1e6 => format!("{:.1} MB", value / 1e6),
            Self::Bytes => format!("{:.1} KiB", value / 1024.0),
            Self::Percent => format!("{value:.3} %"),
        }
    }
}

/// The median first.
impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |time: Duration| Unit::Seconds.show(time.as_secs_f64());
        write!(
            formatter,
            "{}, p95 {} ({} … {}, {} runs)",
            show(self.median),
            show(self.p95),
            show(self.min),
            show(self.max),
            self.runs
        )
    }
}

/// One line of the table.
#[derive(Debug, Default)]
pub(super) struct Row {
    what: String,
    measured: String,
    beside: String,
    bar: String,
    goal: String,
    verdict: String,
    is_missed: bool,
}

impl Row {
    /// Something measured that has nothing to reach.
    pub(super) fn new(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), ..Self::default() }
    }

    /// With what it is to be compared with, or how it came about.
    pub(super) fn beside(mut self, beside: impl Into<String>) -> Self {
        self.beside = beside.into();
        self
    }

    /// With a bar that must hold, and a goal below it.
    pub(super) fn against(mut self, unit: Unit, value: f64, bar: f64, goal: f64) -> Self {
        self.bar = unit.show(bar);
        self.goal = unit.show(goal);
        let ratio = value / bar;
        self.is_missed = value > bar;
        self.verdict = if self.is_missed {
            format!("**BAR MISSED**: {ratio:.2} × bar")
        } else if value > goal {
            format!("bar held: {ratio:.2} × bar")
        } else {
            format!("goal reached: {ratio:.2} × bar")
        };
        self
    }

    /// With a bar that holds or does not.
    pub(super) fn required(mut self, bar: &str, holds: bool) -> Self {
        bar.clone_into(&mut self.bar);
        self.is_missed = !holds;
        if holds { "goal reached" } else { "**BAR MISSED**" }.clone_into(&mut self.verdict);
        self
    }

    pub(super) fn is_missed(&self) -> bool {
        self.is_missed
    }

    fn cells(&self) -> [&str; 6] {
        [&self.what, &self.measured, &self.bar, &self.goal, &self.verdict, &self.beside]
    }
}

/// The table of all rows.
pub(super) fn table(rows: &[Row]) -> String {
    let header = ["what", "measured", "bar", "goal", "verdict", "beside"];
    aligned(&header, &rows.iter().map(Row::cells).collect::<Vec<_>>())
}

/// A table, with its columns as wide as they must be.
pub(super) fn aligned<const N: usize>(header: &[&str; N], rows: &[[impl AsRef<str>; N]]) -> String {
    let rows = rows.iter().map(|row| row.each_ref().map(AsRef::as_ref));
    let lines: Vec<[&str; N]> = std::iter::once(*header).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let rule = widths.map(|width: usize| "-".repeat(width));
    let rule = rule.each_ref().map(String::as_str);
    let lines = lines[..1].iter().chain([&rule]).chain(&lines[1..]);
    let padded = lines.map(|line| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    });
    padded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_where_between_bar_and_goal_a_number_lies() {
        let verdict = |value| Row::new("a", "b").against(Unit::Bytes, value, 32.0, 16.0);
        assert_eq!(verdict(16.0).verdict, "goal reached: 0.50 × bar");
        assert_eq!(verdict(24.0).verdict, "bar held: 0.75 × bar");
        let missed = verdict(48.0);
        assert_eq!(missed.verdict, "**BAR MISSED**: 1.50 × bar");
        assert!(missed.is_missed() && !verdict(32.0).is_missed());
        assert!(Row::new("a", "b").required("1", false).is_missed());
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [Row::new("a → b", "1").beside("x"), Row::new("c", "23").required("1", true)];
        let table = table(&rows);
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 4);
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}
