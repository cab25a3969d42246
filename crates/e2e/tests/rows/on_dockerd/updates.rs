//! Containers that are replaced while they are in use: by compose, and by updaters.

use std::{pin::Pin, time::Duration};

use drowse_e2e::{ContainerSpec, DEADLINE, Drowse, DrowseSpec, Site, TestContainer, eventually};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{NEVER, let_pass};

/// What the tests' engine is asked in between, as often as a busy site's users do.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(10);

/// A request that is held over the change waits for as long as that takes.
const PATIENCE: Duration = Duration::from_mins(2);

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
        // A machine that cannot keep up is not given more to do for that.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !end.is_cancelled() {
            ticks.tick().await;
            running.spawn(drowse.get(host, "/").deadline(PATIENCE).try_send());
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
    assert!(served >= 3, "only {served} requests were made");
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

/// What compose 1 does: the old one goes by another name before the new one is made.
async fn compose_1_recreates(old: &mut TestContainer, spec: ContainerSpec) -> TestContainer {
    let name = old.name().to_owned();
    old.stop().await;
    let_pass(Duration::from_millis(300)).await;
    let temporary = format!("{}_{name}", &old.id()[..12]);
    old.rename(&temporary).await;
    let_pass(Duration::from_millis(300)).await;
    let new = spec.exact_name(&name).create().await;
    let_pass(Duration::from_millis(300)).await;
    new.start().await;
    old.remove().await;
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
async fn row_38_compose_1_recreates_a_service_under_traffic() {
    let (site, mut old, drowse) = served("remade").await;
    let spec = service(&site, "remade").env("READY_DELAY_MS", 500);
    let starts = site.relay.count(|request| request.is_order("start"));
    let update = Box::pin(compose_1_recreates(&mut old, spec));
    let new = none_fails_during(&drowse, "remade.test", update).await;
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

/// What Portainer does with a container that is nobody's service: the old one is put aside first.
#[tokio::test]
async fn row_38_an_updater_that_renames_first_replaces_a_container_under_traffic() {
    let site = Site::new().await;
    let spec = |name: &str| {
        let labelled = site.container(name).label("drowse.enable", "true");
        labelled.label("drowse.host", "aside.test").label("drowse.idle", NEVER)
    };
    let mut old = spec("aside").create().await;
    let drowse = site.drowse_by_labels().start().await;
    eventually(DEADLINE, "the container to be served", || async {
        (drowse.get("aside.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    let starts = site.relay.count(|request| request.is_order("start"));
    let replaced = spec("aside").env("READY_DELAY_MS", 500);
    let update = Box::pin(async {
        let name = old.name().to_owned();
        old.stop().await;
        let_pass(Duration::from_millis(300)).await;
        old.rename(&format!("{name}-old")).await;
        let_pass(Duration::from_millis(300)).await;
        let new = replaced.exact_name(&name).create().await;
        let_pass(Duration::from_millis(300)).await;
        new.start().await;
        let_pass(Duration::from_millis(300)).await;
        old.remove().await;
        new
    });
    let new = none_fails_during(&drowse, "aside.test", update).await;
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

/// The file names a service by project and service; the labels of its containers say nothing of us.
#[tokio::test]
async fn row_18_a_service_of_the_file_is_followed_from_one_container_to_the_next() {
    let site = Site::new().await;
    let project = format!("stack-{}", std::process::id());
    let spec = || {
        site.container("followed")
            .label("com.docker.compose.project", &project)
            .label("com.docker.compose.service", "web")
            .label("com.docker.compose.container-number", "1")
            .label("com.docker.compose.oneoff", "False")
    };
    let old = spec().create().await;
    let config = format!(
        "engines: {{ home: {{ docker: \"{}\" }} }}\n\
         workloads:\n  \
           web:\n    \
             container: {{ project: {project}, service: web }}\n    \
             routes: [{{ host: web.test }}]\n    \
             idle: 1s\n",
        site.relay.url()
    );
    let drowse = DrowseSpec::default().config(&config).start().await;
    drowse.wait_until_read("web").await;
    drowse.get("web.test", "/").deadline(DEADLINE).send().await.assert_served();
    let update = Box::pin(compose_recreates(&old, spec()));
    let new = none_fails_during(&drowse, "web.test", update).await;
    site.wait_until_stopped(&new, 1).await;
    drowse.get("web.test", "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&new).await, 2, "one by compose, one by drowse");
}

#[tokio::test]
async fn what_compose_runs_once_is_no_service_and_replicas_are_refused_by_name() {
    let (site, app, drowse) = served("one-off").await;
    let one_off = service(&site, "one-off").label("com.docker.compose.oneoff", "True");
    let one_off = one_off.label("drowse.idle", "1s").run().await;
    let second = service(&site, "one-off").label("com.docker.compose.container-number", "2");
    let second = second.create().await;
    let names = format!("2 containers ({}, {})", app.name(), second.name());
    drowse.logs().wait_for(&["not managed", &names, "scale it to 1"], DEADLINE).await;
    drowse.get("one-off.test", "/").send().await.assert_problem(404);
    second.remove().await;
    eventually(DEADLINE, "the only one to be served again", || async {
        (drowse.get("one-off.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    assert_eq!(one_off.state().await.status, "running");
    assert_eq!(site.events.heard(&one_off, "kill"), 0);
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
