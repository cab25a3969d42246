//! Compose services, which a container serves until another one does.

use drowse_provider::{
    ContainerStatus, Engine, ErrorKind, Reference, StopOptions, WatchItem, contract::Fixture,
};
use serde_json::{Value, json};

use super::facts::until_synced;
use crate::fixture::{RealEngine, patience, testapp, until};

/// As compose makes a container of a service, with further labels.
fn member(project: &str, number: &str, more: &[(&str, &str)]) -> Value {
    let mut definition = testapp(&[]);
    definition["Labels"] = json!({
        "com.docker.compose.project": project,
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": number,
        "com.docker.compose.oneoff": "False",
    });
    for (label, value) in more {
        definition["Labels"][label] = json!(value);
    }
    definition
}

fn service(project: &str) -> Reference {
    Reference::Service { project: project.to_owned(), service: "web".to_owned() }
}

#[tokio::test]
async fn a_service_is_followed_from_one_container_to_the_next() {
    let dockerd = RealEngine::dockerd().await;
    let project = dockerd.name();
    let web = dockerd.engine.provider(&service(&project)).unwrap();
    let mut watch = web.watch();
    until(&mut watch, |item| *item == WatchItem::Removed).await;

    let name = dockerd.name();
    let old = dockerd.api.create(&name, &member(&project, "1", &[])).await;
    until_synced(&mut watch, |seen| seen.status == ContainerStatus::Stopped).await;
    web.start(patience()).await.unwrap();
    let first = until_synced(&mut watch, |seen| seen.status == ContainerStatus::Running).await;

    // What compose 2 does; while the old one runs, it is the one that serves.
    let new = dockerd.name();
    let replaces = member(&project, "1", &[("com.docker.compose.replace", &old)]);
    dockerd.api.create(&new, &replaces).await;
    assert_eq!(web.inspect(patience()).await.unwrap().id, old);
    dockerd.api.post(&name, "stop").await;
    let seen = until_synced(&mut watch, |seen| seen.status == ContainerStatus::Stopped).await;
    assert_eq!(seen.run, None, "the new one, which never ran");
    web.start(patience()).await.unwrap();
    let second = until_synced(&mut watch, |seen| seen.status == ContainerStatus::Running).await;
    assert_ne!(first.run, second.run);
    assert_eq!(dockerd.api.inspect(&name).await["State"]["Running"], false);
    dockerd.api.remove(&name).await;
    assert_eq!(web.inspect(patience()).await.unwrap().name, new);
    web.stop(&StopOptions::new(), patience()).await.unwrap();
    until_synced(&mut watch, |seen| seen.status == ContainerStatus::Stopped).await;
    dockerd.api.remove(&new).await;
    until(&mut watch, |item| *item == WatchItem::Removed).await;
    let error = web.start(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound), "{error}");
    dockerd.tear_down().await;
}

#[tokio::test]
async fn a_service_with_several_containers_is_refused_and_a_one_off_is_none() {
    let dockerd = RealEngine::dockerd().await;
    let project = dockerd.name();
    let web = dockerd.engine.provider(&service(&project)).unwrap();
    let one_off = member(&project, "1", &[("com.docker.compose.oneoff", "True")]);
    dockerd.make(&one_off).await;
    let error = web.start(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound), "{error}");

    let first = dockerd.make(&member(&project, "1", &[])).await;
    web.start(patience()).await.unwrap();
    let second = dockerd.make(&member(&project, "2", &[])).await;
    let error = web.stop(&StopOptions::new(), patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains(&format!("2 containers ({first}, {second})")), "{error}");
    assert_eq!(dockerd.api.inspect(&first).await["State"]["Running"], true);
    dockerd.tear_down().await;
}
