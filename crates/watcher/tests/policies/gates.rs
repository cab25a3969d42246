//! Stop gates.

use super::*;

/// Says what it is told to, when it is let to.
#[derive(Debug)]
struct Gate {
    busy: Mutex<Option<&'static str>>,
    asked: AtomicUsize,
    answers: Semaphore,
}

impl Gate {
    fn new(busy: Option<&'static str>) -> Arc<Self> {
        let answers = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { busy: Mutex::new(busy), asked: AtomicUsize::new(0), answers })
    }

    /// One that does not answer before it is let to.
    fn silent() -> Arc<Self> {
        let answers = Semaphore::new(0);
        Arc::new(Self { busy: Mutex::new(None), asked: AtomicUsize::new(0), answers })
    }

    fn says(&self, busy: Option<&'static str>) {
        *self.busy.lock().unwrap() = busy;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl StopGate for Gate {
    async fn may_sleep(&self, details: &Details) -> Result<(), Busy> {
        assert_eq!(details.name, "app");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _turn = self.answers.acquire().await.unwrap();
        match *self.busy.lock().unwrap() {
            Some(reason) => Err(Busy::new("its processor use", reason)),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Panics;

#[async_trait]
impl StopGate for Panics {
    async fn may_sleep(&self, _: &Details) -> Result<(), Busy> {
        panic!("a bug in a gate")
    }
}

fn home(gate: &Arc<Gate>) -> Home {
    let gates: Vec<Arc<dyn StopGate>> = vec![Arc::clone(gate) as _];
    Home::of(Policy::new(IDLE), |spec| spec.with_gates(gates))
}

#[tokio::test(start_paused = true)]
async fn what_is_busy_is_not_stopped_and_serves_on() {
    let gate = Gate::new(Some("63 % of a core"));
    let home = home(&gate);
    drop(home.lease().await);
    sleep(IDLE + SECOND).await;
    for (asked, minutes) in (1..).zip([1, 2, 4, 8, 15, 15]) {
        assert_eq!(gate.asked(), asked);
        let snapshot = home.workload.snapshot();
        assert_eq!(snapshot.vetoed_by.as_deref(), Some("its processor use: 63 % of a core"));
        assert_eq!((snapshot.phase, snapshot.next_sleep), (PhaseName::Ready, None));
        sleep(MINUTE * minutes).await;
    }
    gate.says(None);
    home.until_phase(PhaseName::Asleep).await;
    assert_eq!(home.workload.snapshot().vetoed_by, None);
    assert_eq!(home.app.calls(Action::Stop), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_while_the_gates_are_asked_is_served_and_wins() {
    let gate = Gate::silent();
    let home = home(&gate);
    drop(home.lease().await);
    sleep(IDLE + SECOND).await;
    assert_eq!(gate.asked(), 1);
    let holder = home.workload.holder("route test");
    drop(home.workload.try_lease(&holder, LeaseKind::Active).expect("served at once"));
    gate.answers.add_permits(1_000);
    sleep(IDLE - 2 * SECOND).await;
    assert_eq!((gate.asked(), home.app.calls(Action::Stop)), (1, 0));
    home.until_phase(PhaseName::Asleep).await;
    assert_eq!(gate.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_answer_and_a_panic_mean_busy() {
    let gate = Gate::silent();
    let home = home(&gate);
    drop(home.lease().await);
    sleep(IDLE + MINUTE + SECOND).await;
    let snapshot = home.workload.snapshot();
    assert_eq!(snapshot.vetoed_by.as_deref(), Some("a stop gate: it did not answer within 60s"));
    assert_eq!(home.status(), ContainerStatus::Running);
    gate.answers.add_permits(1_000);
    home.until_phase(PhaseName::Asleep).await;

    let panics: Vec<Arc<dyn StopGate>> = vec![Arc::new(Panics)];
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_gates(panics));
    drop(home.lease().await);
    sleep(IDLE * 2).await;
    let snapshot = home.workload.snapshot();
    assert_eq!(snapshot.vetoed_by.as_deref(), Some("a stop gate: it panicked"));
    assert_eq!(home.app.calls(Action::Start), 1, "the workload's own task did not panic");
}

#[tokio::test(start_paused = true)]
async fn gates_are_asked_in_their_order_until_one_says_busy() {
    let (first, second) = (Gate::new(Some("a lot")), Gate::new(None));
    let gates: Vec<Arc<dyn StopGate>> = vec![Arc::clone(&first) as _, Arc::clone(&second) as _];
    let home = Home::of(Policy::new(IDLE), |spec| spec.with_gates(gates));
    drop(home.lease().await);
    sleep(IDLE + SECOND).await;
    assert_eq!((first.asked(), second.asked()), (1, 0));
    first.says(None);
    home.until_phase(PhaseName::Asleep).await;
    assert_eq!((first.asked(), second.asked()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn sleep_on_request_is_refused_by_name_and_forced_all_the_same() {
    let gate = Gate::new(Some("63 % of a core"));
    let home = home(&gate);
    drop(home.lease().await);
    let refused = home.sleep_now(Force::No).await.unwrap_err();
    assert_eq!(refused.to_string(), "in use: its processor use: 63 % of a core");
    assert!(matches!(refused, SleepError::InUse { leases: 0, .. }));
    home.sleep_now(Force::EvenInUse).await.unwrap();
    assert_eq!((gate.asked(), home.status()), (1, ContainerStatus::Stopped));
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_no_gate() {
    let gate = Gate::silent();
    let home = home(&gate);
    drop(home.lease().await);
    sleep(IDLE + SECOND).await;
    assert_eq!(gate.asked(), 1);
    timeout(SECOND, home.workload.close()).await.unwrap();
    assert_eq!(home.status(), ContainerStatus::Running);
}
