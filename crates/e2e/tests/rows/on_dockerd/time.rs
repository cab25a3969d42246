//! Holds and what is kept over restarts, on a real engine.

use std::{fs, path::Path};

use drowse_e2e::{DEADLINE, Drowse, TestContainer, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{NEVER, awake};

async fn ordered<const N: usize>(drowse: &Drowse, arguments: [&str; N]) -> Value {
    let output = drowse.spec().command_output(arguments).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

async fn is_refused(drowse: &Drowse, app: &TestContainer) {
    let answer = drowse.get(&app.host(), "/").send().await;
    let problem = answer.assert_problem(503);
    assert!(problem.contains("held asleep: "), "{problem}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[tokio::test]
async fn nothing_wakes_what_is_held_asleep_over_a_restart_and_a_recreation() {
    let (site, mut app, mut drowse) = awake("held", NEVER).await;
    let hold = ["hold", app.name(), "--asleep", "--for", "1h", "--reason", "restore", "--json"];
    let held = ordered(&drowse, hold).await;
    assert_eq!((&held["state"], &held["lasting"]), (&json!("asleep"), &json!(true)), "{held}");
    assert_eq!(app.state().await.status, "exited");
    is_refused(&drowse, &app).await;

    drowse.kill().await;
    drowse.start_again().await;
    drowse.wait_until_read(app.name()).await;
    is_refused(&drowse, &app).await;

    app.recreate(|spec| spec).await;
    drowse.wait_until_read(app.name()).await;
    is_refused(&drowse, &app).await;
    // Who starts it behind drowse's back is not fought, and nobody is let in all the same.
    app.stop().await;
    app.start().await;
    drowse.wait_until(app.name(), |state| state != "asleep", DEADLINE).await;
    is_refused(&drowse, &app).await;
    assert_eq!(app.state().await.status, "running");
    app.stop().await;
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    let starts = site.starts(&app).await;

    let released = ordered(&drowse, ["unhold", app.name(), "--json"]).await;
    assert_eq!(released["hold"], "asleep", "{released}");
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&app).await, starts + 1);
}

#[tokio::test]
async fn a_damaged_store_costs_history_and_nothing_else() {
    let (_site, app, mut drowse) = awake("damaged", NEVER).await;
    drowse.kill().await;
    let store = drowse.spec().folder().join("data/drowse.redb");
    let mut bytes = fs::read(&store).unwrap();
    for byte in bytes.iter_mut().skip(64).step_by(7) {
        *byte = byte.wrapping_add(101);
    }
    fs::write(&store, bytes).unwrap();
    drowse.start_again().await;
    drowse.wait_until(app.name(), |state| state == "ready", DEADLINE).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    assert_eq!(app.state().await.status, "running");
    let listed = ordered(&drowse, ["list", "--json"]).await;
    let problem = listed["problems"][0]["message"].as_str().unwrap_or_default();
    assert!(problem.contains("was damaged") && problem.contains("corrupt-1"), "{listed}");
    let held = ordered(&drowse, ["hold", app.name(), "--json"]).await;
    assert_eq!(held["lasting"], true, "{held}");
}

/// A disk of the test's own, in the runner's own mounts.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    async fn at(folder: &'a Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "none"])
            .arg(folder)
            .status();
        assert!(mounted.await.unwrap().success());
        Self(folder)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: drowse may still have its store open.
        _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_changes_nothing_that_is_decided() {
    let (_site, app, mut drowse) = awake("full", NEVER).await;
    drowse.kill().await;
    let data = drowse.spec().folder().join("data");
    let disk = SmallDisk::at(&data).await;
    drowse.start_again().await;
    drowse.wait_until(app.name(), |state| state == "ready", DEADLINE).await;
    // Full but for what the store has already; and then it wants more.
    _ = fs::write(data.join("filler"), vec![0; 3 << 20]);
    let hold = ["hold", app.name(), "--asleep", "--reason", "restore", "--json"];
    let last = eventually(DEADLINE, "the disk to be full", || async {
        let held = ordered(&drowse, hold).await;
        (held["lasting"] == false).then_some(held)
    })
    .await;
    assert_eq!(last["state"], "asleep", "{last}");
    is_refused(&drowse, &app).await;
    let listed = ordered(&drowse, ["list", "--json"]).await;
    let problem = listed["problems"][0]["message"].as_str().unwrap_or_default();
    assert!(problem.contains("the store cannot be written"), "{listed}");
    assert!(ordered(&drowse, ["unhold", app.name(), "--json"]).await["hold"] == "asleep");
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    drowse.kill().await;
    drop(disk);
}
