//! Clients that vanish without a word.

use std::process::Stdio;
use std::time::Duration;

use drowse_e2e::{Cable, DEADLINE, Site, Workload, eventually};

/// The longest time until it is noticed is that of unacknowledged bytes over HTTP/1.1 and of raw
/// connections that are silent: two minutes.
const PATIENCE: Duration = Duration::from_mins(4);

/// Over HTTP/1.1 and HTTP/2, in the middle of a download: their cable is cut.
#[tokio::test]
async fn clients_that_vanish_keep_nothing_awake() {
    let site = Site::new().await;
    let app = site.container("vanished").create().await;
    let config = site.config(&[Workload::of(&app).idle("1s")]);
    let cable = Cable::lay();
    let spec = site.drowse(&[]).listening_by_file();
    let (near, port) = (spec.address(), spec.address().port());
    let config = format!("listen: [\"{near}\", \"{}:{port}\"]\n{config}", cable.ours());
    let drowse = spec.config(&config).start().await;
    drowse.wait_until_read(app.name()).await;

    let (host, url) = (format!("Host: {}", app.host()), format!("http://{}:{port}", cable.ours()));
    let clients = ["--http1.1", "--http2-prior-knowledge"].map(|version| {
        let mut client = tokio::process::Command::from(cable.program("curl"));
        client.args([
            "-sSN",
            version,
            "-o",
            "/dev/null",
            "-H",
            &host,
            &format!("{url}/sse?ms=100"),
        ]);
        client.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap()
    });
    eventually(DEADLINE, "their leases", || async {
        (drowse.row(app.name()).await["leases"] == 2).then_some(())
    })
    .await;
    cable.cut();
    site.events.wait_for(&app, "die", 1, PATIENCE).await;
    assert_eq!(drowse.row(app.name()).await["leases"], 0);
    for mut client in clients {
        assert!(client.try_wait().unwrap().is_none(), "the client itself has not noticed");
    }
}
