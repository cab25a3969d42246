//! What watches make of an engine that loses, repeats, garbles and hides.

use std::time::Duration;

use drowse_docker::{DockerEngine, DockerOptions};
use drowse_provider::{
    ContainerStatus, Deadline, Engine, EngineItem, ErrorKind, EventAction, Reference, Signal,
    Watch, WatchItem,
    contract::{Behaviour, Fixture, PATIENCE},
};
use futures::{FutureExt, StreamExt};
use serde_json::json;

use crate::engine::{Reply, Scripted, patience, until};

fn is(status: ContainerStatus) -> impl Fn(&WatchItem) -> bool {
    move |item| matches!(item, WatchItem::Synced(seen) if seen.status == status)
}

fn is_event(action: EventAction) -> impl Fn(&WatchItem) -> bool {
    move |item| matches!(item, WatchItem::Event(told) if told.action == action)
}

const RUNNING: ContainerStatus = ContainerStatus::Running;
const STOPPED: ContainerStatus = ContainerStatus::Stopped;

/// Re-reads so often that a test need not wait for it.
fn eager() -> DockerOptions {
    DockerOptions::new().with_reread_every(Duration::from_millis(50))
}

/// Re-reads never, as far as a test is concerned.
fn patient() -> DockerOptions {
    DockerOptions::new().with_reread_every(PATIENCE * 10)
}

#[tokio::test]
async fn a_proxy_may_hold_back_the_head_until_the_first_event() {
    let scripted = Scripted::with_options(patient()).await;
    scripted.state().holds_head_back = true;
    let provider = scripted.make("web", Behaviour::Serves);
    // An event that is replayed would let the head through.
    scripted.pass_time();
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    scripted.order("web", "start");
    until(&mut watch, is_event(EventAction::Start)).await;
    until(&mut watch, is(RUNNING)).await;
}

