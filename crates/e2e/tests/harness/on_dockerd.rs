//! Containers and the relay, on the private engine.

use std::time::Duration;

use ::http::Method;
use drowse_e2e::{DEADLINE, Dockerd, Recorded, SocketRelay, eventually, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test]
async fn a_container_goes_through_its_states() {
    let engine = Dockerd::from_env();
    let app = engine.container("states").env("HANDLE_HUP", 1).publish(80).create().await;
    assert_eq!(app.state().await.status, "created");
    app.start().await;
    app.wait_until_it_answers(80).await;
    let first = app.state().await;

    app.pause().await;
    app.wait_for("paused", DEADLINE).await;
    app.unpause().await;
    app.kill("HUP").await;
    let address = app.published(80).await;
    eventually(DEADLINE, "the signal to be counted", || async {
        let stamp = http::get(address, "/stamp").send().await.json();
        (stamp["hups"] == 1).then_some(())
    })
    .await;
    app.stop().await;
    assert_eq!(app.wait_for("exited", DEADLINE).await.exit_code, 0);
    app.start().await;
    assert_ne!(app.state().await.started_at, first.started_at);
}

#[tokio::test]
async fn crashes_health_and_removal_are_as_asked_for() {
    let engine = Dockerd::from_env();
    let crash = engine.container("crash").env("EXIT_AFTER_MS", 0).env("EXIT_CODE", 7).run().await;
    assert_eq!(crash.wait_for("exited", DEADLINE).await.exit_code, 7);

    let once = engine.container("once").auto_remove().run().await;
    once.stop_within(0).await;
    once.wait_until_gone(DEADLINE).await;

    let interval = Duration::from_millis(100);
    let healthy = engine.container("health").healthcheck(interval).run().await;
    eventually(DEADLINE, "the container to be healthy", || async {
        (healthy.state().await.health.as_deref() == Some("healthy")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_recreated_container_has_its_name_and_another_id() {
    let engine = Dockerd::from_env();
    let mut app = engine.container("again").run().await;
    let (name, id) = (app.name().to_owned(), app.id().to_owned());
    app.recreate(|spec| spec.label("drowse.enable", "true")).await;
    assert_eq!(app.name(), name);
    assert_ne!(app.id(), id);
    let inspect = app.inspect().await.unwrap();
    assert_eq!(inspect["Config"]["Labels"]["drowse.enable"], "true");
    assert_eq!(app.state().await.status, "created");
}

#[tokio::test]
async fn a_container_is_removed_on_drop() {
    let engine = Dockerd::from_env();
    let app = engine.container("drop").run().await;
    let path = format!("/containers/{}/json", app.id());
    drop(app);
    assert_eq!(engine.request(Method::GET, &path, None).await.status.as_u16(), 404);
}

/// A connection to the engine through the relay, as a client of the engine has it.
struct Client(UnixStream);

impl Client {
    async fn connect(relay: &SocketRelay) -> std::io::Result<Self> {
        let url = relay.url();
        Ok(Self(UnixStream::connect(url.strip_prefix("unix://").unwrap()).await?))
    }

    async fn ask(&mut self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: docker\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until `text` has come; false if the connection ends before.
    async fn hears(&mut self, text: &str) -> bool {
        let mut heard = Vec::new();
        loop {
            if String::from_utf8_lossy(&heard).contains(text) {
                return true;
            }
            let reading = self.0.read_buf(&mut heard);
            match drowse_e2e::within(DEADLINE, text, reading).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn the_relay_counts_requests_and_breaks_what_it_is_told_to() {
    let mut relay = SocketRelay::to(Dockerd::from_env().socket());
    let mut events = Client::connect(&relay).await.unwrap();
    events.ask("/v1.41/events?since=0").await;
    assert!(events.hears("200 OK").await);
    let mut calls = Client::connect(&relay).await.unwrap();
    calls.ask("/_ping").await;
    calls.ask("/v1.41/version").await;
    assert!(calls.hears("ApiVersion").await);

    assert_eq!(relay.connections(), 2);
    assert_eq!(relay.count(|request| request.path == "/version"), 1);
    assert_eq!(relay.open_where(Recorded::is_event_stream), 1);
    relay.cut_events();
    assert!(!events.hears("nothing more").await);
    calls.ask("/_ping").await;
    assert!(calls.hears("OK").await);

    relay.down();
    assert!(!calls.hears("nothing more").await);
    assert!(Client::connect(&relay).await.is_err());
    relay.up();
    let mut calls = Client::connect(&relay).await.unwrap();
    calls.ask("/_ping").await;
    assert!(calls.hears("OK").await);
    assert_eq!(relay.count(|request| request.path == "/_ping"), 3);
}

#[tokio::test]
async fn the_relay_holds_everything_while_it_is_stalled() {
    let relay = SocketRelay::to(Dockerd::from_env().socket());
    let mut client = Client::connect(&relay).await.unwrap();
    relay.stall();
    client.ask("/_ping").await;
    let asked = || async { (relay.count(|request| request.path == "/_ping") == 1).then_some(()) };
    eventually(DEADLINE, "the request to be recorded", asked).await;
    let mut early = [0; 1];
    assert!(client.0.try_read(&mut early).is_err(), "an answer in spite of the stall");
    relay.resume();
    assert!(client.hears("OK").await);
}

#[tokio::test]
async fn the_relay_loses_events_inside_an_unbroken_stream() {
    let engine = Dockerd::from_env();
    let app = engine.container("lost").create().await;
    let relay = SocketRelay::to(engine.socket());
    let mut events = Client::connect(&relay).await.unwrap();
    let filter = format!("%7B%22container%22%3A%5B%22{}%22%5D%7D", app.id());
    events.ask(&format!("/events?filters={filter}")).await;
    assert!(events.hears("200 OK").await);

    relay.lose_events(true);
    app.start().await;
    app.stop().await;
    eventually(DEADLINE, "the stop to be lost", || async {
        relay.lost().contains(r#""status":"stop""#).then_some(())
    })
    .await;
    relay.lose_events(false);
    app.start().await;
    assert!(events.hears(r#""status":"start""#).await);
}
