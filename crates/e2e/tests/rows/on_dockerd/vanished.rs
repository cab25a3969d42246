//! Clients that vanish without a word.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use drowse_e2e::{Cable, DEADLINE, Drowse, Site, Workload, eventually, free_port};
use tokio::process::{Child, Command};

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
        let mut client = Command::from(cable.program("curl"));
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
    has_leases(&drowse, app.name(), 2).await;
    cable.cut();
    site.events.wait_for(&app, "die", 1, PATIENCE).await;
    assert_eq!(drowse.row(app.name()).await["leases"], 0);
    for mut client in clients {
        assert!(client.try_wait().unwrap().is_none(), "the client itself has not noticed");
    }
}

/// On connections that are silent, or nearly so.
#[tokio::test]
async fn silent_clients_that_vanish_keep_nothing_awake() {
    let site = Site::new().await;
    let web = site.container("websocket").create().await;
    let lines = site.container("lines").env("MODE", "tcp-lines").env("NAME", "lines");
    let lines = lines.create().await;
    let cable = Cable::lay();
    let port = SocketAddr::from((cable.ours(), free_port()));
    let routes = [format!("tcp: \"{port}\", port: 80")];
    let config = site
        .config(&[Workload::of(&web).idle("1s"), Workload::by_routes(&lines, &routes).idle("1s")]);
    let spec = site.drowse(&[]).listening_by_file();
    let http = SocketAddr::from((cable.ours(), spec.address().port()));
    let config = format!("listen: [\"{}\", \"{http}\"]\n{config}", spec.address());
    let drowse = spec.config(&config).start().await;
    drowse.logs().wait_for(&["listening", &port.to_string()], DEADLINE).await;

    let host = web.host();
    let websocket = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    let upload =
        format!("POST /upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\nabc");
    let clients = [
        client(&cable, http, &websocket),
        client(&cable, http, &upload),
        client(&cable, port, "hello\r\n"),
    ];
    has_leases(&drowse, web.name(), 2).await;
    has_leases(&drowse, lines.name(), 1).await;
    cable.cut();
    for app in [&web, &lines] {
        site.events.wait_for(app, "die", 1, PATIENCE).await;
        assert_eq!(drowse.row(app.name()).await["leases"], 0);
    }
    for mut client in clients {
        assert!(client.try_wait().unwrap().is_none(), "the client itself has not noticed");
    }
}

/// Says this, and listens for as long as the connection is there. Killed on drop.
fn client(cable: &Cable, to: SocketAddr, says: &str) -> Child {
    let script = r#"exec 3<>"/dev/tcp/$1/$2"; printf %s "$3" >&3; exec cat <&3"#;
    let mut client = Command::from(cable.program("bash"));
    let (ip, port) = (to.ip().to_string(), to.port().to_string());
    client.args(["-c", script, "client", &ip, &port, says]);
    client.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

async fn has_leases(drowse: &Drowse, workload: &str, leases: u32) {
    eventually(DEADLINE, "their leases", || async {
        (drowse.row(workload).await["leases"] == leases).then_some(())
    })
    .await;
}
