//! Whose address it is.

use std::time::Duration;

use drowse_e2e::{DEADLINE, Site, Workload, free_port};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::NEVER;

/// As long as a request may be held: over the quiet time after an end from outside, and a wake.
const HELD: Duration = Duration::from_mins(1);

/// Requests, one every 20 ms, until `meanwhile` is through; all of their answers.
async fn asked_all_the_time<T>(
    drowse: &drowse_e2e::Drowse,
    host: &str,
    meanwhile: impl Future<Output = T>,
) -> (Vec<String>, T) {
    let end = CancellationToken::new();
    let asking = async {
        let mut running = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !end.is_cancelled() {
            ticks.tick().await;
            let request = drowse.get(host, "/").deadline(HELD);
            running.spawn(async move { request.send().await.text() });
        }
        running.join_all().await
    };
    let meanwhile = async {
        let done = meanwhile.await;
        end.cancel();
        done
    };
    tokio::join!(asking, meanwhile)
}

#[tokio::test]
async fn row_41_nobody_is_served_by_a_stranger_that_got_the_address() {
    let site = Site::new().await;
    let network = site.network_numbered("reused", 41).await;
    let app = site.container("owner").env("NAME", "owner").network(network.name()).create().await;
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let first = drowse.get(&app.host(), "/").deadline(DEADLINE).send().await;
    first.assert_served();
    let address = app.ip_on(network.name()).await;
    let stranger = site.container("stranger").env("NAME", "stranger");
    let stranger = stranger.address_on(&network, address).create().await;

    let (answers, ()) = asked_all_the_time(&drowse, &app.host(), async {
        // Its own end gives the address up, and the stranger has it before anybody is woken.
        app.kill("KILL").await;
        stranger.start().await;
        assert_eq!(stranger.ip_on(network.name()).await, address);
        super::let_pass(Duration::from_secs(2)).await;
    })
    .await;
    assert!(answers.iter().all(|answer| !answer.contains("stranger")), "{answers:?}");
    let last = drowse.get(&app.host(), "/").deadline(HELD).send().await;
    last.assert_served();
    assert!(last.text().contains("owner"), "{}", last.text());
    assert_ne!(app.ip_on(network.name()).await, address);
}

#[tokio::test]
async fn row_41_nor_when_it_sleeps_while_the_stranger_comes() {
    let site = Site::new().await;
    let network = site.network_numbered("slept", 42).await;
    let app = site.container("sleeper").env("NAME", "sleeper").network(network.name());
    let app = app.create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s")]).await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    let address = app.ip_on(network.name()).await;
    site.wait_until_stopped(&app, 1).await;
    let stranger = site.container("stranger").env("NAME", "stranger");
    let _stranger = stranger.address_on(&network, address).run().await;
    let answer = drowse.get(&app.host(), "/").deadline(DEADLINE).send().await;
    answer.assert_served();
    assert!(answer.text().contains("sleeper"), "{}", answer.text());
}

/// It runs on when the one ends whose network it lives in, and it is nowhere to be reached then.
#[tokio::test]
async fn row_41_nor_where_it_lives_in_anothers_network() {
    let site = Site::new().await;
    let network = site.network_numbered("held", 43).await;
    let holder = site.container("holder").env("PORT", 81).network(network.name()).run().await;
    let app = site.container("guest").env("NAME", "guest");
    let app = app.network(&format!("container:{}", holder.name())).exposing_nothing();
    let app = app.create().await;
    let workload = Workload::of(&app).idle(NEVER).set("wake_timeout", "3s");
    let drowse = site.start(&[workload]).await;
    let first = drowse.get(&app.host(), "/").deadline(DEADLINE).send().await;
    assert!(first.text().contains("guest"), "{}", first.text());
    let address = holder.ip_on(network.name()).await;
    let stranger = site.container("stranger").env("NAME", "stranger");
    let stranger = stranger.address_on(&network, address).create().await;
    let (answers, ()) = asked_all_the_time(&drowse, &app.host(), async {
        holder.kill("KILL").await;
        stranger.start().await;
        super::let_pass(Duration::from_secs(1)).await;
    })
    .await;
    assert!(answers.iter().all(|answer| !answer.contains("stranger")), "{answers:?}");
    assert_eq!(app.state().await.status, "running");
}

#[tokio::test]
async fn what_lives_in_anothers_network_is_reached_there() {
    let site = Site::new().await;
    let network = site.network("holder").await;
    let holder = site.container("holder").env("PORT", 81).network(network.name()).run().await;
    let app = site.container("guest").env("NAME", "guest");
    let app = app.network(&format!("container:{}", holder.name()));
    let app = app.exposing_nothing().create().await;
    let drowse = site.start(&[Workload::of(&app).idle("1s")]).await;
    let answer = drowse.get(&app.host(), "/").deadline(DEADLINE).send().await;
    answer.assert_served();
    assert!(answer.text().contains("guest"), "{}", answer.text());
    site.wait_until_stopped(&app, 1).await;
    // Wherever that one is by then.
    holder.restart().await;
    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&app).await, 2);
}

#[tokio::test]
async fn row_43_a_container_that_wants_drowses_port_is_refused_beforehand() {
    let site = Site::new().await;
    let port = free_port();
    let app = site.container("wants").publish_at(80, ([0, 0, 0, 0], port).into());
    let app = app.label("drowse.enable", "true").label("drowse.host", "wants.test").create().await;
    let spec = site.drowse_by_labels().config(&format!("listen: \"127.0.0.1:{port}\"\n"));
    let config = spec.config_path().display().to_string();
    let output = spec.command_output(["check", "--config", &config]).await;
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for words in [app.name(), &format!("0.0.0.0:{port}"), &format!("listens on 127.0.0.1:{port}")] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[tokio::test]
async fn the_ways_past_the_gateway_are_told() {
    let site = Site::new().await;
    let network = site.network("ways").await;
    let port = free_port();
    let app = site.container("way").publish_at(80, ([0, 0, 0, 0], port).into());
    let app = app.network(network.name()).create().await;
    let mut neighbours = Vec::new();
    for name in ["grafana", "prometheus"] {
        neighbours.push(site.container(name).network(network.name()).run().await);
    }
    let drowse = site.start(&[Workload::of(&app).idle(NEVER)]).await;
    let managed = drowse.logs().wait_for(&["managed", app.name(), "past="], DEADLINE).await;
    let port = format!("0.0.0.0:{port}");
    let mut told = vec![network.name(), port.as_str()];
    told.extend(neighbours.iter().map(drowse_e2e::TestContainer::name));
    for words in &told {
        assert!(managed.contains(words), "{words}: {managed}");
    }
    let config = drowse.spec().config_path().display().to_string();
    let output = drowse.spec().command_output(["check", "--config", &config]).await;
    let shown = String::from_utf8_lossy(&output.stdout);
    for words in &told {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
