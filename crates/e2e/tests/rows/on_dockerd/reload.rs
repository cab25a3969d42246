//! The configuration is read again while drowse runs, and drowse itself is restarted, under traffic.

use std::time::Duration;

use drowse_e2e::{DEADLINE, Drowse, Signal, Site, TestContainer, Workload, eventually};

use super::{NEVER, awake};

const TAKEN: &[&str] = &["INFO", "was read again and is in force"];
const KEPT: &[&str] = &["ERROR", "the configuration stays as it was"];

/// Writes another configuration with these workloads.
fn rewrite(site: &Site, drowse: &Drowse, workloads: &[Workload]) {
    std::fs::write(drowse.spec().config_path(), site.config(workloads)).unwrap();
}

async fn is_served(drowse: &Drowse, app: &TestContainer) {
    eventually(DEADLINE, "the workload to be served", || async {
        let answer = drowse.get(&app.host(), "/").try_send().await.ok()?;
        (answer.status == 200).then(|| answer.assert_served())
    })
    .await;
}

#[tokio::test]
async fn a_changed_file_is_taken_under_a_download() {
    let (site, app, drowse) = awake("first", NEVER).await;
    let other = site.container("second").create().await;
    let mut download = drowse.get(&app.host(), "/stream?bytes=3000&ms=6000").open().await;
    let mut length = download.chunk(DEADLINE).await.unwrap().unwrap().len();

    let mark = drowse.logs().mark();
    let more = [Workload::of(&app).idle("1s"), Workload::of(&other).idle(NEVER)];
    rewrite(&site, &drowse, &more);
    drowse.logs().wait_after(mark, TAKEN, DEADLINE).await;
    is_served(&drowse, &other).await;
    while let Some(bytes) = download.chunk(DEADLINE).await.unwrap() {
        length += bytes.len();
    }
    assert_eq!(length, 3000, "the download was cut");
    // Its new idle time counts, and its management went on.
    site.wait_until_stopped(&app, 1).await;
    assert_eq!(site.starts(&app).await, 1);

    // What is left out is let go of as it is, and its host is not known any more.
    let mark = drowse.logs().mark();
    rewrite(&site, &drowse, &[Workload::of(&app).idle("1s")]);
    drowse.logs().wait_after(mark, TAKEN, DEADLINE).await;
    eventually(DEADLINE, "the host to be unknown", || async {
        let answer = drowse.get(&other.host(), "/").try_send().await.ok()?;
        (answer.status == 404).then_some(())
    })
    .await;
    assert_eq!(other.state().await.status, "running");
}

#[tokio::test]
async fn a_file_with_a_mistake_changes_nothing() {
    let (site, app, drowse) = awake("kept", NEVER).await;
    let mark = drowse.logs().mark();
    let mistaken = site.config(&[Workload::of(&app).set("idel", "1s")]);
    std::fs::write(drowse.spec().config_path(), &mistaken).unwrap();
    drowse.logs().wait_after(mark, KEPT, DEADLINE).await;
    drowse.logs().wait_after(mark, &["unknown key `idel`"], DEADLINE).await;
    drowse.get(&app.host(), "/").send().await.assert_served();

    // The same mistake is told again to who asks, and not by itself.
    let mark = drowse.logs().mark();
    drowse.signal(Signal::HUP);
    drowse.logs().wait_after(mark, KEPT, DEADLINE).await;
    drowse.get(&app.host(), "/").send().await.assert_served();

    // Engines are what they were when drowse began.
    let mark = drowse.logs().mark();
    let same = site.config(&[Workload::of(&app).idle(NEVER)]);
    let other = same.replacen("engines: { home:", "engines: { other:", 1);
    assert_ne!(other, same);
    std::fs::write(drowse.spec().config_path(), other).unwrap();
    drowse.logs().wait_after(mark, KEPT, DEADLINE).await;
    drowse.logs().wait_after(mark, &["needs a restart to change: `engines`"], DEADLINE).await;
    drowse.get(&app.host(), "/").send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn who_connects_while_drowse_restarts_waits_on_a_socket_that_was_handed_over() {
    let site = Site::new().await;
    let app = site.container("handed").create().await;
    let spec = site.drowse(&[Workload::of(&app).idle(NEVER)]).handed();
    let mut drowse = spec.spawn();
    let request = || drowse.get(&app.host(), "/");
    request().deadline(DEADLINE).send().await.assert_served();

    let (address, host) = (drowse.address(), app.host());
    let (count, mut served) = tokio::sync::watch::channel(0);
    let clients = tokio::spawn(async move {
        while !count.is_closed() {
            // A new connection each: nobody is refused, and nobody waits in vain.
            let request = drowse_e2e::http::get(address, "/").host(&host).deadline(DEADLINE);
            request.send().await.assert_served();
            count.send_modify(|count| *count += 1);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for _ in 0..3 {
        assert!(drowse.terminate(DEADLINE).await.success());
        drowse.start_again().await;
        // Two, since the first may have been on its way before.
        let enough = *served.borrow_and_update() + 2;
        let more = served.wait_for(|count| *count >= enough);
        tokio::time::timeout(DEADLINE, more).await.expect("served").unwrap();
    }
    drop(served);
    clients.await.unwrap();
    assert_eq!(site.starts(&app).await, 1);
}
