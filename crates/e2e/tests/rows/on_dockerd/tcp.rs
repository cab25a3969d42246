//! Raw TCP: connections are held, carried and ended as requests are.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use drowse_e2e::http::RawConnection;
use drowse_e2e::{
    DEADLINE, Drowse, Site, TestContainer, Workload, eventually, free_port, scratch_folder, within,
};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::{NEVER, let_pass};

/// A container whose server speaks first, under this name, behind a port; see the test application's
/// `tcp-lines`.
struct Lines {
    name: String,
    site: Site,
    app: TestContainer,
    drowse: Drowse,
    port: SocketAddr,
}

impl Lines {
    async fn asleep(name: &str, idle: &str, route: &str, env: &[(&str, &str)]) -> Self {
        let site = Site::new().await;
        let spec = site.container(name).env("MODE", "tcp-lines").env("NAME", name);
        let app = env.iter().fold(spec, |spec, (key, value)| spec.env(key, value)).create().await;
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let routes = [format!("tcp: {}, port: 80{route}", port.port())];
        let drowse = site.start(&[Workload::by_routes(&app, &routes).idle(idle)]).await;
        let lines = Self { name: name.to_owned(), site, app, drowse, port };
        lines.listens().await;
        lines
    }

    /// Waits until drowse listens there. Nobody connects: that would wake it.
    async fn listens(&self) {
        self.drowse.logs().wait_for(&["listening", &self.port.to_string()], DEADLINE).await;
    }

    async fn connect(&self) -> RawConnection {
        RawConnection::open(self.port).await
    }

    /// A connection whose greeting was heard.
    async fn greeted(&self) -> RawConnection {
        let mut connection = self.connect().await;
        connection.read_until(&format!("220 {}\r\n", self.name), DEADLINE).await;
        connection
    }

    async fn is_unused(&self) {
        eventually(DEADLINE, "no lease and nobody waiting", || async {
            let row = self.drowse.row(self.app.name()).await;
            (row["leases"] == 0 && row["waiting"] == 0).then_some(())
        })
        .await;
    }
}

async fn says(connection: &mut RawConnection, text: &str) {
    connection.send(format!("{text}\r\n")).await;
    connection.read_until(&format!("250 {text}\r\n"), DEADLINE).await;
}

#[tokio::test]
async fn row_02_a_silent_connection_outlasts_the_idle_time() {
    let lines = Lines::asleep("silent", "1s", "", &[]).await;
    let mut connection = lines.greeted().await;
    let_pass(Duration::from_secs(4)).await;
    says(&mut connection, "still there").await;
    assert_eq!(lines.site.starts(&lines.app).await, 1);
    drop(connection);
    lines.site.wait_until_stopped(&lines.app, 1).await;
}

#[tokio::test]
async fn row_13_two_hundred_connections_are_one_start() {
    let lines = Lines::asleep("herd", NEVER, "", &[("START_DELAY_MS", "1000")]).await;
    let all = (0..200).map(|number| {
        let lines = &lines;
        async move {
            let mut connection = lines.connect().await;
            // What is said before anybody listens arrives, too.
            connection.send(format!("{number}\r\n")).await;
            connection.read_until(&format!("250 {number}\r\n"), Duration::from_mins(1)).await;
        }
    });
    futures::future::join_all(all).await;
    assert_eq!(lines.site.starts(&lines.app).await, 1);
}

#[tokio::test]
async fn row_14_when_the_start_fails_connections_are_closed() {
    let lines = Lines::asleep("crashing", NEVER, "", &[("EXIT_AFTER_MS", "0")]).await;
    let mut connection = lines.connect().await;
    connection.read_to_end(DEADLINE).await;
    lines.is_unused().await;
}

