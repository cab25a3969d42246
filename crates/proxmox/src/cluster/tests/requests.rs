//! What it costs.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{world::Container, *};

fn counted(asked: Vec<String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for what in asked {
        let kind = what.split(" of ").next().unwrap_or_default().to_owned();
        *counted.entry(kind).or_default() += 1;
    }
    counted
}

fn crowd(world: &World, containers: u32) {
    world.change(|state| {
        for nth in 0..containers {
            let node = if nth % 2 == 0 { "pve1" } else { "pve2" };
            state.containers.insert(1000 + nth, Container::stopped(1000 + nth, node));
        }
    });
}

/// Must not happen, 28.
#[tokio::test(start_paused = true)]
async fn ten_thousand_watches_cost_one_request_per_interval() {
    let world = World::new();
    crowd(&world, 10_000);
    let shared = open(&world);
    let mut watches: Vec<Watching> =
        (0..10_000).map(|nth| Watching::begin(&shared, &vmid(1000 + nth))).collect();
    let mut all = WatchingAll::begin(&shared);
    all.list().await;
    for watching in &mut watches {
        watching.synced().await;
    }
    let beginning = counted(world.take_asked());
    assert!(beginning["resources"] <= 2, "{beginning:?}");
    assert_eq!(beginning["version"], 1);
    assert!(beginning["list"] <= 4, "{beginning:?}");
    assert!(beginning.get("status").is_none_or(|singles| *singles <= 6), "{beginning:?}");

    seconds(40).await;
    let quiet = counted(world.take_asked());
    assert_eq!(quiet.keys().collect::<Vec<_>>(), ["resources"], "{quiet:?}");
    assert!((9..=12).contains(&quiet["resources"]), "{quiet:?}");
}

