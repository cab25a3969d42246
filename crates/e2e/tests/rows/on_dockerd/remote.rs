//! An engine on another machine.

use std::net::SocketAddr;
use std::time::Duration;

use drowse_e2e::{DEADLINE, Drowse, DrowseSpec, SecondEngine, Site, eventually};

/// A drowse that manages what this engine's labels say.
async fn drowse_of(engine: &SecondEngine) -> Drowse {
    DrowseSpec::default().docker_host(&engine.url()).start().await
}

/// Served, as soon as drowse knows of it; by whom.
async fn served_by(drowse: &Drowse, host: &str) -> String {
    eventually(Duration::from_mins(1), "the application to be served", || async {
        let answer = drowse.get(host, "/").deadline(DEADLINE).send().await;
        (answer.status == 200).then(|| {
            answer.assert_served();
            answer.text()
        })
    })
    .await
}

#[tokio::test]
async fn row_42_bridge_addresses_of_another_machine_are_never_dialled() {
    // Where the other machine's container is, there is one of this machine as well.
    let address = "10.215.77.9".parse().unwrap();
    let site = Site::new().await;
    let network_here = site.network_numbered("here", 77).await;
    let here = site.container("here").env("NAME", "a-stranger");
    let _here = here.address_on(&network_here, address).run().await;
    eventually(DEADLINE, "the stranger to answer", || async {
        let asked = drowse_e2e::http::get(SocketAddr::new(address, 80), "/").try_send().await;
        asked.ok()?.text().contains("a-stranger").then_some(())
    })
    .await;

    let second = SecondEngine::start().await;
    let network_there = second.network_numbered("there", 77).await;
    let app = second.container("there").env("NAME", "the-right-one").expose(80);
    let app = app.label("drowse.enable", "true").label("drowse.host", "there.test");
    let app = app.publish_at(80, SocketAddr::from(([0, 0, 0, 0], 0)));
    let app = app.address_on(&network_there, address).create().await;
    let hidden = second.container("hidden").expose(80).label("drowse.enable", "true");
    let hidden = hidden.label("drowse.host", "hidden.test").create().await;
    let drowse = drowse_of(&second).await;
    let answer = served_by(&drowse, "there.test").await;
    assert!(answer.contains("the-right-one"), "{answer}");
    assert_eq!(app.ip_on("there").await, address);

    // Not published, it cannot be reached, and nothing is tried.
    drowse.logs().wait_for(&["not managed", hidden.name(), "mean nothing here"], DEADLINE).await;
    drowse.get("hidden.test", "/").send().await.assert_problem(404);
    assert_eq!(hidden.state().await.status, "created");
}

#[tokio::test]
async fn row_36_what_a_restarted_engine_starts_again_sleeps_again() {
    let mut second = SecondEngine::start().await;
    let app = second.container("always").expose(80).restart("always");
    let app = app.label("drowse.enable", "true").label("drowse.host", "always.test");
    let app = app.label("drowse.idle", "3s").publish_at(80, SocketAddr::from(([0, 0, 0, 0], 0)));
    let app = app.create().await;
    let drowse = drowse_of(&second).await;
    served_by(&drowse, "always.test").await;
    app.wait_for("exited", Duration::from_mins(1)).await;
    // drowse has seen that, too: an order that the engine's end leaves open is another story.
    drowse.wait_until(app.name(), |state| state == "asleep", DEADLINE).await;
    let slept = app.state().await.started_at;

    second.kill().await;
    second.start_again().await;
    // The engine itself starts it: its restart policy says so.
    let patience = Duration::from_mins(1);
    eventually(patience, "the engine to start it", || async {
        let state = app.state().await;
        (state.started_at != slept).then_some(())
    })
    .await;
    app.wait_for("exited", patience).await;
    drowse.logs().wait_for(&[app.name(), "from=asleep"], DEADLINE).await;
    // And it is woken as ever.
    served_by(&drowse, "always.test").await;
}
