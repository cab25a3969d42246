//! `list`, `wake` and `sleep`: what the running drowse says, as tables and lines for people and as
//! JSON for programs.

use std::time::Duration;

use comfy_table::{Table, presets};

use crate::{
    cli::{ListArgs, SleepArgs, WakeArgs},
    control::client::{self, Order},
    everything,
    exit::CommandResult,
    listing::{Listing, Row},
    output::{one_line, say, say_json},
    state::StateFolder,
    wall::roughly,
};

pub(crate) async fn list(state: &StateFolder, arguments: &ListArgs) -> CommandResult {
    let listing = client::list(state).await?;
    if arguments.json {
        say_json(&listing)?;
    } else {
        say(render(&listing, arguments.wide))?;
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
    let sleep = Order::Sleep { force: arguments.force };
    order(state, sleep, &arguments.name, arguments.timeout, arguments.json).await
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

/// What fits into a terminal that nobody has made wider.
const WIDTH: usize = 100;
/// However long the names are, so much is said of why.
const LEAST_WHY: usize = 24;

fn render(listing: &Listing, is_wide: bool) -> String {
    let mut text = if listing.workloads.is_empty() {
        "nothing is managed".to_owned()
    } else if is_wide {
        wide(&listing.workloads)
    } else {
        narrow(&listing.workloads)
    };
    for problem in &listing.problems {
        for part in ["\n", &problem.severity, ": ", &problem.message] {
            text.push_str(part);
        }
    }
    text
}

/// What matters of each at a glance. The last column, and it alone, is cut to fit.
fn narrow(rows: &[Row]) -> String {
    // Nodes are for those who have a cluster.
    let has_cluster = rows.iter().any(|row| row.vmid.is_some());
    let node: &[&str] = if has_cluster { &["NODE"] } else { &[] };
    // And who needs what, for those of whom any needs another.
    let has_needs = rows.iter().any(|row| !row.dependents.is_empty());
    let needed_by: &[&str] = if has_needs { &["NEEDED BY"] } else { &[] };
    let header =
        [&["WORKLOAD", "STATE", "SINCE"], node, needed_by, &["LEASES", "SLEEPS", "WHY"]].concat();
    let mut cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let node = has_cluster.then(|| or_dash(row.node.clone()));
            let needed_by = has_needs.then(|| first_and_rest(&row.dependents));
            [row.workload.clone(), state(row), since(row)]
                .into_iter()
                .chain(node)
                .chain(needed_by)
                .chain([leases(row), sleeps(row), one_line(&row.why)])
                .collect()
        })
        .collect();
    let before_why = header.len() - 1;
    let taken: usize = (0..before_why)
        .map(|column| {
            let widest = cells.iter().map(|row| row[column].chars().count()).max();
            widest.unwrap_or_default().max(header[column].len()) + 2
        })
        .sum();
    let room = WIDTH.saturating_sub(taken).max(LEAST_WHY);
    for row in &mut cells {
        if let Some((end, _)) = row[before_why].char_indices().nth(room) {
            let last = row[before_why][..end].char_indices().next_back().map_or(0, |(at, _)| at);
            row[before_why].truncate(last);
            row[before_why].push('…');
        }
    }
    flexible_table(header, cells)
}

