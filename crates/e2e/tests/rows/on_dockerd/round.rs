//! The whole round: asleep, woken by a request, idle, asleep again, and again.

use drowse_e2e::{Site, Workload};

/// Each way to sleep has its own proof: the state that the engine shows, and what it recorded.
async fn goes_round(way: &str, asleep: &str, event: &str) {
    let site = Site::new().await;
    let app = site.container(way).create().await;
    let workload = Workload::of(&app).idle("1s").set("sleep", way);
    let drowse = site.start(&[workload]).await;
    for round in 1..=2 {
        drowse.get(&app.host(), "/").send().await.assert_served();
        assert_eq!(app.state().await.status, "running");
        site.events.wait_for(&app, event, round, drowse_e2e::DEADLINE).await;
        app.wait_for(asleep, drowse_e2e::DEADLINE).await;
    }
    // One order for each change and no more.
    let starts = if way == "pause" { 1 } else { 2 };
    assert_eq!(site.starts(&app).await, starts);
    assert_eq!(site.relay.count(|request| request.is_order(way)), 2);
}

#[tokio::test]
async fn a_container_is_stopped_when_idle_and_started_by_a_request() {
    goes_round("stop", "exited", "stop").await;
}

#[tokio::test]
async fn a_container_is_paused_when_idle_and_thawed_by_a_request() {
    goes_round("pause", "paused", "pause").await;
}

#[tokio::test]
async fn a_container_is_killed_when_idle_and_started_by_a_request() {
    goes_round("kill", "exited", "die").await;
}

#[tokio::test]
async fn a_paused_container_wakes_in_the_same_run() {
    let site = Site::new().await;
    let app = site.container("frozen").create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s").set("sleep", "pause")]).await;
    let before = drowse.get(&app.host(), "/stamp").send().await.json();
    app.wait_for("paused", drowse_e2e::DEADLINE).await;
    let after = drowse.get(&app.host(), "/stamp").send().await.json();
    assert_eq!(before["run"], after["run"]);
}
