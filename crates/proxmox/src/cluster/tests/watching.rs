//! What a container's watch promises.

use drowse_provider::{ErrorKind, Unusable};
use insta::assert_snapshot;

use super::*;
use crate::ClientError;

fn unreachable() -> ClientError {
    ClientError::Unreachable {
        endpoint: "https://pve1:8006".to_owned(),
        reason: "connection refused".to_owned(),
        was_sent: false,
        source: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_a_read_and_tells_what_others_do() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    assert_eq!(watching.synced().await, Observation::new(STOPPED, None));

    world.start(201);
    let start = watching.event().await;
    assert_eq!(start.action, EventAction::Start);
    assert_eq!(start.change, Some((STOPPED, RUNNING)));
    assert_eq!((&*start.actor.id, &*start.actor.name), ("201", "ct201"));
    assert_eq!(start.actor.attributes["node"], "pve1");
    let running = watching.synced().await;
    assert_eq!((&running.status, &running.run), (&RUNNING, &start.run));
    assert!(running.run.is_some());

    seconds(60).await;
    world.stop(201);
    let die = watching.event().await;
    assert!(is_die(&die));
    assert_eq!(die.run, running.run);
    assert_eq!(watching.synced().await, Observation::new(STOPPED, running.run));
    watching.is_quiet(120).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_between_two_beats_is_told() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let first = watching.synced().await;
    watching.is_quiet(60).await;
    world.start(201);
    let restart = watching.event().await;
    assert_eq!(restart.action, EventAction::Restart);
    assert_eq!(restart.change, Some((RUNNING, RUNNING)));
    let second = watching.synced().await;
    assert_eq!((&second.status, &second.run), (&RUNNING, &restart.run));
    assert_ne!(first.run, second.run);
}

/// Beats show for up to 12 s what was before: nobody may believe that.
#[tokio::test(start_paused = true)]
async fn after_an_order_of_our_own_the_old_state_is_never_told_again() {
    for pause in 0..12 {
        let world = World::new();
        world.add(201, "pve1");
        let shared = open(&world);
        let mut watching = Watching::begin(&shared, &vmid(201));
        let mut all = WatchingAll::begin(&shared);
        watching.synced().await;
        all.list().await;
        seconds(20 + pause).await;
        let mut expected = [RUNNING, STOPPED].into_iter().cycle();
        for _ in 0..4 {
            let status = expected.next().unwrap();
            let transition = shared.transition(201);
            if status == RUNNING {
                world.start(201);
            } else {
                world.stop(201);
            }
            assert_eq!(observe(&shared, &vmid(201)).await.unwrap().status, status);
            drop(transition);
            let told = watching.told(3).await;
            let [Ok(WatchItem::Event(event)), Ok(WatchItem::Synced(seen))] = &told[..] else {
                panic!("{told:?}");
            };
            assert_eq!(is_die(event), status == STOPPED);
            assert_eq!(seen.status, status);
            assert_eq!(all.event().await.action, event.action);
        }
        assert!(watching.told(60).await.is_empty());
    }
}

/// Its uptime alone would not tell: beats lag by more than it ran.
#[tokio::test(start_paused = true)]
async fn a_restart_of_one_that_has_just_been_started_is_told() {
    for ran in 0..12 {
        let world = World::new();
        world.add(201, "pve1");
        let shared = open(&world);
        let mut watching = Watching::begin(&shared, &vmid(201));
        watching.synced().await;
        world.start(201);
        let first = observe(&shared, &vmid(201)).await.unwrap();
        seconds(ran).await;
        world.start(201);
        let told = watching.told(60).await;
        let Some(Ok(WatchItem::Synced(last))) = told.last() else { panic!("{told:?}") };
        assert_eq!(last.status, RUNNING);
        assert_ne!(last.run, first.run, "after {ran} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_transition_is_read_each_second() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    let transition = shared.transition(201);
    world.take_asked();
    seconds(10).await;
    let singles = world.take_asked().iter().filter(|what| what.starts_with("status")).count();
    assert!((9..=11).contains(&singles), "{singles}");
    world.start(201);
    let began = tokio::time::Instant::now();
    assert_eq!(watching.event().await.action, EventAction::Start);
    assert!(began.elapsed() <= Duration::from_millis(1200), "{:?}", began.elapsed());
    watching.synced().await;
    drop(transition);
    world.take_asked();
    seconds(100).await;
    let singles = world.take_asked().iter().filter(|what| what.starts_with("status")).count();
    assert!(singles <= 4, "{singles} reads while beats lagged");
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_followed() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    // Before any beat shows it.
    world.with(201, |container| container.node = "pve2".to_owned());
    world.start(201);
    let live = shared.live(&vmid(201), Action::Status, soon()).await.unwrap();
    assert_eq!(&*live.at.node, "pve2");
    let moved = watching.event().await;
    assert_eq!(moved.action, EventAction::Migrate("pve1".to_owned()));
    assert_eq!(moved.actor.attributes["node"], "pve2");
    assert_eq!(watching.event().await.action, EventAction::Restart);
    watching.synced().await;

    // By a beat.
    world.with(201, |container| container.node = "pve1".to_owned());
    let moved = watching.event().await;
    assert_eq!(moved.action, EventAction::Migrate("pve2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_told_and_so_is_its_end() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    world.with(201, |container| container.lock = Some("backup".to_owned()));
    assert_eq!(watching.event().await.action, EventAction::Lock(Some("backup".to_owned())));
    assert_eq!(watching.synced().await.lock.as_deref(), Some("backup"));
    world.with(201, |container| container.lock = None);
    assert_eq!(watching.event().await.action, EventAction::Lock(None));
    assert_eq!(watching.synced().await.lock, None);
}

#[tokio::test(start_paused = true)]
async fn what_its_node_says_to_be_gone_is_removed_and_the_next_of_that_number_is_told() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut by_id = Watching::begin(&shared, &Reference::Id("201".to_owned()));
    let mut all = WatchingAll::begin(&shared);
    let first = watching.synced().await;
    by_id.synced().await;
    all.list().await;
    world.remove(201);
    assert_eq!(watching.event().await.action, EventAction::Destroy);
    watching.removed().await;
    assert_eq!(by_id.event().await.action, EventAction::Destroy);
    by_id.removed().await;
    assert!(by_id.0.next().await.is_none(), "a watch of an id ends with it");
    assert_eq!(all.find(&EventAction::Destroy).await.actor.id, "201");
    let error = observe(&shared, &vmid(201)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound), "{error:?}");
    watching.is_quiet(60).await;

    world.add(201, "pve2");
    world.start(201);
    assert_eq!(watching.event().await.action, EventAction::Create);
    assert_eq!(watching.event().await.action, EventAction::Start);
    let next = watching.synced().await;
    assert_eq!(next.status, RUNNING);
    assert_ne!(next.run, first.run);
    assert_eq!(all.event().await.action, EventAction::Create);
}

#[tokio::test(start_paused = true)]
async fn what_never_was_is_removed() {
    let shared = open(&World::new());
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.removed().await;
    watching.is_quiet(60).await;
    let mut named = Watching::begin(&shared, &Reference::Name("wiki".to_owned()));
    named.removed().await;
    named.is_quiet(60).await;
}

/// Must not happen, 46.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_seen_is_forbidden_once_and_comes_back() {
    let world = World::new();
    world.add(201, "pve1");
    world.add(202, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut all = WatchingAll::begin(&shared);
    watching.synced().await;
    assert_eq!(all.list().await.len(), 2);
    world.change(|state| state.hidden.insert(201));
    let error = watching.error().await;
    assert_snapshot!(error, @"watch of container `201` on engine `pve`: not permitted: `VM.Audit` is needed on `/vms/201`");
    watching.is_quiet(600).await;
    let error = observe(&shared, &vmid(201)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden { .. }), "{error:?}");
    // It is listed as it was last seen.
    assert_eq!(all.list().await.len(), 2);
    world.change(|state| state.hidden.clear());
    assert_eq!(watching.synced().await.status, STOPPED);
    watching.is_quiet(60).await;
}

/// No beat shows that, before or after.
#[tokio::test(start_paused = true)]
async fn what_is_removed_while_it_may_not_be_seen_is_found_gone_when_it_may() {
    let world = World::new();
    world.add(201, "pve1");
    world.add(202, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut all = WatchingAll::begin(&shared);
    watching.synced().await;
    all.list().await;
    world.change(|state| state.hidden = [201, 202].into());
    watching.error().await;
    seconds(20).await;
    world.remove(201);
    world.remove(202);
    world.change(|state| state.hidden.clear());
    watching.removed().await;
    all.find(&EventAction::Destroy).await;
    all.find(&EventAction::Destroy).await;
    assert!(all.list().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_told_after_a_while_once_and_never_as_stopped() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    world.add(202, "pve2");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut other = Watching::begin(&shared, &vmid(202));
    let mut named = Watching::begin(&shared, &Reference::Name("ct201".to_owned()));
    let first = watching.synced().await;
    other.synced().await;
    named.synced().await;
    world.change(|state| state.nodes_away.insert("pve1".to_owned()));
    let error = watching.error().await;
    assert_snapshot!(error, @"watch of container `201` on engine `pve`: unavailable: node `pve1` cannot be reached by the cluster: No route to host");
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }));
    named.error().await;
    watching.is_quiet(600).await;
    let list = shared.list(soon()).await.unwrap();
    assert_eq!(list[0].status, ContainerStatus::Error(Unusable::Unreachable));
    assert_eq!((list[0].name.as_str(), &list[1].status), ("ct201", &STOPPED));
    world.change(|state| state.nodes_away.clear());
    assert_eq!(watching.synced().await, first);
    assert_eq!(named.synced().await, first);
    watching.is_quiet(60).await;
    other.is_quiet(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_for_a_moment_is_no_error() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    for _ in 0..5 {
        world.change(|state| state.nodes_away.insert("pve1".to_owned()));
        watching.is_quiet(5).await;
        world.change(|state| state.nodes_away.clear());
        watching.is_quiet(40).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_away_for_a_moment_is_no_error() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    for _ in 0..5 {
        world.change(|state| state.api_error = Some(unreachable()));
        watching.is_quiet(5).await;
        world.change(|state| state.api_error = None);
        watching.is_quiet(30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_away_is_told_once_and_then_everything_is_read() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut all = WatchingAll::begin(&shared);
    let first = watching.synced().await;
    all.list().await;
    world.change(|state| state.api_error = Some(unreachable()));
    let error = watching.error().await;
    assert_snapshot!(error, @"watch of container `201` on engine `pve`: unavailable: `https://pve1:8006` cannot be reached: connection refused");
    all.error().await;
    watching.is_quiet(300).await;
    // Who begins to watch meanwhile is told at once.
    let mut late = Watching::begin(&shared, &vmid(201));
    late.error().await;
    world.start(201);
    world.change(|state| state.api_error = None);
    let restart = watching.synced().await;
    assert_eq!(restart.status, RUNNING);
    assert_ne!(restart.run, first.run);
    assert_eq!(late.synced().await, restart);
    assert_eq!(all.list().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_reach_from_the_beginning_is_told_at_once() {
    let world = World::new();
    world.add(201, "pve1");
    world.change(|state| state.api_error = Some(unreachable()));
    let shared = open(&world);
    let began = tokio::time::Instant::now();
    Watching::begin(&shared, &vmid(201)).error().await;
    assert!(began.elapsed() < Duration::from_secs(1));

    world.change(|state| {
        state.api_error = None;
        state.nodes_away.insert("pve1".to_owned());
    });
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.error().await;
    world.change(|state| state.nodes_away.clear());
    watching.synced().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_followed_and_refused_while_several_have_it() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let wiki = Reference::Name("wiki".to_owned());
    let mut watching = Watching::begin(&shared, &wiki);
    watching.removed().await;
    world.with(201, |container| container.name = "wiki".to_owned());
    assert_eq!(watching.event().await.action, EventAction::Create);
    watching.synced().await;

    world.add(202, "pve2");
    world.with(202, |container| container.name = "wiki".to_owned());
    let error = watching.error().await;
    assert_snapshot!(error, @"watch of container `wiki` on engine `pve`: not supported: 2 containers are called `wiki` (201 on `pve1`, 202 on `pve2`): name it by its `vmid`");
    let error = shared.locate(&wiki, Action::Start, soon()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    watching.is_quiet(300).await;

    world.with(201, |container| container.name = "old".to_owned());
    assert_eq!(watching.synced().await.status, STOPPED);
    assert_eq!(shared.locate(&wiki, Action::Start, soon()).await.unwrap().vmid, 202);
    world.with(202, |container| container.name = "other".to_owned());
    watching.removed().await;
    watching.is_quiet(60).await;
}

/// Beats show names late: nobody may act on what had the name before.
#[tokio::test(start_paused = true)]
async fn a_name_that_two_containers_exchange_is_never_taken_for_the_old_one() {
    let world = World::new();
    world.add(201, "pve1");
    world.add(202, "pve1");
    world.with(201, |container| container.name = "wiki".to_owned());
    world.start(201);
    let shared = open(&world);
    let wiki = Reference::Name("wiki".to_owned());
    seconds(20).await;
    let mut watching = Watching::begin(&shared, &wiki);
    assert_eq!(watching.synced().await.status, RUNNING);
    seconds(11).await;
    world.with(201, |container| container.name = "old".to_owned());
    world.with(202, |container| container.name = "wiki".to_owned());
    let located = shared.locate(&wiki, Action::Stop, soon()).await;
    assert!(located.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound)));
    let told = watching.told(30).await;
    let Some(Ok(WatchItem::Synced(last))) = told.last() else { panic!("{told:?}") };
    assert_eq!(last.status, STOPPED);
    assert_eq!(shared.locate(&wiki, Action::Stop, soon()).await.unwrap().vmid, 202);
}

/// Whoever watches and whoever lists are told the same.
#[tokio::test(start_paused = true)]
async fn a_node_that_answers_and_tells_the_cluster_nothing_is_believed() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut all = WatchingAll::begin(&shared);
    watching.synced().await;
    all.list().await;
    world.change(|state| state.nodes_mute.insert("pve1".to_owned()));
    watching.is_quiet(120).await;
    let list = shared.list(soon()).await.unwrap();
    assert_eq!(list[0].status, RUNNING);
    world.stop(201);
    assert!(is_die(&watching.event().await));
    watching.synced().await;
    assert_eq!(shared.list(soon()).await.unwrap()[0].status, STOPPED);
}

/// With a container its rights go: whether it was deleted can then not be told.
#[tokio::test(start_paused = true)]
async fn what_vanished_and_nobody_watches_is_not_listed_for_ever() {
    let world = World::new();
    world.add(201, "pve1");
    world.add(202, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    let mut all = WatchingAll::begin(&shared);
    watching.synced().await;
    assert_eq!(all.list().await.len(), 2);
    world.change(|state| state.hidden = [201, 202].into());
    watching.error().await;
    seconds(120).await;
    assert_eq!(shared.list(soon()).await.unwrap().len(), 2);
    seconds(700).await;
    let list = shared.list(soon()).await.unwrap();
    assert_eq!(list.iter().map(|line| &*line.id).collect::<Vec<_>>(), ["201"]);
    drop(all);
}

#[tokio::test(start_paused = true)]
async fn what_high_availability_gave_up_and_templates_take_no_orders() {
    let world = World::new();
    world.add(201, "pve1");
    world.start(201);
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    for state in ["started", "error", "fence", "recovery"] {
        world.with(201, |container| container.ha_state = Some(state.to_owned()));
        let told = watching.event().await;
        assert_eq!(told.action, EventAction::Other(format!("high availability: {state}")));
        let is_error = matches!(watching.synced().await.status, ContainerStatus::Error(_));
        assert_eq!(is_error, state != "started", "{state}");
        let at = shared.locate(&vmid(201), Action::Start, soon()).await.unwrap();
        assert_eq!(at.ha_state.as_deref(), Some(state));
    }
    world.with(201, |container| {
        container.ha_state = None;
        container.process = None;
        container.is_template = true;
    });
    let status = observe(&shared, &vmid(201)).await.unwrap().status;
    assert_snapshot!(status, @"in error (a template, which is never started)");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_not_read_gets_the_truth() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut slow = Watching::begin(&shared, &vmid(201));
    let mut quick = Watching::begin(&shared, &vmid(201));
    slow.synced().await;
    quick.synced().await;
    let read = async {
        let mut told = 0;
        while told < 200 {
            told += usize::from(matches!(quick.next().await, Ok(WatchItem::Synced(_))));
        }
    };
    let act = async {
        for _ in 0..100 {
            world.start(201);
            observe(&shared, &vmid(201)).await.unwrap();
            world.stop(201);
            observe(&shared, &vmid(201)).await.unwrap();
        }
        world.start(201);
    };
    tokio::join!(read, act);
    let now = observe(&shared, &vmid(201)).await.unwrap();
    let told = slow.told(30).await;
    assert!(told.len() <= 66, "{}", told.len());
    assert!(matches!(told.last(), Some(Ok(WatchItem::Synced(seen))) if *seen == now));
}

#[tokio::test(start_paused = true)]
async fn what_an_order_waits_for_passes_by_reads_that_hang() {
    let world = World::new();
    let hanging: Vec<u32> = (301..307).collect();
    for vmid in hanging.iter().copied().chain([201]) {
        world.add(vmid, "pve1");
    }
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    assert_eq!(watching.synced().await.status, STOPPED);
    // Whatever is polled hangs, its own container too.
    world.change(|state| state.hanging = hanging.iter().copied().chain([201]).collect());
    let references: Vec<Reference> = [201, 301, 302, 303, 304, 305, 306].map(vmid).into();
    let polling = futures::future::join_all(references.iter().map(|one| observe(&shared, one)));
    tokio::pin!(polling);
    assert!(timeout(Duration::from_secs(1), &mut polling).await.is_err());
    world.change(|state| state.hanging.remove(&201));

    // The order's own read, and what is told while it is carried out.
    let order = async {
        let _held = shared.transition(201);
        let before = shared.live(&vmid(201), Action::Start, soon()).await.unwrap();
        assert_eq!(before.observation.status, STOPPED);
        world.start(201);
        assert_eq!(watching.synced_after_events().await.status, RUNNING);
    };
    let asked_for = Duration::from_secs(3);
    tokio::select! {
        biased;
        _ = &mut polling => panic!("nothing else is answered"),
        done = timeout(asked_for, order) => done.expect("nothing is waited for"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_panics_has_failed_and_the_next_one_tells() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    world.change(|state| state.panics_at = Some("resources"));
    let (one, other) = tokio::join!(shared.list(soon()), shared.list(soon()));
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert!(error.is_retryable(), "{error:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(error.kind(), @"unexpected answer: drowse itself failed while it read, and has written where: please report it");
        }
    }
    world.change(|state| state.panics_at = None);
    assert_eq!(shared.list(soon()).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_live_read_that_panics_is_made_again() {
    let world = World::new();
    world.add(201, "pve1");
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    assert_eq!(watching.synced().await.status, STOPPED);
    world.change(|state| state.panics_at = Some("status"));
    let error = observe(&shared, &vmid(201)).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    world.start(201);
    assert!(watching.error().await.is_retryable());
    world.change(|state| state.panics_at = None);
    assert_eq!(watching.synced_after_events().await.status, RUNNING);
}

/// Neither lists of a node nor beats show that.
#[tokio::test(start_paused = true)]
async fn what_is_new_to_high_availability_is_managed_in_each_read() {
    let world = World::new();
    for vmid in 201..206 {
        world.add(vmid, "pve1");
    }
    let shared = open(&world);
    let mut watching = Watching::begin(&shared, &vmid(201));
    watching.synced().await;
    let change = |state: Option<&str>, is_new| {
        let state = state.map(str::to_owned);
        world.with(201, |one| (one.ha_state, one.is_new_to_ha) = (state, is_new));
    };
    let as_listed = async || {
        world.take_asked();
        let references = [202, 203, 204, 205, 201].map(vmid);
        let reads = references.iter().map(|one| shared.live(one, Action::Status, soon()));
        let read = futures::future::join_all(reads).await.pop().unwrap().unwrap().status;
        assert!(!world.take_asked().iter().any(|what| what.starts_with("status of 201")));
        (read.is_ha_managed, read.ha_state)
    };
    assert_eq!(as_listed().await, (false, None));
    change(None, true);
    observe(&shared, &vmid(201)).await.unwrap();
    assert_eq!(as_listed().await, (true, None));
    seconds(10).await;
    assert_eq!(as_listed().await, (true, None));
    change(Some("started"), false);
    seconds(10).await;
    assert_eq!(as_listed().await, (true, Some("started".to_owned())));
    change(None, false);
    seconds(10).await;
    assert_eq!(as_listed().await, (false, None));
}
