//! `drowse run` without a file: labels are all that it knows.

use drowse_e2e::{ContainerSpec, DEADLINE, Drowse, Site, eventually};

/// Enabled, under a host of this name.
fn labelled(site: &Site, name: &str) -> ContainerSpec {
    let host = format!("{name}.test");
    site.container(name).label("drowse.enable", "true").label("drowse.host", host)
}

/// Served, as soon as drowse knows of it.
async fn is_served(drowse: &Drowse, host: &str) {
    let what = format!("{host} to be served");
    eventually(DEADLINE, &what, || async {
        let answer = drowse.get(host, "/").send().await;
        (answer.status == 200).then(|| answer.assert_served())
    })
    .await;
}

#[tokio::test]
async fn a_labelled_container_goes_round() {
    let site = Site::new().await;
    let app = labelled(&site, "round").label("drowse.idle", "1s").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "round.test").await;
    site.wait_until_stopped(&app, 1).await;
    drowse.get("round.test", "/").send().await.assert_served();
    site.wait_until_stopped(&app, 2).await;
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn each_label_does_what_it_says() {
    let site = Site::new().await;
    let app = labelled(&site, "all").label("drowse.port", "8080").env("PORT", 8080).expose(9090);
    let app = app.label("drowse.idle", "1s").label("drowse.sleep", "pause").create().await;
    let deaf = labelled(&site, "deaf").env("IGNORE_TERM", 1).label("drowse.idle", "1s");
    let deaf = deaf.label("drowse.stop-timeout", "1s").create().await;
    let slow = labelled(&site, "slow").env("START_DELAY_MS", 60_000);
    let slow = slow.label("drowse.wake-timeout", "1s").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "all.test").await;
    app.wait_for("paused", DEADLINE).await;
    drowse.get("deaf.test", "/").send().await.assert_served();
    site.wait_until_stopped(&deaf, 1).await;
    assert_eq!(deaf.state().await.exit_code, 137);
    drowse.get("slow.test", "/").send().await.assert_problem(504);
    assert_eq!(slow.state().await.status, "running");
}

#[tokio::test]
async fn containers_are_followed_as_they_come_and_go() {
    let site = Site::new().await;
    let drowse = site.drowse_by_labels().start().await;
    let unknown =
        || async { (drowse.get("later.test", "/").send().await.status == 404).then_some(()) };
    eventually(DEADLINE, "the engine to be read", unknown).await;

    let mut app = labelled(&site, "later").create().await;
    is_served(&drowse, "later.test").await;
    assert_eq!(site.starts(&app).await, 1);

    // An update: the same name, another id, another host.
    app.recreate(|spec| spec.label("drowse.host", "moved.test")).await;
    is_served(&drowse, "moved.test").await;
    assert_eq!(site.starts(&app).await, 1);
    assert_eq!(drowse.get("later.test", "/").send().await.status, 404);
}

#[tokio::test]
async fn a_bad_label_takes_down_nothing_else() {
    let site = Site::new().await;
    let good = labelled(&site, "good").create().await;
    let bad = labelled(&site, "bad").label("drowse.idle", "soon").create().await;
    let portless = labelled(&site, "ports").expose(81).create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "good.test").await;
    drowse.logs().wait_for(&[bad.name(), "drowse.idle", "soon"], DEADLINE).await;
    drowse.logs().wait_for(&[portless.name(), "80, 81", "drowse.port"], DEADLINE).await;
    drowse.get("bad.test", "/").send().await.assert_problem(404);

    // Another one comes while running.
    let worse = labelled(&site, "worse").label("drowse.sleep", "nap").create().await;
    drowse.logs().wait_for(&[worse.name(), "drowse.sleep", "nap"], DEADLINE).await;
    drowse.get("good.test", "/").send().await.assert_served();
    for container in [&bad, &portless, &worse] {
        assert_eq!(container.state().await.status, "created");
    }
    assert_eq!(site.starts(&good).await, 1);
}

#[tokio::test]
async fn only_what_is_enabled_is_managed() {
    let site = Site::new().await;
    let app = labelled(&site, "enabled").label("drowse.idle", "1s").create().await;
    let other = site.container("other").run().await;
    let disabled = labelled(&site, "disabled").label("drowse.enable", "false");
    let disabled = disabled.label("drowse.idle", "1s").run().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "enabled.test").await;
    site.wait_until_stopped(&app, 1).await;
    drowse.get("disabled.test", "/").send().await.assert_problem(404);
    for container in [&other, &disabled] {
        assert_eq!(container.state().await.status, "running");
    }
}
