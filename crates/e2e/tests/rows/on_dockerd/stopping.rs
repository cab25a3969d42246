//! Stops: what comes in between, what makes them fail, how long they may take.

use std::time::Duration;

use drowse_e2e::{DEADLINE, Site, Workload};

use super::{NEVER, asleep, awake, let_pass};

#[tokio::test]
async fn row_01_a_request_during_the_stop_is_served_by_the_next_run() {
    let site = Site::new().await;
    let app = site.container("late").env("TERM_DELAY_MS", 3000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s")]).await;
    let first = drowse.get(&app.host(), "/stamp").send().await.json();
    // The engine has sent the signal, and the application still serves: it is stopping.
    site.events.wait_for(&app, "kill", 1, DEADLINE).await;
    assert_eq!(app.state().await.status, "running");

    let second = drowse.get(&app.host(), "/stamp").send().await;
    assert_eq!(second.status, 200, "{}", second.text());
    assert_ne!(first["run"], second.json()["run"], "served by the run that was being stopped");
    assert_eq!(site.starts(&app).await, 2);
    assert_eq!(site.events.heard(&app, "die"), 1);
    assert_eq!(app.state().await.status, "running");
}

#[tokio::test]
async fn row_03_a_stop_that_fails_is_tried_again_until_it_sleeps() {
    let (site, app, drowse) = asleep("stubborn", "1s").await;
    site.relay.refuse("stop", 2);
    drowse.get(&app.host(), "/").send().await.assert_served();
    site.wait_until_stopped(&app, 1).await;
    assert_eq!(site.relay.count(|request| request.is_order("stop")), 3);
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_03_after_a_stop_that_failed_requests_are_served_as_before() {
    let (site, app, drowse) = asleep("refused", "1s").await;
    site.relay.refuse("stop", usize::MAX);
    drowse.get(&app.host(), "/").send().await.assert_served();
    let refused =
        || async { (site.relay.count(|request| request.is_order("stop")) > 0).then_some(()) };
    drowse_e2e::eventually(DEADLINE, "a stop to be refused", refused).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
    site.relay.refuse("stop", 0);
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_10_two_routes_to_one_container_are_one_lifecycle() {
    let site = Site::new().await;
    let app = site.container("shared").create().await;
    let (a, b) = (format!("a.{}", app.host()), format!("b.{}", app.host()));
    let workload = Workload::named(app.name(), &[&a, &b]).idle("2s");
    let drowse = site.start(&[workload]).await;
    // `a` is asked once and falls silent; `b` streams on for longer than the idle time.
    drowse.get(&a, "/").send().await.assert_served();
    let stream = drowse.get(&b, "/stream?bytes=4000&ms=5000").send().await;
    assert_eq!((stream.status.as_u16(), stream.body.len()), (200, 4000));
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped under the other route's traffic");
    assert_eq!(site.starts(&app).await, 1);
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_10_two_workloads_on_one_container_are_refused() {
    let site = Site::new().await;
    let app = site.container("double").create().await;
    let one = format!("container: {{ name: \"{}\" }}", app.name());
    let yaml = format!("{}  other:\n    {one}\n", site.config(&[Workload::of(&app)]));
    let mut drowse = site.drowse(&[]).config(&yaml).spawn();
    assert_eq!(drowse.wait(DEADLINE).await.code(), Some(64));
    drowse.logs().wait_for(&["same container"], DEADLINE).await;
}

#[tokio::test]
async fn row_21_a_stop_that_ends_in_a_kill_is_no_timeout() {
    let site = Site::new().await;
    let app = site.container("deaf").env("IGNORE_TERM", 1).create().await;
    let workload = Workload::of(&app).idle("1s").set("stop_timeout", "2s");
    let drowse = site.start(&[workload]).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    site.wait_until_stopped(&app, 1).await;
    assert_eq!(app.state().await.exit_code, 137);
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    assert_eq!(site.relay.count(|request| request.is_order("stop")), 1, "one stop was enough");
    assert!(drowse.logs().matching(&["WARN", app.name()]).is_empty());
}

#[tokio::test]
async fn row_40_the_containers_own_grace_counts() {
    // Longer than the engine's default of 10 s, shorter than the container's own.
    let site = Site::new().await;
    let slow = site.container("slow").env("TERM_DELAY_MS", 12_000).stop_timeout(30).create().await;
    let drowse = site.start(&[Workload::of(&slow).idle("1s")]).await;
    drowse.get(&slow.host(), "/").send().await.assert_served();
    site.events.wait_for(&slow, "die", 1, Duration::from_mins(1)).await;
    let state = slow.wait_for("exited", DEADLINE).await;
    assert_eq!(state.exit_code, 0, "killed before its own grace was over");
    assert_eq!(site.events.heard(&slow, "kill"), 1, "one TERM and nothing else");
}

#[tokio::test]
async fn on_sigterm_containers_stay_as_they_are_and_a_download_ends() {
    let (site, app, mut drowse) = awake("term", NEVER).await;
    let other = site.container("asleep").create().await;
    let mut download = drowse.get(&app.host(), "/stream?bytes=3000&ms=3000").open().await;
    let mut length = download.chunk(DEADLINE).await.unwrap().unwrap().len();
    drowse.signal(drowse_e2e::Signal::TERM);
    let closed = || async { drowse.get(&app.host(), "/").try_send().await.is_err().then_some(()) };
    drowse_e2e::eventually(DEADLINE, "new connections to be refused", closed).await;

    while let Some(bytes) = download.chunk(DEADLINE).await.unwrap() {
        length += bytes.len();
    }
    assert_eq!(length, 3000, "the download was cut");
    assert!(drowse.wait(DEADLINE).await.success());
    assert_eq!(app.state().await.status, "running");
    assert_eq!(other.state().await.status, "created");
    assert_eq!(site.relay.count(|request| request.is_order("stop")), 0);
}

#[tokio::test]
async fn on_sigterm_a_sleeping_drowse_ends_at_once_and_stops_nothing() {
    let (site, app, mut drowse) = awake("bye", "2s").await;
    assert!(drowse.terminate(DEADLINE).await.success());
    // Whatever it had begun would have shown by now.
    let_pass(Duration::from_secs(3)).await;
    assert_eq!(app.state().await.status, "running");
    assert_eq!(site.events.heard(&app, "kill"), 0);
}
