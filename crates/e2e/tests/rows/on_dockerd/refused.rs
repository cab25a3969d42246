//! Containers that must not be put to sleep, however they are labelled.

use std::time::Duration;

use drowse_e2e::{ContainerSpec, DEADLINE, Drowse, Site, TestContainer, Workload, eventually};

use super::let_pass;

/// Labelled so that it would sleep at once if it were managed.
fn eager(site: &Site, name: &str) -> ContainerSpec {
    site.container(name)
        .label("drowse.enable", "true")
        .label("drowse.host", format!("{name}.test"))
        .label("drowse.idle", "1s")
}

/// It is left alone, the log says why, and `check` says the same beforehand.
async fn is_refused(site: &Site, drowse: &Drowse, app: &TestContainer, why: &[&str]) {
    let words: Vec<&str> = ["not managed", app.name()].iter().chain(why).copied().collect();
    drowse.logs().wait_for(&words, DEADLINE).await;
    let spec = drowse.spec();
    let config = spec.config_path().to_string_lossy().into_owned();
    let checked = if spec.config_path().exists() {
        spec.command_output(["check", "--config", &config]).await
    } else {
        spec.command_output(["check"]).await
    };
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.success(), why.contains(&"`never_sleep`"), "{said}");
    for word in why {
        assert!(said.contains(word), "{word}: {said}");
    }
    // Several idle times.
    let_pass(Duration::from_secs(3)).await;
    assert_eq!(app.state().await.status, "running");
    assert_eq!(site.events.heard(app, "kill"), 0);
}

#[tokio::test]
async fn row_33_what_a_stop_would_delete_is_only_ever_paused() {
    let site = Site::new().await;
    let app = eager(&site, "deleted").auto_remove().run().await;
    let paused = eager(&site, "frozen").auto_remove().label("drowse.sleep", "pause").run().await;
    let drowse = site.drowse_by_labels().start().await;
    is_refused(&site, &drowse, &app, &["--rm", "would delete it", "pause"]).await;
    paused.wait_for("paused", DEADLINE).await;
    drowse.get("frozen.test", "/").deadline(DEADLINE).send().await.assert_served();
}

#[tokio::test]
async fn row_50_what_has_an_owner_is_left_to_its_owner() {
    let site = Site::new().await;
    let task = eager(&site, "task")
        .label("com.docker.swarm.task.id", "t1")
        .label("com.docker.swarm.service.name", "shop");
    let task = task.run().await;
    let unit = eager(&site, "unit").label("PODMAN_SYSTEMD_UNIT", "shop.service").run().await;
    let drowse = site.drowse_by_labels().start().await;
    let because = "would start it again";
    is_refused(&site, &drowse, &task, &["Swarm service `shop`", because]).await;
    is_refused(&site, &drowse, &unit, &["systemd unit `shop.service`", because]).await;
}

#[tokio::test]
async fn what_the_file_says_must_never_sleep_never_does() {
    let site = Site::new().await;
    let app = eager(&site, "needed").run().await;
    let other = site.container("other").run().await;
    let config = format!("never_sleep: [{}]\n{}", app.name(), site.config(&[Workload::of(&other)]));
    let drowse = drowse_e2e::DrowseSpec::default().config(&config).start().await;
    is_refused(&site, &drowse, &app, &["`never_sleep`"]).await;
}

#[tokio::test]
async fn row_48_a_sleeper_that_was_pruned_is_an_error_that_says_so() {
    let site = Site::new().await;
    let app = eager(&site, "pruned").create().await;
    let drowse = site.drowse_by_labels().start().await;
    eventually(DEADLINE, "it to be served", || async {
        (drowse.get("pruned.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    site.wait_until_stopped(&app, 1).await;
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    app.remove().await;
    let words = ["ERROR", app.name(), "removed while it slept", "--filter label!=drowse.enable"];
    drowse.logs().wait_for(&words, DEADLINE).await;
    let again = eager(&site, "pruned").exact_name(app.name()).create().await;
    eventually(DEADLINE, "it to be served again", || async {
        (drowse.get("pruned.test", "/").send().await.status == 200).then_some(())
    })
    .await;
    assert_eq!(site.starts(&again).await, 1);
}
