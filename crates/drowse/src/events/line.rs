//! A line of the event log.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    output::one_line,
    store::{Event, Numbered},
    wall::{Clock, Wall, took},
};

/// What `events --json` writes on a line, and what the control socket answers. Kinds and keys are added,
/// never renamed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// A workload went from one state to another.
    Change {
        /// Grows with each.
        number: u64,
        at: Wall,
        workload: String,
        engine: String,
        container: String,
        from: String,
        to: String,
        reason: String,
        /// How long it was in the state before; for a wake, from the start order to ready.
        took_ms: u64,
    },
    /// So many events are not kept any more that whoever follows has not been told of.
    Missed { events: u64 },
    /// What was kept of before is lost: numbers begin anew.
    BegunAnew,
    /// The drowse that was followed has ended.
    Ended,
    /// There is one again.
    Back,
}

/// A line for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Words {
    Event(String),
    /// About the telling itself.
    Remark(String),
}

impl From<Numbered> for Line {
    fn from(Numbered { number, event }: Numbered) -> Self {
        let Event { at, workload, engine, container, from, to, reason, took_ms } = event;
        let at = at.into();
        Self::Change { number, at, workload, engine, container, from, to, reason, took_ms }
    }
}

impl Line {
    pub(super) fn words(&self, clock: &Clock) -> Words {
        Words::Remark(match self {
            Self::Change { at, workload, from, to, reason, took_ms, .. } => {
                let change = format!("{} -> {}", one_line(from), one_line(to));
                return Words::Event(format!(
                    "{}  {:<16}  {change:<20}  after {:<6}  {}",
                    clock.full(*at),
                    one_line(workload),
                    took(Duration::from_millis(*took_ms)),
                    one_line(reason),
                ));
            }
            Self::Missed { events: 1 } => "1 event was missed: it is not kept any more".to_owned(),
            Self::Missed { events } => {
                format!("{events} events were missed: they are not kept any more")
            }
            Self::BegunAnew => {
                "what was kept of before is lost: the event log begins anew".to_owned()
            }
            Self::Ended => "drowse has ended: waiting until it runs again".to_owned(),
            Self::Back => "drowse runs again".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> [Line; 2] {
        let change =
            |number, at: &str, workload: &str, from: &str, to: &str, took_ms, reason: &str| {
                Line::Change {
                    number,
                    at: at.parse().unwrap(),
                    workload: workload.to_owned(),
                    engine: "docker".to_owned(),
                    container: format!("{workload}-1"),
                    from: from.to_owned(),
                    to: to.to_owned(),
                    reason: reason.to_owned(),
                    took_ms,
                }
            };
        [
            change(41, "2026-11-26T13:20:03.25Z", "wiki", "starting", "ready", 1_240, "woken"),
            change(
                42,
                "2026-11-26T23:20:03.25Z",
                "photos-of-the-family",
                "stopping",
                "asleep",
                61_000,
                "idle: stopped\u{1b}[2J",
            ),
        ]
    }

    #[test]
    fn a_line_for_people() {
        let clock = Clock::showing("2026-11-26T13:30:00Z", "Europe/Berlin");
        let [one, other] = changes();
        let lines = [
            one,
            other,
            Line::Missed { events: 1 },
            Line::Missed { events: 12 },
            Line::BegunAnew,
            Line::Ended,
            Line::Back,
        ];
        let words = lines.map(|line| match line.words(&clock) {
            Words::Event(words) => words,
            Words::Remark(words) => format!("({words})"),
        });
        insta::assert_snapshot!(words.join("\n"), @r"
        2026-11-26 14:20:03  wiki              starting -> ready     after 1.2s    woken
        2026-11-27 00:20:03  photos-of-the-family  stopping -> asleep    after 1m1s    idle: stopped\u{1b}[2J
        (1 event was missed: it is not kept any more)
        (12 events were missed: they are not kept any more)
        (what was kept of before is lost: the event log begins anew)
        (drowse has ended: waiting until it runs again)
        (drowse runs again)
        ");
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let [one, _] = changes();
        let lines = [one, Line::Missed { events: 12 }, Line::BegunAnew, Line::Ended, Line::Back]
            .map(|line| {
                let json = serde_json::to_string(&line).unwrap();
                assert_eq!(serde_json::from_str::<Line>(&json).unwrap(), line);
                json
            });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"event":"change","number":41,"at":"2026-11-26T13:20:03.250Z","workload":"wiki","engine":"docker","container":"wiki-1","from":"starting","to":"ready","reason":"woken","took_ms":1240}
        {"event":"missed","events":12}
        {"event":"begun_anew"}
        {"event":"ended"}
        {"event":"back"}
        "#);
    }
}
