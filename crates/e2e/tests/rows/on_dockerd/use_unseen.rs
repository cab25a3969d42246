//! What is in use without the gateway's seeing it stays awake, and what a monitor asks for does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload, http};

use super::{NEVER, let_pass};

/// Several times the idle time of these tests.
const LONG: Duration = Duration::from_secs(5);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Waits until the log says why it stays awake, in such words.
async fn wait_until_busy(drowse: &Drowse, words: &str) {
    drowse.logs().wait_for(&["stays awake", words], DEADLINE).await;
}

#[tokio::test]
async fn traffic_past_the_gateway_keeps_awake() {
    let site = Site::new().await;
    let app = site.container("past").publish_at(80, ANYWHERE).create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s")]).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    let there = SocketAddr::from((Ipv4Addr::LOCALHOST, app.published(80).await.port()));
    // 200 kB/s for a while, to a port of the machine's.
    let download = http::get(there, "/stream?bytes=1600000&ms=8000").send().await;
    assert_eq!((download.status.as_u16(), download.body.len()), (200, 1_600_000));
    site.events.catch_up(&app).await;
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped under a download");
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn work_of_its_own_keeps_awake() {
    let site = Site::new().await;
    let app = site.container("works").create().await;
    let workload = Workload::of(&app).idle("1s").set("busy_cpu", "5%");
    let drowse = site.start(&[workload]).await;
    let begun = drowse.get(&app.host(), "/burn?ms=8000").deadline(DEADLINE).send().await;
    assert_eq!(begun.status.as_u16(), 200);
    wait_until_busy(&drowse, "its processor use").await;
    let_pass(LONG).await;
    site.events.catch_up(&app).await;
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped while it worked");
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn an_application_that_says_no_stays_awake() {
    let site = Site::new().await;
    let app = site.container("asked").create().await;
    let workload = Workload::of(&app).idle("1s").set("veto_path", "/health");
    let drowse = site.start(&[workload]).await;
    drowse.get(&app.host(), "/health/set?up=false").deadline(DEADLINE).send().await;
    wait_until_busy(&drowse, "not healthy").await;
    site.events.catch_up(&app).await;
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped in spite of its veto");
    // Not through drowse: that would be use.
    let there = SocketAddr::from((app.ip().await, 80));
    http::get(there, "/health/set?up=true").send().await;
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn a_command_that_says_no_keeps_awake() {
    let site = Site::new().await;
    let app = site.container("vetoed").create().await;
    let folder = drowse_e2e::scratch_folder();
    let lock = folder.path().join("backup-runs");
    std::fs::write(&lock, "").unwrap();
    let script = format!(
        "test ! -e {} || {{ echo \\\"backup of $DROWSE_CONTAINER_NAME\\\"; exit 1; }}",
        lock.display()
    );
    let workload =
        Workload::of(&app).idle("1s").set("veto_command", &format!("[sh, -c, \"{script}\"]"));
    let drowse = site.start(&[workload]).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    let words = format!("backup of {}", app.name());
    wait_until_busy(&drowse, &words).await;
    site.events.catch_up(&app).await;
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped in spite of a veto");
    std::fs::remove_file(lock).unwrap();
    site.wait_until_stopped(&app, 1).await;
}

/// Row 44, as a monitor sees it.
#[tokio::test]
async fn row_44_for_a_monitor_asleep_is_not_down() {
    let site = Site::new().await;
    let app = site.container("monitored").create().await;
    let workload = Workload::of(&app)
        .idle("2s")
        .set("passive_user_agents", "[Uptime-Kuma]")
        .set("passive_methods", "[HEAD]")
        .set("passive_status", "200");
    let drowse = site.start(&[workload]).await;
    let by_name = || drowse.get(&app.host(), "/").header("user-agent", "Uptime-Kuma/2.0");
    for request in [by_name(), drowse.get(&app.host(), "/").method("HEAD".parse().unwrap())] {
        let told = request.send().await;
        assert_eq!((told.status.as_u16(), told.body.len()), (200, 0));
        assert_eq!(told.headers["drowse-state"], "asleep");
    }
    assert_eq!(site.starts(&app).await, 0);

    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    // Far more often than the idle time, until it sleeps in spite of that.
    let asking = async {
        loop {
            assert_eq!(by_name().send().await.status.as_u16(), 200);
            let_pass(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = site.wait_until_stopped(&app, 1) => {}
    }
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn check_says_who_is_asked() {
    let site = Site::new().await;
    let open = site.container("open").publish_at(80, ANYWHERE).create().await;
    let shut = site.container("shut").create().await;
    let workloads = [
        Workload::of(&open).idle(NEVER),
        Workload::of(&shut).idle(NEVER).set("veto_path", "/busy"),
    ];
    let spec = site.drowse(&workloads);
    let path = spec.config_path().display().to_string();
    let output = spec.command_output(["check", "--config", &path, "--json"]).await;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let asked = |app: &TestContainer| {
        let lines = report["workloads"].as_array().unwrap();
        lines.iter().find(|line| line["workload"] == app.name()).unwrap()["asked"].clone()
    };
    let unseen = ["its processor use, above 5% of a core", "its network use, above 10kB/s"];
    assert_eq!(asked(&open), serde_json::json!(unseen));
    assert_eq!(asked(&shut), serde_json::json!(["the application, at `/busy`"]));
}
