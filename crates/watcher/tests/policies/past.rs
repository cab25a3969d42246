//! What is told of a workload's past, and kept over a restart.

use super::*;

#[derive(Debug, Default)]
struct Log(Mutex<Vec<(String, Change)>>);

impl Observer for Log {
    fn changed(&self, workload: &str, change: &Change) {
        self.0.lock().unwrap().push((workload.to_owned(), change.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_ten_changes_are_kept_and_each_is_told() {
    let log = Arc::new(Log::default());
    let observer = Arc::clone(&log);
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_observer(observer));
    assert_eq!(home.workload.history(), []);
    home.until_phase(PhaseName::Asleep).await;
    for _ in 0..3 {
        drop(home.lease().await);
        home.until_phase(PhaseName::Asleep).await;
    }
    let history = home.workload.history();
    let told: Vec<Change> = {
        let told = log.0.lock().unwrap();
        assert!(told.iter().all(|(workload, _)| workload == "app"));
        told.iter().map(|(_, change)| change.clone()).collect()
    };
    assert_eq!(told.len(), 16, "one read, and three rounds of five");
    assert_eq!(history, told[6..]);
    assert!(history.is_sorted_by_key(|change| change.at));
    let round: Vec<_> = history[5..].iter().map(|change| (change.to, &*change.reason)).collect();
    assert_eq!(
        round,
        [
            (PhaseName::Starting, "asked for by route test"),
            (PhaseName::Probing, "started"),
            (PhaseName::Ready, "woken"),
            (PhaseName::Stopping, "idle for 15m"),
            (PhaseName::Asleep, "idle: stopped"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_it_knew_is_known_after_a_restart() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    assert_eq!(home.workload.memory(), Memory::default());
    for seconds in 1..=10 {
        let late = drowse_provider::testing::Step::ok().late_by(seconds * SECOND);
        home.app.script(Action::Start, [late]);
        drop(home.lease().await);
        home.sleep_now(Force::No).await.unwrap();
    }
    let failed = drowse_provider::ErrorKind::Failed { exit: None, message: "no image".to_owned() };
    home.app.script(Action::Start, [drowse_provider::testing::Step::refuse(failed)]);
    home.ask().await.unwrap_err();
    sleep(Duration::from_millis(400)).await;

    let memory = home.workload.memory();
    assert_eq!((memory.failures, memory.failure.as_deref()), (1, Some("failed: no image")));
    assert!(memory.blocked_for.unwrap() <= Duration::from_millis(600), "{memory:?}");
    assert!(memory.last_use_ago.unwrap() < MINUTE, "{memory:?}");
    let wakes: Vec<u64> = memory.wakes.iter().map(Duration::as_secs).collect();
    assert_eq!(wakes, [3, 4, 5, 6, 7, 8, 9, 10]);

    // drowse was away for a day, and counts that.
    home.workload.close().await;
    let mut memory = memory;
    memory.blocked_for = Some(Duration::from_mins(3));
    memory.last_use_ago = Some(Duration::from_hours(24));
    let again = Workload::spawn(spec(&home.engine, Policy::new(IDLE)).with_memory(memory.clone()));
    let home = Home { workload: again, ..home };
    let refused = home.ask().await.unwrap_err();
    assert_eq!(refused.to_string(), "it does not start: failed: no image");
    assert_eq!(home.workload.snapshot().phase, PhaseName::Failed);
    sleep(MINUTE).await;
    let later = home.workload.memory();
    assert_eq!(later.wakes, memory.wakes);
    assert!(later.last_use_ago.unwrap() >= Duration::from_hours(24) + MINUTE, "{later:?}");
    assert!(later.blocked_for.unwrap() <= Duration::from_mins(2), "{later:?}");
    sleep(Duration::from_mins(2)).await;
    let lease = home.lease().await;
    assert_eq!(home.workload.memory().last_use_ago, Some(Duration::ZERO), "in use");
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn failures_of_another_container_are_forgotten() {
    let home = Home::new();
    home.until_phase(PhaseName::Asleep).await;
    let mut memory = Memory::default();
    memory.failures = 5;
    memory.blocked_for = Some(Duration::from_mins(5));
    memory.container = Some("another id".to_owned());
    home.workload.close().await;
    let again = Workload::spawn(spec(&home.engine, Policy::new(IDLE)).with_memory(memory));
    let home = Home { workload: again, ..home };
    drop(home.lease().await);
    assert_eq!(home.workload.memory().failures, 0);
}

/// A store that was damaged costs history, and nobody waits for ever.
#[tokio::test(start_paused = true)]
async fn whatever_a_memory_says_it_is_tried_again_within_the_policys_rest() {
    let home = Home::new();
    home.workload.close().await;
    let mut memory = Memory::default();
    memory.failures = u32::MAX;
    memory.blocked_for = Some(Duration::MAX);
    memory.last_use_ago = Some(Duration::MAX);
    memory.wakes = vec![Duration::MAX; 1_000];
    let again = Workload::spawn(spec(&home.engine, Policy::new(IDLE)).with_memory(memory));
    let home = Home { workload: again, ..home };
    let refused = home.ask().await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(Circuit::new().rest));
    assert_eq!(home.workload.memory().last_use_ago, Some(Duration::MAX));
    sleep(Circuit::new().rest).await;
    drop(home.lease().await);
    let memory = home.workload.memory();
    assert_eq!((memory.wakes.len(), memory.blocked_for), (8, None));
    home.until_phase(PhaseName::Asleep).await;
}

#[derive(Debug)]
struct PanicsOnce(AtomicUsize);

#[async_trait]
impl Readiness for PanicsOnce {
    async fn probe(&self, _: &Details, _: Attempt) -> Result<(), NotReady> {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "a bug in a probe");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_task_costs_no_history() {
    let engine = ScriptedEngine::new("home");
    let app = engine.add("app");
    let provider = engine.provider(&Reference::Name("app".to_owned())).unwrap();
    let readiness = Arc::new(PanicsOnce(AtomicUsize::new(0)));
    let workload =
        Workload::spawn(WorkloadSpec::new("app", provider, readiness, Policy::new(IDLE)));
    let home = Home { engine, app, workload };
    home.until_phase(PhaseName::Asleep).await;
    drop(home.lease().await);
    let phases: Vec<PhaseName> = home.workload.history().iter().map(|change| change.to).collect();
    assert_eq!(phases[..3], [PhaseName::Asleep, PhaseName::Starting, PhaseName::Probing]);
    assert_eq!(phases.last(), Some(&PhaseName::Ready), "{phases:?}");
}
