//! What keeps a workload awake for as long as somebody wants that.

use super::*;

#[tokio::test(start_paused = true)]
async fn it_is_woken_and_kept_awake_until_the_guard_is_dropped() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    let guard = KeepAwake::new(home.workload.clone(), "hold of alice");
    let began = Instant::now();
    home.until_phase(PhaseName::Ready).await;
    sleep(IDLE * 20).await;
    let since = home.workload.held_since("hold of alice").unwrap();
    assert!(began.duration_since(since) <= Duration::from_millis(1), "and when it began is known");
    assert_eq!(home.workload.snapshot().phase, PhaseName::Ready);
    assert_eq!(home.workload.held_by(), [("hold of alice".to_owned(), 1)]);
    let refused = home.sleep_now(Force::No).await.unwrap_err();
    assert_eq!(refused.to_string(), "in use: 1 lease(s) held by hold of alice");
    drop(guard);
    assert_eq!(home.workload.leases(), 0);
    assert_eq!(home.workload.held_since("hold of alice"), None);
    sleep(IDLE - SECOND).await;
    assert_eq!(home.app.calls(Action::Stop), 0, "its end is the end of a use");
    home.until_phase(PhaseName::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_or_by_force_is_woken_again() {
    let home = Home::new();
    let _guard = KeepAwake::new(home.workload.clone(), "its schedule");
    home.until_phase(PhaseName::Ready).await;
    sleep(MINUTE).await;
    home.app.crash(1);
    timeout(PATIENCE, home.app.called(Action::Start, 2)).await.unwrap();
    home.until_phase(PhaseName::Ready).await;
    home.sleep_now(Force::EvenInUse).await.unwrap();
    timeout(PATIENCE, home.app.called(Action::Start, 3)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_outside_is_fought_by_nobody() {
    let home = Home::new();
    let guard = KeepAwake::new(home.workload.clone(), "its schedule");
    home.until_phase(PhaseName::Ready).await;
    home.app.kill(Signal::TERM);
    home.until(|snapshot| snapshot.is_ended_from_outside).await;
    sleep(Duration::from_hours(10)).await;
    assert_eq!((home.app.calls(Action::Start), home.status()), (1, ContainerStatus::Stopped));
    // Started again, it is kept awake as before.
    home.app.start();
    home.until_phase(PhaseName::Ready).await;
    sleep(IDLE * 20).await;
    assert_eq!(home.app.calls(Action::Stop), 0);
    drop(guard);
    home.until_phase(PhaseName::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_stopped_before_is_woken_and_what_is_stopped_after_that_is_not() {
    let home = Home::new();
    drop(home.lease().await);
    home.app.kill(Signal::TERM);
    home.until(|snapshot| snapshot.is_ended_from_outside).await;
    let _guard = KeepAwake::new(home.workload.clone(), "hold of alice");
    home.until_phase(PhaseName::Ready).await;
    sleep(MINUTE).await;
    home.app.kill(Signal::TERM);
    home.until(|snapshot| snapshot.is_ended_from_outside).await;
    sleep(Duration::from_hours(1)).await;
    assert_eq!((home.app.calls(Action::Start), home.status()), (2, ContainerStatus::Stopped));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_asleep_is_woken_when_it_is_released() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    home.workload.hold_asleep(Some(AsleepHold::new("a restore"))).await;
    let _guard = KeepAwake::new(home.workload.clone(), "its schedule");
    sleep(Duration::from_hours(10)).await;
    assert_eq!(home.app.calls(Action::Start), 0);
    home.workload.hold_asleep(None).await;
    timeout(MINUTE, home.app.called(Action::Start, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_keeps_it_awake_lets_go_while_it_is_held_asleep() {
    let home = Home::new();
    let _guard = KeepAwake::new(home.workload.clone(), "its schedule");
    home.until_phase(PhaseName::Ready).await;
    home.workload.hold_asleep(Some(AsleepHold::new("a restore"))).await;
    home.until(|snapshot| snapshot.held_asleep.is_some()).await;
    sleep(MINUTE).await;
    assert!(home.workload.held_by().is_empty());
    home.workload.sleep_now(Deadline::after(MINUTE), Force::No).await.unwrap();
    home.workload.hold_asleep(None).await;
    home.until_phase(PhaseName::Ready).await;
    assert_eq!(home.workload.held_by(), [("its schedule".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_to_start_is_tried_again_and_not_all_the_time() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    let failed = drowse_provider::ErrorKind::Failed { exit: None, message: "no image".to_owned() };
    home.app.always(Action::Start, drowse_provider::testing::Step::refuse(failed));
    let _guard = KeepAwake::new(home.workload.clone(), "its schedule");
    sleep(Duration::from_hours(1)).await;
    let tried = home.app.calls(Action::Start);
    assert!((10..=20).contains(&tried), "{tried} times in an hour");
    home.app.always(Action::Start, drowse_provider::testing::Step::ok());
    home.until_phase(PhaseName::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_management_ends_the_guard() {
    let home = Home::new();
    let _guard = KeepAwake::new(home.workload.clone(), "its schedule");
    home.until_phase(PhaseName::Ready).await;
    home.workload.close().await;
    sleep(Duration::from_hours(1)).await;
    assert_eq!(home.app.calls(Action::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn where_a_right_lacks_for_days_it_is_not_tried_every_few_seconds() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    let privilege = Some("VM.PowerMgmt".to_owned());
    let lacks = drowse_provider::ErrorKind::Forbidden { privilege, path: None };
    home.app.always(Action::Start, drowse_provider::testing::Step::refuse(lacks));
    let _guard = KeepAwake::new(home.workload.clone(), "its schedule");
    sleep(Duration::from_hours(1)).await;
    let starts = home.app.calls(Action::Start);
    assert!((55..=65).contains(&starts), "{starts} starts in an hour");
}
