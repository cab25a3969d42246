//! The answer of `why`, for people.

use std::time::Duration;

use super::{NOT_MANAGED, Why};
use crate::{
    list::{state, table},
    output::one_line,
    wall::{Clock, Wall, roughly, took},
};

/// More are counted, not shown: a herd has thousands.
const SHOWN_IN_FLIGHT: usize = 20;

/// In the order of what somebody wants to know first.
pub(super) fn render(why: &Why, clock: &Clock) -> String {
    let mut parts = vec![head(why, clock)];
    parts.extend(
        [holders(why, clock), in_flight(why), needs(why), changes(why, clock)]
            .into_iter()
            .flatten(),
    );
    parts.join("\n\n")
}

fn head(why: &Why, clock: &Clock) -> String {
    let row = &why.row;
    let name = one_line(&row.workload);
    let mut lines = Vec::new();
    if row.state == NOT_MANAGED {
        lines.push(format!("{name} is not managed"));
    } else {
        let since = row.since.as_ref().and_then(|since| since.parse::<Wall>().ok());
        let since = since.map(|since| format!(" since {}", with_age(since, clock)));
        let reason = one_line(&row.reason);
        lines.push(format!("{name} is {}{}: {reason}", state(row), since.unwrap_or_default()));
        // What the next steps and the tables below do not say.
        lines.push(format!("  {}", wherefrom(why)));
        if !row.dependents.is_empty() {
            lines.push(format!("  needed by {}", one_line(&row.dependents.join(", "))));
        }
        lines.extend(why.next.iter().map(|next| format!("  {}", next.sentence(clock))));
    }
    for problem in &why.problems {
        lines.push(format!("{}: {}", problem.severity, one_line(&problem.message)));
    }
    lines.join("\n")
}

fn with_age(since: Wall, clock: &Clock) -> String {
    format!("{} ({})", clock.brief(since), roughly(clock.since(since)))
}

/// Which container it is, and how traffic finds it.
fn wherefrom(why: &Why) -> String {
    let row = &why.row;
    let mut parts = vec![format!("{} on {}", row.container, row.engine)];
    for (name, value) in
        [("vmid", row.vmid.map(|vmid| vmid.to_string())), ("node", row.node.clone())]
    {
        if let Some(value) = value {
            parts.push(format!("{name} {value}"));
        }
    }
    if let Some(group) = &row.group {
        parts.push(format!("in the group {group}"));
    }
    if !row.routes.is_empty() {
        parts.push(format!("at {}", row.routes.join(", ")));
    }
    one_line(&parts.join(", "))
}

fn holders(why: &Why, clock: &Clock) -> Option<String> {
    let rows = why.holders.iter().map(|row| {
        let since = row.since.map(|since| with_age(since, clock));
        [row.holder.clone(), row.leases.to_string(), since.unwrap_or_else(|| "-".to_owned())]
    });
    let waiting = match why.row.waiting {
        0 => String::new(),
        1 => "\n1 request waits for it".to_owned(),
        several => format!("\n{several} requests wait for it"),
    };
    if why.holders.is_empty() {
        return (!waiting.is_empty()).then(|| waiting.trim_start().to_owned());
    }
    Some(table(["IN USE BY", "LEASES", "SINCE"], rows) + &waiting)
}

fn in_flight(why: &Why) -> Option<String> {
    if why.in_flight.is_empty() {
        return None;
    }
    let rows = why.in_flight.iter().take(SHOWN_IN_FLIGHT).map(|one| {
        let client = if one.client == one.peer { "-".to_owned() } else { one.client.clone() };
        let age = took(Duration::from_secs(one.age_seconds));
        let (route, peer) = (one.route.clone(), one.peer.clone());
        let stage = match one.dropped {
            0 => one.stage.clone(),
            dropped => format!("{}, {dropped} dropped", one.stage),
        };
        [route, peer, client, age, bytes(one.bytes), stage]
    });
    let mut text = table(["IN FLIGHT", "PEER", "FOR", "AGE", "MOVED", "IS"], rows);
    let more = why.in_flight.len().saturating_sub(SHOWN_IN_FLIGHT);
    if more > 0 {
        text = format!("{text}\nand {more} more, all of them younger");
    }
    Some(text)
}

