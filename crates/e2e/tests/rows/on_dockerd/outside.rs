//! What others do to containers behind drowse's back.

use std::time::Duration;

use drowse_e2e::{DEADLINE, Recorded, Site, Workload, eventually};

use super::{NEVER, awake};

/// A wake that has to wait until whoever stopped the container may have finished an update.
const AFTER_THE_QUIET_TIME: Duration = Duration::from_secs(40);

#[tokio::test]
async fn row_07_a_stop_that_was_missed_is_known_after_the_reconnection() {
    let (mut site, app, drowse) = awake("missed-stop", NEVER).await;
    site.relay.down();
    app.stop().await;
    site.relay.up();
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    let answer = drowse.get(&app.host(), "/").deadline(AFTER_THE_QUIET_TIME).send().await;
    answer.assert_served();
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn row_07_a_start_that_was_missed_is_known_after_the_reconnection() {
    let (mut site, app, drowse) = awake("missed-start", "2s").await;
    site.wait_until_stopped(&app, 1).await;
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    site.relay.down();
    app.start().await;
    site.relay.up();
    // It counts as use, for one idle time; then it sleeps again without anybody asking for it.
    site.wait_until_stopped(&app, 2).await;
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn row_07_a_restart_that_was_missed_is_another_run() {
    let (mut site, app, drowse) = awake("missed-run", NEVER).await;
    site.relay.down();
    app.stop().await;
    app.start().await;
    site.relay.up();
    let answer = drowse.get(&app.host(), "/").deadline(AFTER_THE_QUIET_TIME).send().await;
    answer.assert_served();
    drowse.wait_until(app.name(), |state| state == "ready", DEADLINE).await;
    assert_eq!(site.starts(&app).await, 2, "one by drowse, one from outside");
    assert_eq!(site.relay.count(|request| request.is_order("start")), 1);
}

#[tokio::test]
async fn row_07_a_broken_stream_of_events_is_mended() {
    let (site, app, drowse) = awake("mended", "2s").await;
    site.wait_until_stopped(&app, 1).await;
    for round in 2..=4 {
        site.relay.cut_events();
        app.start().await;
        site.wait_until_stopped(&app, round).await;
    }
    drowse.get(&app.host(), "/").deadline(AFTER_THE_QUIET_TIME).send().await.assert_served();
    let open = || async { (site.relay.open_where(Recorded::is_event_stream) == 1).then_some(()) };
    eventually(DEADLINE, "one stream of events", open).await;
}

#[tokio::test]
async fn row_08_a_hang_up_signal_is_no_stop() {
    let site = Site::new().await;
    let app = site.container("hup").env("HANDLE_HUP", 1).create().await;
    let drowse = site.start(&[Workload::of(&app).idle("6s")]).await;
    let first = drowse.get(&app.host(), "/stamp").send().await.json();
    app.kill("HUP").await;
    let counted = || async {
        let stamp = drowse.get(&app.host(), "/stamp").send().await.json();
        assert_eq!(stamp["run"], first["run"]);
        (stamp["hups"] == 1).then_some(())
    };
    eventually(DEADLINE, "the signal to arrive", counted).await;
    let row = drowse.row(app.name()).await;
    assert_eq!(row["state"], "ready", "{row}");
    assert_eq!(site.relay.count(|request| request.is_order("start")), 1);
    // And idleness counts as before.
    site.wait_until_stopped(&app, 1).await;
}

#[tokio::test]
async fn row_19_a_container_that_was_only_created_is_asleep() {
    let site = Site::new().await;
    let app = site.container("created").create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let row = drowse.row(app.name()).await;
    assert_eq!((&row["state"], app.state().await.status.as_str()), (&"asleep".into(), "created"));
    drowse.get(&app.host(), "/").send().await.assert_served();
}

#[tokio::test]
async fn row_19_a_container_that_its_engine_restarts_is_waited_for() {
    let site = Site::new().await;
    let app = site.container("restarting").restart("always");
    let app = app.env("EXIT_AFTER_MS", 300).env("START_DELAY_MS", 60_000).run().await;
    app.wait_for("restarting", DEADLINE).await;
    let workload = Workload::of(&app).idle(NEVER).set("wake_timeout", "3s");
    let drowse = site.start(&[workload]).await;
    let answer = drowse.get(&app.host(), "/").send().await;
    let text = answer.assert_problem(answer.status.as_u16());
    assert!(matches!(answer.status.as_u16(), 502..=504), "{} {text}", answer.status);
    // The engine is at it: drowse does not add to it.
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0);
}

#[tokio::test]
async fn row_19_a_container_that_is_removed_is_not_found() {
    let (site, app, drowse) = awake("removed", NEVER).await;
    app.remove().await;
    // It may be an updater's work: for a while it is not believed.
    let gone = drowse.get(&app.host(), "/").deadline(AFTER_THE_QUIET_TIME).send().await;
    gone.assert_problem(404);
    assert_eq!(site.relay.count(|request| request.is_order("start")), 1);
}

#[tokio::test]
async fn row_19_a_container_that_was_paused_by_hand_is_thawed() {
    let (site, app, drowse) = awake("paused", NEVER).await;
    app.pause().await;
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    drowse.get(&app.host(), "/").deadline(AFTER_THE_QUIET_TIME).send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
}

// `removing` and `dead` cannot be brought about on a healthy engine; the scripted engine of
// `drowse-docker`'s own tests has them.

/// The reader of the stream and the mailboxes of its consumers are tested in `drowse-docker`; this
/// is what a user would notice of them.
#[tokio::test]
async fn row_20_a_flood_of_events_that_come_late_leaves_the_right_state() {
    let (site, app, drowse) = awake("flood", NEVER).await;
    site.relay.stall();
    // As process 1 it ignores that signal; the engine tells of each.
    for _ in 0..300 {
        app.kill("HUP").await;
    }
    app.pause().await;
    app.wait_for("paused", DEADLINE).await;
    site.relay.resume();
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    drowse.get(&app.host(), "/").deadline(AFTER_THE_QUIET_TIME).send().await.assert_served();
    assert_eq!(app.state().await.status, "running");
    assert_eq!(site.relay.open_where(Recorded::is_event_stream), 1);
}
