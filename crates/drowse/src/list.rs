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
    flexible_table(header.to_vec(), rows.into_iter().map(Vec::from))
}

/// The same with as many columns as the header has.
pub(crate) fn flexible_table(
    header: Vec<&str>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn render(listing: &Listing) -> String {
    // Nodes and numbers are for those who have a cluster.
    let has_cluster = listing.workloads.iter().any(|row| row.vmid.is_some());
    let in_cluster: &[&str] = if has_cluster { &["VMID", "NODE"] } else { &[] };
    let header = [
        &["WORKLOAD", "STATE", "SINCE", "ENGINE", "CONTAINER"],
        in_cluster,
        &["ROUTES", "LEASES", "WHY"],
    ];
    let mut text = if listing.workloads.is_empty() {
        "nothing is managed".to_owned()
    } else {
        flexible_table(header.concat(), listing.workloads.iter().map(|row| cells(row, has_cluster)))
    };
    for problem in &listing.problems {
        for part in ["\n", &problem.severity, ": ", &problem.message] {
            text.push_str(part);
        }
    }
    text
}

fn cells(row: &Row, has_cluster: bool) -> Vec<String> {
    let state = match &row.lock {
        _ if row.engine_lost => format!("{} (engine lost)", row.state),
        _ if row.forbidden => format!("{} (not permitted)", row.state),
        Some(lock) => format!("{} (locked by {lock})", row.state),
        None => row.state.clone(),
    };
    let leases = match row.waiting {
        0 => row.leases.to_string(),
        waiting => format!("{} (+{waiting} waiting)", row.leases),
    };
    let routes = if row.routes.is_empty() { "-".to_owned() } else { row.routes.join(", ") };
    let mut cells = vec![
        row.workload.clone(),
        state,
        row.since_seconds.map_or_else(|| "-".to_owned(), for_people),
        row.engine.clone(),
        row.container.clone(),
    ];
    if has_cluster {
        cells.extend(in_cluster(row.vmid, row.node.as_deref()));
    }
    cells.extend([routes, leases, row.why.clone()]);
    cells
}

/// The cells that tell where in its cluster a container is.
pub(crate) fn in_cluster(vmid: Option<u32>, node: Option<&str>) -> [String; 2] {
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    [or_dash(vmid.map(|vmid| vmid.to_string())), or_dash(node.map(str::to_owned))]
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
            vmid: None,
            node: None,
            lock: None,
            routes: Vec::new(),
            leases: 0,
            waiting: 0,
            why: "idle for 15m".to_owned(),
            engine_lost: false,
            forbidden: false,
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
    fn who_has_a_cluster_is_told_where_in_it() {
        let mut wiki = row("wiki");
        (wiki.vmid, wiki.node) = (Some(201), Some("pve1".to_owned()));
        wiki.lock = Some("backup".to_owned());
        // Its engine is there for all others.
        let mut mail = row("mail");
        (mail.vmid, mail.forbidden) = (Some(202), true);
        mail.why = "not permitted: `VM.Audit` is needed on `/vms/202`".to_owned();
        let listing = Listing { workloads: vec![row("db"), mail, wiki], problems: Vec::new() };
        insta::assert_snapshot!(render(&listing), @r"
        WORKLOAD  STATE                      SINCE  ENGINE  CONTAINER  VMID  NODE  ROUTES  LEASES  WHY
        db        asleep                     2h     docker  db-1       -     -     -       0       idle for 15m
        mail      asleep (not permitted)     2h     docker  mail-1     202   -     -       0       not permitted: `VM.Audit` is needed on `/vms/202`
        wiki      asleep (locked by backup)  2h     docker  wiki-1     201   pve1  -       0       idle for 15m
        ");
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
          "vmid": null,
          "node": null,
          "lock": null,
          "routes": [],
          "leases": 0,
          "waiting": 0,
          "why": "idle for 15m",
          "engine_lost": false,
          "forbidden": false
        }
        "#);
    }
}