fn needs(why: &Why) -> Option<String> {
    if why.row.needs.is_empty() {
        return None;
    }
    let rows = why.row.needs.iter().map(|need| {
        let is_met = if need.is_met { "yes" } else { "no" };
        let why_not = need.why_not.clone().unwrap_or_else(|| "-".to_owned());
        [need.workload.clone(), need.condition.clone(), is_met.to_owned(), why_not]
    });
    Some(table(["NEEDS", "TO BE", "IS IT", "WHY NOT"], rows))
}

fn changes(why: &Why, clock: &Clock) -> Option<String> {
    if why.changes.is_empty() {
        return None;
    }
    let rows = why.changes.iter().map(|change| {
        let after = took(Duration::from_millis(change.took_ms));
        let (from, to) = (change.from.clone(), change.to.clone());
        [clock.full(change.at), from, to, after, change.reason.clone()]
    });
    Some(table(["AT", "FROM", "TO", "AFTER", "BECAUSE"], rows))
}

/// In the unit that people count traffic in.
fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown to a tenth")]
    let count = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", count / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.1} GB", count / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        listing::{NeedRow, ProblemRow, Row},
        why::{ChangeRow, HolderRow, Next, UseRow},
    };

    fn clock() -> Clock {
        Clock::showing("2026-11-26T13:30:00Z", "Europe/Berlin")
    }

    fn wall(time: &str) -> Wall {
        format!("2026-11-26T{time}Z").parse().unwrap()
    }

    fn change(time: &str, from: &str, to: &str, took_ms: u64, reason: &str) -> ChangeRow {
        let [from, to, reason] = [from, to, reason].map(str::to_owned);
        ChangeRow { at: wall(time), from, to, reason, took_ms }
    }

    fn row(state: &str, reason: &str) -> Row {
        Row {
            workload: "wiki".to_owned(),
            state: state.to_owned(),
            since: Some("2026-11-26T13:20:03Z".to_owned()),
            engine: "docker".to_owned(),
            container: "wiki-1".to_owned(),
            routes: vec!["wiki.example.com".to_owned(), "example.com/wiki".to_owned()],
            reason: reason.to_owned(),
            ..Row::default()
        }
    }

    #[test]
    fn of_one_in_use() {
        let in_flight = |route: &str, client: &str, age_seconds, bytes| UseRow {
            route: route.to_owned(),
            peer: "172.18.0.2".to_owned(),
            client: client.to_owned(),
            age_seconds,
            bytes,
            stage: "served".to_owned(),
            dropped: 0,
        };
        let why = Why {
            row: Row {
                leases: 3,
                dependents: vec!["shop".to_owned(), "blog".to_owned()],
                group: Some("office".to_owned()),
                needs: vec![NeedRow {
                    workload: "db".to_owned(),
                    condition: "ready".to_owned(),
                    is_met: true,
                    why_not: None,
                }],
                ..row("ready", "woken")
            },
            next: vec![Next::SleepAfterUse { idle_seconds: 900 }],
            holders: vec![
                HolderRow { holder: "route wiki/default".to_owned(), leases: 2, since: None },
                HolderRow {
                    holder: "dependent shop".to_owned(),
                    leases: 1,
                    since: Some(wall("13:20:03")),
                },
            ],
            in_flight: vec![
                in_flight("wiki/default", "192.0.2.7", 4_000, 734_003_200),
                in_flight("wiki/default", "172.18.0.2", 2, 999),
            ],
            changes: vec![
                change("11:05:00", "stopping", "asleep", 2_130, "idle: stopped"),
                change("13:20:01.760", "asleep", "starting", 8_101_000, "asked for"),
                change("13:20:03", "starting", "ready", 1_240, "woken"),
            ],
            problems: Vec::new(),
        };
        insta::assert_snapshot!(render(&why, &clock()), @r"
        wiki is ready since 14:20 (9m): woken
          wiki-1 on docker, in the group office, at wiki.example.com, example.com/wiki
          needed by shop, blog
          sleeps 15m after its last use, and is in use

        IN USE BY           LEASES  SINCE
        route wiki/default  2       -
        dependent shop      1       14:20 (9m)

        IN FLIGHT     PEER        FOR        AGE   MOVED     IS
        wiki/default  172.18.0.2  192.0.2.7  1h6m  734.0 MB  served
        wiki/default  172.18.0.2  -          2s    999 B     served

        NEEDS  TO BE  IS IT  WHY NOT
        db     ready  yes    -

        AT                   FROM      TO        AFTER  BECAUSE
        2026-11-26 12:05:00  stopping  asleep    2.1s   idle: stopped
        2026-11-26 14:20:01  asleep    starting  2h15m  asked for
        2026-11-26 14:20:03  starting  ready     1.2s   woken
        ");
    }

    #[test]
    fn of_one_that_waits_for_another() {
        let why = Why {
            row: Row {
                waiting: 3,
                needs: vec![NeedRow {
                    workload: "db".to_owned(),
                    condition: "ready".to_owned(),
                    is_met: false,
                    why_not: Some("starting: asked for".to_owned()),
                }],
                ..row("starting", "waiting for db")
            },
            next: vec![Next::WaitFor {
                workload: "db".to_owned(),
                state: Some("starting".to_owned()),
                since: Some(wall("13:29:57")),
                why: None,
            }],
            ..Why::default()
        };
        insta::assert_snapshot!(render(&why, &clock()), @r"
        wiki is starting since 14:20 (9m): waiting for db
          wiki-1 on docker, at wiki.example.com, example.com/wiki
          waits for db (starting since 3s)

        3 requests wait for it

        NEEDS  TO BE  IS IT  WHY NOT
        db     ready  no     starting: asked for
        ");
    }

    #[test]
    fn of_one_that_is_not_managed() {
        let message =
            "container `bad` on engine `docker`: label `drowse.idle`: a duration needs a unit";
        let problem = ProblemRow { severity: "error".to_owned(), message: message.to_owned() };
        insta::assert_snapshot!(render(&Why::not_managed("bad", vec![problem]), &clock()), @r"
        bad is not managed
        error: container `bad` on engine `docker`: label `drowse.idle`: a duration needs a unit
        ");
    }

    #[test]
    fn a_herd_is_counted() {
        let one = UseRow {
            route: "wiki/default".to_owned(),
            peer: "::1".to_owned(),
            client: "::1".to_owned(),
            age_seconds: 0,
            bytes: 0,
            stage: "served".to_owned(),
            dropped: 0,
        };
        let why = Why { row: row("ready", "woken"), in_flight: vec![one; 25], ..Why::default() };
        assert!(render(&why, &clock()).ends_with("\nand 5 more, all of them younger"));
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let why = Why {
            row: row("ready", "woken"),
            next: vec![Next::Sleep { at: wall("13:47:00") }],
            holders: vec![HolderRow {
                holder: "dependent shop".to_owned(),
                leases: 1,
                since: Some(wall("13:20:03")),
            }],
            in_flight: vec![UseRow {
                route: "wiki/default".to_owned(),
                peer: "172.18.0.2".to_owned(),
                client: "192.0.2.7".to_owned(),
                age_seconds: 12,
                bytes: 1_024,
                stage: "served".to_owned(),
                dropped: 0,
            }],
            changes: vec![change("13:20:03.250", "starting", "ready", 1_240, "woken")],
            problems: Vec::new(),
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&why).unwrap(), @r#"
        {
          "workload": "wiki",
          "state": "ready",
          "since": "2026-11-26T13:20:03Z",
          "since_seconds": null,
          "engine": "docker",
          "container": "wiki-1",
          "vmid": null,
          "node": null,
          "lock": null,
          "routes": [
            "wiki.example.com",
            "example.com/wiki"
          ],
          "leases": 0,
          "waiting": 0,
          "why": "",
          "engine_lost": false,
          "forbidden": false,
          "reason": "woken",
          "last_error": null,
          "last_wake_ms": null,
          "sleeps_by": "",
          "next_sleep": null,
          "next_sleep_seconds": null,
          "vetoed_by": null,
          "blocked_until": null,
          "held_asleep": null,
          "hold": null,
          "schedule": null,
          "needs": [],
          "waiting_for": [],
          "dependents": [],
          "group": null,
          "implicit": false,
          "next": [
            {
              "step": "sleep",
              "at": "2026-11-26T13:47:00.000Z"
            }
          ],
          "holders": [
            {
              "holder": "dependent shop",
              "leases": 1,
              "since": "2026-11-26T13:20:03.000Z"
            }
          ],
          "in_flight": [
            {
              "route": "wiki/default",
              "peer": "172.18.0.2",
              "client": "192.0.2.7",
              "age_seconds": 12,
              "bytes": 1024,
              "stage": "served",
              "dropped": 0
            }
          ],
          "changes": [
            {
              "at": "2026-11-26T13:20:03.250Z",
              "from": "starting",
              "to": "ready",
              "reason": "woken",
              "took_ms": 1240
            }
          ],
          "problems": []
        }
        "#);
    }
}
