use drowse_provider::{
    Action, Engine as _, Observation, Reference, Signal,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};

use super::*;
use crate::{
    config::{Rate, Share},
    gates::testing::Warnings,
};

struct Scene {
    _engine: ScriptedEngine,
    container: ScriptedContainer,
    gate: CpuAndNetwork,
    details: Details,
}

impl Scene {
    /// What runs, and may use 5 % of a core and 10 kB/s.
    fn new() -> Self {
        Self::idle_after(Duration::from_mins(15))
    }

    fn idle_after(idle: Duration) -> Self {
        let engine = ScriptedEngine::new("home");
        let container = engine.add("app");
        container.start();
        let provider = engine.provider(&Reference::Name("app".to_owned())).unwrap();
        let limits = UseLimits { cpu: Some(Share(50)), network: Some(Rate(10_000)) };
        let gate = CpuAndNetwork::new("app", provider, limits, idle);
        let details = Details::new(
            "0123",
            "app",
            Observation::new(drowse_provider::ContainerStatus::Running, None),
        );
        Self { _engine: engine, container, gate, details }
    }

    async fn ask(&self) -> Result<(), String> {
        self.gate.may_sleep(&self.details).await.map_err(|busy| busy.to_string())
    }

    fn reads(&self) -> usize {
        self.container.calls(Action::Stats)
    }
}

/// So many milliseconds of a processor so far.
fn cpu(milliseconds: u64) -> Stats {
    let mut stats = Stats::default();
    stats.cpu = Some(Duration::from_millis(milliseconds));
    stats
}

fn load(cores: f64) -> Stats {
    let mut stats = Stats::default();
    stats.cpu_load = Some(cores);
    stats
}

fn network(received: u64, sent: u64) -> Stats {
    let mut stats = cpu(0);
    (stats.received_bytes, stats.sent_bytes) = (received, sent);
    stats
}

#[tokio::test(start_paused = true)]
async fn what_uses_its_processor_or_its_network_is_busy() {
    let scene = Scene::new();
    let mut said = Vec::new();
    for figures in [
        [cpu(60_000), cpu(60_499)],
        [cpu(60_000), cpu(60_510)],
        [cpu(0), cpu(25_000)],
        [load(0.2), load(0.01)],
        [load(0.04), load(0.04)],
        [network(1 << 40, 7), network((1 << 40) + 50_000, 50_006)],
        [network(0, 0), network(0, 120_000)],
        [cpu(60_000), cpu(10)],
        [network(1_000, 1_000), network(10, 10)],
    ] {
        scene.container.use_machine(figures);
        said.push(scene.ask().await.err().unwrap_or_else(|| "may sleep".to_owned()));
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    may sleep
    its processor use: 5.1% of a core over 10s, above `busy_cpu` (5%)
    its processor use: 250.0% of a core over 10s, above `busy_cpu` (5%)
    its processor use: 20.0% of a core over 10s, above `busy_cpu` (5%)
    may sleep
    may sleep
    its network use: 12kB/s over 10s, above `busy_network` (10kB/s)
    its use: its figures began anew while they were looked at
    its use: its figures began anew while they were looked at
    ");
    assert_eq!(scene.reads(), 18);
}

#[tokio::test(start_paused = true)]
async fn it_takes_ten_seconds_and_no_longer_than_the_idle_time() {
    let began = Instant::now();
    assert_eq!(Scene::new().ask().await, Ok(()));
    assert_eq!(began.elapsed().as_secs(), 10);
    let began = Instant::now();
    assert_eq!(Scene::idle_after(Duration::from_secs(2)).ask().await, Ok(()));
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_health_check_is_no_use() {
    // Half a core for a second, every five seconds: over all, 10 %.
    let with_checks = [0, 500, 500, 1_000, 1_000, 1_000].map(cpu);
    let mut scene = Scene::new();
    scene.container.use_machine(with_checks);
    scene.details.has_health_check = true;
    assert_eq!(scene.ask().await, Ok(()));
    assert_eq!(scene.reads(), 6);
    // Use lasts.
    scene.container.use_machine([0, 700, 900, 1_600, 1_800, 2_000].map(cpu));
    assert!(scene.ask().await.unwrap_err().contains("10.0% of a core over 10s"));
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_may_sleep() {
    let scene = Scene::new();
    scene.container.kill(Signal::KILL);
    assert_eq!(scene.ask().await, Ok(()));
    scene.container.remove();
    assert_eq!(scene.ask().await, Ok(()));
}

/// At three in the morning: what could not be read for a moment is no reason to stop what is in use, and
/// what cannot be read for good is no reason never to sleep.
#[tokio::test(start_paused = true)]
async fn figures_that_do_not_come_keep_awake_for_some_minutes() {
    let (warnings, _listening) = Warnings::listen();
    let scene = Scene::new();
    let refused = drowse_provider::ErrorKind::Forbidden { privilege: None, path: None };
    scene.container.always(Action::Stats, Step::refuse(refused));
    let first = scene.ask().await.unwrap_err();
    insta::assert_snapshot!(first, @"its processor and network use: its engine did not tell it: stats of container `app` on engine `home`: not permitted");
    for _ in 0..4 {
        sleep(Duration::from_mins(1)).await;
        assert_eq!(scene.ask().await, Err(first.clone()));
    }
    assert_eq!(warnings.text(), "");
    for _ in 0..3 {
        sleep(Duration::from_mins(1)).await;
        assert_eq!(scene.ask().await, Ok(()));
    }
    insta::assert_snapshot!(warnings.text(), @r#" WARN its processor and network use cannot be read; until it can, it is put to sleep without regard to them: see to it that its engine tells them, or set `busy_cpu` and `busy_network` to `off` workload="app" error=stats of container `app` on engine `home`: not permitted"#);

    scene.container.always(Action::Stats, Step::ok());
    scene.container.use_machine([cpu(0), cpu(9_000)]);
    assert!(scene.ask().await.is_err(), "they count again");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_not_waited_for() {
    let scene = Scene::new();
    scene.container.always(Action::Stats, Step::hang());
    let began = Instant::now();
    assert!(scene.ask().await.is_err());
    assert_eq!(began.elapsed(), READ_TIMEOUT);
}