/// With neither state nor event to show it, and no break.
#[tokio::test]
async fn a_restart_whose_events_were_lost_is_found_by_the_list() {
    let scripted = Scripted::with_options(eager()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.order("web", "start");
    let mut watch = provider.watch();
    until(&mut watch, is(RUNNING)).await;
    let before = provider.observe(patience()).await.unwrap().run;
    scripted.state().is_mute = true;
    scripted.restart_in_silence("web");
    let is_next = |item: &WatchItem| matches!(item, WatchItem::Synced(seen) if seen.run != before);
    until(&mut watch, is_next).await;
}

/// Nothing comes from it any more, not even its end: things that changed unheard give it away.
#[tokio::test]
async fn a_half_open_connection_is_given_up() {
    let scripted = Scripted::with_options(eager()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    scripted.state().is_mute = true;
    // What was replayed at first has been heard by then.
    let lists = scripted.state().count("GET /containers/json");
    scripted.asked(|state| state.count("GET /containers/json") > lists + 2).await;
    scripted.order("web", "start");
    until(&mut watch, is(RUNNING)).await;
    scripted.asked(|state| state.count("GET /events") >= 2).await;
}

#[tokio::test]
async fn an_event_that_comes_twice_is_told_once() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    scripted.order("web", "start");
    until(&mut watch, is_event(EventAction::Start)).await;
    scripted.tell_raw(scripted.last_event());
    // The next connection replays it as well.
    scripted.end_events();
    scripted.asked(|state| state.count("GET /events") == 2).await;
    until(&mut watch, is(RUNNING)).await;
    scripted.order("web", "kill?signal=9");
    let starts = async {
        let mut starts = 0;
        loop {
            match watch.next().await.unwrap().unwrap() {
                WatchItem::Event(told) if told.action == EventAction::Start => starts += 1,
                WatchItem::Synced(seen) if seen.status == STOPPED => return starts,
                _ => {}
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, starts).await.expect("the end"), 0);
}

#[tokio::test]
async fn what_happened_between_two_connections_is_replayed() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.order("web", "start");
    let mut watch = provider.watch();
    until(&mut watch, is(RUNNING)).await;
    scripted.break_events().await;
    scripted.order("web", "kill?signal=15");
    scripted.mend_events().await;
    until(&mut watch, is_event(EventAction::Kill(Some(Signal::TERM)))).await;
    until(&mut watch, is_event(EventAction::Die(Some(0)))).await;
    until(&mut watch, is(STOPPED)).await;
}

#[tokio::test]
async fn events_out_of_order_leave_the_truth() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    scripted.state().is_mute = true;
    scripted.order("web", "start");
    let start = scripted.last_event();
    scripted.order("web", "kill?signal=9");
    let die = scripted.last_event();
    scripted.tell_raw(die);
    scripted.tell_raw(start);
    until(&mut watch, is_event(EventAction::Start)).await;
    match until(&mut watch, |item| matches!(item, WatchItem::Synced(_))).await {
        WatchItem::Synced(seen) => assert_eq!(seen.status, STOPPED),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn garbage_between_events_costs_one_list() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    let lists = scripted.state().count("GET /containers/json");
    scripted.tell_raw("{\"Type\": \n\n\r\nno json at all\n[]\n");
    scripted.tell_raw(format!("{}\n", "x".repeat(1_100_000)));
    scripted.order("web", "start");
    until(&mut watch, is_event(EventAction::Start)).await;
    until(&mut watch, is(RUNNING)).await;
    scripted.asked(|state| state.count("GET /containers/json") > lists).await;
}

#[tokio::test]
async fn a_hup_is_an_event_and_no_end() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.order("web", "start");
    let mut watch = provider.watch();
    until(&mut watch, is(RUNNING)).await;
    scripted.order("web", "kill?signal=1");
    until(&mut watch, is_event(EventAction::Kill(Some(Signal::HUP)))).await;
    match until(&mut watch, |item| matches!(item, WatchItem::Synced(_))).await {
        WatchItem::Synced(seen) => assert_eq!(seen.status, RUNNING),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_name_is_followed_over_a_rename_and_a_new_container() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    let longer = scripted.make("web-db", Behaviour::Serves);
    scripted.pass_time();
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    longer.start(patience()).await.unwrap();
    scripted.change("web", |container| "web-old".clone_into(&mut container.name));
    scripted.tell("web-old", "rename", json!({"oldName": "/web"}));
    let removed = until(&mut watch, |item| {
        !matches!(item, WatchItem::Event(told)
        if matches!(told.action, EventAction::Rename(_)))
    })
    .await;
    assert_eq!(removed, WatchItem::Removed, "nothing of `web-db` is told");
    let next = scripted.make("web", Behaviour::Serves);
    until(&mut watch, is(STOPPED)).await;
    next.start(patience()).await.unwrap();
    until(&mut watch, is(RUNNING)).await;
}

#[tokio::test]
async fn an_engine_that_is_down_at_first_is_told_and_waited_for() {
    let scripted = Scripted::down(DockerOptions::new());
    let provider = scripted.make("web", Behaviour::Serves);
    let mut watch = provider.watch();
    let mut all = scripted.engine.events();
    for error in [
        watch.next().await.unwrap().unwrap_err(),
        all.next().await.unwrap().map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("there is no socket at"), "{error}");
    }
    // One who comes later hears of it as well.
    let error = provider.watch().next().await.unwrap().unwrap_err();
    assert_eq!(error.container(), Some("web"));
    scripted.up();
    until(&mut watch, is(STOPPED)).await;
    let first = tokio::time::timeout(PATIENCE, all.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(first, EngineItem::Synced(list) if list.len() == 1));
}

#[tokio::test]
async fn close_cancels_the_back_off() {
    let scripted = Scripted::down(DockerOptions::new());
    let provider = scripted.make("web", Behaviour::Serves);
    let mut watch = provider.watch();
    assert!(watch.next().await.unwrap().is_err());
    tokio::time::timeout(PATIENCE, scripted.engine.close()).await.expect("close returns");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_short_break_is_no_error_and_a_long_one_is() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.pass_time();
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;
    scripted.end_events();
    let next = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert!(matches!(next, Ok(WatchItem::Synced(_))), "{next:?}");
    scripted.break_events().await;
    let next = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    let error = next.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
    scripted.mend_events().await;
    let next = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert!(matches!(next, Ok(WatchItem::Synced(_))), "{next:?}");
}

