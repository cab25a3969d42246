//! Lists, and what all containers do.

use drowse_provider::{ErrorKind, Support};
use insta::assert_snapshot;

use super::*;

fn tagged(world: &World, vmid: u32, notes: &str) {
    world.add(vmid, "pve1");
    world.with(vmid, |container| {
        container.tags = vec!["drowse".to_owned(), "web".to_owned()];
        container.notes = notes.to_owned();
    });
}

fn labels(list: &[drowse_provider::Summary], vmid: u32) -> String {
    let line = list.iter().find(|line| line.id == vmid.to_string()).unwrap();
    format!("{:?}", line.labels)
}

fn configs(asked: &[String]) -> usize {
    asked.iter().filter(|what| what.starts_with("config")).count()
}

#[tokio::test(start_paused = true)]
async fn a_list_has_tags_and_the_notes_of_those_that_ask_for_it() {
    let world = World::new();
    tagged(&world, 201, "- drowse.host=wiki.example.com");
    world.add(202, "pve2");
    world.with(202, |container| container.notes = "drowse.host=other.example.com".to_owned());
    let shared = open(&world);
    let list = shared.list(soon()).await.unwrap();
    assert_eq!(list.len(), 2);
    assert_snapshot!(labels(&list, 201), @r#"{"drowse": "", "drowse.host": "wiki.example.com", "web": ""}"#);
    assert_snapshot!(labels(&list, 202), @"{}");
    assert_eq!(list[1].node.as_deref(), Some("pve2"));
    assert_eq!(world.take_asked().len(), 3, "a beat, the version, and one configuration");
}

#[tokio::test(start_paused = true)]
async fn notes_are_read_when_something_happened_and_never_per_interval() {
    let world = World::new();
    tagged(&world, 201, "drowse.port=1");
    let shared = open(&world);
    let mut all = WatchingAll::begin(&shared);
    assert!(labels(&all.list().await, 201).contains(r#""drowse.port": "1""#));
    world.take_asked();
    world.with(201, |container| container.notes = "drowse.port=2".to_owned());
    for _ in 0..5 {
        assert!(labels(&all.list().await, 201).contains(r#""drowse.port": "1""#));
    }
    let asked = world.take_asked();
    assert!(asked.iter().all(|what| what == "resources"), "{asked:?}");
    assert!((70..=85).contains(&asked.len()), "five lists in five minutes: {}", asked.len());

    world.with(201, |container| container.lock = Some("backup".to_owned()));
    assert!(matches!(all.event().await.action, EventAction::Lock(_)));
    assert!(labels(&all.list().await, 201).contains(r#""drowse.port": "2""#));
    assert_eq!(configs(&world.take_asked()), 1);

    // At a wake.
    world.with(201, |container| container.notes = "drowse.port=3".to_owned());
    let at = shared.locate(&vmid(201), Action::Start, soon()).await.unwrap();
    let config = async || shared.config(&at, Action::Start, soon()).await.unwrap();
    assert_eq!(config().await.description, "drowse.port=2");
    shared.forget_config(201);
    assert_eq!(config().await.description, "drowse.port=3");
    assert_eq!(config().await.description, "drowse.port=3");
    assert_eq!(configs(&world.take_asked()), 1);
}

#[tokio::test(start_paused = true)]
async fn notes_that_cannot_be_read_are_as_they_last_were() {
    let world = World::new();
    tagged(&world, 201, "drowse.port=1");
    tagged(&world, 202, "drowse.port=1");
    world.with(202, |container| container.node = "pve2".to_owned());
    world.change(|state| state.nodes_away.insert("pve2".to_owned()));
    let shared = open(&world);
    let list = shared.list(soon()).await.unwrap();
    assert!(labels(&list, 201).contains("drowse.port"));
    assert!(!labels(&list, 202).contains("drowse.port"), "it was never read");
    world.change(|state| state.nodes_away = ["pve1".to_owned()].into());
    let list = shared.list(soon()).await.unwrap();
    assert!(labels(&list, 201).contains("drowse.port"));
    assert!(labels(&list, 202).contains("drowse.port"));
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_those_that_nobody_watches_is_told_by_beats() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut all = WatchingAll::begin(&shared);
    all.list().await;
    world.start(201);
    let start = all.event().await;
    assert_eq!((start.action, start.change), (EventAction::Start, Some((STOPPED, RUNNING))));
    seconds(30).await;
    world.start(201);
    assert_eq!(all.event().await.action, EventAction::Restart);
    world.with(201, |container| container.tags = vec!["drowse".to_owned()]);
    let update = all.event().await;
    assert_eq!(update.action, EventAction::Update);
    assert_eq!(update.actor.attributes["drowse"], "");
    world.with(201, |container| container.name = "wiki".to_owned());
    let rename = all.event().await;
    assert_eq!(rename.action, EventAction::Rename("ct201".to_owned()));
    assert_eq!(rename.actor.name, "wiki");
    world.stop(201);
    assert!(is_die(&all.event().await));
    world.add(202, "pve2");
    let create = all.event().await;
    assert_eq!((create.action, &*create.actor.id), (EventAction::Create, "202"));
    world.remove(201);
    let gone = all.event().await;
    assert_eq!((gone.action, &*gone.actor.id), (EventAction::Destroy, "201"));
    assert_eq!(all.list().await.len(), 1);
    assert!(world.take_asked().iter().filter(|what| what.starts_with("status")).count() <= 1);
}

/// One who reads a container must find the same in a list that is read after it.
#[tokio::test(start_paused = true)]
async fn a_list_knows_what_was_read_a_moment_ago() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    shared.list(soon()).await.unwrap();
    for _ in 0..20 {
        world.start(201);
        assert_eq!(observe(&shared, &vmid(201)).await.unwrap().status, RUNNING);
        assert_eq!(shared.list(soon()).await.unwrap()[0].status, RUNNING);
        seconds(3).await;
        world.stop(201);
        assert_eq!(observe(&shared, &vmid(201)).await.unwrap().status, STOPPED);
        assert_eq!(shared.list(soon()).await.unwrap()[0].status, STOPPED);
    }
    world.start(201);
    seconds(60).await;
    assert_eq!(shared.list(soon()).await.unwrap()[0].status, RUNNING);
}

#[tokio::test(start_paused = true)]
async fn the_version_is_read_once_for_each_connection() {
    let world = World::new();
    let shared = open(&world);
    assert!(shared.capabilities().dynamic_addresses.is_supported(), "nobody knows better");
    let mut all = WatchingAll::begin(&shared);
    all.list().await;
    seconds(100).await;
    let versions = |asked: Vec<String>| asked.iter().filter(|what| *what == "version").count();
    assert_eq!(versions(world.take_asked()), 1);
    let Support::No(why) = shared.capabilities().dynamic_addresses else { panic!() };
    assert_snapshot!(why, @"Proxmox VE 8.0.4 does not tell the addresses that containers get by DHCP (8.1 and later do): give the container a fixed address, or its route an `address`");
    let closed = crate::ClientError::Garbled { message: "half".to_owned(), was_sent: false };
    world.change(|state| state.api_error = Some(closed));
    let error = all.error().await;
    assert!(matches!(error.kind(), ErrorKind::Protocol { .. }), "{error:?}");
    world.change(|state| state.api_error = None);
    all.list().await;
    world.take_asked();
    seconds(100).await;
    assert_eq!(versions(world.take_asked()), 0);
}

#[test]
fn what_proxmox_cannot_do_is_said_with_what_to_do_instead() {
    let capabilities = crate::cluster::core::capabilities(None);
    let words = |support: &Support| match support {
        Support::Yes => "yes".to_owned(),
        Support::No(why) => why.to_string(),
    };
    let all = [
        &capabilities.pause,
        &capabilities.signals,
        &capabilities.stop_signal,
        &capabilities.stats,
        &capabilities.health,
        &capabilities.exit_code,
        &capabilities.dynamic_addresses,
    ];
    assert_snapshot!(all.map(words).join("\n"), @"
    Proxmox's API can only suspend an LXC container to disk, which is experimental and fails on many: use `sleep: stop`
    Proxmox's API can shut an LXC container down or kill it, and send no other signal: use `sleep: stop`
    Proxmox's API shuts an LXC container down by the signal that is configured in it (`lxc.signal.halt`): leave the stop signal out
    yes
    an LXC container has no health check of its own: leave it out, and the application itself is asked
    Proxmox keeps no exit code of an LXC container: look into the container's own log
    yes
    ");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_long_ago_is_not_listed_as_true() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    // Its node tells the cluster nothing, and answers all the same.
    world.change(|state| _ = state.nodes_mute.insert("pve1".to_owned()));
    seconds(30).await;
    assert_eq!(shared.list(soon()).await.unwrap()[0].status, STOPPED);
    drop(watching);
    world.start(201);
    seconds(60).await;
    let status = &shared.list(soon()).await.unwrap()[0].status;
    assert_snapshot!(status, @"in error (on a machine that cannot be reached)");
}

#[tokio::test(start_paused = true)]
async fn what_high_availability_leaves_alone_has_no_owner() {
    let world = World::new();
    for (vmid, state) in [(201, Some("started")), (202, Some("ignored")), (203, None)] {
        world.add(vmid, "pve1");
        world.with(vmid, |container| container.ha_state = state.map(str::to_owned));
    }
    let list = open(&world).list(soon()).await.unwrap();
    let owners: Vec<_> = list.iter().map(|line| format!("{:?}", line.owner)).collect();
    assert_eq!(owners, [r#"Some(HighAvailability("started"))"#, "None", "None"]);
}
