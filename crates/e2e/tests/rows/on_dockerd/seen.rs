//! What is seen of a workload from outside.

use drowse_e2e::{DEADLINE, Drowse, eventually};
use serde_json::Value;

use super::{NEVER, awake};

/// `why NAME --json`.
async fn why(drowse: &Drowse, name: &str) -> Value {
    let output = drowse.spec().command_output(["why", name, "--json"]).await;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "why: {}: {complaint}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn why_shows_a_running_download_with_its_peer_and_its_bytes() {
    let (_site, app, drowse) = awake("seen", NEVER).await;
    let mut download = drowse.get(&app.host(), "/stream?bytes=1000000&ms=600000").open().await;
    let mut received = 0;
    while received < 1_000 {
        received += download.chunk(DEADLINE).await.unwrap().expect("more to come").len();
    }
    let name = app.name().to_owned();
    let shown = eventually(DEADLINE, "the download to be shown", || async {
        let shown = why(&drowse, &name).await;
        let bytes = shown["in_flight"][0]["bytes"].as_u64().unwrap_or_default();
        (bytes >= 1_000).then_some(shown)
    })
    .await;
    assert_eq!(shown["in_flight"].as_array().map(Vec::len), Some(1), "{shown:#}");
    let request = &shown["in_flight"][0];
    assert_eq!(request["peer"], "127.0.0.1", "{shown:#}");
    assert_eq!(request["stage"], "served", "{shown:#}");
    assert_eq!(shown["holders"][0]["leases"], 1, "{shown:#}");
    assert_eq!(shown["next"][0]["step"], "sleep_after_use", "{shown:#}");
    let changes = shown["changes"].as_array().unwrap();
    let woken = changes.iter().rfind(|change| change["to"] == "ready").expect("it was woken");
    assert_eq!(woken["reason"], "woken", "{shown:#}");

    drop(download);
    eventually(DEADLINE, "nothing to be in flight", || async {
        let shown = why(&drowse, &name).await;
        let is_over = shown["in_flight"] == Value::Array(Vec::new());
        (is_over && shown["next"][0]["step"] == "sleep").then_some(())
    })
    .await;
}
