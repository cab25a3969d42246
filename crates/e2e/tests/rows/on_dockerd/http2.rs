//! HTTP/2 from clients that are not ours, in clear with prior knowledge.

use std::time::Duration;

use drowse_e2e::{DEADLINE, Site, Workload};

use super::{NEVER, asleep, awake, let_pass, tools};

/// The arguments of curl for a request to this host, and for its status at the end of what it says.
fn curl<'a>(host: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    let mut arguments =
        vec!["-sS", "--http2-prior-knowledge", "-H", host, "-w", "\n%{http_version} %{http_code}"];
    arguments.extend(further);
    arguments
}

#[tokio::test]
async fn row_16_curl_is_held_until_its_container_is_awake() {
    let (site, app, drowse) = asleep("h2-held", NEVER).await;
    let (host, url) = (format!("Host: {}", app.host()), format!("http://{}/", drowse.address()));
    let said = tools::ask("curl", &curl(&host, &[&url])).await;
    assert!(said.ends_with("\n2 200"), "{said}");
    assert!(!said.contains("<html"), "{said}");
    assert_eq!(site.starts(&app).await, 1);

    // HEAD, an upload with an expectation, a range, a method that nobody knows.
    let url = format!("http://{}/headers", drowse.address());
    let head = tools::ask("curl", &curl(&host, &["-I", &url])).await;
    assert!(head.contains("HTTP/2 200") && head.ends_with("\n2 200"), "{head}");
    let odd =
        tools::ask("curl", &curl(&host, &["-X", "PURGE", "-H", "Range: bytes=1-", &url])).await;
    assert!(odd.contains("PURGE") && odd.contains("bytes=1-"), "{odd}");
    let file = drowse.spec().folder().join("upload");
    std::fs::write(&file, vec![b'x'; 4 << 20]).unwrap();
    let data = format!("@{}", file.display());
    let url = format!("http://{}/upload", drowse.address());
    let expecting = ["-H", "Expect: 100-continue", "--data-binary", &data, &url];
    let said = tools::ask("curl", &curl(&host, &expecting)).await;
    assert!(said.contains("\"bytes\":4194304") && said.ends_with("\n2 200"), "{said}");
}

#[tokio::test]
async fn row_02_a_download_over_http_2_outlasts_the_idle_time() {
    let (site, app, drowse) = awake("h2-download", "1s").await;
    let host = format!("Host: {}", app.host());
    let url = format!("http://{}/stream?bytes=100000&ms=4000", drowse.address());
    let said = tools::ask("curl", &curl(&host, &["-o", "/dev/null", &url])).await;
    assert!(said.ends_with("2 200"), "{said}");
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped while a download was in flight");
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_13_many_streams_are_one_start() {
    let site = Site::new().await;
    let app = site.container("h2-herd").env("READY_DELAY_MS", 1000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let url = format!("http://{}/status/200", drowse.address());
    let host = format!("--header=:authority: {}", app.host());
    // 16 connections with 32 streams at a time.
    let said =
        tools::ask("h2load", &["-n", "2000", "-c", "16", "-m", "32", "-t", "1", &host, &url]).await;
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("2000 2xx"), "{said}");
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_14_a_failed_start_is_told_on_every_stream() {
    let site = Site::new().await;
    let app = site.container("h2-broken").env("EXIT_AFTER_MS", 0).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER).set("wake_timeout", "5s")]).await;
    let url = format!("http://{}/", drowse.address());
    let host = format!("--header=:authority: {}", app.host());
    let said =
        tools::ask("h2load", &["-n", "20", "-c", "1", "-m", "20", "-t", "1", &host, &url]).await;
    assert!(said.contains("20 5xx"), "{said}");
}

/// Row 15: one stream is given up during the wake, and the other goes on.
#[tokio::test]
async fn row_15_a_client_that_leaves_during_the_wake_leaves_the_wake() {
    let site = Site::new().await;
    let app = site.container("h2-leaves").env("READY_DELAY_MS", 2000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let (host, url) = (format!("Host: {}", app.host()), format!("http://{}/", drowse.address()));
    let left = tools::run("curl", &curl(&host, &["-m", "0.5", &url])).await;
    assert!(!left.is_success, "{}", left.text);
    let said = tools::ask("curl", &curl(&host, &[&url])).await;
    assert!(said.ends_with("\n2 200"), "{said}");
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_49_a_container_that_died_unseen_is_started_for_the_next_stream() {
    let (site, app, drowse) = awake("h2-died", NEVER).await;
    let (host, url) = (format!("Host: {}", app.host()), format!("http://{}/", drowse.address()));
    app.kill("KILL").await;
    let said = tools::ask("curl", &curl(&host, &["-m", "40", &url])).await;
    assert!(said.ends_with("\n2 200"), "{said}");
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn nghttp_is_served_and_a_shutdown_lets_its_stream_end() {
    let (site, app, mut drowse) = awake("h2-nghttp", NEVER).await;
    let host = format!("-H:authority: {}", app.host());
    let url = format!("http://{}/stream?bytes=1000&ms=2000", drowse.address());
    let arguments = ["-v", &*host, &*url];
    let (said, status) = tokio::join!(tools::ask("nghttp", &arguments), async {
        // It is under way when the end begins.
        let streaming = || async { (drowse.row(app.name()).await["leases"] == 1).then_some(()) };
        drowse_e2e::eventually(DEADLINE, "the stream", streaming).await;
        drowse.terminate(DEADLINE).await
    });
    assert!(status.success(), "{status}");
    assert!(said.contains(":status: 200") && said.contains("GOAWAY"), "{said}");
    assert!(!said.contains("RST_STREAM"), "{said}");
    assert_eq!(site.events.heard(&app, "kill"), 0);
}

/// Its window is shut and it answers no ping: it is stopped in the middle of a download.
#[tokio::test]
async fn a_client_that_stops_reading_keeps_nothing_awake_for_ever() {
    let (site, app, drowse) = awake("h2-frozen", "1s").await;
    let host = format!("Host: {}", app.host());
    let url = format!("http://{}/sse?ms=100", drowse.address());
    let mut client = tokio::process::Command::new("curl")
        .args(curl(&host, &["-N", "-o", "/dev/null", &url]))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let leased = || async { (drowse.row(app.name()).await["leases"] == 1).then_some(()) };
    drowse_e2e::eventually(DEADLINE, "its lease", leased).await;
    let pid = client.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::STOP).unwrap();
    let_pass(Duration::from_secs(3)).await;
    assert_eq!(site.events.heard(&app, "kill"), 0, "it is still believed to be there");
    // The ping after at most 30 s, its time-out after 20 s more.
    site.events.wait_for(&app, "die", 1, Duration::from_mins(2)).await;
    client.kill().await.unwrap();
}