fn first_and_rest(names: &[String]) -> String {
    match names {
        [] => "-".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

/// All that there is to say.
fn wide(rows: &[Row]) -> String {
    let has_cluster = rows.iter().any(|row| row.vmid.is_some());
    let in_its_cluster: &[&str] = if has_cluster { &["VMID", "NODE"] } else { &[] };
    let header = [
        &["WORKLOAD", "STATE", "SINCE", "ENGINE", "CONTAINER"],
        in_its_cluster,
        &["ROUTES", "NEEDS", "NEEDED BY", "LEASES", "SLEEPS", "WHY"],
    ];
    let cells = |row: &Row| {
        let mut cells = vec![
            row.workload.clone(),
            state(row),
            since(row),
            row.engine.clone(),
            row.container.clone(),
        ];
        if has_cluster {
            cells.extend(in_cluster(row.vmid, row.node.as_deref()));
        }
        let needs: Vec<_> = row.needs.iter().map(|need| need.workload.clone()).collect();
        cells.extend([&row.routes, &needs, &row.dependents].map(|names| listed(names)));
        cells.extend([leases(row), sleeps(row), row.why.clone()]);
        cells
    };
    flexible_table(header.concat(), rows.iter().map(cells))
}

/// The state, with what is in the way of its changing.
pub(crate) fn state(row: &Row) -> String {
    match &row.lock {
        _ if row.engine_lost => format!("{} (engine lost)", row.state),
        _ if row.forbidden => format!("{} (not permitted)", row.state),
        Some(lock) => format!("{} (locked by {lock})", row.state),
        None => row.state.clone(),
    }
}

fn since(row: &Row) -> String {
    or_dash(row.since_seconds.map(|seconds| roughly(Duration::from_secs(seconds))))
}

fn leases(row: &Row) -> String {
    match row.waiting {
        0 => row.leases.to_string(),
        waiting => format!("{} (+{waiting} waiting)", row.leases),
    }
}

/// When it is put to sleep, as far as that is known.
fn sleeps(row: &Row) -> String {
    match row.next_sleep_seconds {
        _ if row.held_asleep.is_some() => "held".to_owned(),
        Some(seconds) => format!("in {}", roughly(Duration::from_secs(seconds))),
        None if row.sleeps_by == "never" => "never".to_owned(),
        None => "-".to_owned(),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

/// The cells that tell where in its cluster a container is.
pub(crate) fn in_cluster(vmid: Option<u32>, node: Option<&str>) -> [String; 2] {
    [or_dash(vmid.map(|vmid| vmid.to_string())), or_dash(node.map(str::to_owned))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{NeedRow, ProblemRow};

    fn row(workload: &str) -> Row {
        Row {
            workload: workload.to_owned(),
            state: "asleep".to_owned(),
            since: Some("2026-11-23T22:36:55Z".to_owned()),
            since_seconds: Some(7_300),
            engine: "docker".to_owned(),
            container: format!("{workload}-1"),
            why: "idle: stopped".to_owned(),
            reason: "idle: stopped".to_owned(),
            sleeps_by: "stop".to_owned(),
            ..Row::default()
        }
    }

    /// Of each kind one.
    fn listing() -> Listing {
        let db = Row {
            state: "ready".to_owned(),
            since_seconds: Some(59),
            leases: 1,
            why: "in use by dependent wiki (1)".to_owned(),
            dependents: vec!["wiki".to_owned()],
            sleeps_by: "never".to_owned(),
            ..row("db")
        };
        let wiki = Row {
            state: "starting".to_owned(),
            since_seconds: Some(2),
            routes: vec!["wiki.example.com".to_owned(), "example.com/wiki".to_owned()],
            waiting: 3,
            why: "waiting for db".to_owned(),
            needs: vec![NeedRow {
                workload: "db".to_owned(),
                condition: "ready".to_owned(),
                is_met: true,
                why_not: None,
            }],
            ..row("wiki")
        };
        let photos = Row {
            state: "ready".to_owned(),
            since_seconds: Some(840),
            routes: vec!["photos.example.com".to_owned()],
            next_sleep_seconds: Some(61),
            why: "woken".to_owned(),
            engine_lost: true,
            ..row("photos")
        };
        let cloud = Row {
            held_asleep: Some("restore".to_owned()),
            why: "held asleep: the restore of last night's backup, which takes until noon; ask Ana"
                .to_owned(),
            ..row("cloud")
        };
        let problem =
            ProblemRow { severity: "error".to_owned(), message: "container `x`: no".to_owned() };
        Listing { workloads: vec![cloud, db, photos, wiki], problems: vec![problem] }
    }

    #[test]
    fn a_listing_for_people_fits_their_terminal() {
        let shown = render(&listing(), false);
        insta::assert_snapshot!(shown, @r"
        WORKLOAD  STATE                SINCE  NEEDED BY  LEASES          SLEEPS  WHY
        cloud     asleep               2h     -          0               held    held asleep: the restore o…
        db        ready                59s    wiki       1               never   in use by dependent wiki (…
        photos    ready (engine lost)  14m    -          0               in 1m   woken
        wiki      starting             2s     -          0 (+3 waiting)  -       waiting for db
        error: container `x`: no
        ");
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        insta::assert_snapshot!(
            render(&Listing { workloads: Vec::new(), problems: Vec::new() }, false),
            @"nothing is managed"
        );
    }

    #[test]
    fn who_has_room_is_told_more() {
        insta::assert_snapshot!(render(&listing(), true), @r"
        WORKLOAD  STATE                SINCE  ENGINE  CONTAINER  ROUTES                              NEEDS  NEEDED BY  LEASES          SLEEPS  WHY
        cloud     asleep               2h     docker  cloud-1    -                                   -      -          0               held    held asleep: the restore of last night's backup, which takes until noon; ask Ana
        db        ready                59s    docker  db-1       -                                   -      wiki       1               never   in use by dependent wiki (1)
        photos    ready (engine lost)  14m    docker  photos-1   photos.example.com                  -      -          0               in 1m   woken
        wiki      starting             2s     docker  wiki-1     wiki.example.com, example.com/wiki  db     -          0 (+3 waiting)  -       waiting for db
        error: container `x`: no
        ");
    }

    #[test]
    fn names_that_leave_no_room_leave_some_for_the_reason() {
        let long = Row { workload: "w".repeat(90), ..row("x") };
        let why = "the process ended while it was starting, with exit code 1".to_owned();
        let listing = Listing { workloads: vec![Row { why, ..long }], problems: Vec::new() };
        assert!(render(&listing, false).ends_with("  the process ended while…"));
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
        insta::assert_snapshot!(render(&listing, false), @r"
        WORKLOAD  STATE                      SINCE  NODE  LEASES  SLEEPS  WHY
        db        asleep                     2h     -     0       -       idle: stopped
        mail      asleep (not permitted)     2h     -     0       -       not permitted: `VM.Audit` is need…
        wiki      asleep (locked by backup)  2h     pve1  0       -       idle: stopped
        ");
        insta::assert_snapshot!(render(&listing, true), @r"
        WORKLOAD  STATE                      SINCE  ENGINE  CONTAINER  VMID  NODE  ROUTES  NEEDS  NEEDED BY  LEASES  SLEEPS  WHY
        db        asleep                     2h     docker  db-1       -     -     -       -      -          0       -       idle: stopped
        mail      asleep (not permitted)     2h     docker  mail-1     202   -     -       -      -          0       -       not permitted: `VM.Audit` is needed on `/vms/202`
        wiki      asleep (locked by backup)  2h     docker  wiki-1     201   pve1  -       -      -          0       -       idle: stopped
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
          "why": "idle: stopped",
          "engine_lost": false,
          "forbidden": false,
          "reason": "idle: stopped",
          "last_error": null,
          "last_wake_ms": null,
          "sleeps_by": "stop",
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
          "implicit": false
        }
        "#);
    }
}
