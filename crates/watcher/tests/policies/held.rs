//! What a person may ask for.

use super::*;

#[derive(Debug, Default)]
struct PanicsWhenTold(Mutex<bool>);

impl Observer for PanicsWhenTold {
    fn changed(&self, _: &str, change: &Change) {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(!told, "a bug, at {change:?}");
    }
}

async fn is_held(home: &Home) -> Option<Duration> {
    let began = Instant::now();
    let refused = home.ask().await.unwrap_err();
    assert!(began.elapsed() < SECOND, "told at once");
    assert_eq!(refused.to_string(), "held asleep: a restore");
    let WakeError::HeldAsleep { retry_after, .. } = refused else { panic!("{refused}") };
    retry_after
}

#[tokio::test(start_paused = true)]
async fn what_is_held_asleep_is_left_alone_until_it_is_released() {
    let home = Home::new();
    drop(home.lease().await);
    home.workload.hold_asleep(Some(AsleepHold::new("a restore"))).await;
    home.sleep_now(Force::No).await.unwrap();
    assert_eq!(home.workload.snapshot().held_asleep.as_deref(), Some("a restore"));
    assert_eq!(is_held(&home).await, None);
    // The restore starts and stops it as it likes.
    home.app.start();
    sleep(IDLE * 4).await;
    assert_eq!(is_held(&home).await, None);
    assert_eq!(home.status(), ContainerStatus::Running);
    home.app.kill(Signal::TERM);
    sleep(IDLE).await;
    assert_eq!(home.status(), ContainerStatus::Stopped);
    home.workload.set_policy(Policy::new(IDLE * 2)).await;
    assert_eq!(is_held(&home).await, None);
    assert_eq!((home.app.calls(Action::Start), home.app.calls(Action::Stop)), (1, 1));

    home.workload.hold_asleep(None).await;
    drop(home.lease().await);
    assert_eq!(home.workload.snapshot().held_asleep, None);
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_at_its_time_and_says_when_that_is() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    let until = Instant::now() + Duration::from_hours(2);
    home.workload.hold_asleep(Some(AsleepHold::new("a restore").until(until))).await;
    sleep(Duration::from_hours(1)).await;
    let left = is_held(&home).await.unwrap();
    assert!(left.abs_diff(Duration::from_hours(1)) < SECOND, "{left:?}");
    home.until(|snapshot| snapshot.held_asleep.is_none()).await;
    assert!(Instant::now() >= until);
    drop(home.lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_hold_outlasts_a_panic_of_the_task() {
    let observer = Arc::new(PanicsWhenTold::default());
    let watching = Arc::clone(&observer);
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_observer(watching));
    home.until_phase(PhaseName::Asleep).await;
    home.workload.hold_asleep(Some(AsleepHold::new("a restore"))).await;
    is_held(&home).await;
    *observer.0.lock().unwrap() = true;
    home.app.start();
    timeout(PATIENCE, async {
        while *observer.0.lock().unwrap() {
            sleep(SECOND).await;
        }
    })
    .await
    .unwrap();
    sleep(MINUTE).await;
    is_held(&home).await;
    assert_eq!(home.status(), ContainerStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn a_forced_sleep_cuts_off_whoever_uses_it_once() {
    let home = Home::new();
    let stream = home.lease().await;
    assert!(home.sleep_now(Force::No).await.is_err());
    home.sleep_now(Force::EvenInUse).await.unwrap();
    assert_eq!(home.status(), ContainerStatus::Stopped);
    assert_eq!(home.workload.snapshot().reason, "put to sleep on request");
    drop(stream);
    let next = home.lease().await;
    assert_eq!(home.workload.leases(), 1);
    sleep(IDLE * 3).await;
    assert_eq!(home.app.calls(Action::Stop), 1, "that one order");
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn a_wake_by_hand_closes_the_circuit() {
    let mut circuit = Circuit::new();
    (circuit.opens_at, circuit.rest) = (1, Duration::from_hours(10));
    let home = Home::with(Policy::new(IDLE).with_circuit(circuit));
    home.until_phase(PhaseName::Asleep).await;
    let failed = drowse_provider::ErrorKind::Failed { exit: None, message: "no image".to_owned() };
    home.app.script(Action::Start, [drowse_provider::testing::Step::refuse(failed)]);
    for _ in 0..3 {
        let refused = home.ask().await.unwrap_err();
        assert_eq!(refused.to_string(), "it does not start: failed: no image; 1 failure in a row");
    }
    let blocked_until = home.workload.snapshot().blocked_until.unwrap();
    assert!(blocked_until > Instant::now() + Duration::from_hours(9));
    assert_eq!(home.app.calls(Action::Start), 1);
    home.workload.close_circuit().await;
    drop(home.lease().await);
    assert_eq!(home.workload.snapshot().blocked_until, None);
}
