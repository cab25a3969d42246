//! The commands of the program, beside and against the running one.

use ::http::Method;
use std::process::Output;

use drowse_e2e::{DEADLINE, Drowse, Site, Workload};
use serde_json::Value;

use super::{NEVER, asleep, awake};

fn shown(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

async fn succeeds<const N: usize>(drowse: &Drowse, arguments: [&str; N]) -> Value {
    let output = drowse.spec().command_output(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[tokio::test]
async fn row_32_a_check_starts_nothing_and_changes_nothing() {
    let site = Site::new().await;
    let never_run = site.container("never-run").create().await;
    let stopped = site.container("stopped").run().await;
    stopped.stop().await;
    let running = site.container("running").run().await;
    let paused = site.container("paused").run().await;
    paused.pause().await;
    let labelled = site.container("labelled").label("drowse.enable", "true");
    let labelled = labelled.label("drowse.host", "labelled.test").create().await;
    let all = [&never_run, &stopped, &running, &paused, &labelled];
    let mut before = Vec::new();
    for container in all {
        before.push(container.state().await);
    }
    // An idle time of nothing: whoever managed them for a moment would stop what runs.
    let workloads: Vec<_> = all[..4].iter().map(|app| Workload::of(app).idle("0s")).collect();
    let spec = site.drowse(&workloads);
    let config = spec.config_path().display().to_string();

    let output = spec.command_output(["check", "--config", &config]).await;
    assert!(output.status.success(), "{}", shown(&output));
    for container in all {
        assert!(shown(&output).contains(container.name()), "{}", shown(&output));
    }
    let calls = site.relay.requests();
    assert!(!calls.is_empty(), "the engine is read");
    assert!(calls.iter().all(|call| call.method == Method::GET), "{calls:#?}");
    for (container, before) in all.into_iter().zip(before) {
        assert_eq!(container.state().await, before, "{}", container.name());
    }
}

#[tokio::test]
async fn row_32_a_wrong_configuration_is_refused_before_any_engine_is_asked() {
    let site = Site::new().await;
    let app = site.container("wrong").create().await;
    let spec = site.drowse(&[Workload::of(&app).set("idel", "5m")]);
    let config = spec.config_path().display().to_string();
    let output = spec.command_output(["check", "--config", &config]).await;
    assert_eq!(output.status.code(), Some(64), "{}", shown(&output));
    assert!(shown(&output).contains("did you mean `idle`?"), "{}", shown(&output));
    assert_eq!(site.relay.requests(), []);
}

#[tokio::test]
async fn a_workload_is_woken_and_put_to_sleep_by_commands() {
    let (site, app, drowse) = asleep("ordered", NEVER).await;
    let done = succeeds(&drowse, ["wake", app.name(), "--json"]).await;
    assert_eq!(done["state"], "ready", "{done}");
    assert_eq!(app.state().await.status, "running");
    let row = drowse.row(app.name()).await;
    assert_eq!((&row["state"], &row["container"]), (&"ready".into(), &app.name().into()), "{row}");
    assert_eq!(row["routes"][0], app.host(), "{row}");

    let done = succeeds(&drowse, ["sleep", app.name(), "--json"]).await;
    assert_eq!(done["state"], "asleep", "{done}");
    assert_eq!(app.state().await.status, "exited");
    // What it is already, it becomes at no cost.
    succeeds(&drowse, ["sleep", app.name()]).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn what_is_in_use_is_not_put_to_sleep_by_a_command() {
    let (site, app, drowse) = awake("busy", NEVER).await;
    let mut events = drowse.get(&app.host(), "/sse?ms=100").open().await;
    events.chunk(DEADLINE).await.unwrap().unwrap();
    let output = drowse.spec().command_output(["sleep", app.name()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(shown(&output).contains("in use"), "{}", shown(&output));
    events.chunk(DEADLINE).await.unwrap().unwrap();
    assert_eq!(site.events.heard(&app, "kill"), 0);
}

#[tokio::test]
async fn a_name_that_nobody_has_is_told_and_so_is_a_drowse_that_does_not_run() {
    let (site, app, mut drowse) = asleep("named", NEVER).await;
    let output = drowse.spec().command_output(["wake", "nobody"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(drowse.terminate(DEADLINE).await.success());
    let output = drowse.spec().command_output(["wake", app.name()]).await;
    assert_eq!(output.status.code(), Some(69), "{}", shown(&output));
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0);
}

#[tokio::test]
async fn a_second_drowse_on_the_same_folder_refuses_to_run() {
    let (_site, app, drowse) = awake("first", NEVER).await;
    let config = drowse.spec().config_path().display().to_string();
    let listen = format!("127.0.0.1:{}", drowse_e2e::free_port());
    let second = ["run", "--config", &config, "--listen", &listen];
    let output = drowse.spec().command_output(second).await;
    assert!(!output.status.success(), "{}", shown(&output));
    assert!(shown(&output).contains("another drowse"), "{}", shown(&output));
    drowse.get(&app.host(), "/").send().await.assert_served();
}