#[tokio::test]
async fn a_thousand_containers_cost_one_connection_for_events() {
    let scripted = Scripted::with_options(patient()).await;
    let providers: Vec<_> = (0..1000)
        .map(|number| scripted.make(&format!("app-{number}"), Behaviour::Serves))
        .collect();
    scripted.pass_time();
    let mut watches: Vec<Watch> = providers.iter().map(|provider| provider.watch()).collect();
    for watch in &mut watches {
        until(watch, is(STOPPED)).await;
    }
    scripted.order("app-0", "start");
    scripted.order("app-999", "start");
    until(&mut watches[0], is(RUNNING)).await;
    until(&mut watches[999], is(RUNNING)).await;
    assert!(watches[1].next().now_or_never().is_none(), "it is told of others");
    let (events, lists) = {
        let state = scripted.state();
        (state.count("GET /events"), state.count("GET /containers/json"))
    };
    assert_eq!((events, lists), (1, 1));
}

#[tokio::test]
async fn the_last_watch_ends_the_connection_and_the_next_makes_another() {
    let scripted = Scripted::with_options(patient()).await;
    let provider = scripted.make("web", Behaviour::Serves);
    for connection in 1..=2 {
        let mut watch = provider.watch();
        until(&mut watch, is(STOPPED)).await;
        assert_eq!(scripted.state().count("GET /events"), connection);
        drop(watch);
        scripted.unsubscribed().await;
    }
}

#[tokio::test]
async fn answers_without_end_or_without_bounds_are_refused() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.answer("GET /containers/web/json", 1, Reply::Endless);
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error}");

    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n".to_vec();
    scripted.answer("GET /containers/web/json", 1, Reply::Raw(announced));
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error}");

    let many = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes();
    scripted.answer("GET /containers/web/json", 1, Reply::Raw(many));
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_comes_is_told_apart() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":".to_vec();
    scripted.answer("GET /containers/web/json", 1, Reply::Raw(half));
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");

    scripted.answer("GET /containers/web/json", 1, Reply::Raw(b"HTTP/1.1 200 OK\r\n".to_vec()));
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");

    scripted.answer("GET /containers/web/json", 1, Reply::Silence);
    let soon = Duration::from_millis(50);
    let error = provider.inspect(Deadline::after(soon)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { after, .. } if *after == soon), "{error}");

    scripted.answer("GET /containers/web/json", 1, Reply::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()));
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error}");

    scripted.answer("GET /containers/web/json", 1, Reply::Status(200, "{\"Id\": 1}"));
    let error = provider.inspect(patience()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error}");
}

/// A read that fails is repeated, and what may not be read is told.
#[tokio::test]
async fn a_watch_gets_over_reads_that_fail() {
    let scripted = Scripted::new().await;
    let provider = scripted.make("web", Behaviour::Serves);
    scripted.answer("GET /containers/web/json", 1, Reply::Status(500, "{\"message\":\"busy\"}"));
    let mut watch = provider.watch();
    until(&mut watch, is(STOPPED)).await;

    scripted.answer("GET /containers/web/json", 1, Reply::Status(403, "no"));
    scripted.order("web", "start");
    let refused = async {
        loop {
            if let Err(error) = watch.next().await.unwrap() {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused).await.expect("the refusal");
    assert!(matches!(error.kind(), ErrorKind::Forbidden { .. }), "{error}");
    scripted.tell("web", "update", json!({}));
    until(&mut watch, is(RUNNING)).await;
}

/// Nobody need call `close`.
#[tokio::test]
async fn the_last_handle_that_is_dropped_closes() {
    let scripted = Scripted::new().await;
    scripted.make("web", Behaviour::Serves);
    let url = scripted.socket.to_str().unwrap();
    let engine = DockerEngine::connect("other", url, patient()).unwrap();
    let provider = engine.provider(&Reference::Name("web".to_owned())).unwrap();
    let mut watch = provider.watch();
    drop((engine, provider));
    until(&mut watch, is(STOPPED)).await;
    drop(watch);
    scripted.unsubscribed().await;
}
