//! Containers that are replaced while they are in use: by compose, and by updaters.

use std::{pin::Pin, time::Duration};

use drowse_e2e::{ContainerSpec, DEADLINE, Drowse, Site, TestContainer, eventually};
use tokio::{task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;

use super::{NEVER, let_pass};

/// What the tests' engine is asked in between, as often as a busy site's users do.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(10);

/// Enabled, and a service of a compose project.
pub(crate) fn service(site: &Site, name: &str) -> ContainerSpec {
    site.container(name)
        .label("drowse.enable", "true")
        .label("drowse.host", format!("{name}.test"))
        .label("drowse.idle", NEVER)
        .label("com.docker.compose.project", "stack")
        .label("com.docker.compose.service", name)
        .label("com.docker.compose.container-number", "1")
        .label("com.docker.compose.oneoff", "False")
}

/// A labelled service, served by a drowse that knows nothing but labels.
async fn served(name: &str) -> (Site, TestContainer, Drowse) {
    let site = Site::new().await;
    let app = service(&site, name).create().await;
    let drowse = site.drowse_by_labels().start().await;
    let host = format!("{name}.test");
    eventually(DEADLINE, "the service to be served", || async {
        (drowse.get(&host, "/").send().await.status == 200).then_some(())
    })
    .await;
    (site, app, drowse)
}

/// Requests, one every 10 ms, until the update is through and a while longer: each must be served.
pub(crate) async fn none_fails_during<T>(
    drowse: &Drowse,
    host: &str,
    update: Pin<Box<dyn Future<Output = T> + '_>>,
) -> T {
    let end = CancellationToken::new();
    let requests = async {
        let mut running = JoinSet::new();
        let mut ticks = interval(BETWEEN_REQUESTS);
        while !end.is_cancelled() {
            ticks.tick().await;
            running.spawn(drowse.get(host, "/").deadline(DEADLINE).try_send());
        }
        running.join_all().await
    };
    let update = async {
        let updated = update.await;
        let_pass(Duration::from_secs(1)).await;
        end.cancel();
        updated
    };
    let (answers, updated) = tokio::join!(requests, update);
    let served = answers.len();
    for answer in answers {
        match answer {
            Ok(answer) => answer.assert_served(),
            Err(error) => panic!("one of {served} requests: {error:#}"),
        }
    }
    assert!(served > 50, "only {served} requests were made");
    updated
}

/// What `docker compose up --force-recreate` does: the new one is made beside the old one, under a
/// name for the time being.
pub(crate) async fn compose_recreates(old: &TestContainer, spec: ContainerSpec) -> TestContainer {
    let name = old.name().to_owned();
    let temporary = format!("{}_{name}", &old.id()[..12]);
    let replaces = spec.label("com.docker.compose.replace", old.id()).exact_name(&temporary);
    let mut new = replaces.create().await;
    let_pass(Duration::from_millis(300)).await;
    old.stop().await;
    old.remove().await;
    let_pass(Duration::from_millis(300)).await;
    new.rename(&name).await;
    new.start().await;
    new
}

/// What Watchtower does: kill, wait, remove, make, start.
pub(crate) async fn updater_replaces(old: &TestContainer, spec: ContainerSpec) -> TestContainer {
    old.kill("TERM").await;
    old.wait_for("exited", DEADLINE).await;
    let_pass(Duration::from_millis(300)).await;
    old.remove().await;
    let_pass(Duration::from_millis(300)).await;
    let new = spec.exact_name(old.name()).create().await;
    let_pass(Duration::from_millis(300)).await;
    new.start().await;
    new
}

#[tokio::test]
async fn row_38_compose_recreates_a_service_under_traffic() {
    let (site, old, drowse) = served("recreated").await;
    let spec = service(&site, "recreated").env("READY_DELAY_MS", 500);
    let starts = site.relay.count(|request| request.is_order("start"));
    let update = Box::pin(compose_recreates(&old, spec));
    let new = none_fails_during(&drowse, "recreated.test", update).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), starts, "drowse started one");
    assert_eq!(site.starts(&new).await, 1);
}

#[tokio::test]
async fn row_38_an_updater_replaces_a_container_under_traffic() {
    let (site, old, drowse) = served("updated").await;
    let spec = service(&site, "updated").env("READY_DELAY_MS", 500);
    let starts = site.relay.count(|request| request.is_order("start"));
    let update = Box::pin(updater_replaces(&old, spec));
    let new = none_fails_during(&drowse, "updated.test", update).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), starts, "drowse started one");
    assert_eq!(site.starts(&new).await, 1);
}

#[tokio::test]
async fn row_18_what_was_replaced_in_its_sleep_is_woken_under_its_name() {
    let (site, mut app, drowse) = served("replaced").await;
    app.stop().await;
    app.recreate(|spec| spec).await;
    drowse.get("replaced.test", "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn a_rename_under_a_download_stops_nothing() {
    let site = Site::new().await;
    let spec = service(&site, "before").label("drowse.idle", "1s");
    let mut app = spec.create().await;
    let drowse = site.drowse_by_labels().start().await;
    eventually(DEADLINE, "the service to be served", || async {
        (drowse.get("before.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    let download = drowse.get("before.test", "/stream?bytes=100000&ms=5000").send();
    let rename = async {
        let_pass(Duration::from_millis(500)).await;
        app.rename(&format!("{}-renamed", app.name())).await;
    };
    let (download, ()) = tokio::join!(download, rename);
    assert_eq!((download.status.as_u16(), download.body.len()), (200, 100_000));
    assert_eq!(site.events.heard(&app, "kill"), 0, "stopped while a download was in flight");
    site.wait_until_stopped(&app, 1).await;
    drowse.get("before.test", "/").deadline(DEADLINE).send().await.assert_served();
}