#[tokio::test]
async fn row_15_the_first_client_leaves_and_the_wake_goes_on() {
    let lines = Lines::asleep("leaving", NEVER, "", &[("START_DELAY_MS", "1500")]).await;
    let first = lines.connect().await;
    let events = &lines.site.events;
    events.wait_for(&lines.app, "start", 1, DEADLINE).await;
    let second = lines.connect();
    drop(first);
    let mut second = second.await;
    second.read_until("220 leaving\r\n", DEADLINE).await;
    assert_eq!(lines.site.starts(&lines.app).await, 1);
    drop(second);
    lines.is_unused().await;
}

#[tokio::test]
async fn row_17_a_published_port_accepts_before_the_application_does() {
    let site = Site::new().await;
    let published = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let spec = site.container("early").env("MODE", "tcp-lines").env("NAME", "early");
    let app = spec.env("START_DELAY_MS", 1500).publish_at(80, published).create().await;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (port, at) = (listen.port(), published.port());
    let route = format!("tcp: {port}, address: 127.0.0.1, port: {at}");
    let drowse = site.start(&[Workload::by_routes(&app, &[route]).idle(NEVER)]).await;
    drowse.logs().wait_for(&["listening", &listen.to_string()], DEADLINE).await;
    let mut connection = RawConnection::open(listen).await;
    connection.send("hello\r\n").await;
    connection.read_until("220 early\r\n250 hello\r\n", DEADLINE).await;
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_49_an_application_that_was_killed_is_started_again() {
    let lines = Lines::asleep("killed", NEVER, "", &[]).await;
    let mut connection = lines.greeted().await;
    says(&mut connection, "one").await;
    // A crash: nobody asked the engine for it.
    let pid = lines.app.inspect().await.unwrap()["State"]["Pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    connection.read_to_end(DEADLINE).await;
    lines.greeted().await;
    assert_eq!(lines.site.starts(&lines.app).await, 2);
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let lines = Lines::asleep("half", "2s", "", &[]).await;
    let mut connection = lines.connect().await;
    connection.send("the last line\r\n").await;
    connection.shut_down_sending().await;
    connection.read_until("220 half\r\n250 the last line\r\n", DEADLINE).await;
    connection.read_to_end(DEADLINE).await;
    lines.is_unused().await;
    // The other way round: the server ends first.
    let mut connection = lines.greeted().await;
    connection.send("QUIT\r\n").await;
    connection.read_until("221 bye\r\n", DEADLINE).await;
    connection.read_to_end(DEADLINE).await;
    drop(connection);
    lines.is_unused().await;
    lines.site.wait_until_stopped(&lines.app, 1).await;
}

#[tokio::test]
async fn the_application_sees_the_proxy_protocol() {
    let lines = Lines::asleep("told", NEVER, ", send_proxy_protocol: v1", &[]).await;
    let mut connection = lines.connect().await;
    let expected = "250 PROXY TCP4 127.0.0.1 127.0.0.1 ";
    let read = connection.read_until(&format!("{}\r\n", lines.port.port()), DEADLINE).await;
    assert!(read.contains(expected), "{read}");
}

/// OpenSSL's server, which shows who asks. Killed on drop.
async fn tls_server(folder: &Path) -> (Child, u16) {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=db.test", "-days", "2", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    assert!(within(DEADLINE, "a certificate", made).await.unwrap().status.success());
    let port = free_port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}"), "-key"]).arg(key);
    server.arg("-cert").arg(certificate).stdout(Stdio::null()).stderr(Stdio::null());
    (server.kill_on_drop(true).spawn().unwrap(), port)
}

async fn curl(name: &str, port: u16) -> std::process::Output {
    let (to, url) = (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/"));
    let curl = Command::new("curl").args(["-ksS", "--resolve", &to, &url]).output();
    within(DEADLINE, "curl to end", curl).await.unwrap()
}

#[tokio::test]
async fn row_30_tls_passes_by_its_name_and_an_unknown_name_wakes_nothing() {
    let folder = scratch_folder();
    let (_server, at) = tls_server(folder.path()).await;
    let site = Site::new().await;
    let app = site.container("tls").create().await;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let port = listen.port();
    let route = format!("tcp: {port}, sni: [\"*.db.test\"], address: 127.0.0.1, port: {at}");
    let drowse = site.start(&[Workload::by_routes(&app, &[route]).idle(NEVER)]).await;
    drowse.logs().wait_for(&["listening", &listen.to_string()], DEADLINE).await;

    let unknown = curl("other.test", port).await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("unrecognized name"), "{said}");
    assert_eq!(site.starts(&app).await, 0);

    let known = curl("a.db.test", port).await;
    let page = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(page.contains("s_server"), "{page} {}", String::from_utf8_lossy(&known.stderr));
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn what_is_in_flight_is_told() {
    let lines = Lines::asleep("told", NEVER, "", &[]).await;
    let _connection = lines.greeted().await;
    let name = lines.app.name();
    let output = lines.drowse.spec().command_output(["why", name, "--json"]).await;
    let why: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = &why["in_flight"][0];
    assert_eq!(one["route"], format!("{name}/0"));
    assert_eq!((&one["peer"], &one["stage"]), (&"127.0.0.1".into(), &"served".into()), "{why}");
    let row = lines.drowse.row(name).await;
    assert_eq!(row["routes"][0], format!("tcp://{}", lines.port));
}

#[tokio::test]
async fn labels_have_ports_listened_on_that_the_file_allows() {
    let site = Site::new().await;
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let enabled = |name: &str| {
        let spec = site.container(name).env("MODE", "tcp-lines").env("NAME", name);
        spec.label("drowse.enable", "true")
    };
    let allowed = enabled("allowed").label("drowse.tcp", port.port().to_string()).create().await;
    let refused = enabled("refused").label("drowse.tcp", "80").create().await;
    let later = enabled("later").label("drowse.tcp", port.port().to_string()).create().await;
    let drowse = site.drowse_by_labels().start().await;
    drowse.logs().wait_for(&["listening", &port.to_string()], DEADLINE).await;
    RawConnection::open(port).await.read_until("220 allowed\r\n", DEADLINE).await;
    let output = drowse.spec().command_output(["check"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for (container, why) in [
        (&refused, "labels may not have port 80 listened on (`label_ports`: 1024-65535)"),
        (&later, "is taken by workload"),
    ] {
        let said = said.lines().find(|line| line.contains(container.name()) && line.contains(why));
        assert!(said.is_some(), "{}: {why}", container.name());
    }
    // It goes with its container, and the next one has it.
    allowed.remove().await;
    // Until then connections are closed: there is no such container any more.
    eventually(DEADLINE, "the later one to answer", || async {
        let read = RawConnection::open(port).await.read_line().await?;
        (read == "220 later\r\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_in_use_is_told_and_had_when_it_is_free() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = taken.local_addr().unwrap();
    let site = Site::new().await;
    let spec = site.container("late").env("MODE", "tcp-lines").env("NAME", "late");
    let app = spec.create().await;
    let routes = [format!("tcp: {}, port: 80", port.port())];
    let drowse = site.start(&[Workload::by_routes(&app, &routes).idle(NEVER)]).await;
    let why = format!("cannot listen on tcp://{port}: TCP port {} is in use", port.port());
    drowse.logs().wait_for(&["ERROR", &why], DEADLINE).await;
    let listing = drowse.spec().command_output(["list"]).await;
    let shown = [listing.stdout, listing.stderr].concat();
    assert!(String::from_utf8_lossy(&shown).contains(&why));
    drop(taken);
    drowse.logs().wait_for(&["listening", &format!("tcp://{port}")], DEADLINE).await;
    RawConnection::open(port).await.read_until("220 late\r\n", DEADLINE).await;
    let listing = drowse.spec().command_output(["list"]).await;
    let shown = [listing.stdout, listing.stderr].concat();
    assert!(!String::from_utf8_lossy(&shown).contains(&why));
}
