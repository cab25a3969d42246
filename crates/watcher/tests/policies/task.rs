//! The task of a workload: what it waits for, what it begins anew after, and how it ends.

use drowse_provider::testing::Step;

use super::*;

/// Panics when it is told of the first change to this state.
#[derive(Debug)]
struct PanicsAt(Mutex<Option<PhaseName>>);

impl PanicsAt {
    fn new(phase: PhaseName) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(phase))))
    }
}

impl Observer for PanicsAt {
    fn changed(&self, _: &str, change: &Change) {
        let is_so = self.0.lock().unwrap().take_if(|phase| *phase == change.to).is_some();
        assert!(!is_so, "a bug, at {change:?}");
    }
}

/// How many are asked, and have not answered or been dropped.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Never answers.
    async fn hang(&self) {
        struct Question<'a>(&'a Asked);
        impl Drop for Question<'_> {
            fn drop(&mut self) {
                self.0.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        let _question = Question(self);
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Readiness for Asked {
    async fn probe(&self, _: &Details, _: Attempt) -> Result<(), NotReady> {
        self.hang().await;
        Ok(())
    }
}

#[async_trait]
impl StopGate for Asked {
    async fn may_sleep(&self, _: &Details) -> Result<(), Busy> {
        self.hang().await;
        Ok(())
    }
}

/// Panics, then hangs, then answers.
#[derive(Debug, Default)]
struct Flawed(AtomicUsize);

#[async_trait]
impl Readiness for Flawed {
    async fn probe(&self, _: &Details, _: Attempt) -> Result<(), NotReady> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a bug in a probe"),
            1 => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

fn until_asked(asked: &Asked) -> impl Future<Output = ()> {
    let asked = asked.clone();
    async move {
        while asked.count() == 0 {
            sleep(SECOND).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_or_hangs_has_found_out_nothing() {
    let flawed = Arc::new(Flawed::default());
    let home = Home::of(Policy::new(IDLE), |spec| {
        let (name, provider, policy) = (spec.name, spec.provider, spec.policy);
        WorkloadSpec::new(name, provider, Arc::clone(&flawed) as Arc<dyn Readiness>, policy)
    });
    let lease = home.lease().await;
    assert_eq!(flawed.0.load(Ordering::Relaxed), 3);
    let begins = |change: &&Change| change.from == PhaseName::Unread;
    let begun = home.workload.history().iter().filter(begins).count();
    assert_eq!(begun, 1, "its task never began anew");
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_no_longer_matters_is_dropped() {
    let asked = Asked::default();
    let home = Home::of(Policy::new(IDLE), |spec| {
        let readiness = Arc::new(asked.clone());
        WorkloadSpec::new(spec.name, spec.provider, readiness, spec.policy)
    });
    let waiting = tokio::spawn({
        let workload = home.workload.clone();
        async move {
            let holder = workload.holder("route test");
            workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
        }
    });
    timeout(PATIENCE, until_asked(&asked)).await.unwrap();
    home.workload.hold_asleep(Some(AsleepHold::new("a restore"))).await;
    assert_eq!(asked.count(), 0);
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_question_to_the_gates_that_no_longer_matters_is_dropped() {
    let asked = Asked::default();
    let gates: Vec<Arc<dyn StopGate>> = vec![Arc::new(asked.clone())];
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_gates(gates));
    drop(home.lease().await);
    timeout(PATIENCE, until_asked(&asked)).await.unwrap();
    home.app.crash(1);
    home.until_phase(PhaseName::Asleep).await;
    drop(home.lease().await);
    assert_eq!(asked.count(), 0, "of another run");
}

#[tokio::test(start_paused = true)]
async fn what_is_set_holds_when_the_call_returns() {
    let home = Home::new();
    drop(home.lease().await);
    home.workload.hold_asleep(Some(AsleepHold::new("a restore"))).await;
    let holder = home.workload.holder("route test");
    assert!(home.workload.try_lease(&holder, LeaseKind::Active).is_none());
    assert_eq!(home.workload.snapshot().held_asleep.as_deref(), Some("a restore"));
    home.workload.hold_asleep(None).await;
    assert_eq!(home.workload.snapshot().held_asleep, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_task_costs_nobody_an_answer() {
    let panics = PanicsAt::new(PhaseName::Probing);
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_observer(panics));
    let lease = home.lease().await;
    assert_eq!(home.app.calls(Action::Start), 1, "it was adopted as it was");
    drop(lease);
    home.until_phase(PhaseName::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn a_sleep_on_request_outlasts_a_panic_of_the_task() {
    let panics = PanicsAt::new(PhaseName::Stopping);
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_observer(panics));
    drop(home.lease().await);
    let asked = home.sleep_now(Force::No);
    let looked = async {
        sleep(SECOND / 2).await;
        home.workload.snapshot()
    };
    let (answer, meanwhile) = tokio::join!(asked, looked);
    answer.unwrap();
    assert_eq!(home.status(), ContainerStatus::Stopped);
    // Its gate was shut while the task rested.
    assert_eq!(meanwhile.phase, PhaseName::Unread);
    assert_eq!(meanwhile.run, None);
}

#[tokio::test(start_paused = true)]
async fn whoever_closes_it_next_waits_for_its_end_too() {
    let home = Home::new();
    home.app.script(Action::Start, [Step::ok().late_by(MINUTE)]);
    let waiting = tokio::spawn({
        let workload = home.workload.clone();
        async move {
            let holder = workload.holder("route test");
            workload.lease(&holder, LeaseKind::Active, Deadline::after(PATIENCE)).await
        }
    });
    timeout(PATIENCE, home.app.called(Action::Start, 1)).await.unwrap();
    assert!(timeout(SECOND, home.workload.close()).await.is_err(), "an order is under way");
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(home.status(), ContainerStatus::Stopped);
    home.workload.close().await;
    assert_eq!(home.status(), ContainerStatus::Running, "it was seen through");
    home.workload.close().await;
}
