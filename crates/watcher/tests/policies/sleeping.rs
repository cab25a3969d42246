//! Ways to sleep, and when.

use super::*;

const AFTER: Duration = Duration::from_hours(6);

fn pause_then_stop() -> Policy {
    let stop = StopOptions::new();
    Policy::new(IDLE).with_sleep(SleepMethod::PauseThenStop { after: AFTER, stop })
}

fn calls(home: &Home) -> [usize; 3] {
    [Action::Start, Action::Pause, Action::Stop].map(|action| home.app.calls(action))
}

#[tokio::test(start_paused = true)]
async fn it_is_frozen_and_later_stopped_and_woken_from_either() {
    let home = Home::with(pause_then_stop());
    drop(home.lease().await);
    let began = Instant::now();
    home.until_phase(PhaseName::Asleep).await;
    assert_eq!(home.status(), ContainerStatus::Paused);
    let stops_at = home.workload.snapshot().next_sleep.unwrap();
    let expected = began + IDLE + AFTER;
    assert!(stops_at >= expected && stops_at < expected + SECOND, "{:?}", stops_at - began);
    drop(home.lease().await);
    assert_eq!(calls(&home), [2, 1, 0]);
    home.until(|snapshot| snapshot.reason == "idle: stopped").await;
    assert_eq!(home.status(), ContainerStatus::Stopped);
    assert_eq!(home.workload.snapshot().next_sleep, None);
    let frozen = home.workload.history();
    assert_eq!(frozen.last().unwrap().reason, "idle: stopped");
    drop(home.lease().await);
    assert_eq!(calls(&home), [3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_found_frozen_is_stopped_and_what_its_user_freezes_is_not() {
    let home = Home::with(pause_then_stop());
    drop(home.lease().await);
    home.app.pause();
    home.until_phase(PhaseName::Asleep).await;
    assert!(home.workload.snapshot().is_ended_from_outside);
    sleep(AFTER * 3).await;
    assert_eq!(home.status(), ContainerStatus::Paused);
    // drowse begins anew, and finds it so.
    home.workload.close().await;
    let _again = Workload::spawn(spec(&home.engine, pause_then_stop()));
    timeout(AFTER + MINUTE, home.app.called(Action::Stop, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hold_on_what_is_frozen_keeps_it_so() {
    let home = Home::with(pause_then_stop());
    drop(home.lease().await);
    home.until_phase(PhaseName::Asleep).await;
    let holder = home.workload.holder("dependent web");
    let hold = home.workload.hold(&holder, LeaseKind::Dependent);
    assert_eq!(home.workload.snapshot().next_sleep, None);
    sleep(AFTER * 3).await;
    assert_eq!(home.status(), ContainerStatus::Paused);
    drop(hold);
    timeout(MINUTE, home.app.called(Action::Stop, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_wake_it_stays_awake_for_its_minimum() {
    let home = Home::with(Policy::new(IDLE).with_min_awake(Duration::from_hours(2)));
    home.until_phase(PhaseName::Asleep).await;
    drop(home.lease().await);
    sleep(Duration::from_hours(2) - SECOND).await;
    assert_eq!(home.app.calls(Action::Stop), 0);
    timeout(2 * SECOND, home.app.called(Action::Stop, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_next_sleep_is_told_as_leases_come_and_go() {
    let home = Home::new();
    let lease = home.lease().await;
    assert_eq!(home.workload.snapshot().next_sleep, None, "in use");
    sleep(MINUTE).await;
    drop(lease);
    let next_sleep = || home.workload.snapshot().next_sleep.unwrap() - Instant::now();
    let close_to = |expected: Duration| {
        let planned = next_sleep();
        assert!(planned.abs_diff(expected) < SECOND, "{planned:?}, not {expected:?}");
    };
    close_to(IDLE);
    sleep(IDLE - MINUTE).await;
    close_to(MINUTE);
    drop(home.lease().await);
    close_to(IDLE);
    home.until_phase(PhaseName::Asleep).await;
    assert_eq!(home.workload.snapshot().next_sleep, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_put_to_sleep_is_woken_and_stays_awake() {
    let home = Home::with(Policy::new(IDLE).with_sleep(SleepMethod::Never));
    home.until_phase(PhaseName::Asleep).await;
    drop(home.lease().await);
    sleep(IDLE * 100).await;
    assert_eq!(calls(&home), [1, 0, 0]);
    assert_eq!(home.workload.snapshot().next_sleep, None);
    let refused = home.sleep_now(Force::EvenInUse).await.unwrap_err();
    assert_eq!(refused.to_string(), "it is never put to sleep");
    // It may sleep from now on.
    home.workload.set_policy(Policy::new(IDLE)).await;
    home.until_phase(PhaseName::Asleep).await;
}
