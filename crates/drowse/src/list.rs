//! `list`, `wake` and `sleep`: what the running drowse says, as tables and lines for people and as
//! JSON for programs.

use std::time::Duration;

use comfy_table::{Table, presets};

use crate::{
    cli::{ListArgs, SleepArgs, WakeArgs},
    control::client::{self, Order},
    everything,
    exit::CommandResult,
    output::{one_line, say, say_json},
    state::StateFolder,
    view::{Listing, Row},
};

pub(crate) async fn list(state: &StateFolder, arguments: &ListArgs) -> CommandResult {
    let listing = client::list(state).await?;
    if arguments.json {
        say_json(&listing)?;
    } else {
        say(render(&listing))?;
    }
    Ok(())
}

pub(crate) async fn wake(state: &StateFolder, arguments: &WakeArgs) -> CommandResult {
    match &arguments.name {
        Some(name) => order(state, Order::Wake, name, arguments.timeout, arguments.json).await,
        // The command line has one or the other.
        None => everything::wake_all(state, arguments).await,
    }
}

pub(crate) async fn sleep(state: &StateFolder, arguments: &SleepArgs) -> CommandResult {
    order(state, Order::Sleep, &arguments.name, arguments.timeout, arguments.json).await
}

async fn order(
    state: &StateFolder,
    order: Order,
    name: &str,
    wait: Duration,
    json: bool,
) -> CommandResult {
    match client::order(state, order, name, wait).await? {
        Ok(done) if json => say_json(&done)?,
        Ok(done) => say(everything::line(&done))?,
        Err(refusal) => {
            if json {
                say_json(&refusal)?;
            }
            return Err(client::refused(refusal));
        }
    }
    Ok(())
}

/// Makes a table without lines, as `ps` and `docker ps` have it.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn render(listing: &Listing) -> String {
    let header = ["WORKLOAD", "STATE", "SINCE", "ENGINE", "CONTAINER", "ROUTES", "LEASES", "WHY"];
    let mut text = if listing.workloads.is_empty() {
        "nothing is managed".to_owned()
    } else {
        table(header, listing.workloads.iter().map(cells))
    };
    for problem in &listing.problems {
        for part in ["\n", &problem.severity, ": ", &problem.message] {
            text.push_str(part);
        }
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    let state =
        if row.engine_lost { format!("{} (engine lost)", row.state) } else { row.state.clone() };
    let leases = match row.waiting {
        0 => row.leases.to_string(),
        waiting => format!("{} (+{waiting} waiting)", row.leases),
    };
    let routes = if row.routes.is_empty() { "-".to_owned() } else { row.routes.join(", ") };
    [
        row.workload.clone(),
        state,
        row.since_seconds.map_or_else(|| "-".to_owned(), for_people),
        row.engine.clone(),
        row.container.clone(),
        routes,
        leases,
        row.why.clone(),
    ]
}

/// A time in its largest unit.
fn for_people(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ProblemRow;

    fn row(workload: &str) -> Row {
        Row {
            workload: workload.to_owned(),
            state: "asleep".to_owned(),
            since: Some("2026-11-23T22:36:55Z".to_owned()),
            since_seconds: Some(7_300),
            engine: "docker".to_owned(),
            container: format!("{workload}-1"),
            routes: Vec::new(),
            leases: 0,
            waiting: 0,
            why: "idle for 15m".to_owned(),
            engine_lost: false,
        }
    }

    #[test]
    fn a_listing_for_people() {
        let mut busy = row("wiki");
        busy.state = "ready".to_owned();
        busy.routes = vec!["wiki.example.com".to_owned(), "example.com/wiki".to_owned()];
        busy.leases = 2;
        busy.waiting = 3;
        busy.since_seconds = Some(59);
        busy.why = "in use by request (2)".to_owned();
        busy.engine_lost = true;
        let problem =
            ProblemRow { severity: "error".to_owned(), message: "container `x`: no".to_owned() };
        let listing = Listing { workloads: vec![row("db"), busy], problems: vec![problem] };
        insta::assert_snapshot!(render(&listing), @r"
        WORKLOAD  STATE                SINCE  ENGINE  CONTAINER  ROUTES                              LEASES          WHY
        db        asleep               2h     docker  db-1       -                                   0               idle for 15m
        wiki      ready (engine lost)  59s    docker  wiki-1     wiki.example.com, example.com/wiki  2 (+3 waiting)  in use by request (2)
        error: container `x`: no
        ");
        insta::assert_snapshot!(
            render(&Listing { workloads: Vec::new(), problems: Vec::new() }),
            @"nothing is managed"
        );
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let json = serde_json::to_string_pretty(&row("db")).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "workload": "db",
          "state": "asleep",
          "since": "2026-11-23T22:36:55Z",
          "since_seconds": 7300,
          "engine": "docker",
          "container": "db-1",
          "routes": [],
          "leases": 0,
          "waiting": 0,
          "why": "idle for 15m",
          "engine_lost": false
        }
        "#);
    }
}
