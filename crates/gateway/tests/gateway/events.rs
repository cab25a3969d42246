//! What a page is told while it waits.

use std::sync::atomic::Ordering;

use drowse_watcher::PhaseName;
use tokio::net::TcpSocket;

use crate::{
    client::{self, Raw, soon},
    site::Site,
};

/// A stream, and all that has come of it so far.
struct Events {
    raw: Raw,
    text: String,
}

impl Events {
    async fn open(site: &Site, headers: &str) -> Self {
        Self::open_from(1, site, headers).await
    }

    /// From this address of the loopback.
    async fn open_from(source: u8, site: &Site, headers: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, source], 0).into()).unwrap();
        let mut raw = Raw(soon(socket.connect(site.address)).await.unwrap());
        raw.write(&format!(
            "GET /.well-known/drowse/events?path=%2F HTTP/1.1\r\nHost: app.test\r\n{headers}\r\n"
        ))
        .await;
        let text = raw.read_until("\r\n\r\n").await;
        Self { raw, text }
    }

    /// Reads on until this has come.
    async fn until(&mut self, wanted: &str) -> &str {
        while !self.text.contains(wanted) {
            self.text.push_str(&self.raw.read_until("\n").await);
        }
        &self.text
    }
}

/// The id of the event that tells this.
fn id_of(text: &str) -> String {
    let (_, rest) = text.rsplit_once("id: ").expect("an id");
    rest.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn changes_come_as_events_and_wake_nothing() {
    let site = Site::asleep().await;
    site.application.state.is_up.store(false, Ordering::SeqCst);
    let mut events = Events::open(&site, "").await;
    let head = events.text.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for field in [
        "content-type: text/event-stream",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
    ] {
        assert!(head.contains(field), "{field}: {head}");
    }
    let first = events.until("\"step\":\"asleep\"").await;
    assert!(first.contains("retry: 2000\n"), "{first}");
    assert_eq!((site.starts(), site.workload.leases()), (0, 0));

    // Whoever wakes it.
    let held = tokio::spawn({
        let address = site.address;
        async move { client::get(address, "/").await }
    });
    events.until("\"step\":\"answering\"").await;
    site.application.state.is_up.store(true, Ordering::SeqCst);
    let told = events.until("\"ready\":true").await;
    assert!(told.contains("\"step\":\"ready\""), "{told}");
    soon(held).await.unwrap();
    // It is told, and uses nothing.
    site.has_leases(0).await;
}

#[tokio::test]
async fn who_comes_back_is_told_what_has_changed_meanwhile_and_nothing_else() {
    let site = Site::ready().await;
    let mut events = Events::open(&site, "").await;
    let id = id_of(events.until("\"ready\":true").await);
    drop(events);

    let mut same = Events::open(&site, &format!("Last-Event-ID: {id}\r\n")).await;
    let told = same.until("event: beat").await;
    assert!(!told.contains("id: "), "{told}");
    // It goes on from there.
    site.container.crash(1);
    let told = same.until("\"ready\":false").await;
    assert_ne!(id_of(told), id);

    let long = format!("Last-Event-ID: {}\r\n", "x".repeat(5_000));
    for other in ["Last-Event-ID: other\r\n", &long] {
        Events::open(&site, other).await.until("id: ").await;
    }
}

#[tokio::test]
async fn there_are_places_for_so_many_and_the_others_ask_again() {
    let site = Site::ready().await;
    let mut all = Vec::new();
    for number in 0..1_024 {
        let source = u8::try_from(10 + number / 256).unwrap();
        all.push(Events::open_from(source, &site, "").await);
    }
    let mut one_more = Events::open(&site, "Connection: close\r\n").await;
    assert!(one_more.text.starts_with("HTTP/1.1 503"), "{}", one_more.text);
    let rest = format!("{}{}", one_more.text, one_more.raw.read_all().await);
    assert!(rest.contains("\"reason\":\"too-many\""), "{rest}");
    // An answer to a question is not held then, though nothing is new.
    let state = site.get("/.well-known/drowse/ready").await;
    let state: serde_json::Value = serde_json::from_str(&state.body).unwrap();
    let seen = state["id"].as_str().unwrap();
    let again = site.get(&format!("/.well-known/drowse/ready?seen={seen}")).await;
    assert_eq!(again.status, 200);
    assert!(again.body.contains("\"pause_ms\":5000"), "{again:?}");
    // A place is free when its page has gone.
    all.pop();
    loop {
        let events = Events::open(&site, "").await;
        if events.text.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn nobody_takes_all_places() {
    let site = Site::ready().await;
    let mut all = Vec::new();
    for _ in 0..256 {
        all.push(Events::open(&site, "").await);
    }
    let one_more = Events::open(&site, "").await;
    assert!(one_more.text.starts_with("HTTP/1.1 503"), "{}", one_more.text);
    let other = Events::open_from(2, &site, "").await;
    assert!(other.text.starts_with("HTTP/1.1 200"), "{}", other.text);
}

#[tokio::test]
async fn a_stream_does_not_hold_up_the_end() {
    let site = Site::ready().await;
    let mut events = Events::open(&site, "").await;
    site.shutdown.cancel();
    events.raw.read_all().await;
    assert_eq!(soon(site.serving).await.unwrap(), drowse_gateway::Drained::Whole);
}

#[tokio::test]
async fn a_stream_ends_with_its_workload() {
    let site = Site::ready().await;
    let mut events = Events::open(&site, "Connection: close\r\n").await;
    site.is(PhaseName::Ready).await;
    soon(site.workload.close()).await;
    events.raw.read_all().await;
}
