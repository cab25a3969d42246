//! While the engine cannot be reached, and afterwards.

use std::time::Duration;

use drowse_e2e::http::Response;
use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload, eventually};
use tokio::time::Instant;

use super::NEVER;

/// Longer than a break that is no error, and than the idle time of these tests.
const LONG_BREAK: Duration = Duration::from_secs(8);

fn assert_unavailable(answer: &Response) {
    answer.assert_problem(503);
    let retry_after = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
    assert!(retry_after.is_some_and(|seconds| seconds > 0), "{:?}", answer.headers);
}

async fn is_served_again(drowse: &Drowse, app: &TestContainer) {
    let served = || async {
        let answer = drowse.get(&app.host(), "/").deadline(Duration::from_mins(1)).send().await;
        if answer.status == 200 {
            answer.assert_served();
            return Some(());
        }
        // A slow machine may need longer for the wake than this request waited.
        if answer.status == 504 {
            answer.assert_problem(504);
        } else {
            assert_unavailable(&answer);
        }
        None
    };
    eventually(Duration::from_mins(1), "requests to be served again", served).await;
}

#[tokio::test]
async fn row_09_an_engine_that_is_down_at_the_start_is_waited_for() {
    let mut site = Site::new().await;
    let app = site.container("early").create().await;
    site.relay.down();
    let drowse = site.drowse(&[Workload::of(&app).idle(NEVER)]).start().await;
    assert_unavailable(&drowse.get(&app.host(), "/").send().await);
    site.relay.up();
    is_served_again(&drowse, &app).await;
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_09_so_it_is_with_labels() {
    let mut site = Site::new().await;
    let app = site.container("early-label").label("drowse.enable", "true");
    let app = app.label("drowse.host", "early-label.test").create().await;
    site.relay.down();
    let drowse = site.drowse_by_labels().start().await;
    // Nobody knows yet which hosts there are.
    assert_unavailable(&drowse.get("early-label.test", "/").send().await);
    site.relay.up();
    let served = || async {
        let answer = drowse.get("early-label.test", "/").send().await;
        (answer.status == 200).then(|| answer.assert_served())
    };
    eventually(DEADLINE, "requests to be served", served).await;
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_51_what_runs_is_served_on_and_what_sleeps_says_when_to_come_again() {
    let mut site = Site::new().await;
    let app = site.container("runs").create().await;
    let idle = site.container("idles").create().await;
    let sleeper = site.container("sleeps").create().await;
    let workloads = [
        Workload::of(&app).idle("2s"),
        Workload::of(&idle).idle("2s"),
        Workload::of(&sleeper).idle("2s").set("wake_timeout", "2s"),
    ];
    let drowse = site.start(&workloads).await;
    // Both are in use when the engine goes; one remains so.
    let mut stream = drowse.get(&app.host(), "/sse?ms=100").open().await;
    stream.chunk(DEADLINE).await.unwrap().unwrap();
    let last_use = drowse.get(&idle.host(), "/sse?ms=100").open().await;
    let run = app.state().await;
    site.relay.down();
    site.relay.forget();
    drop(last_use);

    let gone = Instant::now();
    let refused = drowse.get(&sleeper.host(), "/").send();
    let used = async {
        while gone.elapsed() < LONG_BREAK {
            stream.chunk(DEADLINE).await.unwrap().unwrap();
            drowse.get(&app.host(), "/").send().await.assert_served();
        }
    };
    let (refused, ()) = tokio::join!(refused, used);
    assert_unavailable(&refused);
    // The other one was idle for several times its time, and is served all the same.
    drowse.get(&idle.host(), "/").send().await.assert_served();

    site.relay.up();
    is_served_again(&drowse, &sleeper).await;
    stream.chunk(DEADLINE).await.unwrap().unwrap();
    assert_eq!(app.state().await.started_at, run.started_at, "it was stopped meanwhile");
    drop(stream);
    // All go to sleep again, each of its own accord.
    for container in [&app, &idle, &sleeper] {
        site.wait_until_stopped(container, 1).await;
        assert_eq!(site.starts(container).await, 1);
    }
}
