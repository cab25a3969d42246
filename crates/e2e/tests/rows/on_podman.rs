//! The same program on a real Podman, as far as Podman is otherwise than Docker.

use drowse_e2e::{ContainerSpec, DEADLINE, Dockerd, Drowse, Site, eventually};
use serde_json::json;

use crate::on_dockerd::updates::{compose_recreates, none_fails_during, service, updater_replaces};

/// Podman's own API has no answer without a version in the path.
const OWN_API: &str = "/v4.0.0/libpod";

/// Enabled, under a host of this name.
fn labelled(site: &Site, name: &str) -> ContainerSpec {
    let host = format!("{name}.test");
    site.container(name).label("drowse.enable", "true").label("drowse.host", host)
}

pub(super) async fn is_served(drowse: &Drowse, host: &str) {
    let what = format!("{host} to be served");
    eventually(DEADLINE, &what, || async {
        let answer = drowse.get(host, "/").send().await;
        (answer.status == 200).then(|| answer.assert_served())
    })
    .await;
}

/// Nothing is published: requests go to its address on Podman's default network.
async fn goes_round(way: &str, asleep: &str) {
    let site = Site::on(Dockerd::podman()).await;
    let app = labelled(&site, way).label("drowse.idle", "1s").label("drowse.sleep", way);
    let app = app.create().await;
    let drowse = site.drowse_by_labels().start().await;
    let host = format!("{way}.test");
    for _ in 1..=2 {
        is_served(&drowse, &host).await;
        app.wait_for(asleep, DEADLINE).await;
    }
    // Two rounds, and no order was given twice.
    assert_eq!(site.relay.count(|request| request.is_order(way)), 2);
}

#[tokio::test]
async fn a_container_is_stopped_when_idle_and_started_by_a_request() {
    goes_round("stop", "exited").await;
}

#[tokio::test]
async fn a_container_is_paused_when_idle_and_thawed_by_a_request() {
    goes_round("pause", "paused").await;
}

#[tokio::test]
async fn a_container_is_killed_when_idle_and_started_by_a_request() {
    goes_round("kill", "exited").await;
}

/// Compose leaves the timeout out, which Podman takes for "kill at once".
#[tokio::test]
async fn row_40_one_that_needs_a_while_to_end_is_given_it() {
    let site = Site::on(Dockerd::podman()).await;
    let app = labelled(&site, "gentle").label("drowse.idle", "1s").env("TERM_DELAY_MS", 500);
    let app = app.create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "gentle.test").await;
    assert_eq!(app.wait_for("exited", DEADLINE).await.exit_code, 0);
}

#[tokio::test]
async fn row_18_one_that_is_recreated_is_followed_by_its_name() {
    let site = Site::on(Dockerd::podman()).await;
    let mut app = labelled(&site, "again").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "again.test").await;
    app.recreate(|spec| spec).await;
    is_served(&drowse, "again.test").await;
    assert_eq!(app.state().await.status, "running");
}

/// Podman tells at no time that it was asked to stop one.
#[tokio::test]
async fn row_38_compose_recreates_a_service_under_traffic() {
    let site = Site::on(Dockerd::podman()).await;
    let old = service(&site, "podman-recreated").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "podman-recreated.test").await;
    let starts = site.relay.count(|request| request.is_order("start"));
    let spec = service(&site, "podman-recreated").env("READY_DELAY_MS", 500);
    let update = Box::pin(compose_recreates(&old, spec));
    let new = none_fails_during(&drowse, "podman-recreated.test", update).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), starts, "drowse started one");
    assert_eq!(new.state().await.status, "running");
}

#[tokio::test]
async fn row_38_an_updater_replaces_a_container_under_traffic() {
    let site = Site::on(Dockerd::podman()).await;
    let old = service(&site, "podman-updated").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "podman-updated.test").await;
    let starts = site.relay.count(|request| request.is_order("start"));
    let spec = service(&site, "podman-updated").env("READY_DELAY_MS", 500);
    let update = Box::pin(updater_replaces(&old, spec));
    let new = none_fails_during(&drowse, "podman-updated.test", update).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), starts, "drowse started one");
    assert_eq!(new.state().await.status, "running");
}

#[tokio::test]
async fn row_07_what_changes_while_the_events_are_away_is_found_out() {
    let mut site = Site::on(Dockerd::podman()).await;
    let app = labelled(&site, "away").create().await;
    let drowse = site.drowse_by_labels().start().await;
    is_served(&drowse, "away.test").await;
    site.relay.down();
    app.stop().await;
    site.relay.up();
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    is_served(&drowse, "away.test").await;
    assert_eq!(app.state().await.status, "running");
}

#[tokio::test]
async fn row_50_what_a_pod_or_a_unit_owns_is_refused() {
    let site = Site::on(Dockerd::podman()).await;
    let unit = labelled(&site, "unit").label("PODMAN_SYSTEMD_UNIT", "unit.service").create().await;
    let pod = format!("pod-{}", std::process::id());
    let create = format!("{OWN_API}/pods/create");
    site.engine.call(http::Method::POST, &create, Some(&json!({ "name": pod }))).await;
    let member = labelled(&site, "member").create_in_pod(&pod).await;

    let drowse = site.drowse_by_labels().start().await;
    for (container, owner) in [(unit.name(), "unit.service"), (member.name(), "the pod `")] {
        drowse.logs().wait_for(&["ERROR not managed", container, owner], DEADLINE).await;
    }
    site.engine.call(http::Method::DELETE, &format!("{OWN_API}/pods/{pod}?force=true"), None).await;
}