/// All workloads of a program observe their containers when it starts.
#[tokio::test(start_paused = true)]
async fn five_thousand_reads_at_once_are_a_few_lists() {
    let world = World::new();
    crowd(&world, 5_000);
    let shared = open(&world);
    let references: Vec<Reference> = (0..5_000).map(|nth| vmid(1000 + nth)).collect();
    let reads = references.iter().map(|reference| observe(&shared, reference));
    for read in join_all(reads).await {
        assert_eq!(read.unwrap().status, STOPPED);
    }
    let asked = counted(world.take_asked());
    assert_eq!(asked["resources"], 1);
    assert!(asked["list"] <= 4, "{asked:?}");
    assert!(asked.get("status").is_none_or(|singles| *singles <= 6), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_from_thousands_costs_a_few_requests() {
    let world = World::new();
    crowd(&world, 2_000);
    let shared = open(&world);
    let mut watches: Vec<Watching> =
        (0..2_000).map(|nth| Watching::begin(&shared, &vmid(1000 + nth))).collect();
    let mut all = WatchingAll::begin(&shared);
    all.list().await;
    for watching in &mut watches {
        watching.synced().await;
    }
    world.take_asked();
    world.change(|state| state.hidden = (1000..3_000).collect());
    for watching in &mut watches {
        watching.error().await;
    }
    assert_eq!(all.list().await.len(), 2_000);
    let mut asked = counted(world.take_asked());
    asked.remove("resources");
    assert!(asked.values().sum::<usize>() <= 10, "{asked:?}");
    world.change(|state| state.hidden.clear());
    for watching in &mut watches {
        watching.synced().await;
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_that_were_never_to_be_seen_cost_a_few_requests() {
    let world = World::new();
    crowd(&world, 2_000);
    world.change(|state| state.hidden = (1000..3_000).collect());
    let shared = open(&world);
    let mut watches: Vec<Watching> =
        (0..2_000).map(|nth| Watching::begin(&shared, &vmid(1000 + nth))).collect();
    for watching in &mut watches {
        watching.error().await;
    }
    let asked = counted(world.take_asked());
    assert!(asked.values().sum::<usize>() <= 15, "{asked:?}");
    seconds(600).await;
    let mut asked = counted(world.take_asked());
    asked.remove("resources");
    assert!(asked.values().sum::<usize>() <= 150, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_asked_less_and_less() {
    let world = World::new();
    crowd(&world, 1_000);
    let shared = open(&world);
    let mut watches: Vec<Watching> =
        (0..1_000).map(|nth| Watching::begin(&shared, &vmid(1000 + nth))).collect();
    for watching in &mut watches {
        watching.synced().await;
    }
    world.change(|state| state.nodes_away.insert("pve1".to_owned()));
    for watching in watches.iter_mut().step_by(2) {
        watching.error().await;
    }
    seconds(60).await;
    world.take_asked();
    seconds(300).await;
    let asked = counted(world.take_asked());
    let reads = asked.get("list").unwrap_or(&0) + asked.get("status").unwrap_or(&0);
    assert!(reads <= 60, "{asked:?}");
}

/// Beats show a new name up to 12 s after it can be read.
#[tokio::test(start_paused = true)]
async fn a_name_that_lags_makes_no_storm_of_reads() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut by_name = Watching::begin(&shared, &Reference::Name("ct201".to_owned()));
    let mut by_number = Watching::begin(&shared, &vmid(201));
    by_name.synced().await;
    by_number.synced().await;
    seconds(21).await;
    world.take_asked();
    world.with(201, |container| container.name = "wiki".to_owned());
    let read = observe(&shared, &vmid(201)).await;
    read.unwrap();
    assert_eq!(by_number.event().await.action, EventAction::Rename("ct201".to_owned()));
    // Each beat that may still lag is a reason to look for both watches: those of 15 s, of which none
    // comes less than 3.6 s after another.
    seconds(20).await;
    let asked = counted(world.take_asked());
    assert!(asked["status"] <= 1 + 2 * 5, "{asked:?}");
    seconds(40).await;
    let asked = counted(world.take_asked());
    assert_eq!(asked.get("status"), None, "{asked:?}");
    let told = by_name.told(1).await;
    assert!(matches!(told.last(), Some(Ok(WatchItem::Removed))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_begins_after_it_was_asked_for() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    observe(&shared, &vmid(201)).await.unwrap();
    for _ in 0..20 {
        // One is under way, and has looked by the time that the other one is asked for.
        let early = async { observe(&shared, &vmid(201)).await.unwrap().status };
        let late = async {
            sleep(Duration::from_millis(40)).await;
            world.start(201);
            observe(&shared, &vmid(201)).await.unwrap().status
        };
        assert_eq!(tokio::join!(early, late), (STOPPED, RUNNING));
        world.stop(201);
        assert_eq!(observe(&shared, &vmid(201)).await.unwrap().status, STOPPED);
    }
}

/// Whoever waits for a read may be late to hear of it: what it told is old news by then.
#[tokio::test(start_paused = true)]
async fn a_read_that_is_heard_of_late_is_not_told_as_news() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    let (reference, other) = (vmid(201), vmid(201));
    let mut late = Box::pin(observe(&shared, &reference));
    assert!(futures::poll!(late.as_mut()).is_pending());
    seconds(1).await;
    world.start(201);
    assert_eq!(observe(&shared, &other).await.unwrap().status, RUNNING);
    assert_eq!(watching.event().await.action, EventAction::Start);
    let running = watching.synced().await;
    assert_eq!(late.await.unwrap().status, STOPPED);
    assert_eq!(observe(&shared, &other).await.unwrap(), running);
    watching.is_quiet(60).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_what_was_waited_out() {
    let world = World::new();
    world.add(201, "pve1");
    let error = crate::ClientError::Garbled { message: "half".to_owned(), was_sent: false };
    world.change(|state| state.api_error = Some(error));
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.error().await;
    let now = Deadline::after(Duration::ZERO);
    let error = shared.live(&vmid(201), Action::Status, now).await.unwrap_err();
    insta::assert_snapshot!(error, @"status of container `201` on engine `pve`: timed out after 0ns, last: unexpected answer: half");
}

#[tokio::test(start_paused = true)]
async fn nobody_watching_costs_nothing() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    seconds(60).await;
    assert!(world.take_asked().is_empty());
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    drop(watching);
    seconds(10).await;
    world.take_asked();
    seconds(600).await;
    assert!(world.take_asked().is_empty());
    // And it begins anew.
    world.start(201);
    let mut watching = Watching::begin(&shared, &vmid(201));
    assert_eq!(watching.synced().await.status, RUNNING);
    watching.is_quiet(60).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_and_nothing_is_left() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let core = Arc::downgrade(&shared.core);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    drop(shared);
    watching.is_quiet(30).await;
    drop(watching);
    seconds(1).await;
    assert_eq!(core.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everything() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut all = WatchingAll::begin(&shared);
    watching.synced().await;
    let reference = vmid(201);
    let (read, ()) = tokio::join!(observe(&shared, &reference), async {
        sleep(Duration::from_millis(5)).await;
        shared.close().await;
    });
    assert!(matches!(read.unwrap_err().kind(), drowse_provider::ErrorKind::Closed));
    assert!(timeout(LONG, watching.0.next()).await.unwrap().is_none());
    while let Some(item) = timeout(LONG, all.0.next()).await.unwrap() {
        item.unwrap();
    }
    assert_eq!(shared.core.tasks.len(), 0);
    assert!(Watching::begin(&shared, &vmid(201)).0.next().await.is_none());
    for refused in
        [observe(&shared, &vmid(201)).await.unwrap_err(), shared.list(soon()).await.unwrap_err()]
    {
        assert!(matches!(refused.kind(), drowse_provider::ErrorKind::Closed), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_a_timeout() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let now = Deadline::after(Duration::ZERO);
    for refused in [
        shared.live(&vmid(201), Action::Status, now).await.unwrap_err(),
        shared.locate(&vmid(201), Action::Status, now).await.unwrap_err(),
        shared.list(now).await.unwrap_err(),
    ] {
        assert!(matches!(refused.kind(), drowse_provider::ErrorKind::Timeout { .. }));
    }
}
