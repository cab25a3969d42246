//! Orders, as a cluster answers them that a test scripts.

mod log;
mod world;

use std::time::Duration;

use drowse_provider::{ContainerStatus, ErrorKind, Unusable};

use self::world::{Answer, Task, World, broken, ends, failing, refused, runs};
use crate::{ClientError, TaskOutcome, provider::goal::Goal};

const SHUTDOWN: Goal = Goal::Shutdown { timeout: Duration::from_mins(1) };
const START: &str = "Start on pve1";
const ASKED: &str = "Shutdown { timeout: 60s } on pve1";
const KILLED: &str = "Stop { overrule: false } on pve1";
const OVERRULED: &str = "Stop { overrule: true } on pve1";

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}\n<- {error}");
        source = error.source();
    }
    text
}

// === nothing to order ===

#[tokio::test(start_paused = true)]
async fn what_is_as_wanted_is_not_ordered_also_while_it_is_locked() {
    for (status, goals) in [
        (ContainerStatus::Running, vec![Goal::Start]),
        (ContainerStatus::Stopped, vec![SHUTDOWN, Goal::Kill]),
    ] {
        for goal in goals {
            let world =
                World::new(status.clone()).with(|container| container.lock = Some("backup"));
            world.carry_out(goal).await.unwrap();
            assert!(world.given().is_empty());
            assert_eq!(world.read(), Some(status.clone()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_locked_is_not_ordered() {
    for (world, goal) in [
        (World::stopped(), Goal::Start),
        (World::running(), SHUTDOWN),
        (World::running(), Goal::Kill),
    ] {
        let world = world.with(|container| container.lock = Some("backup"));
        let error = world.carry_out(goal).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "backup"), "{error}");
        assert_eq!(error.container(), Some("web"));
        assert!(world.given().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_is_not_ordered() {
    let unusable = ContainerStatus::Error(Unusable::Other("is a template".to_owned()));
    for goal in [Goal::Start, SHUTDOWN, Goal::Kill] {
        let world = World::new(unusable.clone());
        let error = world.carry_out(goal).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { status } if *status == unusable));
        assert!(world.given().is_empty());
    }
}

// === orders that are carried out ===

#[tokio::test(start_paused = true)]
async fn a_start_returns_when_it_is_seen_to_run() {
    let world = World::stopped().answers([Answer::Task(Task::ok("vzstart").then(runs))]);
    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.given(), [START]);
    assert_eq!(world.read(), Some(ContainerStatus::Running));
    assert!(world.forgot_config());
}

#[tokio::test(start_paused = true)]
async fn the_watches_are_told_soon_while_an_order_is_under_way() {
    let world = World::stopped().answers([Answer::Task(Task::ok("vzstart").then(runs))]);
    let order = world.begin(Goal::Start, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.has_open_transition());
    order.ended().await.unwrap().unwrap();
    tokio::task::yield_now().await;
    assert!(!world.has_open_transition());
}

/// Must-not-happen 22.
#[tokio::test(start_paused = true)]
async fn a_task_that_ends_with_warnings_is_a_success() {
    let task = Task::ok("vzstart").ending_as(TaskOutcome::Warnings(1)).then(runs);
    World::stopped().answers([Answer::Task(task)]).carry_out(Goal::Start).await.unwrap();
}

/// It ran, if only for a moment; so says Docker too.
#[tokio::test(start_paused = true)]
async fn one_that_ends_as_soon_as_it_runs_was_started() {
    let world = World::stopped().answers([Answer::Task(Task::ok("vzstart"))]);
    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.read(), Some(ContainerStatus::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_stop_returns_when_it_is_seen_stopped() {
    let world = World::running().answers([Answer::Task(
        // Its command socket is there until everything is cleaned up.
        Task::ok("vzshutdown").after(Duration::from_secs(4), ends),
    )]);
    world.carry_out(SHUTDOWN).await.unwrap();
    assert_eq!(world.given(), [ASKED]);
    assert_eq!(world.read(), Some(ContainerStatus::Stopped));

    let world = World::running().answers([Answer::Task(Task::ok("vzstop").then(ends))]);
    world.carry_out(Goal::Kill).await.unwrap();
    assert_eq!(world.given(), [KILLED]);
}

#[tokio::test(start_paused = true)]
async fn one_that_somebody_started_again_was_stopped() {
    for task in [Task::ok("vzshutdown"), Task::failing("vzshutdown", "whatever")] {
        let world = World::running().answers([Answer::Task(task.then(runs))]);
        world.carry_out(SHUTDOWN).await.unwrap();
        assert_eq!(world.given(), [ASKED]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_deleted_after_its_stop_was_stopped() {
    let world = World::running().answers([Answer::Task(Task::ok("vzshutdown").then_gone())]);
    world.carry_out(SHUTDOWN).await.unwrap();
}

// === answers that are no refusals ===

/// Must-not-happen 23.
#[tokio::test(start_paused = true)]
async fn there_already_is_a_success() {
    for (world, goal, answer) in [
        (World::stopped(), Goal::Start, refused("CT 201 already running", runs)),
        (World::running(), SHUTDOWN, refused("CT 201 not running", ends)),
        (World::running(), Goal::Kill, refused("CT 201 not running", ends)),
    ] {
        let world = world.answers([answer]);
        world.carry_out(goal).await.unwrap();
        assert_eq!(world.given().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_only_claims_to_be_so_is_asked_three_times() {
    let answers = [(); 3].map(|()| refused("CT 201 already running", |_| {}));
    let world = World::stopped().answers(answers);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    let running = ContainerStatus::Running;
    assert!(matches!(error.kind(), ErrorKind::Conflict { status } if *status == running));
    assert_eq!(world.given(), [START, START, START]);
}

// === refusals ===

/// The words of real servers, of `start-failures-9.txt` and `pve-locks-perms.txt`.
#[tokio::test(start_paused = true)]
async fn each_recorded_failure_of_a_task_has_its_class() {
    let mut said = Vec::new();
    for exit in [
        "CT is locked (backup)",
        "can't lock file '/run/lock/lxc/pve-config-201.lock' - got timeout",
        "unable to get PID for CT 201 (not running?)",
        "startup for container '201' failed",
        "volume 'local:203/subvol-203-disk-0.subvol' does not exist",
        "bridge 'vmbr9' does not exist",
        "you can't start a CT if it's a template",
        "received interrupt",
        "cluster not ready - no quorum?",
    ] {
        let world = World::stopped().answers([Answer::Task(Task::failing("vzstart", exit))]);
        said.push(world.carry_out(Goal::Start).await.unwrap_err().to_string());
        assert_eq!(world.given(), [START]);
    }
    insta::assert_snapshot!(said.join("\n"), @"
        start of container `web` on engine `pve`: locked by backup
        start of container `web` on engine `pve`: locked by config
        start of container `web` on engine `pve`: failed: unable to get PID for CT 201 (not running?)
        start of container `web` on engine `pve`: failed: startup for container '201' failed
        start of container `web` on engine `pve`: failed: volume 'local:203/subvol-203-disk-0.subvol' does not exist
        start of container `web` on engine `pve`: failed: bridge 'vmbr9' does not exist
        start of container `web` on engine `pve`: failed: you can't start a CT if it's a template
        start of container `web` on engine `pve`: failed: received interrupt
        start of container `web` on engine `pve`: unavailable: the cluster has lost its quorum, and takes no orders until enough of its nodes are back (cluster not ready - no quorum?)
        ");

    let answer = Answer::Task(Task::failing("vzshutdown", "container did not stop"));
    let world = World::running().answers([answer]);
    insta::assert_snapshot!(world.carry_out(SHUTDOWN).await.unwrap_err(), @"stop of container `web` on engine `pve`: failed: container did not stop");
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_class_for_each_order() {
    let refusals = || {
        let refused = |words: &str| ClientError::Refused { status: 500, message: words.to_owned() };
        let forbidden = |privilege: &str| ClientError::Forbidden {
            privilege: Some(privilege.to_owned()),
            path: Some("/vms/201".to_owned()),
            message: format!("Permission check failed (/vms/201, {privilege})"),
        };
        [
            ("Unavailable", refused("cluster not ready - no quorum?")),
            ("Unavailable", refused("hostname lookup 'pve1' failed - got local IP")),
            ("Failed", refused("something else")),
            ("Forbidden", forbidden("VM.PowerMgmt")),
            ("Unauthorized", ClientError::Unauthorized { message: "No ticket".to_owned() }),
            ("Unavailable", broken(false)),
            ("Closed", ClientError::Closed),
        ]
    };
    for (expected, error) in refusals() {
        for (world, goal) in [
            (World::stopped(), Goal::Start),
            (World::running(), SHUTDOWN),
            (World::running(), Goal::Kill),
        ] {
            let world = world.answers([failing(error.clone())]);
            let error = world.carry_out(goal).await.unwrap_err();
            let kind = format!("{:?}", error.kind());
            assert!(kind.starts_with(expected), "{kind} is not {expected}");
            assert_eq!(world.given().len(), 1, "{error}");
            assert_eq!((error.engine(), error.container()), ("pve", Some("web")));
            assert!(std::error::Error::source(&error).is_some(), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_counts_only_where_the_state_is_not_as_wanted() {
    let task = Task::failing("vzstart", "can't lock file '/x/pve-config-201.lock' - got timeout");
    let world = World::stopped().answers([Answer::Task(task.then(runs))]);
    world.carry_out(Goal::Start).await.unwrap();

    let task = Task::failing("vzshutdown", "CT is locked (backup)").then(ends);
    let world = World::running().answers([Answer::Task(task)]);
    world.carry_out(SHUTDOWN).await.unwrap();
}

// === high availability ===

/// The task ends before anything happened, and it comes up elsewhere.
#[tokio::test(start_paused = true)]
async fn a_managed_one_is_waited_for_until_it_really_runs() {
    let task = Task::ok("hastart")
        .after(Duration::from_secs(20), |container| {
            container.node = "pve2";
            container.ha_state = Some("recovery");
            container.status = ContainerStatus::Error(Unusable::Other("recovery".to_owned()));
        })
        .after(Duration::from_secs(40), |container| {
            container.ha_state = Some("started");
            runs(container);
        });
    let world = World::stopped()
        .with(|container| container.ha_state = Some("stopped"))
        .answers([Answer::Task(task)]);
    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.given(), [START]);
    assert_eq!(world.read(), Some(ContainerStatus::Running));
}

#[tokio::test(start_paused = true)]
async fn a_managed_one_is_waited_for_until_it_has_really_ended() {
    for (goal, ordered) in [(SHUTDOWN, ASKED), (Goal::Kill, KILLED)] {
        let world = World::running()
            .with(|container| container.ha_state = Some("started"))
            .answers([Answer::Task(Task::ok("hastop").after(Duration::from_secs(70), ends))]);
        world.carry_out(goal).await.unwrap();
        assert_eq!(world.given(), [ordered]);
        assert_eq!(world.read(), Some(ContainerStatus::Stopped));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_management_gives_up_is_not_waited_for() {
    let task = Task::ok("hastart").after(Duration::from_secs(30), |container| {
        container.ha_state = Some("error");
        container.status = ContainerStatus::Error(Unusable::Other("in error".to_owned()));
    });
    let world = World::stopped()
        .with(|container| container.ha_state = Some("stopped"))
        .answers([Answer::Task(task)]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Conflict { status: ContainerStatus::Error(_) }),
        "{error}"
    );
}

/// By management itself, say, which has not come to the order yet.
#[tokio::test(start_paused = true)]
async fn a_managed_one_that_runs_anew_has_not_ended() {
    let task =
        Task::ok("hastop").after(Duration::from_secs(20), runs).after(Duration::from_mins(1), ends);
    let world = World::running()
        .with(|container| container.ha_state = Some("started"))
        .answers([Answer::Task(task)]);
    world.carry_out(SHUTDOWN).await.unwrap();
    assert_eq!(world.read(), Some(ContainerStatus::Stopped));
}

/// The node that was asked is silent from then on.
#[tokio::test(start_paused = true)]
async fn one_that_comes_up_elsewhere_runs_whatever_its_task_does() {
    let task = Task::ok("hastart").taking(STUCK).after(Duration::from_secs(40), |container| {
        container.node = "pve2";
        runs(container);
    });
    let world = World::stopped()
        .with(|container| container.ha_state = Some("stopped"))
        .answers([Answer::Task(task)]);
    let begun = tokio::time::Instant::now();
    world.carry_out(Goal::Start).await.unwrap();
    assert!(begun.elapsed() < Duration::from_mins(1), "of a clock that only the test moves");
}

// === lost answers ===

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_was_lost_is_seen_by_its_state() {
    for (world, goal, task) in [
        (World::stopped(), Goal::Start, Task::ok("vzstart").then(runs)),
        (World::running(), SHUTDOWN, Task::ok("vzshutdown").then(ends)),
        (World::running(), Goal::Kill, Task::ok("vzstop").then(ends)),
    ] {
        let world = world.without_audit().answers([Answer::Lost(Some(task))]);
        world.carry_out(goal).await.unwrap();
        assert_eq!(world.given().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_was_lost_is_joined_by_its_task() {
    let task = Task::failing("vzstart", "bridge 'vmbr9' does not exist").taking(30);
    let world = World::stopped().answers([Answer::Lost(Some(task))]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Failed { message, .. } if message.contains("vmbr9")));
    assert_eq!(world.given(), [START]);

    // Somebody else's backup is no task of that order.
    let world = World::stopped().answers([Answer::Lost(Some(Task::ok("vzdump").taking(30)))]);
    world.carry_out(Goal::Start).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_lost_is_not_repeated() {
    for (world, goal) in [
        (World::stopped(), Goal::Start),
        (World::running(), SHUTDOWN),
        (World::running(), Goal::Kill),
    ] {
        let world = world.answers([Answer::Lost(None)]);
        let error = world.carry_out(goal).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
        assert!(error.is_outcome_unknown());
        assert_eq!(world.given().len(), 1);
    }
}

// === migration ===

/// Must-not-happen 25.
#[tokio::test(start_paused = true)]
async fn one_that_moved_before_the_order_is_followed() {
    let gone = "Configuration file 'nodes/pve1/lxc/201.conf' does not exist";
    let task = Task::failing("vzstart", gone).then(|container| container.node = "pve2");
    let then = Answer::Task(Task::ok("vzstart").then(runs));
    let world = World::stopped().answers([Answer::Task(task), then]);
    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.given(), [START, "Start on pve2"]);

    let moves = refused("CT 201 not running", |container| container.node = "pve2");
    let then = Answer::Task(Task::ok("vzshutdown").then(ends));
    let world = World::running().answers([moves, then]);
    world.carry_out(SHUTDOWN).await.unwrap();
    assert_eq!(world.given(), [ASKED, "Shutdown { timeout: 60s } on pve2"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_moves_while_it_starts_is_followed() {
    let task = Task::failing("vzstart", "startup for container '201' failed")
        .then(|container| container.node = "pve2");
    let then = Answer::Task(Task::ok("vzstart").then(runs));
    let world = World::stopped().answers([Answer::Task(task), then]);
    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.given(), [START, "Start on pve2"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_migrated_is_locked() {
    let task = Task::failing("vzstart", "CT is locked (migrate)");
    let world = World::stopped().answers([Answer::Task(task)]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "migrate"));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_deleted_before_its_start_is_not_found() {
    let gone = "Configuration file 'nodes/pve1/lxc/201.conf' does not exist";
    let world =
        World::stopped().answers([Answer::Task(Task::failing("vzstart", gone).then_gone())]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound), "{error}");
}

// === kill upon shutdown ===

const STUCK: u64 = 600;

#[tokio::test(start_paused = true)]
async fn a_kill_overrules_a_shutdown_of_ours() {
    let stuck = Task::failing("vzshutdown", "received interrupt").taking(3);
    let kill = Task::ok("vzstop").taking(5).then(ends);
    let world = World::running().answers([Answer::Task(stuck), Answer::Task(kill)]);
    let shutdown = world.begin(SHUTDOWN, Duration::from_mins(5));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.carry_out(Goal::Kill).await.unwrap();
    // Whoever asked it to end has what they wanted.
    shutdown.ended().await.unwrap().unwrap();
    assert_eq!(world.given(), [ASKED, OVERRULED]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_whose_kill_fails_says_so() {
    let stuck = Task::failing("vzshutdown", "received interrupt").taking(3);
    let kill = Task::failing("vzstop", "lxc-stop hangs").taking(5);
    let world = World::running().answers([Answer::Task(stuck), Answer::Task(kill)]);
    let shutdown = world.begin(SHUTDOWN, Duration::from_mins(5));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let of_kill = world.carry_out(Goal::Kill).await.unwrap_err();
    let of_shutdown = shutdown.ended().await.unwrap().unwrap_err();
    assert_eq!(of_kill.to_string(), of_shutdown.to_string());
}

/// Before 8.2, and for high availability, which refuses it.
#[tokio::test(start_paused = true)]
async fn a_kill_waits_for_a_shutdown_that_it_cannot_overrule() {
    let managed = |container: &mut world::Container| container.ha_state = Some("started");
    for world in [World::running().before_8_2(), World::running().with(managed)] {
        let shutdown = Task::ok("vzshutdown").taking(20);
        let kill = Task::ok("vzstop").then(ends);
        let world = world.answers([Answer::Task(shutdown.then(ends)), Answer::Task(kill)]);
        let shutdown = world.begin(SHUTDOWN, Duration::from_mins(5));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let kill = world.begin(Goal::Kill, Duration::from_mins(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waits_out = kill.waits_out().unwrap();
        assert!(matches!(waits_out.kind(), ErrorKind::Locked { by } if by == "shutdown"));
        kill.ended().await.unwrap().unwrap();
        shutdown.ended().await.unwrap().unwrap();
        assert_eq!(world.given(), [ASKED], "it had ended by then");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_after_a_shutdown_that_failed_is_ordered() {
    let failing = Task::failing("vzshutdown", "container did not stop").taking(20);
    let kill = Task::ok("vzstop").then(ends);
    let world = World::running().before_8_2().answers([Answer::Task(failing), Answer::Task(kill)]);
    let shutdown = world.begin(SHUTDOWN, Duration::from_mins(5));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.carry_out(Goal::Kill).await.unwrap();
    shutdown.ended().await.unwrap().unwrap_err();
    assert_eq!(world.given(), [ASKED, KILLED]);
}

/// Of a life of ours before this one, say: there is no order of it here.
#[tokio::test(start_paused = true)]
async fn a_kill_overrules_a_shutdown_that_is_only_seen_by_its_lock() {
    let held = Task::failing("vzstop", "can't lock file '/x/pve-config-201.lock' - got timeout");
    let kill = Task::ok("vzstop").then(ends);
    let world = World::running().answers([Answer::Task(held.clone()), Answer::Task(kill)]);
    world.carry_out(Goal::Kill).await.unwrap();
    assert_eq!(world.given(), [KILLED, OVERRULED]);

    let world = World::running().answers([Answer::Task(held.clone()), Answer::Task(held.clone())]);
    let error = world.carry_out(Goal::Kill).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { by } if by == "config"), "{error}");
    assert_eq!(world.given(), [KILLED, OVERRULED]);

    let world = World::running().before_8_2().answers([Answer::Task(held)]);
    world.carry_out(Goal::Kill).await.unwrap_err();
    assert_eq!(world.given(), [KILLED]);
}

// === waits ===

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_ordered() {
    for (world, goal) in [
        (World::stopped(), Goal::Start),
        (World::running(), SHUTDOWN),
        (World::running(), Goal::Kill),
    ] {
        let world = world.slow_reads(Duration::from_secs(5));
        drop(world.begin(goal, Duration::from_mins(1)));
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(world.given().is_empty(), "it was dropped");

        let order = world.begin(goal, Duration::from_secs(2));
        let error = order.ended().await.unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
        assert!(world.given().is_empty(), "its deadline has passed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_ordered_again() {
    let moved = refused("CT 201 not running", |container| container.node = "pve2");
    let world = World::running().answers([moved]).slow_reads(Duration::from_secs(5));
    let order = world.begin(SHUTDOWN, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(6)).await;
    drop(order);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.given(), [ASKED]);
}

/// It waits for a place, a login or an endpoint meanwhile.
#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_given_up_while_it_is_not_sent() {
    let world = World::stopped()
        .unsent_for(Duration::from_mins(1))
        .answers([Answer::Task(Task::ok("vzstart").then(runs))]);
    let first = world.begin(Goal::Start, Duration::from_mins(9));
    let second = world.begin(Goal::Start, Duration::from_mins(9));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.has_open_transition(), "somebody waits for it still");
    drop(second);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!world.has_open_transition());
    tokio::time::sleep(Duration::from_mins(9)).await;
    assert!(world.given().is_empty());

    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.given(), [START]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_followed_if_it_was_sent() {
    let world = World::stopped()
        .slow_answers(Duration::from_secs(20))
        .answers([Answer::Task(Task::ok("vzstart").then(runs))]);
    let order = world.begin(Goal::Start, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(order);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.carry_out(Goal::Start).await.unwrap();
    assert_eq!(world.given(), [START]);
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_while_it_is_not_sent_has_the_time_that_they_bring() {
    let world = World::stopped()
        .unsent_for(Duration::from_secs(30))
        .answers([Answer::Task(Task::ok("vzstart").then(runs))]);
    let _first = world.begin(Goal::Start, Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let second = world.begin(Goal::Start, Duration::from_mins(5));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let waits_out = second.waits_out().unwrap();
    assert!(matches!(waits_out.kind(), ErrorKind::Unavailable { .. }), "{waits_out}");
    second.ended().await.unwrap().unwrap();
    assert_eq!(world.given(), [START]);
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_with_more_time_has_it() {
    let task = Task::ok("vzstart").taking(STUCK).then(runs);
    let world = World::stopped().answers([Answer::Task(task)]);
    let _first = world.begin(Goal::Start, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.begin(Goal::Start, Duration::from_mins(20)).ended().await.unwrap().unwrap();
    assert_eq!(world.given(), [START]);
}

#[tokio::test(start_paused = true)]
async fn a_first_look_that_times_out_says_who_is_silent_and_that_nothing_was_ordered() {
    let silent = ErrorKind::Timeout { after: Duration::from_secs(10), last: None };
    let world = World::stopped().failing_reads([silent]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    insta::assert_snapshot!(chain(&error), @"
        start of container `web` on engine `pve`: unavailable: `pve1` does not answer, so nothing was ordered
        <- start of container `web` on engine `pve`: timed out after 10s
        ");
    assert!(world.given().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_away_while_a_task_runs_is_waited_out() {
    let away = || ErrorKind::Unavailable { reason: "node `pve1` is away".to_owned() };
    let trouble = ClientError::TimedOut {
        after: Duration::from_secs(10),
        last: Some(Box::new(broken(false))),
        was_sent: true,
    };
    let world = World::stopped()
        .answers([Answer::Task(Task::ok("vzstart").taking(30).then(runs))])
        .failing_tasks([trouble.clone(), broken(false), trouble]);
    let order = world.begin(Goal::Start, Duration::from_mins(5));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waits_out = order.waits_out().unwrap();
    assert!(matches!(waits_out.kind(), ErrorKind::Unavailable { .. }), "{waits_out}");
    let world = world.failing_reads([away(), away(), away()]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let stopped = ContainerStatus::Stopped;
    let waits_out = order.waits_out().unwrap();
    assert!(
        matches!(waits_out.kind(), ErrorKind::Conflict { status } if *status == stopped),
        "it is back: {waits_out}"
    );
    order.ended().await.unwrap().unwrap();
    assert_eq!(world.given(), [START]);
}

/// The task's node is gone for good, and management has brought the container up elsewhere.
#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_read_any_more_is_settled_by_the_state() {
    let lost = [(); 9].map(|()| broken(false));
    let task = Task::ok("hastart").taking(STUCK).after(Duration::from_secs(3), runs);
    let world = World::stopped().answers([Answer::Task(task)]).failing_tasks(lost);
    world.carry_out(Goal::Start).await.unwrap();

    let unseen = ClientError::Forbidden {
        privilege: Some("Sys.Audit".to_owned()),
        path: Some("/nodes/pve1".to_owned()),
        message: "Permission check failed (/nodes/pve1, Sys.Audit)".to_owned(),
    };
    let task = Task::ok("vzstart").after(Duration::from_secs(3), runs);
    let world = World::stopped().answers([Answer::Task(task)]).failing_tasks([unseen]);
    world.carry_out(Goal::Start).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_revoked_meanwhile_is_told() {
    let revoked = ClientError::Unauthorized { message: "Authentication failed!".to_owned() };
    let world =
        World::stopped().answers([Answer::Task(Task::ok("vzstart"))]).failing_tasks([revoked]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    insta::assert_snapshot!(chain(&error), @"
        start of container `web` on engine `pve`: unavailable: what came of the order cannot be read: the credential is not accepted
        <- start of container `web` on engine `pve`: the credential is not accepted
        <- the credential is not accepted: Authentication failed!
        ");
}

/// It is the look that is refused, not the order.
#[tokio::test(start_paused = true)]
async fn what_came_of_an_order_is_unknown_if_it_is_not_to_be_seen() {
    let unseen = ErrorKind::Forbidden {
        privilege: Some("VM.Audit".to_owned()),
        path: Some("/vms/201".to_owned()),
    };
    for kind in [unseen, ErrorKind::NotFound, ErrorKind::Unauthorized] {
        for answer in [Answer::Lost(None), Answer::Task(Task::ok("vzstart"))] {
            let world = World::stopped().answers([answer]);
            let order = world.begin(Goal::Start, Duration::from_mins(1));
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(world.given(), [START]);
            let _world = world.failing_reads([kind.clone()]);
            let error = order.ended().await.unwrap().unwrap_err();
            assert!(error.is_outcome_unknown(), "{error}");
            assert!(chain(&error).ends_with(&kind.to_string()), "{}", chain(&error));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_what_was_being_waited_out() {
    let slow = || [Answer::Task(Task::ok("vzshutdown").taking(STUCK))];
    let within = Duration::from_secs(90);
    let timed_out = |world: World| async move {
        chain(&world.begin(SHUTDOWN, within).ended().await.unwrap().unwrap_err())
    };
    insta::assert_snapshot!(timed_out(World::running().answers(slow())).await, @"
        stop of container `web` on engine `pve`: timed out after 180s, last: the container is running
        <- stop of container `web` on engine `pve`: the container is running
        ");

    let away = ClientError::NodeUnreachable {
        node: "pve1".to_owned(),
        message: "No route to host".to_owned(),
        was_sent: false,
    };
    let lost = vec![away; 200];
    let world = World::running().answers(slow()).failing_tasks(lost);
    insta::assert_snapshot!(timed_out(world).await, @"
        stop of container `web` on engine `pve`: timed out after 180s, last: unavailable: node `pve1` cannot be reached by the cluster: No route to host
        <- stop of container `web` on engine `pve`: unavailable: node `pve1` cannot be reached by the cluster: No route to host
        <- node `pve1` cannot be reached by the cluster: No route to host
        ");
}

#[tokio::test(start_paused = true)]
async fn the_first_look_fails_at_once() {
    let away = ErrorKind::Unavailable { reason: "node `pve1` is away".to_owned() };
    let world = World::stopped().failing_reads([away]);
    let error = world.carry_out(Goal::Start).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }));
    assert_eq!(error.container(), Some("web"));
    assert!(world.given().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_same_gets_the_same() {
    let world = World::stopped().answers([Answer::Task(Task::ok("vzstart").then(runs))]);
    let orders = [(); 20].map(|()| world.begin(Goal::Start, Duration::from_mins(1)));
    for order in orders {
        order.ended().await.unwrap().unwrap();
    }
    assert_eq!(world.given(), [START]);
}
