//! Everything is woken at once: to be used, or to be left awake for good.

use std::{process::Output, time::Duration};

use drowse_e2e::{DEADLINE, Drowse, Site, TestContainer, Workload};
use serde_json::Value;

use super::{NEVER, let_pass};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// So many containers, all asleep, and a drowse that manages them.
async fn several<const N: usize>(idle: &str) -> (Site, [TestContainer; N], Drowse) {
    let site = Site::new().await;
    let mut apps = Vec::new();
    for _ in 0..N {
        apps.push(site.container("one-of-several").create().await);
    }
    let workloads: Vec<_> = apps.iter().map(|app| Workload::of(app).idle(idle)).collect();
    let drowse = site.start(&workloads).await;
    (site, apps.try_into().unwrap(), drowse)
}

/// With one that cannot be started, and one that is not there.
async fn some_broken(idle: &str) -> (Site, [TestContainer; 3], Drowse) {
    let site = Site::new().await;
    let good = site.container("good").create().await;
    let broken =
        site.container("broken").env("EXIT_AFTER_MS", 0).env("EXIT_CODE", 7).create().await;
    let gone = site.container("gone").create().await;
    gone.remove().await;
    let apps = [good, broken, gone];
    let workloads: Vec<_> = apps.iter().map(|app| Workload::of(app).idle(idle)).collect();
    let drowse = site.start(&workloads).await;
    (site, apps, drowse)
}

#[tokio::test]
async fn all_are_woken_by_one_command() {
    // More than an engine is given orders at a time.
    let (site, apps, drowse) = several::<6>(NEVER).await;
    let output = drowse.spec().command_output(["wake", "--all"]).await;
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    for app in &apps {
        assert!(said.contains(&format!("{} is ready (", app.name())), "{said}");
        assert_eq!(app.state().await.status, "running");
        assert_eq!(site.starts(app).await, 1);
    }
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("6 workloads are awake. Each sleeps again after"), "{last}");
    // What is awake already costs nothing.
    let again = json(&drowse.spec().command_output(["wake", "--all", "--json"]).await);
    let rows = again["workloads"].as_array().unwrap();
    assert_eq!(rows.len(), 6, "{again}");
    assert!(rows.iter().all(|row| row["state"] == "ready"), "{again}");
    assert_eq!(site.relay.count(|request| request.is_order("start")), 6);
}

#[tokio::test]
async fn waking_all_names_those_that_failed() {
    let (_site, [good, broken, gone], drowse) = some_broken(NEVER).await;
    let output = drowse.spec().command_output(["wake", "--all"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains(&format!("{} is ready (", good.name())), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains(&format!("error: {}: it does not start", broken.name())), "{said}");
    assert!(
        said.contains(&format!("error: {}: there is no such container", gone.name())),
        "{said}"
    );
    assert!(said.ends_with("error: 1 workload is awake, 2 failed (see above)\n"), "{said}");
    assert_eq!(good.state().await.status, "running");
}

#[tokio::test]
async fn an_engine_out_of_reach_is_no_success() {
    let mut site = Site::new().await;
    site.relay.down();
    let drowse = site.drowse_by_labels().start().await;
    for command in ["wake --all", "release"] {
        let words: Vec<_> = command.split(' ').collect();
        let output = match words[..] {
            [one] => drowse.spec().command_output([one]).await,
            [one, two] => drowse.spec().command_output([one, two]).await,
            _ => unreachable!(),
        };
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains("engine `docker` was never read, and what it has may sleep"),
            "{said}"
        );
    }
    drowse.get("any.test", "/").send().await.assert_problem(503);
}

/// Whatever the idle time, and however long the last of them takes to wake.
#[tokio::test]
async fn what_is_released_stays_awake_and_drowse_ends() {
    let site = Site::new().await;
    let quick = site.container("quick").create().await;
    let slow = site.container("slow").env("START_DELAY_MS", 4_000).create().await;
    let frozen = site.container("frozen").run().await;
    frozen.pause().await;
    let ended = site.container("ended").run().await;
    let mut drowse = site
        .start(&[
            Workload::of(&quick).idle("1s"),
            Workload::of(&slow).idle("1s"),
            Workload::of(&frozen).idle("1s").set("sleep", "pause"),
            Workload::of(&ended).idle("1h"),
        ])
        .await;
    drowse.get(&ended.host(), "/").send().await.assert_served();
    let mark = drowse.logs().mark();
    ended.stop().await;
    drowse.logs().wait_after(mark, &["to=asleep", ended.name()], DEADLINE).await;
    let output = drowse.spec().command_output(["release"]).await;
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.ends_with("3 workloads are awake and left so: drowse has ended\n"), "{said}");
    assert!(drowse.wait(DEADLINE).await.success());
    let_pass(Duration::from_secs(2)).await;
    for app in [&quick, &slow, &frozen] {
        assert_eq!(app.state().await.status, "running", "{}", app.name());
    }
    assert_eq!(ended.state().await.status, "exited", "its user wants it so");
    for order in ["stop", "pause", "kill"] {
        assert_eq!(site.relay.count(|request| request.is_order(order)), 0, "{order}");
    }
    let output = drowse.spec().command_output(["list"]).await;
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

#[tokio::test]
async fn requests_in_flight_are_served_to_their_end_when_drowse_is_released() {
    let (_site, [app], mut drowse) = several::<1>("1s").await;
    let download = drowse.get(&app.host(), "/stream?bytes=100000&ms=3000").send();
    let release = async {
        drowse.wait_until(app.name(), |state| state == "ready", DEADLINE).await;
        drowse.spec().command_output(["release", "--json"]).await
    };
    let (download, output) = tokio::join!(download, release);
    assert_eq!((download.status.as_u16(), download.body.len()), (200, 100_000));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["ended"], true, "{output:?}");
    assert!(drowse.wait(DEADLINE).await.success());
    assert_eq!(app.state().await.status, "running");
}

#[tokio::test]
async fn drowse_goes_on_if_something_cannot_be_woken_unless_it_is_forced() {
    let (site, [good, broken, _gone], mut drowse) = some_broken("1s").await;
    let output = drowse.spec().command_output(["release"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains(&format!("error: {}: it does not start", broken.name())), "{said}");
    assert!(said.contains("so drowse goes on as before"), "{said}");
    // It does: what was woken has its idle time, and is woken again.
    site.wait_until_stopped(&good, 1).await;
    drowse.get(&good.host(), "/").send().await.assert_served();

    let output = drowse.spec().command_output(["release", "--force"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.ends_with("2 failed (see above); drowse has ended\n"), "{said}");
    assert!(drowse.wait(DEADLINE).await.success());
    assert_eq!(good.state().await.status, "running");
}

#[tokio::test]
async fn a_release_that_is_broken_off_keeps_nothing_awake() {
    let site = Site::new().await;
    let app = site.container("awake").create().await;
    let never = site.container("never").env("START_DELAY_MS", 600_000).create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s"), Workload::of(&never)]).await;
    let spec = drowse.spec().clone();
    let release = tokio::spawn(async move { spec.command_output(["release"]).await });
    let held = |row: &Value| row["why"] == "in use by release command (1)";
    drowse_e2e::eventually(DEADLINE, "it to be kept awake", || async {
        held(&drowse.row(app.name()).await).then_some(())
    })
    .await;
    release.abort();
    site.wait_until_stopped(&app, 1).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
}
