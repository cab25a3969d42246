//! When workloads are kept awake and woken, and what comes of it next.

use jiff::Timestamp;
use serde::Serialize;

use crate::{list::table, schedule::Schedule};

/// How much of what comes next is shown.
const NEXT: usize = 2;

/// What is planned for a workload.
#[derive(Debug, Serialize)]
pub(super) struct ScheduleLine {
    time_zone: String,
    awake: Vec<String>,
    wake_at: Vec<String>,
    next: Vec<SwitchLine>,
}

/// Something that a schedule does.
#[derive(Debug, Serialize)]
struct SwitchLine {
    /// By the schedule's own clock; RFC 3339.
    at: String,
    /// `kept awake`, `may sleep` or `woken`.
    does: &'static str,
    #[serde(skip)]
    shown: String,
}

impl ScheduleLine {
    pub(super) fn of(schedule: &Schedule, now: Timestamp) -> Self {
        let switches = schedule.next_switches(now, NEXT).into_iter().map(|(moment, switch)| {
            let local = moment.to_zoned_datetime(schedule.zone.time_zone().clone());
            let does = switch.as_str();
            SwitchLine {
                at: local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                does,
                shown: format!("{} {does}", local.strftime("%a %Y-%m-%d %H:%M")),
            }
        });
        Self {
            time_zone: schedule.zone.name().to_owned(),
            awake: schedule.awake.iter().map(ToString::to_string).collect(),
            wake_at: schedule.wake_at.iter().map(ToString::to_string).collect(),
            next: switches.collect(),
        }
    }

    /// In words: "awake Mon-Fri 08:00-18:00; woken Mon-Fri 07:45".
    fn words(&self) -> String {
        let awake = (!self.awake.is_empty()).then(|| format!("awake {}", self.awake.join(", ")));
        let woken =
            (!self.wake_at.is_empty()).then(|| format!("woken {}", self.wake_at.join(", ")));
        awake.into_iter().chain(woken).collect::<Vec<_>>().join("; ")
    }
}

/// A table, if anything is planned.
pub(super) fn render<'a>(lines: impl Iterator<Item = (&'a str, &'a ScheduleLine)>) -> String {
    let rows: Vec<_> = lines
        .map(|(workload, line)| {
            let next: Vec<_> = line.next.iter().map(|switch| switch.shown.as_str()).collect();
            let next = if next.is_empty() { "-".to_owned() } else { next.join("; ") };
            [workload.to_owned(), line.words(), line.time_zone.clone(), next]
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(["WORKLOAD", "SCHEDULE", "TIME ZONE", "NEXT"], rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Zone, read_occasions, read_windows};

    #[test]
    fn what_is_planned_and_comes_next_is_shown() {
        let now = "2026-11-26T12:00:00Z".parse().unwrap();
        let line = |zone: &str, awake: &str, wake_at: &str| {
            let awake = if awake.is_empty() { Vec::new() } else { read_windows(awake).unwrap() };
            let wake_at =
                if wake_at.is_empty() { Vec::new() } else { read_occasions(wake_at).unwrap() };
            ScheduleLine::of(&Schedule { zone: Zone::named(zone).unwrap(), awake, wake_at }, now)
        };
        let office =
            line("Europe/Berlin", "Mon-Fri 08:00-18:00,Sat,Sun 10:00-02:00", "Mon-Fri 07:45");
        let always = line("UTC", "00:00-24:00", "");
        let lines = [("office", &office), ("always", &always)];
        insta::assert_snapshot!(render(lines.into_iter()), @r"
        WORKLOAD  SCHEDULE                                                             TIME ZONE      NEXT
        office    awake Mon-Fri 08:00-18:00, Sat,Sun 10:00-02:00; woken Mon-Fri 07:45  Europe/Berlin  Thu 2026-11-26 18:00 may sleep; Fri 2026-11-27 07:45 woken
        always    awake 00:00-24:00                                                    UTC            -
        ");
        insta::assert_snapshot!(serde_json::to_string_pretty(&office).unwrap(), @r#"
        {
          "time_zone": "Europe/Berlin",
          "awake": [
            "Mon-Fri 08:00-18:00",
            "Sat,Sun 10:00-02:00"
          ],
          "wake_at": [
            "Mon-Fri 07:45"
          ],
          "next": [
            {
              "at": "2026-11-26T18:00:00+01:00",
              "does": "may sleep"
            },
            {
              "at": "2026-11-27T07:45:00+01:00",
              "does": "woken"
            }
          ]
        }
        "#);
        assert_eq!(render([].into_iter()), "");
    }
}
