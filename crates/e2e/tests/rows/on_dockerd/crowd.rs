//! Thousands of connections at once, and more than there are descriptors for.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use drowse_e2e::http::RawConnection;
use drowse_e2e::{
    Cable, DEADLINE, Drowse, DrowseSpec, Site, Workload, eventually, free_port, program,
};
use futures::StreamExt;
use rustix::process::{Resource, getrlimit};

use super::NEVER;

/// Descriptors that come and go by themselves: to the engine, to the application.
const MARGIN: usize = 16;

/// As many connections as this machine lets both ends have, with one more for each that is answered.
fn many() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(20_000);
    usize::try_from(limit.saturating_sub(1_500) / 2).unwrap_or(usize::MAX).min(9_000)
}

/// So many connections, from sources of which none has more than 2,000.
async fn connect(address: SocketAddr, count: usize) -> Vec<RawConnection> {
    let connections = futures::stream::iter(0..count).map(|number| {
        let source = u8::try_from(2 + number / 2_000).unwrap();
        RawConnection::open_from([127, 0, 0, source], address)
    });
    connections.buffer_unordered(256).collect().await
}

/// Nothing is under way, and it has hardly more descriptors than before.
async fn is_as_before(drowse: &Drowse, workload: &str, before: usize) {
    eventually(DEADLINE * 2, "nothing to be left", || async {
        let row = drowse.row(workload).await;
        let is_unused = row["leases"] == 0 && row["waiting"] == 0;
        (is_unused && drowse.descriptors() <= before + MARGIN).then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_13_nine_thousand_connections_half_of_them_idle() {
    let site = Site::new().await;
    let app = site.container("many").env("READY_DELAY_MS", 1000).create().await;
    let drowse = site.drowse(&[Workload::of(&app).idle(NEVER)]).env("RUST_LOG", "info");
    let drowse = drowse.start().await;
    drowse.wait_until_read(app.name()).await;
    let before = drowse.descriptors();
    let half = many() / 2;
    let request = format!("GET /status/200 HTTP/1.1\r\nHost: {}\r\n\r\n", app.host());

    let mut idle = connect(drowse.address(), half).await;
    let mut held = connect(drowse.address(), half).await;
    for connection in &mut held {
        connection.send(&request).await;
    }
    eventually(DEADLINE, "all to be accepted", || async {
        (drowse.descriptors() >= half * 2).then_some(())
    })
    .await;
    let answers = held.into_iter().map(|mut connection| async move {
        let head = connection.read_head(Duration::from_mins(1)).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    });
    futures::future::join_all(answers).await;
    assert_eq!(site.starts(&app).await, 1);
    // Those that have said nothing so far are served as well.
    for connection in idle.iter_mut().step_by(half / 20) {
        connection.send(&request).await;
        assert!(connection.read_head(DEADLINE).await.starts_with("HTTP/1.1 200"));
    }
    drop(idle);
    is_as_before(&drowse, app.name(), before).await;
}

#[tokio::test]
async fn row_13_thousands_of_raw_connections_are_one_start() {
    let site = Site::new().await;
    let app = site.container("many-raw").env("MODE", "tcp-lines").env("START_DELAY_MS", 1000);
    let app = app.create().await;
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let routes = [format!("tcp: {}, port: 80", port.port())];
    let workload = Workload::by_routes(&app, &routes).idle(NEVER);
    let drowse = site.drowse(&[workload]).env("RUST_LOG", "info").start().await;
    drowse.logs().wait_for(&["listening", &port.to_string()], DEADLINE).await;
    let before = drowse.descriptors();

    // Raw TCP has half of the places. Each connection is one to the application as well, whose own limit
    // of descriptors counts.
    let connections = connect(port, (many() / 2).min(1_000)).await;
    let greeted = connections.into_iter().map(|mut connection| async move {
        connection.read_until("220 ", Duration::from_mins(1)).await;
        connection
    });
    let greeted = futures::future::join_all(greeted).await;
    assert_eq!(site.starts(&app).await, 1);
    drop(greeted);
    is_as_before(&drowse, app.name(), before).await;
}

/// A program that starts drowse with so many descriptors at most.
fn limited(folder: &Path, descriptors: u32) -> std::path::PathBuf {
    let script = folder.join("limited");
    let text =
        format!("#!/bin/sh\nulimit -n {descriptors}\nexec '{}' \"$@\"\n", program().display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[tokio::test]
async fn more_connections_than_descriptors_are_told_of_and_others_go_on() {
    let site = Site::new().await;
    let app = site.container("few").create().await;
    let folder = drowse_e2e::scratch_folder();
    let cable = Cable::lay();
    let spec = DrowseSpec::of(limited(folder.path(), 256)).listening_by_file();
    let (near, away) = (spec.address(), SocketAddr::new(cable.ours(), spec.address().port()));
    let config = site.config(&[Workload::of(&app).idle(NEVER)]);
    let spec = spec.config(&format!("listen: [\"{near}\", \"{away}\"]\n{config}"));
    let drowse = spec.start().await;
    drowse.wait_until_read(app.name()).await;
    drowse.logs().wait_for(&["the limit of descriptors leaves few connections"], DEADLINE).await;
    let before = drowse.descriptors();

    // One source has its share and no more, and others are served.
    let mut greedy = tokio::process::Command::from(cable.program("slowhttptest"));
    greedy.args(["-H", "-c", "200", "-r", "200", "-l", "600", "-i", "5"]);
    greedy.args(["-u", &format!("http://{away}/")]).stdout(Stdio::null()).kill_on_drop(true);
    let mut greedy = greedy.spawn().unwrap();
    drowse.logs().wait_for(&["further connections of a client are closed"], DEADLINE).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    // Those of this machine, which may be a proxy's, take all that there are, and it says so.
    let crowd = connect(near, 300).await;
    drowse.logs().wait_for(&["no place for further connections"], DEADLINE).await;
    drop(crowd);
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
    greedy.kill().await.unwrap();
    is_as_before(&drowse, app.name(), before).await;
}
